//! Runs a reader on a thread of its own, a few chunks ahead, so that decompressing and hashing share two cores.
//!
//! Memory is bounded: [`CHUNKS`] buffers of [`CHUNK`] bytes go round. The thread ends when the stream does, when it
//! fails, or when the consumer is done; it never outlives the call.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// Bytes in one buffer: small enough to be still in the cache when it is hashed for the second time.
const CHUNK: usize = 256 << 10;

/// Buffers on the way.
const CHUNKS: usize = 8;

type Chunk = io::Result<Vec<u8>>;

/// Gives `consume` the bytes of the reader that `open` makes on the other thread; `watch` sees every chunk when it
/// arrives. What `consume` leaves unread is not read from the source either, but for the chunks on the way.
///
/// # Errors
/// When no thread can be started. Errors of the reader come out of [`Ahead`].
pub(crate) fn read_ahead<'env, 'w, T>(
    open: impl FnOnce() -> io::Result<Box<dyn Read + 'env>> + Send,
    watch: &'w mut dyn FnMut(&[u8]),
    consume: impl FnOnce(&mut Ahead<'w>) -> T,
) -> io::Result<T> {
    thread::scope(|scope| {
        let (full, incoming) = sync_channel(CHUNKS);
        let (returned, empty) = channel();
        thread::Builder::new().name("umiak-layer-reader".into()).spawn_scoped(scope, move || {
            let failed = match open() {
                Ok(reader) => fill(reader, &full, &empty).err(),
                Err(error) => Some(error),
            };
            if let Some(error) = failed {
                // A consumer that is gone does not want to know.
                let _ = full.send(Err(error));
            }
        })?;
        let mut ahead = Ahead { incoming, returned, chunk: Vec::new(), taken: 0, ended: false, watch };
        Ok(consume(&mut ahead))
    })
}

fn fill(mut reader: impl Read, full: &SyncSender<Chunk>, empty: &Receiver<Vec<u8>>) -> io::Result<()> {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let mut length = 0;
        while length < CHUNK {
            match reader.read(&mut chunk[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted && error.get_ref().is_none() => {}
                Err(error) => return Err(error),
            }
        }
        chunk.truncate(length);
        if length == 0 || full.send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
}

/// The consumer's end.
pub(crate) struct Ahead<'w> {
    incoming: Receiver<Chunk>,
    returned: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    taken: usize,
    ended: bool,
    watch: &'w mut dyn FnMut(&[u8]),
}

impl BufRead for Ahead<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.chunk.len() && !self.ended {
            let spent = std::mem::take(&mut self.chunk);
            self.taken = 0;
            // The thread may have ended already; then nobody needs the buffer.
            let _ = self.returned.send(spent);
            match self.incoming.recv() {
                Ok(Ok(chunk)) => self.chunk = chunk,
                Ok(Err(error)) => return Err(error),
                Err(_) => self.ended = true,
            }
            (self.watch)(&self.chunk);
        }
        Ok(&self.chunk[self.taken..])
    }

    fn consume(&mut self, count: usize) {
        self.taken += count;
    }
}

impl Read for Ahead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.consume(count);
        Ok(count)
    }
}
