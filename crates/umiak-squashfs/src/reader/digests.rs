//! SHA-256 of every file's content, read in parallel and in the order of the image.
//!
//! Guarantees: every data block and every fragment block is decompressed once, whatever shares it; the result does
//! not depend on the number of threads; memory is a few blocks per thread and about 200 bytes per content.
//!
//! First all full blocks: threads take the next block in image order, decompress it, wait until the block before it
//! in the same file was hashed, and hash theirs. Then all fragment blocks, which finish the contents that end in them.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use umiak_spec::{Digest, Observer, Sha256};
use umiak_tree::{InodeId, Kind, Tree};

use super::Image;
use super::content::{StoredContent, stored_bytes};
use crate::codec::Decoder;
use crate::{Error, ReadAt};

/// Phase name given to the observer.
const PHASE: &str = "Reading";

/// The digest of every file of a tree, by inode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Digests(Vec<Option<Digest>>);

impl Digests {
    /// The digest of the content of file `id`; `None` for what is no file.
    #[must_use]
    pub fn get(&self, id: InodeId) -> Option<Digest> {
        self.0.get(id.index()).copied().flatten()
    }
}

/// From one entry per inode, in arena order; for callers that know the digests without reading the image.
impl FromIterator<Option<Digest>> for Digests {
    fn from_iter<I: IntoIterator<Item = Option<Digest>>>(digests: I) -> Self {
        Self(digests.into_iter().collect())
    }
}

/// One distinct content, and how far its hash is.
struct Content<'a> {
    stored: &'a StoredContent,
    progress: Mutex<Progress>,
    advanced: Condvar,
}

#[derive(Default)]
struct Progress {
    /// The block that is to be hashed next; `usize::MAX` when a block before failed.
    next: usize,
    hash: Sha256,
}

impl Content<'_> {
    /// Hashes block `index` when its turn has come.
    fn hash(&self, index: usize, plain: Option<&[u8]>) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        while progress.next < index {
            progress = self.advanced.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        match plain {
            Some(plain) if progress.next == index => {
                progress.hash.update(plain);
                progress.next += 1;
            }
            Some(_) => {}
            None => progress.next = usize::MAX,
        }
        self.advanced.notify_all();
    }
}

/// The next block to take.
#[derive(Default)]
struct Ticket {
    content: usize,
    block: usize,
    place: u64,
}

struct Work<'a, R> {
    image: &'a Image<R>,
    contents: Vec<Content<'a>>,
    /// Fragment block, and which contents end where in it.
    fragments: Vec<(u32, Vec<(usize, u32)>)>,
    ticket: Mutex<Ticket>,
    next_fragment: AtomicUsize,
    stopped: AtomicBool,
    observer: &'a dyn Observer,
}

impl<R: ReadAt> Image<R> {
    /// Reads the whole image once and returns the digest of every file of `tree`, which must be this image's tree.
    ///
    /// # Errors
    /// The image cannot be read or is damaged; the observer cancelled.
    pub fn digests(
        &self,
        tree: &Tree<StoredContent>,
        threads: NonZeroUsize,
        observer: &dyn Observer,
    ) -> Result<Digests, Error> {
        let files = tree.inodes().filter_map(|(id, inode)| match &inode.kind {
            Kind::File(content) => Some((id.index(), content)),
            _ => None,
        });
        Ok(Digests(self.digests_of(files.collect(), tree.len(), threads, observer)?))
    }

    /// The digests of these contents of this image, in their order.
    pub(crate) fn content_digests(
        &self,
        contents: &[StoredContent],
        threads: NonZeroUsize,
        observer: &dyn Observer,
    ) -> Result<Vec<Digest>, Error> {
        let digests = self.digests_of(contents.iter().enumerate().collect(), contents.len(), threads, observer)?;
        Ok(digests.into_iter().flatten().collect())
    }

    /// Digests by place: of `places`, those that are named with a content get one.
    fn digests_of(
        &self,
        named: Vec<(usize, &StoredContent)>,
        places: usize,
        threads: NonZeroUsize,
        observer: &dyn Observer,
    ) -> Result<Vec<Option<Digest>>, Error> {
        let (work, which) = Work::plan(self, named, places, observer);
        observer.expect(PHASE, work.contents.iter().map(|content| content.stored.size()).sum());
        work.in_threads(threads, Work::blocks)?;
        work.in_threads(threads, Work::fragments)?;
        let finish =
            |content: Content<'_>| content.progress.into_inner().unwrap_or_else(PoisonError::into_inner).hash.finish();
        let digests: Vec<Digest> = work.contents.into_iter().map(finish).collect();
        Ok(which.into_iter().map(|index| index.map(|index| digests[index])).collect())
    }
}

