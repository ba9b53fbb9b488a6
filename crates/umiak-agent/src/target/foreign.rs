//! Whether a container is made for this device: by what its maker says, and by the program that it begins with.
//!
//! `src.json` says for which platform an image was taken (`docker_platform`). Signatures leave it out, and it may be missing,
//! so that once the objects are here the program is looked at as well: the header of the ELF file that the container
//! starts, or of the interpreter of a script. Guarantee: what can run is never refused; a 32-bit program of the same family is
//! taken for one that can. What cannot be told is left to the test of the new revision.

use std::fs::File;

use umiak_pvr::State;
use umiak_pvr::state::Entry;
use umiak_spec::{Digest, Limits, Platform};
use umiak_squashfs::{Image, StoredContent};
use umiak_store::Store;
use umiak_tree::{Kind, Tree, TreePath};

use super::error::ResolveError;

/// Links that are followed, and interpreters, on the way to one program.
const MAX_STEPS: usize = 40;
/// Bytes of a program that are looked at.
const HEAD: usize = 256;
/// Where a program without a directory is looked for.
const DIRECTORIES: [&str; 6] = ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"];

/// Go's name, the number in `e_machine`, 64 bits, little-endian.
const MACHINES: [(&str, u16, bool, bool); 13] = [
    ("386", 3, false, true),
    ("amd64", 62, true, true),
    ("arm", 40, false, true),
    ("arm64", 183, true, true),
    ("loong64", 258, true, true),
    ("mips", 8, false, false),
    ("mips64", 8, true, false),
    ("mips64le", 8, true, true),
    ("mipsle", 8, false, true),
    ("ppc64", 21, true, false),
    ("ppc64le", 21, true, true),
    ("riscv64", 243, true, true),
    ("s390x", 22, true, false),
];

/// Whether an architecture is this device's, or the 32-bit one of its family.
fn runs(device: &str, architecture: &str) -> bool {
    device == architecture || matches!((device, architecture), ("amd64", "386") | ("arm64", "arm"))
}

/// Whether all containers of a state are made for this device, as their makers say.
///
/// # Errors
/// [`ResolveError::Foreign`]: the first that is not.
pub(super) fn by_documents(state: &State, device: &Platform) -> Result<(), ResolveError> {
    for (path, entry) in state.entries() {
        let Some(container) = path.as_str().strip_suffix("/src.json").filter(|name| !name.contains('/')) else {
            continue;
        };
        let Entry::Inline(document) = entry else { continue };
        let Some(text) = document.get("docker_platform").and_then(|value| value.as_str()) else { continue };
        let Ok(platform) = text.parse::<Platform>() else { continue };
        let other = device.architecture != platform.architecture;
        let fits = device.rank(&platform).is_some() || (other && runs(&device.architecture, &platform.architecture));
        if device.os != platform.os || !fits {
            return Err(ResolveError::Foreign {
                container: container.to_owned(),
                made: platform.to_string(),
                told: path.to_string(),
                device: device.to_string(),
            });
        }
    }
    Ok(())
}

/// Whether the program that a container begins with is for this device. The images of its root, the topmost first, are in
/// the store.
///
/// # Errors
/// [`ResolveError::Foreign`]; the store.
pub(crate) fn by_program(
    store: &Store,
    container: &str,
    program: &str,
    images: &[Digest],
    device: &Platform,
    limits: &Limits,
) -> Result<(), ResolveError> {
    let mut root = Root { images: Vec::new(), limits };
    for digest in images {
        let Some(blob) = store.blob(digest)? else { return Ok(()) };
        // What cannot be read cannot be mounted either, which is for whoever mounts to say.
        let Ok(image) = Image::open(blob.into_file(), limits) else { return Ok(()) };
        let Ok(tree) = image.tree() else { return Ok(()) };
        root.images.push((image, tree));
    }
    match root.architecture(program) {
        Some((architecture, path)) if !runs(&device.architecture, architecture) => Err(ResolveError::Foreign {
            container: container.to_owned(),
            made: format!("{}/{architecture}", device.os),
            told: format!("its program /{path}"),
            device: device.to_string(),
        }),
        _ => Ok(()),
    }
}

/// What a file of a root is.
enum Found<'r> {
    Directory,
    File(&'r Image<File>, &'r StoredContent),
    Link(&'r [u8]),
}

/// The root of a container.
struct Root<'l> {
    images: Vec<(Image<File>, Tree<StoredContent>)>,
    limits: &'l Limits,
}

