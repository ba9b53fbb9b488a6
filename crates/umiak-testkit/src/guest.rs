//! A small virtual machine that runs one program on one disk, and is killed at any moment.
//!
//! Debian's kernel for clouds, a file system in memory with busybox and the program, the disk as `/dev/vda` (ext4, mounted at
//! `/disk`); no network but loopback, no KVM needed. Killing it loses what the guest had not yet written to its disk.
//! Needs the packages `qemu-system-x86`, `linux-image-cloud-amd64`, `busybox-static`, `cpio` and `binutils`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::volume::run;

/// Modules of the kernel that show the disk, in the order in which they are put in.
const MODULES: [&str; 6] =
    ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk"];

/// What a guest is started from; any number of times.
pub struct Machine {
    kernel: PathBuf,
    memory: PathBuf,
}

/// A guest that runs.
pub struct Guest {
    qemu: Child,
    console: BufReader<ChildStdout>,
}

impl Machine {
    /// A machine that runs `program` with `arguments` and `environment`. Its files are made in `directory`.
    ///
    /// # Errors
    /// A package is missing.
    pub fn new(directory: &Path, program: &Path, arguments: &str, environment: &str) -> io::Result<Self> {
        let kernel = kernel()?;
        let release = kernel.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let release = release.trim_start_matches("vmlinuz-").to_owned();
        let tree = directory.join("guest");
        for name in ["bin", "dev", "proc", "sys", "disk", "tmp", "lib/modules"] {
            fs::create_dir_all(tree.join(name))?;
        }
        fs::copy("/bin/busybox", tree.join("bin/busybox"))?;
        run(Command::new("strip").arg("-o").arg(tree.join("bin/program")).arg(program))?;
        for library in libraries(program)? {
            let place = tree.join(library.strip_prefix("/").unwrap_or(&library));
            fs::create_dir_all(place.parent().unwrap_or(&tree))?;
            fs::copy(&library, &place)?;
        }
        let all = modules(&Path::new("/lib/modules").join(&release))?;
        let mut lines = String::new();
        for name in MODULES {
            // What is part of the kernel is no module.
            if let Some(path) = all.iter().find(|path| path.file_stem().is_some_and(|stem| stem == name)) {
                fs::copy(path, tree.join("lib/modules").join(format!("{name}.ko")))?;
                writeln!(lines, "insmod /lib/modules/{name}.ko").map_err(io::Error::other)?;
            }
        }
        let script = format!(
            "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin {environment}\n\
             mount -t proc none /proc\nmount -t sysfs none /sys\nmount -t devtmpfs none /dev\nmount -t tmpfs none /tmp\n\
             {lines}mount -t ext4 /dev/vda /disk || echo 'the disk cannot be mounted'\nip link set lo up\n\
             program {arguments}\necho 'the program ended'\npoweroff -f\n"
        );
        fs::write(tree.join("init"), script)?;
        run(Command::new("chmod").arg("755").arg(tree.join("init")))?;
        let memory = directory.join("guest.cpio");
        let pack = format!("find . | cpio -o -H newc --quiet > '{}'", memory.display());
        run(Command::new("sh").current_dir(&tree).args(["-c", &pack]))?;
        Ok(Self { kernel, memory })
    }

    /// Starts a guest with the image file `disk`.
    ///
    /// # Errors
    /// QEMU is missing.
    pub fn start(&self, disk: &Path) -> io::Result<Guest> {
        // A host with much to do answers too late for a kernel that checks whether its timer ticks.
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-m", "512", "-smp", "1", "-nodefaults", "-display", "none", "-serial", "stdio"])
            .args(["-no-reboot", "-append", "console=ttyS0 quiet panic=-1 no_timer_check", "-kernel"])
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.memory)
            .arg("-drive")
            .arg(format!("file={},if=virtio,format=raw,cache=none", disk.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::other(format!("qemu-system-x86_64: {error}")))?;
        let console = qemu.stdout.take().ok_or_else(|| io::Error::other("no console"))?;
        Ok(Guest { qemu, console: BufReader::new(console) })
    }
}

impl Guest {
    /// The next line on its console; `None` when it is off.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        if self.console.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&line).trim().to_owned()))
    }

    /// Ends it as a power cut does; gives what it had said until then and nobody had read.
    ///
    /// # Errors
    /// Its console cannot be read.
    pub fn kill(mut self) -> io::Result<Vec<String>> {
        self.qemu.kill()?;
        let mut lines = Vec::new();
        while let Some(line) = self.line()? {
            lines.push(line);
        }
        self.qemu.wait()?;
        Ok(lines)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// The kernel that is installed.
fn kernel() -> io::Result<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/boot")?.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("vmlinuz-") && name.contains("-cloud-")
    });
    found.sort();
    found.pop().ok_or_else(|| io::Error::other("there is no kernel of linux-image-cloud-amd64 in /boot"))
}

fn modules(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(modules(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The shared libraries of a program.
fn libraries(program: &Path) -> io::Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}
