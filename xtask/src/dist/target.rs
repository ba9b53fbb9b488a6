//! What a program is built for, and what that needs on this machine.

use std::path::PathBuf;
use std::process::Command;

use crate::{Failure, command};

/// A processor that devices have.
pub struct Target {
    triple: &'static str,
    debian: &'static str,
    /// The C compiler: its package and its name.
    compiler: (&'static str, &'static str),
}

const TARGETS: [Target; 2] = [
    Target { triple: "x86_64-unknown-linux-musl", debian: "amd64", compiler: ("musl-tools", "musl-gcc") },
    Target {
        triple: "aarch64-unknown-linux-musl",
        debian: "arm64",
        compiler: ("gcc-aarch64-linux-gnu", "aarch64-linux-gnu-gcc"),
    },
];

impl Target {
    /// By the processor's name or the whole triple.
    ///
    /// # Errors
    /// Nothing is built for it.
    pub fn named(name: &str) -> Result<Self, Failure> {
        let found =
            TARGETS.into_iter().find(|target| target.triple == name || target.triple.starts_with(&format!("{name}-")));
        found.ok_or_else(|| format!("nothing is built for {name}: say x86_64 or aarch64"))
    }

    /// Rust's name for it.
    pub fn triple(&self) -> &'static str {
        self.triple
    }

    /// Debian's name for it.
    pub fn debian(&self) -> &'static str {
        self.debian
    }

    /// Where cargo puts `program`.
    pub fn built(&self, program: &str) -> PathBuf {
        let directory =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| command::root().join("target"), PathBuf::from);
        directory.join(self.triple).join("dist").join(program)
    }

    /// Installs what is missing, or names it.
    ///
    /// # Errors
    /// It is missing and may not or cannot be installed.
    pub fn prepare(&self) -> Result<(), Failure> {
        let (package, compiler) = self.compiler;
        if Command::new(compiler).arg("--version").output().is_err() {
            if !command::is_root() {
                return Err(format!("{compiler} is missing: apt-get install {package}"));
            }
            command::run(Command::new("apt-get").args(["install", "-y", "--no-install-recommends", package]))?;
        }
        let mut list = Command::new("rustup");
        let installed = list.args(["target", "list", "--installed"]).current_dir(command::root()).output();
        let installed = installed.map(|output| String::from_utf8_lossy(&output.stdout).contains(self.triple));
        match installed {
            Ok(true) => Ok(()),
            Ok(false) => {
                command::run(Command::new("rustup").args(["target", "add", self.triple]).current_dir(command::root()))
            }
            // A Rust of the distribution's has its targets in packages; cargo says so if this one is not there.
            Err(_) => Ok(()),
        }
    }

    /// Whether programs for it start on this machine.
    pub fn is_this_machine(&self) -> bool {
        self.triple.starts_with(std::env::consts::ARCH)
    }

    /// Tells cargo which compiler and linker to use. The linker is the one that comes with Rust: of the compilers' own one
    /// wants another C library, and musl-gcc makes programs with an interpreter, which fall over when they start.
    pub fn tools(&self, cargo: &mut Command) {
        let upper = self.triple.replace('-', "_");
        cargo.env(format!("CC_{upper}"), self.compiler.1);
        let linker = format!("CARGO_TARGET_{}_LINKER", upper.to_uppercase());
        cargo.env(linker, "rust-lld");
    }
}
