//! The same work on every item of a list, several at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use umiak_spec::Cancelled;

/// Calls `work` with number and item, on at most `threads` threads; results come in the order of `items`. After an
/// error no further item is begun.
///
/// # Errors
/// The error of the foremost item that has one.
pub fn in_parallel<T: Sync, R: Send, E: Send + From<Cancelled>>(
    items: &[T],
    threads: usize,
    work: impl Fn(usize, &T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<R, E>>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let run = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { break };
            let result = work(number, item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            *results[number].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            scope.spawn(run);
        }
        run();
    });
    let mut done = Vec::with_capacity(items.len());
    let mut left_out = false;
    for result in results {
        match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(result) => done.push(result?),
            None => left_out = true,
        }
    }
    // Items are left out only after an error, which was returned above unless it stands behind them.
    if left_out { Err(Cancelled.into()) } else { Ok(done) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Failed(usize);

    impl From<Cancelled> for Failed {
        fn from(_: Cancelled) -> Self {
            Self(usize::MAX)
        }
    }

    #[test]
    fn results_keep_their_order() {
        let items: Vec<usize> = (0..100).collect();
        for threads in [1, 2, 7] {
            let doubled = in_parallel(&items, threads, |_, item| Ok::<_, Failed>(item * 2)).unwrap();
            assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
        assert_eq!(in_parallel(&[] as &[u8], 3, |_, _| Ok::<_, Failed>(0)), Ok(vec![]));
    }

    #[test]
    fn the_first_error_ends_it() {
        let begun = AtomicUsize::new(0);
        let result = in_parallel(&[(); 1000], 2, |number, ()| {
            begun.fetch_add(1, Ordering::Relaxed);
            if number == 3 { Err(Failed(number)) } else { Ok(()) }
        });
        assert_eq!(result, Err(Failed(3)));
        assert!(begun.load(Ordering::Relaxed) < 1000);
    }
}
