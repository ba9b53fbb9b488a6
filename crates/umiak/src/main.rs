//! The `umiak` command.
fn main() {}
