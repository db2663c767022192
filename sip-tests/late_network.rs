//! The program on a machine whose network comes after it, in a network namespace of its own. Where the kernel allows none,
//! it says so and tests nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};

/// The shell says so when the program has ended, with its code.
const OVER: &str = "sipedge is over:";
const PORT: u16 = 27_960;

/// A shell in a network namespace without any address, not even on the loopback.
struct Machine {
    shell: Child,
    stdin: ChildStdin,
    stderr: BufReader<ChildStderr>,
}

impl Machine {
    fn start() -> Option<Self> {
        let try_out = Command::new("unshare").args(["-rnp", "--fork", "true"]).stderr(Stdio::null()).status();
        if !try_out.is_ok_and(|status| status.success()) {
            println!("no network namespaces here: nothing is tested");
            return None;
        }
        let mut shell = Command::new("unshare")
            // with the first process of its own process namespace all others go
            .args(["-rnp", "--fork", "--kill-child", "bash"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stderr) = (shell.stdin.take().unwrap(), shell.stderr.take().unwrap());
        Some(Self { shell, stdin, stderr: BufReader::new(stderr) })
    }

    /// The program, in the background.
    fn runs(&mut self, settings: &str, file: &std::path::Path) {
        let binary = env!("CARGO_BIN_EXE_sipedge");
        let file = file.display();
        self.does(&format!("{{ {settings} {binary} --config {file}; echo \"{OVER} $?\" >&2; }} &\n"));
    }

    fn does(&mut self, commands: &str) {
        self.stdin.write_all(commands.as_bytes()).unwrap();
    }

    fn says(&mut self, word: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "{word} was not said: {all}");
            if line.contains(word) {
                return line;
            }
            assert!(!line.contains(OVER), "it ended before it said {word}: {all}");
            all += &line;
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// A configuration that listens on the loopback and on all addresses.
fn configured(name: &str, more: &str) -> std::path::PathBuf {
    let file = std::env::temp_dir().join(format!("sipedge-{name}-{}.toml", std::process::id()));
    let text = format!(
        "[http]\nlisten = [\"127.0.0.1:1337\", \"[::1]:1337\"]\n[media]\nwebrtc_port = {PORT}\nworkers = 2\n[sip]\n{more}"
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// The address and port of IPv4 as `/proc/net/udp` has them.
fn socket(port: u16) -> String {
    format!("020200C0:{port:04X}")
}

#[test]
fn without_a_network_it_starts_and_serves_when_that_comes() {
    let Some(mut machine) = Machine::start() else { return };
    let file = configured("late-network", "");
    machine.runs("", &file);
    let line = machine.says("has no address yet");
    assert!(line.contains("WARN"), "{line}");
    machine.says("sipedge is ready");
    machine.does("ip link set lo up\n");
    for host in ["127.0.0.1", "::1"] {
        let get = "GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n";
        machine.does(&format!(
            "exec 9<>/dev/tcp/{host}/1337; printf '{get}' >&9; read -r line <&9; echo \"{host} says $line\" >&2\n"
        ));
        let line = machine.says(&format!("{host} says"));
        assert!(line.contains("HTTP/1.1 200"), "{line}");
    }
    machine.does(
        "ip link add v0 type veth peer name v1; ip addr add 192.0.2.2/24 dev v0\n\
         ip -6 addr add 2001:db8::2/64 dev v0 nodad; ip link set v0 up; ip link set v1 up\n",
    );
    let line = machine.says("there are addresses now");
    assert!(
        line.contains("192.0.2.2") && line.contains("2001:db8::2") && !line.contains("127.0.0.1"),
        "{line}"
    );
    machine.does("cat /proc/net/udp >&2\n");
    machine.says(&socket(PORT));
    machine.says(&socket(PORT + 1));
}

#[test]
fn an_address_that_is_not_there_yet_is_named_with_its_key_and_how_to_wait_for_it() {
    for (name, more, key) in [
        ("sip", "listen = [\"192.0.2.2:5080\"]\n", "sip.listen: 192.0.2.2 is no address"),
        ("media", "[ice]\nlite = true\n", "media.addresses: 192.0.2.2 is no address"),
    ] {
        let Some(mut machine) = Machine::start() else { return };
        let file = configured(&format!("no-address-{name}"), more);
        // where there is no address at all, not even one of the loopback, Linux lets any be bound
        machine.does("ip link set lo up\n");
        let addresses = if name == "media" { "SIPEDGE_MEDIA__ADDRESSES=192.0.2.2" } else { "" };
        machine.runs(addresses, &file);
        let line = machine.says(key);
        assert!(line.contains("After=network-online.target"), "{line}");
        machine.says(&format!("{OVER} 1"));
    }
}
