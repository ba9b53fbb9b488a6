//! The demo's payload: this very program and the libraries that it is running with.
//!
//! That makes the sample image a real application of some megabytes which runs on this machine, without a network and
//! without a compiler. What only debuggers read is left out of the program's copy, so that a debug build gives an
//! image of a reasonable size.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

/// A file of the payload.
pub struct PayloadFile {
    /// Where it is, here and in the image; absolute.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// The program and what it needs.
pub struct Payload {
    /// This program, without debug sections.
    pub program: Vec<u8>,
    /// The program's interpreter as the kernel looks it up, and the library that this is.
    pub interpreter: Option<(String, String)>,
    /// The shared libraries, the interpreter among them. None for a static program.
    pub libraries: Vec<PayloadFile>,
}

impl Payload {
    /// Reads the running program.
    ///
    /// # Errors
    /// When the program or one of its libraries cannot be read.
    pub fn of_this_program() -> io::Result<Self> {
        let program = fs::read(std::env::current_exe()?)?;
        let mut libraries = Vec::new();
        for path in mapped_libraries()? {
            libraries.push(PayloadFile { content: fs::read(&path)?, path });
        }
        let interpreter = elf::interpreter(&program).and_then(|name| {
            let target = fs::canonicalize(&name).ok()?.into_os_string().into_string().ok()?;
            libraries.iter().any(|library| library.path == target).then_some((name, target))
        });
        Ok(Self { program: elf::loaded_part(program), interpreter, libraries })
    }

    /// Directories that libraries are in, for `LD_LIBRARY_PATH`.
    pub fn library_directories(&self) -> Vec<String> {
        let parent = |file: &PayloadFile| PathBuf::from(&file.path).parent().map(|dir| dir.display().to_string());
        let directories: BTreeSet<_> = self.libraries.iter().filter_map(parent).collect();
        directories.into_iter().collect()
    }
}

/// Paths of the shared libraries in this process's memory, sorted.
fn mapped_libraries() -> io::Result<BTreeSet<String>> {
    let program = std::env::current_exe()?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let path = |line: &str| line.split_whitespace().nth(5).filter(|path| path.contains(".so")).map(str::to_owned);
    Ok(maps.lines().filter_map(path).filter(|path| program.as_os_str() != path.as_str()).collect())
}

/// The little of ELF that is needed here; anything unexpected gives the harmless answer.
mod elf {
    const PT_INTERP: u32 = 3;
    const HEADER: usize = 64;

    struct Segment {
        kind: u32,
        start: usize,
        end: usize,
    }

    /// Segments of a little-endian 64-bit program; none of anything else.
    fn segments(bytes: &[u8]) -> Vec<Segment> {
        let number = |at: usize, length: usize| -> Option<usize> {
            let field = bytes.get(at..at.checked_add(length)?)?;
            usize::try_from(field.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))).ok()
        };
        let segment = |at: usize| -> Option<Segment> {
            let start = number(at + 8, 8)?;
            let end = start.checked_add(number(at + 32, 8)?).filter(|end| *end <= bytes.len())?;
            Some(Segment { kind: u32::try_from(number(at, 4)?).ok()?, start, end })
        };
        let all = || -> Option<Vec<Segment>> {
            let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
            (0..count).map(|index| segment(table.checked_add(index * size)?)).collect()
        };
        if bytes.starts_with(b"\x7fELF\x02\x01") { all().unwrap_or_default() } else { Vec::new() }
    }

    /// The path of the interpreter that a dynamic program names.
    pub fn interpreter(bytes: &[u8]) -> Option<String> {
        let segment = segments(bytes).into_iter().find(|segment| segment.kind == PT_INTERP)?;
        let path = bytes.get(segment.start..segment.end)?;
        String::from_utf8(path.strip_suffix(b"\0").unwrap_or(path).to_vec()).ok()
    }

    /// The program up to the end of its last segment, section headers forgotten: what the kernel loads.
    pub fn loaded_part(mut bytes: Vec<u8>) -> Vec<u8> {
        let Some(end) = segments(&bytes).iter().map(|segment| segment.end).max().filter(|end| *end >= HEADER) else {
            return bytes;
        };
        bytes.truncate(end);
        bytes[40..48].fill(0);
        bytes[58..64].fill(0);
        bytes
    }

    #[cfg(test)]
    mod tests {
        use std::os::unix::fs::PermissionsExt as _;

        #[test]
        fn a_program_still_runs_without_what_debuggers_read() {
            let whole = std::fs::read("/proc/self/exe").unwrap();
            let part = super::loaded_part(whole.clone());
            assert!(part.len() < whole.len());
            assert!(super::interpreter(&whole).is_some());
            let path = std::env::temp_dir().join(format!("umiak-elf-{}", std::process::id()));
            std::fs::write(&path, part).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            let output = std::process::Command::new(&path).arg("--list").output().unwrap();
            std::fs::remove_file(&path).unwrap();
            assert!(String::from_utf8_lossy(&output.stdout).contains("without_what_debuggers_read"));
        }

        #[test]
        fn what_is_no_program_is_left_alone() {
            for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x02\x01", &[0xff; 200]] {
                assert_eq!(super::interpreter(bytes), None);
                assert_eq!(super::loaded_part(bytes.to_vec()), bytes);
            }
        }
    }
}
