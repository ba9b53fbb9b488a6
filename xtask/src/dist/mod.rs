//! `cargo xtask dist`: what is handed out. Static programs and a Debian package, the same bytes from the same sources.
//!
//! ```text
//! cargo build --profile dist --target <arch>-unknown-linux-musl    -> target/dist/umiak, umiakd
//! packaging/ + umiakd -> a directory -> dpkg-deb                   -> target/dist/umiakd_<version>_<arch>.deb
//! SHA256SUMS
//! ```
//!
//! It installs what it needs where it may (the target of rustup, a C compiler for it) and otherwise names it. It signs
//! nothing and uploads nothing.

mod debian;
mod target;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Failure, command};
use target::Target;

/// The programs that are handed out.
const PROGRAMS: [&str; 2] = ["umiak", "umiakd"];

/// The largest that the device's program may be, in bytes.
const LARGEST: u64 = 15 << 20;

/// Builds and packs for one target; this machine's processor when none is named.
///
/// # Errors
/// A tool is missing, a build fails, a file cannot be written, a program is dynamic or too large.
pub fn run(options: &[&str]) -> Result<(), Failure> {
    let target = match options {
        [] => Target::named(std::env::consts::ARCH)?,
        ["--target", name] => Target::named(name)?,
        _ => return Err("dist takes --target x86_64 or aarch64".to_owned()),
    };
    target.prepare()?;
    let epoch = last_change()?;
    build(&target, epoch)?;
    let out = command::root().join("target/dist");
    fs::create_dir_all(&out).map_err(|error| format!("cannot create {}: {error}", out.display()))?;
    let mut made = Vec::new();
    for program in PROGRAMS {
        let built = target.built(program);
        check_static(&built)?;
        if target.is_this_machine() {
            check_starts(&built)?;
        }
        let name = format!("{program}-{}-{}", env!("CARGO_PKG_VERSION"), target.debian());
        made.push(copy(&built, &out.join(name))?);
    }
    made.push(debian::package(&target, &target.built("umiakd"), &out, epoch)?);
    let size = length(&target.built("umiakd"))?;
    sums(&out, &made)?;
    println!("umiakd is {size} bytes, static, stripped");
    if size > LARGEST { Err(format!("umiakd is larger than {LARGEST} bytes")) } else { Ok(()) }
}

/// Builds a program for this machine's processor as it is handed out.
///
/// # Errors
/// As [`run`].
pub fn program(name: &str) -> Result<PathBuf, Failure> {
    let target = Target::named(std::env::consts::ARCH)?;
    target.prepare()?;
    build(&target, last_change()?)?;
    let built = target.built(name);
    check_static(&built)?;
    Ok(built)
}

fn build(target: &Target, epoch: u64) -> Result<(), Failure> {
    let mut cargo = command::cargo();
    cargo.args(["build", "--locked", "--profile", "dist", "--target", target.triple()]);
    for program in PROGRAMS {
        cargo.args(["-p", program]);
    }
    // Where the sources lie is not part of what they say.
    let root = command::root();
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    let mut flags = format!("--remap-path-prefix={}=.", root.display());
    if let Ok(home) = home {
        flags.push_str(&format!(" --remap-path-prefix={home}=cargo"));
    }
    cargo.env("RUSTFLAGS", flags).env("SOURCE_DATE_EPOCH", epoch.to_string());
    target.tools(&mut cargo);
    command::run(&mut cargo)
}

/// Seconds since 1970 of the last commit: the time that everything in a package has.
fn last_change() -> Result<u64, Failure> {
    let output = Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(command::root()).output();
    let text = output.map_err(|error| format!("cannot start git: {error}"))?.stdout;
    // A source archive without history still makes a package.
    Ok(String::from_utf8_lossy(&text).trim().parse().unwrap_or(1_577_836_800))
}

/// Fails for a program that needs a dynamic linker: it would not start on half of the devices.
fn check_static(program: &Path) -> Result<(), Failure> {
    let bytes = fs::read(program).map_err(|error| format!("cannot read {}: {error}", program.display()))?;
    if dynamic(&bytes) { Err(format!("{} needs a dynamic linker", program.display())) } else { Ok(()) }
}

/// Fails for a program that does not say what it is.
fn check_starts(program: &Path) -> Result<(), Failure> {
    let output = Command::new(program).arg("version").env_clear().output();
    let output = output.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    if output.status.success() && String::from_utf8_lossy(&output.stdout).contains(env!("CARGO_PKG_VERSION")) {
        return Ok(());
    }
    Err(format!("{} does not say its version: {}", program.display(), output.status))
}

/// Whether a little-endian 64-bit ELF file names an interpreter (program header of type 3).
fn dynamic(elf: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let half = |at: usize| elf.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_le_bytes);
    let word = |at: usize| elf.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes);
    let long = |at: usize| elf.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes);
    let first = usize::try_from(long(32)).unwrap_or(usize::MAX);
    (0..usize::from(half(56)))
        .any(|index| first.checked_add(index * usize::from(half(54))).is_some_and(|at| word(at) == INTERPRETER))
}

fn copy(from: &Path, to: &Path) -> Result<PathBuf, Failure> {
    fs::copy(from, to).map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))?;
    Ok(to.to_owned())
}

fn length(path: &Path) -> Result<u64, Failure> {
    fs::metadata(path)
        .map(|metadata| metadata.len())
        .map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn sums(out: &Path, made: &[PathBuf]) -> Result<(), Failure> {
    let mut text = String::new();
    for path in made {
        let bytes = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let digest = umiak_spec::Digest::of(&bytes).to_string();
        text.push_str(&format!("{}  {name}\n", digest.trim_start_matches("sha256:")));
    }
    let path = out.join("SHA256SUMS");
    fs::write(&path, &text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    print!("{text}");
    Ok(())
}
