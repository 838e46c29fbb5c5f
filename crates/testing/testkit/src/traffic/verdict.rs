//! Verdict on the calls that a service saw, whatever happened to the members meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use quorate_clock::Instant;

use super::sink::SinkCall;

/// A call under an epoch after the first call of a newer one had begun.
#[derive(Clone, Debug, PartialEq)]
pub struct StaleCall {
    /// The channel that it came by.
    pub channel: String,
    /// The message's body.
    pub id: String,
    /// The epoch under which it came.
    pub epoch: u64,
    /// The newest epoch of the channel by then.
    pub newer: u64,
    /// When it began.
    pub begun: Instant,
    /// How long after the first call of the newer epoch it began.
    pub late: Duration,
}

/// The calls that should not have been: once a call of an epoch has begun, no call of an
/// older one by the same channel may begin.
pub fn stale(calls: &[SinkCall]) -> Vec<StaleCall> {
    let mut newest: BTreeMap<&str, (u64, Instant)> = BTreeMap::new();
    let mut stale = Vec::new();
    for call in calls {
        let first = (call.epoch, call.begun);
        let (newer, since) = *newest.entry(&call.channel).or_insert(first);
        if call.epoch > newer {
            newest.insert(&call.channel, first);
        } else if call.epoch < newer {
            stale.push(StaleCall {
                channel: call.channel.clone(),
                id: call.id.clone(),
                epoch: call.epoch,
                newer,
                begun: call.begun,
                late: call.begun - since,
            });
        }
    }
    stale
}

/// For how long a call of an older epoch was still running while one of a newer epoch by
/// the same channel ran: the longest such time of each newer epoch that has one.
pub fn overlaps(calls: &[SinkCall]) -> BTreeMap<(String, u64), Duration> {
    let mut found = BTreeMap::new();
    let mut latest_end: BTreeMap<&str, (u64, Option<Instant>, Option<Instant>)> = BTreeMap::new();
    for call in calls {
        // (epoch, the latest end of its calls, the latest end of all older calls)
        let seen = latest_end
            .entry(&call.channel)
            .or_insert((call.epoch, None, None));
        if call.epoch > seen.0 {
            *seen = (call.epoch, None, seen.1.max(seen.2));
            if let Some(older) = seen.2.filter(|older| *older > call.begun) {
                found.insert((call.channel.clone(), call.epoch), older - call.begun);
            }
        }
        let end = call.ended.or(Some(Instant::now()));
        if call.epoch == seen.0 {
            seen.1 = seen.1.max(end);
        }
    }
    found
}

/// Messages that were handled more than once, and how often beyond the first time.
pub fn duplicates(calls: &[SinkCall]) -> BTreeMap<String, usize> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for call in calls {
        *times.entry(call.id.clone()).or_default() += 1;
    }
    times.retain(|_, times| *times > 1);
    times.values_mut().for_each(|times| *times -= 1);
    times
}

/// Messages that the broker had confirmed and no call carried.
pub fn lost(published: &BTreeSet<String>, calls: &[SinkCall]) -> Vec<String> {
    let handled: BTreeSet<&str> = calls.iter().map(|call| call.id.as_str()).collect();
    let lost = published.iter().filter(|id| !handled.contains(id.as_str()));
    lost.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls of one channel: (epoch, begun, ended) in ms.
    fn calls(list: &[(u64, u64, u64)]) -> Vec<SinkCall> {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let calls = list.iter().enumerate();
        calls
            .map(|(n, (epoch, begun, ended))| SinkCall {
                channel: "c".into(),
                id: n.to_string(),
                epoch: *epoch,
                begun: at(*begun),
                ended: Some(at(*ended)),
            })
            .collect()
    }

    #[test]
    fn a_call_of_an_old_epoch_is_found() {
        assert_eq!(stale(&calls(&[(1, 0, 9), (1, 1, 2), (5, 3, 4)])), []);
        let found = stale(&calls(&[(1, 0, 1), (5, 2, 3), (5, 4, 5), (1, 7, 8)]));
        assert_eq!(found.len(), 1);
        let (id, newer, late) = (&found[0].id, found[0].newer, found[0].late);
        assert_eq!((id.as_str(), newer, late.as_millis()), ("3", 5, 5));
    }

    #[test]
    fn calls_of_two_epochs_at_once_are_found() {
        assert!(overlaps(&calls(&[(1, 0, 2), (5, 3, 4), (9, 4, 5)])).is_empty());
        let found = overlaps(&calls(&[(1, 0, 7), (1, 1, 2), (5, 3, 4), (9, 6, 9)]));
        let found: Vec<_> = found.iter().map(|(k, v)| (k.1, v.as_millis())).collect();
        assert_eq!(found, [(5, 4), (9, 1)]);
    }

    #[test]
    fn lost_and_repeated_messages_are_found() {
        let mut calls = calls(&[(1, 0, 1), (1, 1, 2), (2, 3, 4)]);
        calls[2].id = "0".into();
        assert_eq!(duplicates(&calls), BTreeMap::from([("0".into(), 1)]));
        let published = ["0", "1", "2"].map(String::from).into();
        assert_eq!(lost(&published, &calls), ["2"]);
    }
}
