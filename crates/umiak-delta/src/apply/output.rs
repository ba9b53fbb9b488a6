//! Where a target grows: in order through a buffer, out of order where a program is predicted, hashed behind the writer.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};

use umiak_spec::{Digest, ReadAt, Sha256, WriteAt};

/// A file that is written and read at any position, a temporary one.
pub trait Space: ReadAt + WriteAt {}

impl<T: ReadAt + WriteAt> Space for T {}

/// Bytes gathered before they are written.
const BUFFER: usize = 256 << 10;

/// Writes in order; tells how far the target is final.
pub struct Output<'a> {
    space: &'a dyn Space,
    buffer: Vec<u8>,
    /// Bytes before the buffer's.
    written: u64,
    /// The target may not grow beyond this.
    limit: u64,
    progress: Option<Sender<u64>>,
}

impl<'a> Output<'a> {
    /// At the beginning of `space`; `progress` is told each time more bytes are final.
    pub fn new(space: &'a dyn Space, limit: u64, progress: Option<Sender<u64>>) -> Self {
        Self { space, buffer: Vec::with_capacity(BUFFER), written: 0, limit, progress }
    }

    /// Bytes so far.
    pub fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// The file behind, for reading what is final and for [`Output::skip`]ped parts.
    pub fn space(&self) -> &'a dyn Space {
        self.space
    }

    /// A buffer of at most `most` bytes at the end of the target, which `fill` fills; it says how much of it.
    pub fn grow(&mut self, most: u64, fill: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<u64> {
        if self.buffer.len() >= BUFFER - 512 {
            self.settle()?;
        }
        let start = self.buffer.len();
        let room = usize::try_from(most).unwrap_or(usize::MAX).min(BUFFER - start);
        self.check(room.min(1) as u64)?;
        self.buffer.resize(start + room, 0);
        let filled = fill(&mut self.buffer[start..])?;
        self.buffer.truncate(start + filled);
        self.check(0)?;
        Ok(filled as u64)
    }

    /// Appends `count` zeros.
    pub fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            count -= self.grow(count, |buffer| Ok(buffer.len()))?;
        }
        Ok(())
    }

    /// Leaves `size` bytes to be written through [`Output::space`] at once; gives where they begin.
    pub fn reserve(&mut self, size: u64) -> io::Result<u64> {
        self.check(size)?;
        self.flush_buffer()?;
        Ok(self.written)
    }

    /// What was reserved is written.
    pub fn skip(&mut self, size: u64) {
        self.written += size;
        self.tell();
    }

    /// Everything gathered goes to the file.
    pub fn settle(&mut self) -> io::Result<()> {
        self.flush_buffer()?;
        self.tell();
        Ok(())
    }

    fn flush_buffer(&mut self) -> io::Result<()> {
        self.space.write_all_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn tell(&self) {
        if let Some(progress) = &self.progress {
            // Nobody listens any more only when hashing failed, which its own result says.
            let _ = progress.send(self.written);
        }
    }

    fn check(&self, more: u64) -> io::Result<()> {
        let fits = self.position().checked_add(more).is_some_and(|end| end <= self.limit);
        if fits { Ok(()) } else { Err(crate::patch::invalid("the parts are longer than the whole")) }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.grow(bytes.len() as u64, |buffer| {
            let length = buffer.len();
            buffer.copy_from_slice(&bytes[..length]);
            Ok(length)
        })?;
        Ok(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes a file on a thread of its own, as far as it is told that bytes are final.
pub fn hash_behind<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    space: &'env dyn Space,
) -> (Sender<u64>, ScopedJoinHandle<'scope, io::Result<Digest>>) {
    let (sender, receiver) = channel();
    (sender, scope.spawn(move || hash(space, &receiver)))
}

fn hash(space: &dyn Space, progress: &Receiver<u64>) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut done = 0;
    let mut buffer = vec![0; 64 << 10];
    for mut end in progress {
        end = progress.try_iter().last().unwrap_or(end);
        while done < end {
            let length = usize::try_from(end - done).unwrap_or(usize::MAX).min(buffer.len());
            space.read_exact_at(&mut buffer[..length], done)?;
            hash.update(&buffer[..length]);
            done += length as u64;
        }
    }
    Ok(hash.finish())
}
