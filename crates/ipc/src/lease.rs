//! Lease: until when this member's connectors may act, and under which epoch.
//!
//! # Why nobody acts past it
//!
//! The holder may act until `(time of sending the last heartbeat round that a quorum answered) +
//! lease`. Each voter that answered that round stands by this leader for longer than that
//! (`election_max`, by its own clock, from the later moment at which it received the round), and
//! the lease is shorter by more than two clocks that differ by 1 % can disagree. A successor needs
//! a quorum of votes, every quorum shares a voter with the one that answered, so nobody succeeds
//! before the lease is over. Four things carry that argument to the processes:
//!
//! 1. **The clock goes on while the host sleeps.** Deadlines are on CLOCK_BOOTTIME. The consensus
//!    stamps rounds with CLOCK_MONOTONIC, which stops in a suspended host, so the difference of the
//!    two clocks grows by the length of each suspension and never shrinks. [`ClockOffsets`]
//!    converts a stamp with a difference that was sampled *before* the stamp was taken: it is at
//!    most the true one, so the converted deadline is at most the true one, and a host that slept
//!    wakes up with its lease over. No sample old enough means no lease.
//! 2. **One page.** Epoch and deadline are in one shared page ([`LeaseWriter`]) that every
//!    connector process maps read-only ([`LeaseReader`]): one store renews them all, and a parent
//!    that is stopped, wedged or dead renews none. The page never pairs an epoch with the deadline
//!    of another one; see `page.rs`.
//! 3. **Checked late, and checked again.** A process checks the page immediately before each
//!    hand-off and each dead-letter publish, the parent checks it again immediately before the
//!    service is called, and the member that runs the service refuses epochs older than it has
//!    applied. An ack needs no lease: the service has succeeded, and to leave the message in the
//!    queue could only run it twice.
//! 4. **At the deadline everything stands still**, and an operating-system thread in each process
//!    that may be consuming enforces it (`connector`, watchdog.rs): a process that does not declare
//!    in time that it stands still is ended.
//!
//! # Standing still, and going on
//!
//! A lease can run out without a successor having been elected: the answers came late, and are in
//! time again. To end each process for it would cost a connection each, and hand out again whatever
//! is in flight. So a process whose deadline has passed *stands still*: it reads nothing, hands
//! nothing on, sends nothing and dead-letters nothing, as it would have to check the page first.
//! Calls that were begun while the lease ran may finish, and their messages are acknowledged once
//! the service has succeeded: 3. holds for that whatever happens to the lease. Messages that were
//! taken in advance stay where they are, in the process, unseen and unacknowledged.
//!
//! The process goes on, with all that it holds, when the page lets *the same epoch* act again. The
//! page never does so for an epoch that is over: only the holder that took over in this term grants
//! it, as long as it leads in that term, has a round of that term answered by a quorum within the
//! lease, and has not let the epoch go (`takeover.rs`). The whole argument above holds for each
//! round by itself, so it holds for the first round after a gap as for any other: a voter that has
//! helped a successor into office answers none.
//!
//! The process gives up what it holds, and stands by with its connection open, when the *respite*
//! is over that the page grants beyond the deadline. A successor may be elected by then, and what
//! is held keeps it out (the broker's fence) or waits in vain (messages taken in advance). The
//! respite is half a lease ([`RESPITE`]): a silent holder's successor is elected no sooner than
//! half an election timeout after the lease, so giving up costs a takeover nothing. After the
//! respite the same reign may still go on, with a new session under the same epoch.
//!
//! The process is ended when it does not declare that it stands still, or has let go, within a
//! grace: a main thread that hangs could be anywhere. What it had begun before is bounded by that.
//! It is ended at once when its parent is gone, and killed by its parent when it sends no
//! heartbeats.
//!
//! The holder revokes the page as soon as it sees itself not leading. Wall clocks play no part
//! anywhere.

mod boot_clock;
mod page;
mod planted;

pub use boot_clock::{BootInstant, ClockOffsets};
pub use page::{LeaseReader, LeaseState, LeaseTenure, LeaseWriter};

/// Share of a lease for which a process keeps what it holds beyond the lease's end.
pub const RESPITE: f64 = 0.5;
