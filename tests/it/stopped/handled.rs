//! What a service saw of one channel's messages, through faults of the connector server.

use std::{collections::BTreeSet, time::Duration};

use quorate_clock::Instant;

use super::round::{Round, SENT_LATE};
use quorate_testkit::traffic::{
    sink::{MessageSink, SinkCall},
    verdict,
};

/// The counts.
pub struct Handled {
    pub lost: Vec<String>,
    pub repeated: usize,
    /// Messages that came for the first time after one that was sent later.
    pub out_of_order: usize,
}

/// Judges the calls of `channel`: `sent` are all bodies, in the order in which they sort.
/// Tells the counts.
pub fn handled(
    sink: &MessageSink,
    channel: &str,
    sent: &BTreeSet<String>,
    rounds: &[Round],
) -> Handled {
    let mut calls = sink.calls();
    calls.retain(|call| call.channel == channel);
    for call in &mut calls {
        // Some are padded to a length.
        call.id.truncate(call.id.trim_end().len());
    }
    let late = late(&calls, rounds);
    let (mut seen, mut out_of_order) = (BTreeSet::new(), 0);
    for call in &calls {
        let newest = seen.last().is_none_or(|last| *last <= call.id.as_str());
        let first = seen.insert(call.id.as_str());
        out_of_order += usize::from(first && !newest);
    }
    let stray: Vec<_> = seen.iter().filter(|id| !sent.contains(**id)).collect();
    assert!(stray.is_empty(), "{channel}: nobody sent {stray:?}");
    let handled = Handled {
        lost: verdict::lost(sent, &calls),
        repeated: calls.len() - seen.len(),
        out_of_order,
    };
    println!(
        "{channel}: {} sent, {} lost, {} handled again, {} out of order, {late} sent late; the longest gap {:?}",
        sent.len(),
        handled.lost.len(),
        handled.repeated,
        handled.out_of_order,
        gap(&calls),
    );
    assert!(sent.len() > 300, "there was load");
    handled
}

/// So many calls of one channel may have passed the last check of the lease, and not yet
/// have left, when their member is stopped. More of them come from its buffers.
const LATE_MAX: usize = 2;

/// Calls of an old epoch after one of a newer: what was under way when its member was
/// stopped, and nothing else.
fn late(calls: &[SinkCall], rounds: &[Round]) -> usize {
    let stale = verdict::stale(calls);
    for call in &stale {
        let sent_late = rounds.iter().any(|round| {
            let resumed = round.resumed;
            let since = resumed.and_then(|at| call.begun.checked_duration_since(at));
            call.epoch == round.epochs.0 && since.is_some_and(|since| since <= SENT_LATE)
        });
        assert!(sent_late, "{call:?}; {rounds:?}");
    }
    assert!(stale.len() <= LATE_MAX, "{stale:?}");
    stale.len()
}

/// The longest time between two calls.
fn gap(calls: &[SinkCall]) -> Duration {
    let between = calls.windows(2).map(|two| two[1].begun - two[0].begun);
    between.max().unwrap_or_default()
}

/// When the newest call of the channel began.
pub fn newest(sink: &MessageSink, channel: &str) -> Option<Instant> {
    let calls = sink.calls();
    let newest = calls.iter().rev().find(|call| call.channel == channel);
    newest.map(|call| call.begun)
}
