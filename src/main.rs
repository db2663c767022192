//! sipedge
fn main() {}
