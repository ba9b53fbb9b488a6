//! Jobs on several threads, the largest first, with a bound on the memory that they take together.

use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// Runs `work` on each job; results are in the order of the jobs. `weight` is the memory a job takes; together they stay below `budget`
/// bytes unless a single one is above it. After the first error no new job begins.
///
/// # Errors
/// The error of the first job, in order, that failed.
pub fn run<J: Sync, T: Send, E: Send>(
    jobs: &[J],
    threads: NonZeroUsize,
    budget: u64,
    weight: impl Fn(&J) -> u64 + Sync,
    work: impl Fn(&J) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|job| (weight(&jobs[*job]), std::cmp::Reverse(*job)));
    let desk = Desk { state: Mutex::new(State { order, used: 0, failed: false }), freed: Condvar::new() };
    let results: Vec<Mutex<Option<Result<T, E>>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..threads.get().min(jobs.len()) {
            scope.spawn(|| {
                while let Some(job) = desk.take(budget, |job| weight(&jobs[job])) {
                    let result = work(&jobs[job]);
                    desk.give_back(weight(&jobs[job]), result.is_err());
                    *results[job].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                }
            });
        }
    });
    // A job that did not run comes after one that failed in the order of work, not of jobs: the error is what is looked for.
    let mut done = Vec::with_capacity(jobs.len());
    let mut error = None;
    for result in results {
        match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Ok(value)) => done.push(value),
            Some(Err(failed)) => error = error.or(Some(failed)),
            None => {}
        }
    }
    error.map_or(Ok(done), Err)
}

struct Desk {
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    /// The next job is the last.
    order: Vec<usize>,
    used: u64,
    failed: bool,
}

impl Desk {
    /// The heaviest job that fits now; waits while others hold the memory.
    fn take(&self, budget: u64, weight: impl Fn(usize) -> u64) -> Option<usize> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.failed || state.order.is_empty() {
                return None;
            }
            let fits = |job: usize| state.used == 0 || state.used + weight(job) <= budget;
            if let Some(place) = state.order.iter().rposition(|job| fits(*job)) {
                let job = state.order.remove(place);
                state.used += weight(job);
                return Some(job);
            }
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, weight: u64, failed: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.used -= weight;
        state.failed |= failed;
        self.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_jobs() {
        let jobs: Vec<u64> = (0..100).map(|n| n * 37 % 101).collect();
        let done = run(&jobs, NonZeroUsize::new(3).unwrap(), 150, |job| *job, |job| Ok::<_, ()>(job * 2)).unwrap();
        assert_eq!(done, jobs.iter().map(|job| job * 2).collect::<Vec<_>>());
        let failed = run(
            &jobs,
            NonZeroUsize::new(3).unwrap(),
            150,
            |job| *job,
            |job| if *job == 50 { Err("no") } else { Ok(()) },
        );
        assert_eq!(failed, Err("no"));
    }
}