impl<'a, R: ReadAt> Work<'a, R> {
    /// The distinct contents in image order, and which of them each place has.
    fn plan(
        image: &'a Image<R>,
        mut named: Vec<(usize, &'a StoredContent)>,
        places: usize,
        observer: &'a dyn Observer,
    ) -> (Self, Vec<Option<usize>>) {
        named.sort_by_key(|(place, content)| (content.start(), content.fragment(), *place));
        let mut known: HashMap<&StoredContent, usize> = HashMap::new();
        let mut contents = Vec::new();
        let mut fragments: BTreeMap<u32, Vec<(usize, u32)>> = BTreeMap::new();
        let mut which = vec![None; places];
        for (place, stored) in named {
            let index = *known.entry(stored).or_insert_with(|| {
                if let Some((fragment, offset)) = stored.fragment() {
                    fragments.entry(fragment).or_default().push((contents.len(), offset));
                }
                contents.push(Content { stored, progress: Mutex::default(), advanced: Condvar::new() });
                contents.len() - 1
            });
            which[place] = Some(index);
        }
        let work = Self {
            image,
            contents,
            fragments: fragments.into_iter().collect(),
            ticket: Mutex::default(),
            next_fragment: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            observer,
        };
        (work, which)
    }

    fn in_threads(
        &self,
        threads: NonZeroUsize,
        job: impl Fn(&Self, &mut Decoder) -> Result<(), Error> + Sync,
    ) -> Result<(), Error> {
        let run = || {
            let result = self.image.decoder().and_then(|mut decoder| job(self, &mut decoder));
            if result.is_err() {
                self.stopped.store(true, Ordering::Relaxed);
            }
            result
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads.get()).map(|_| scope.spawn(run)).collect();
            let first = run();
            others.into_iter().fold(first, |result, other| {
                let other = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result.and(other)
            })
        })
    }

    fn go_on(&self) -> Result<bool, Error> {
        self.observer.check()?;
        Ok(!self.stopped.load(Ordering::Relaxed))
    }

    fn next_block(&self) -> Option<Ticket> {
        let mut ticket = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let content = self.contents.get(ticket.content)?.stored;
            if ticket.block == 0 {
                ticket.place = content.start();
            }
            if let Some(word) = content.blocks().get(ticket.block) {
                let taken = Ticket { ..*ticket };
                ticket.block += 1;
                ticket.place += u64::from(stored_bytes(*word));
                return Some(taken);
            }
            *ticket = Ticket { content: ticket.content + 1, block: 0, place: 0 };
        }
    }

    fn blocks(&self, decoder: &mut Decoder) -> Result<(), Error> {
        let (mut packed, mut plain) = (Vec::new(), Vec::new());
        while self.go_on()? {
            let Some(ticket) = self.next_block() else { break };
            let content = &self.contents[ticket.content];
            let word = content.stored.blocks()[ticket.block];
            let length = content.stored.block_length(ticket.block, self.image.superblock.block_size);
            let loaded = if stored_bytes(word) == 0 {
                plain.clear();
                plain.resize(length, 0);
                Ok(())
            } else {
                self.image.load(decoder, ticket.place, word, Some(length), &mut packed, &mut plain)
            };
            // Also after a failure: threads may wait for this block.
            content.hash(ticket.block, loaded.is_ok().then_some(&plain));
            loaded?;
            self.observer.advance(PHASE, length as u64);
        }
        Ok(())
    }

    fn fragments(&self, decoder: &mut Decoder) -> Result<(), Error> {
        let (mut packed, mut plain) = (Vec::new(), Vec::new());
        let block_size = self.image.superblock.block_size;
        while self.go_on()? {
            let number = self.next_fragment.fetch_add(1, Ordering::Relaxed);
            let Some((index, ends)) = self.fragments.get(number) else { break };
            let fragment = self.image.known_fragment(*index)?;
            self.image.load(decoder, fragment.start, fragment.word, None, &mut packed, &mut plain)?;
            for (content, offset) in ends {
                let content = &self.contents[*content];
                let blocks = content.stored.blocks().len();
                let length = content.stored.block_length(blocks, block_size);
                let start = *offset as usize;
                let short = Error::damaged("a fragment block is shorter than its files need", fragment.start);
                content.hash(blocks, Some(plain.get(start..start + length).ok_or(short)?));
                self.observer.advance(PHASE, length as u64);
            }
        }
        Ok(())
    }
}
