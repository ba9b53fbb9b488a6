//! What a table was measured on: cores, memory, kernel, load, versions of the peers.

use std::process::Command;

use crate::peers;

/// One line for under a table.
pub fn describe(peers: &[&str]) -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut parts = vec![format!("{cores} cores{}", processor())];
    parts.push(format!("Linux {}", first_line("uname", &["-r"]).unwrap_or_default()));
    parts.extend(load());
    parts.extend(peers.iter().filter_map(|peer| version(peer)));
    parts.join("; ")
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    model.map(|(_, name)| format!(" of {}", name.trim())).unwrap_or_default()
}

/// Other work on the machine makes figures worse: it is said.
fn load() -> Option<String> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    Some(format!("load {} before the start", text.split(' ').nth(1)?))
}

fn version(program: &str) -> Option<String> {
    printed(program).or_else(|| Some(format!("{program} {}", peers::version(program)?)))
}

/// What a program says of itself; some say nothing.
fn printed(program: &str) -> Option<String> {
    let line = first_line(program, &["--version"]).or_else(|| first_line(program, &["-version"]))?;
    // `mksquashfs version 4.5.1 (2022/03/17)`, `rsync  version 3.2.7  protocol version 31`, `rdiff (librsync 2.3.2)`
    let number = line.split_whitespace().find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
    Some(format!("{program} {}", number.trim_end_matches([')', ','])))
}

/// The first line that a successful command prints, on either stream.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().find(|line| !line.is_empty()).map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        assert!(version("tar").unwrap().starts_with("tar 1."));
        assert_eq!(version("no-such-program"), None);
    }
}