impl Root<'_> {
    /// What a program is made for, and its path; `None` where that cannot be told.
    fn architecture(&self, program: &str) -> Option<(&'static str, String)> {
        let mut path = match program.contains('/') {
            true => program.to_owned(),
            false => {
                DIRECTORIES.iter().map(|above| format!("{above}/{program}")).find(|path| self.head(path).is_some())?
            }
        };
        for _ in 0..MAX_STEPS {
            let (resolved, head) = self.head(&path)?;
            if let Some(architecture) = architecture(&head) {
                return Some((architecture, resolved));
            }
            path = interpreter(&head)?;
        }
        None
    }

    /// The first bytes of a file, and where it is when links are followed.
    fn head(&self, path: &str) -> Option<(String, Vec<u8>)> {
        let mut rest: Vec<String> = components(path).rev().collect();
        let (mut at, mut steps) = (Vec::<String>::new(), 0);
        let mut found = Found::Directory;
        while let Some(name) = rest.pop() {
            if name == ".." {
                at.pop();
                found = Found::Directory;
                continue;
            }
            at.push(name);
            found = self.entry(&at.join("/"))?;
            if let Found::Link(target) = found {
                steps += 1;
                let target = std::str::from_utf8(target).ok().filter(|_| steps < MAX_STEPS)?;
                if target.starts_with('/') {
                    at.clear();
                } else {
                    at.pop();
                }
                rest.extend(components(target).rev());
                found = Found::Directory;
            }
        }
        let Found::File(image, content) = found else { return None };
        let mut head = vec![0; HEAD];
        let length = image.read_at(content, 0, &mut head).ok()?;
        head.truncate(length);
        Some((at.join("/"), head))
    }

    /// What bears a name, in the topmost image that has it.
    fn entry(&self, path: &str) -> Option<Found<'_>> {
        let path = TreePath::from_archive(path.as_bytes(), self.limits).ok()?;
        let (image, kind) =
            self.images.iter().find_map(|(image, tree)| tree.lookup(&path).map(|id| (image, &tree.inode(id).kind)))?;
        match kind {
            Kind::Directory(_) => Some(Found::Directory),
            Kind::File(content) => Some(Found::File(image, content)),
            Kind::Symlink(target) => Some(Found::Link(target)),
            // Of other kinds is no program; one of them is a whiteout.
            _ => None,
        }
    }
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = String> + '_ {
    path.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned)
}

/// What an ELF file is made for.
fn architecture(head: &[u8]) -> Option<&'static str> {
    let ([0x7f, b'E', b'L', b'F', class, order, ..], Some(machine)) = (head, head.get(18..20)) else { return None };
    let little = *order == 1;
    let machine = [machine[0], machine[1]];
    let machine = if little { u16::from_le_bytes(machine) } else { u16::from_be_bytes(machine) };
    let found = MACHINES.iter().find(|(_, number, wide, end)| (*number, *wide, *end) == (machine, *class == 2, little));
    found.map(|(name, ..)| *name)
}

/// The interpreter of a script.
fn interpreter(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok()?.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(machine: u16, wide: bool, little: bool) -> Vec<u8> {
        let mut head = vec![0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, if little { 1 } else { 2 }];
        head.resize(18, 0);
        head.extend(if little { machine.to_le_bytes() } else { machine.to_be_bytes() });
        head
    }

    #[test]
    fn programs_say_what_they_are_for() {
        for (name, machine, wide, little) in MACHINES {
            assert_eq!(architecture(&elf(machine, wide, little)), Some(name));
        }
        assert_eq!(architecture(&elf(62, false, true)), None, "x32");
        assert_eq!(architecture(&elf(62, true, true)[..19]), None);
        assert_eq!(interpreter(b"#! /bin/busybox sh\nx").as_deref(), Some("/bin/busybox"));
        assert_eq!(interpreter(b"#!\n"), None);
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert_eq!(architecture(&own), Some(Platform::host().architecture.as_str()));
    }

    #[test]
    fn a_device_takes_what_it_can_run() {
        let state = |platform: &str| {
            State::parse(format!(r#"{{"web/src.json":{{"docker_platform":"{platform}"}}}}"#).as_bytes(), 999).unwrap()
        };
        for (device, platform, taken) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/386", true),
            ("linux/amd64", "linux/arm64", false),
            ("linux/amd64", "windows/amd64", false),
            ("linux/arm64", "linux/arm/v6", true),
            ("linux/arm/v7", "linux/arm/v6", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/arm/v7", "linux/arm64", false),
            ("linux/mips", "linux/mipsle", false),
            ("linux/riscv64", "", true),
        ] {
            let found = by_documents(&state(platform), &device.parse().unwrap());
            assert_eq!(found.is_ok(), taken, "{device} {platform}: {found:?}");
            if let Err(error) = found {
                let told = format!("`web` is made for {platform} (web/src.json), and this device is {device}");
                assert_eq!(error.to_string(), told);
            }
        }
    }
}
