//! Threads that compress blocks; results are fetched by ticket, so that the caller alone decides the order.
//!
//! Guarantees: a result depends on its input only, never on the thread or on what was compressed before; memory is
//! what was submitted and not yet fetched; threads end with the pool.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::base::Piece;
use crate::Error;
use crate::codec::Encoder;
use crate::compressor::Settings;
use crate::layout::BLOCK_STORED;

/// A block to compress: pieces in a row.
pub(super) type Input = Vec<Piece>;

/// A block as it goes into the image.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// Length and the stored bit.
    pub(super) word: u32,
}

pub(super) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    settings: Settings,
    count: NonZeroUsize,
    tickets: u64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    result: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<(u64, Input)>,
    done: HashMap<u64, Result<Packed, Error>>,
    /// Buffers to use again.
    free: Vec<Vec<u8>>,
    stopped: bool,
    /// A thread ended by a panic: its result will never come.
    died: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    pub(super) fn new(settings: Settings, count: NonZeroUsize) -> Self {
        Self { shared: Arc::default(), threads: Vec::new(), settings, count, tickets: 0 }
    }

    /// An empty buffer, perhaps with room.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.shared.lock().free.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(super) fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut state = self.shared.lock();
        if state.free.len() < 2 * self.count.get() {
            state.free.push(buffer);
        }
    }

    /// Has `input` compressed; the result is to be fetched with the ticket returned.
    pub(super) fn submit(&mut self, input: Input) -> Result<u64, Error> {
        if self.threads.is_empty() {
            for _ in 0..self.count.get() {
                let (shared, settings) = (Arc::clone(&self.shared), self.settings);
                let thread = std::thread::Builder::new().name("squashfs block".into());
                self.threads.push(thread.spawn(move || work(&shared, settings)).map_err(Error::Write)?);
            }
        }
        let ticket = self.tickets;
        self.tickets += 1;
        self.shared.lock().jobs.push_back((ticket, input));
        self.shared.work.notify_one();
        Ok(ticket)
    }

    /// The result if it is there already.
    pub(super) fn try_fetch(&self, ticket: u64) -> Option<Result<Packed, Error>> {
        self.shared.lock().done.remove(&ticket)
    }

    /// The result, waited for.
    pub(super) fn fetch(&self, ticket: u64) -> Result<Packed, Error> {
        let mut state = self.shared.lock();
        loop {
            if let Some(result) = state.done.remove(&ticket) {
                return result;
            }
            if state.died {
                return Err(Error::Broken);
            }
            state = self.shared.result.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A panic was reported by `died` already.
            let _ = thread.join();
        }
    }
}

/// Tells the caller when a thread ends by a panic.
struct Watch<'a>(&'a Shared);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().died = true;
            self.0.result.notify_all();
        }
    }
}

fn work(shared: &Shared, settings: Settings) {
    let _watch = Watch(shared);
    let mut encoder = None;
    let mut packed = Vec::new();
    loop {
        let (ticket, input) = {
            let mut state = shared.lock();
            loop {
                if state.stopped {
                    return;
                }
                if let Some(job) = state.jobs.pop_front() {
                    break job;
                }
                state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let result = join(input).and_then(|plain| compress(&mut encoder, settings, plain, &mut packed));
        let mut state = shared.lock();
        let result = result.map(|(packed, spare)| {
            if let Some(spare) = spare.filter(|_| state.free.len() < 16) {
                state.free.push(spare);
            }
            packed
        });
        state.done.insert(ticket, result);
        drop(state);
        shared.result.notify_one();
    }
}

/// One block out of its pieces; a single piece in memory is used as it is.
fn join(mut input: Input) -> Result<Vec<u8>, Error> {
    if let [Piece::Plain(plain)] = input.as_mut_slice() {
        return Ok(std::mem::take(plain));
    }
    let mut plain = Vec::with_capacity(input.iter().map(Piece::length).sum());
    for piece in input {
        piece.append_to(&mut plain)?;
    }
    Ok(plain)
}

/// The packed block, and a buffer that is free again.
fn compress(
    encoder: &mut Option<Encoder>,
    settings: Settings,
    plain: Vec<u8>,
    packed: &mut Vec<u8>,
) -> Result<(Packed, Option<Vec<u8>>), Error> {
    let failed = |source| Error::Compress { compressor: settings.compressor.name(), source };
    let encoder = match encoder {
        Some(encoder) => encoder,
        None => encoder.insert(Encoder::new(settings).map_err(failed)?),
    };
    let smaller = encoder.compress(&plain, packed).map_err(failed)?;
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| Error::Broken);
    Ok(if smaller {
        let mut plain = plain;
        let packed = Packed { bytes: packed.as_slice().to_vec(), word: length(packed)? };
        plain.clear();
        (packed, Some(plain))
    } else {
        let word = length(&plain)? | BLOCK_STORED;
        (Packed { bytes: plain, word }, None)
    })
}
