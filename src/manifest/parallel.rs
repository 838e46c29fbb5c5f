//! The same work for many documents, on all processors.

use std::{num::NonZero, panic::resume_unwind, thread};

/// The number of documents below which starting threads takes longer than the work.
const WORTH_A_THREAD: usize = 500;

/// Applies `work` to each, and returns the results in order.
pub(super) fn in_parallel<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = items.len().div_ceil(threads).max(WORTH_A_THREAD);
    let mut shares: Vec<Vec<T>> = Vec::new();
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        shares.push(items.by_ref().take(share).collect());
    }
    let work = |share: Vec<T>| share.into_iter().map(&work).collect::<Vec<R>>();
    let Some(last) = shares.pop() else {
        return Vec::new();
    };
    thread::scope(|scope| {
        let others: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(|| work(share)))
            .collect();
        let last = work(last);
        let mut done: Vec<R> = others
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect();
        done.extend(last);
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_for_any_count() {
        for count in [0, 1, WORTH_A_THREAD, WORTH_A_THREAD * 7 + 3] {
            let items: Vec<usize> = (0..count).collect();
            let expected: Vec<usize> = items.iter().map(|it| it * 2).collect();
            assert_eq!(in_parallel(items, |it| it * 2), expected);
        }
    }
}
