//! The program; see [`sipedge::cli`] for what it can be asked.

fn main() -> std::process::ExitCode {
    sipedge::cli::main()
}
