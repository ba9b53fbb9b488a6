//! What a file system writes to its disk, written down write by write, and every moment of it made again.
//!
//! [`Recorder`] puts a block device before an image file that logs each write, discard and flush in their order, in the
//! format of the kernel's dm-log-writes; [`Log`] makes the disk as it was after any of them, also one whose cache lost a
//! part of what was written after the last flush. Needs root, and the packages `qemu-system-common` (its storage daemon
//! logs and shows the image as a file), `mount` and `util-linux`.
//!
//! Not for speed: one request at a time, because the daemon mixes up several.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::volume::run;

/// How long the daemon may take to begin and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A block device that is being logged.
pub struct Recorder {
    daemon: Child,
    device: PathBuf,
    control: PathBuf,
    log: PathBuf,
}

impl Recorder {
    /// Logs what is written to the image file `image` through [`Recorder::device`]. Files of its own go into `directory`.
    ///
    /// # Errors
    /// A program fails or is missing; no root.
    pub fn start(directory: &Path, image: &Path) -> io::Result<Self> {
        let (shown, control, log) = (directory.join("shown"), directory.join("fusectl"), directory.join("log"));
        File::create(&shown)?;
        File::create(&log)?;
        let file = |name: &str, path: &Path| format!("driver=file,node-name={name},filename={}", path.display());
        let daemon = Command::new("qemu-storage-daemon")
            .args(["--blockdev", &file("f", image), "--blockdev", "driver=raw,node-name=r,file=f"])
            .args(["--blockdev", &file("lf", &log), "--blockdev", "driver=raw,node-name=l,file=lf"])
            .args(["--blockdev", "driver=blklogwrites,node-name=w,file=r,log=l,log-sector-size=512"])
            .arg("--export")
            .arg(format!("type=fuse,id=e,node-name=w,mountpoint={},writable=on", shown.display()))
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| io::Error::other(format!("qemu-storage-daemon: {error}")))?;
        let mut recorder = Self { daemon, device: PathBuf::new(), control, log };
        let length = fs::metadata(image)?.len();
        recorder.until(|| Ok(fs::metadata(&shown)?.len() == length))?;
        // More than one request at a time share a buffer of the daemon: disk and log would both be wrong.
        fs::create_dir_all(&recorder.control)?;
        run(Command::new("mount").args(["-t", "fusectl", "none"]).arg(&recorder.control))?;
        let connection = (fs::metadata(&shown)?.dev() & 0xff).to_string();
        fs::write(recorder.control.join(connection).join("max_background"), "1")?;
        let output = Command::new("losetup").args(["-f", "--show", "--direct-io=on"]).arg(&shown).output()?;
        recorder.device = String::from_utf8_lossy(&output.stdout).trim().into();
        if output.status.success() { Ok(recorder) } else { Err(io::Error::other("losetup failed")) }
    }

    /// The block device.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Bytes of the log so far: for [`Log::within`].
    ///
    /// # Errors
    /// The log cannot be looked at.
    pub fn written(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.log)?.len())
    }

    /// Ends it; nothing may be mounted from the device any more.
    ///
    /// # Errors
    /// The device is in use, or the log makes no sense.
    pub fn stop(mut self) -> io::Result<Log> {
        run(Command::new("losetup").arg("-d").arg(&self.device))?;
        self.device = PathBuf::new();
        run(Command::new("kill").arg(self.daemon.id().to_string()))?;
        let begun = Instant::now();
        while self.daemon.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other("qemu-storage-daemon does not end"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Log::read(&self.log)
    }

    fn until(&mut self, ready: impl Fn() -> io::Result<bool>) -> io::Result<()> {
        let begun = Instant::now();
        while !ready()? {
            if begun.elapsed() > PATIENCE || self.daemon.try_wait()?.is_some() {
                return Err(io::Error::other("qemu-storage-daemon shows no disk"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.device.as_os_str().is_empty() {
            let _ = run(Command::new("losetup").arg("-d").arg(&self.device));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = run(Command::new("umount").arg("-l").arg(&self.control));
    }
}

const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const FORCED: u64 = 2;
const DISCARD: u64 = 4;

/// One request: where, how much, which flags, where its bytes are in the log.
#[derive(Debug, Clone, Copy)]
struct Entry {
    sector: u64,
    sectors: u64,
    flags: u64,
    bytes: u64,
}

/// What was logged.
pub struct Log {
    file: File,
    entries: Vec<Entry>,
}

impl Log {
    /// Reads a log.
    ///
    /// # Errors
    /// It is none, or cannot be read.
    pub fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let word = |offset: u64| {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, offset).map(|()| u64::from_le_bytes(bytes))
        };
        let (magic, count) = (word(0)?, word(16)?);
        if magic != MAGIC {
            return Err(io::Error::other(format!("{} is no log of writes: {magic:#x}", path.display())));
        }
        let mut entries = Vec::new();
        let mut offset = SECTOR;
        for _ in 0..count {
            let (sector, sectors, flags) = (word(offset)?, word(offset + 8)?, word(offset + 16)?);
            entries.push(Entry { sector, sectors, flags, bytes: offset + SECTOR });
            offset += SECTOR + if flags & DISCARD == 0 { sectors * SECTOR } else { 0 };
        }
        Ok(Self { file, entries })
    }

    /// How many requests there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many requests were there when the log had so many bytes.
    #[must_use]
    pub fn within(&self, bytes: u64) -> usize {
        self.entries.iter().take_while(|entry| entry.bytes <= bytes).count()
    }

    /// Whether all that came before was durable after the first `count` requests.
    #[must_use]
    pub fn is_boundary(&self, count: usize) -> bool {
        count.checked_sub(1).is_some_and(|last| self.entries[last].flags & (FLUSH | FORCED) != 0)
    }

    /// Does the requests `from..to` to `image`, which has those before them.
    ///
    /// # Errors
    /// The image cannot be written.
    pub fn replay(&self, from: usize, to: usize, image: &File) -> io::Result<()> {
        self.entries[from..to].iter().try_for_each(|entry| self.write(entry, image))
    }

    /// Undoes nothing, but does only a part of the requests `from..to`, which came after the last flush: each with one
    /// chance in two, by `seed`. What was forced out is there.
    ///
    /// # Errors
    /// The image cannot be written.
    pub fn replay_some(&self, from: usize, to: usize, image: &File, seed: u64) -> io::Result<()> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for entry in &self.entries[from..to] {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if entry.flags & FORCED != 0 || state & 0x100 == 0 {
                self.write(entry, image)?;
            }
        }
        Ok(())
    }

    /// How many of the first `count` requests a cache that loses power cannot have lost: all up to the last flush.
    #[must_use]
    pub fn flushed(&self, count: usize) -> usize {
        self.entries[..count].iter().rposition(|entry| entry.flags & FLUSH != 0).map_or(0, |last| last + 1)
    }

    fn write(&self, entry: &Entry, image: &File) -> io::Result<()> {
        let mut bytes = vec![0; usize::try_from(entry.sectors * SECTOR).map_err(io::Error::other)?];
        if entry.flags & DISCARD == 0 {
            self.file.read_exact_at(&mut bytes, entry.bytes)?;
        }
        image.write_all_at(&bytes, entry.sector * SECTOR)
    }
}
