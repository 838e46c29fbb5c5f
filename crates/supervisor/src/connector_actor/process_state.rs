//! State of one connector's process, and the pure transition by which its actor drives it.
//!
//! The actor waits for events, calls [`ProcessState::transition`] and performs the effects in their
//! order. Nothing here waits or reads a clock. What leases and fencing build on is decided here, and
//! `tests` holds each of these laws:
//!
//! 1. *One process at a time.* A start takes a permit, which is wanted only in a phase without a
//!    process. The phase `Running` is left by [`ActorEvent::Ended`] alone, which the actor brings
//!    once the process is reaped, and a start is awaited before any other event is taken in.
//! 2. *No activation without a reign.* [`ProcessCommand::Activate`] follows from a target
//!    `Active(epoch)` alone, which the reconciler sets under a reign whose holder has the permission
//!    to act, and carries that epoch. Whether the lease runs is not asked here: the process asks the
//!    page before each hand-off and each send, and a page of another epoch holds nothing. Messages
//!    are taken out of an outgoing's queue only between the report that the process is active and
//!    the next other target.
//! 3. *A process that parks is gone or stands by within its grace.* The release of a reign claims
//!    that nothing is in flight. So a process with something in flight that is to park has its drain
//!    and [`PARK_GRACE`], and is killed then. Only its confirmation of the newest command to stand
//!    by takes that back, or a later target: an older confirmation says nothing about what was begun
//!    since. The same holds for a stop, with [`STOP_GRACE`], which only another one puts off.
//! 4. *Stopped is final.* A process that got the command to stop gets no other than to stop; the
//!    next one gets the new target. So a connector that was created anew, or is to be restarted,
//!    ends its old process first: settings of one creation never meet the progress or the epoch of
//!    another.
//! 5. *Confirmed is reached.* A generation is confirmed when no process is there and none is
//!    desired, or the process is parked for sure. It is the generation of the target last taken in,
//!    never of a newer one.
//! 6. *Failures back off.* Each failure waits longer, up to [`RESTART_WAIT_MAX`], and a new target
//!    ends the wait. The first wait is back once a process was active for [`STABLE_AFTER`], stopped
//!    as it was asked to, or ended because its lease did.

use std::{sync::Arc, time::Duration};

use quorate_clock::Instant;
use quorate_types::backoff::Backoff;

use crate::{
    connector_spec::ConnectorSpec, stale_connections::StaleConnections, target_state::TargetState,
};

/// Time after which a consuming process counts as stable: the next restart waits little.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// Time beyond its drain that a process has to stop before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// The same for a process that parks: shorter, since the release waits for it.
const PARK_GRACE: Duration = Duration::from_millis(200);
/// Waits before a restart.
const RESTART_WAIT: Duration = Duration::from_millis(100);
const RESTART_WAIT_MAX: Duration = Duration::from_secs(10);

/// Target that the reconciler sets for one actor.
#[derive(Clone)]
pub(crate) struct DesiredConnector {
    pub spec: Arc<ConnectorSpec>,
    /// Target state of its process.
    pub target: TargetState,
    /// Connections that another member has left at the broker, to be closed.
    pub stale_connections: Option<StaleConnections>,
    /// Number of this target, counted per actor from 1.
    pub generation: u64,
}

/// Event of a connector's target or process.
#[derive(Clone)]
pub(super) enum ActorEvent {
    /// The reconciler has set this target.
    Targeted(DesiredConnector),
    /// There is a permit to start a process, and the start begins.
    Permitted,
    /// The process was started.
    Started,
    /// No process could be started, for this reason.
    StartFailed(String),
    /// The process reports whether it is active.
    Reported { active: bool },
    /// The process stands by, as the command of this number asks.
    StandsBy(u64),
    /// The process is gone and reaped. `lease_over`: it was active, and its lease no longer runs.
    Ended { why: String, lease_over: bool },
    /// The wait before the next try is over.
    RetryDue,
}

/// Effect that the actor performs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ActorEffect {
    /// Begin to close the stale connections of the target.
    CloseStaleConnections,
    /// Stop that: the broker has let this process in.
    StopClosingConnections,
    /// Void the deliveries so far.
    EndSession,
    /// Show the process as starting.
    ShowStarting,
    /// Send the settings of the target.
    Configure,
    /// Send this command.
    Command(ProcessCommand),
    /// Kill the process at this time if it is still there; `None`: never.
    KillAt(Option<Instant>),
    /// Show the epoch under which the process is to act.
    ShowEpoch(Option<u64>),
    /// Drop the process and what it leaves unanswered.
    ForgetProcess,
    /// Log the end of a process that was to end, for this reason.
    LogEnd(String),
    /// Count a process that ended by itself.
    CountRestart,
    /// Show this failure, and the wait before the next try.
    ShowFailure { error: String, wait: Duration },
    /// Publish that this generation was reached.
    ConfirmGeneration(u64),
}

/// Command to a process to change what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessCommand {
    /// Consume under this epoch.
    Activate(u64),
    /// Begin to consume and hand nothing on, for at most this time.
    Prepare(Duration),
    /// Finish what is in flight and stand by.
    Deactivate { drain: Duration, number: u64 },
    /// Finish what is in flight within this time, and exit.
    Stop(Duration),
}

/// State of one connector's process on this member.
pub(super) struct ProcessState {
    /// Target last taken in.
    desired: DesiredConnector,
    phase: ProcessPhase,
    /// Number of commands to stand by that were sent.
    standby_commands: u64,
    restarts: Backoff,
    /// Generation last confirmed.
    confirmed: u64,
}

enum ProcessPhase {
    /// No process is there, and none is desired.
    Absent,
    /// No process is there; one is started as soon as there is a permit.
    AwaitingPermit,
    /// A process is being started.
    Starting,
    /// A process is there.
    Running(RunningProcess),
    /// The last process failed; the next try begins at this time.
    BackingOff(Instant),
}

struct RunningProcess {
    /// Target by its last command.
    target: TargetState,
    /// True while it stands by for sure: nothing was begun, or it reported that all is closed.
    parked: bool,
    /// Time since which it has been active.
    active_since: Option<Instant>,
}

impl ProcessState {
    /// Returns the state before the first target is taken in.
    pub(super) fn new(desired: DesiredConnector) -> Self {
        ProcessState {
            desired,
            phase: ProcessPhase::Absent,
            standby_commands: 0,
            restarts: Backoff::new(RESTART_WAIT, RESTART_WAIT_MAX),
            confirmed: 0,
        }
    }

    /// Returns the target last taken in.
    pub(super) fn desired(&self) -> &DesiredConnector {
        &self.desired
    }

    /// Returns true when a process is to be started as soon as there is a permit.
    pub(super) fn wants_permit(&self) -> bool {
        matches!(self.phase, ProcessPhase::AwaitingPermit)
    }

    /// Returns the time of the next try after a failure.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        match self.phase {
            ProcessPhase::BackingOff(at) => Some(at),
            _ => None,
        }
    }

    /// Returns the epoch under which the process is to be active.
    pub(super) fn epoch(&self) -> Option<u64> {
        match &self.phase {
            ProcessPhase::Running(process) => process.epoch(),
            _ => None,
        }
    }

    /// Returns true when the process takes messages to send. None goes behind a command to stop: it
    /// would be lost with the process.
    pub(super) fn may_send(&self) -> bool {
        matches!(&self.phase, ProcessPhase::Running(process)
            if process.active_since.is_some() && process.epoch().is_some())
    }

    /// Takes in an event. Returns what is to be done, in its order. An event that the phase does not
    /// allow for changes nothing.
    pub(super) fn transition(&mut self, event: ActorEvent, now: Instant) -> Vec<ActorEffect> {
        let mut effects = Vec::new();
        match (event, &mut self.phase) {
            (ActorEvent::Targeted(desired), _) => self.retarget(desired, now, &mut effects),
            (ActorEvent::Permitted, phase @ ProcessPhase::AwaitingPermit) => {
                *phase = ProcessPhase::Starting;
            }
            (ActorEvent::Started, ProcessPhase::Starting) => self.begin(now, &mut effects),
            (ActorEvent::StartFailed(error), ProcessPhase::Starting) => {
                let error = format!("its process can't be started: {error}");
                self.back_off(error, now, &mut effects);
            }
            (ActorEvent::Reported { active: true }, ProcessPhase::Running(process)) => {
                process.active_since.get_or_insert(now);
                if self.desired.spec.fenced_by_broker {
                    // The broker has let this process in: nothing that was left there holds
                    // anything any more.
                    effects.push(ActorEffect::StopClosingConnections);
                }
            }
            (ActorEvent::Reported { active: false }, ProcessPhase::Running(process)) => {
                process.active_since = None;
                effects.push(ActorEffect::EndSession);
            }
            (ActorEvent::StandsBy(number), ProcessPhase::Running(process))
                if number == self.standby_commands && process.target.stands_by() =>
            {
                process.parked = true;
                effects.push(ActorEffect::KillAt(None));
            }
            (ActorEvent::Ended { why, lease_over }, ProcessPhase::Running(_)) => {
                self.end(why, lease_over, now, &mut effects);
            }
            (ActorEvent::RetryDue, ProcessPhase::BackingOff(_)) => {
                self.phase = self.phase_without_process();
            }
            _ => {}
        }
        let generation = self.desired.generation;
        if self.is_at_rest() && self.confirmed != generation {
            self.confirmed = generation;
            effects.push(ActorEffect::ConfirmGeneration(generation));
        }
        effects
    }

    fn retarget(
        &mut self,
        desired: DesiredConnector,
        now: Instant,
        effects: &mut Vec<ActorEffect>,
    ) {
        let last = std::mem::replace(&mut self.desired, desired).spec;
        let process = match &self.phase {
            ProcessPhase::Running(process) => process,
            // It counts once the process is there.
            ProcessPhase::Starting => return,
            _ => {
                self.phase = self.phase_without_process();
                return;
            }
        };
        let DesiredConnector { spec, target, .. } = &self.desired;
        if process.active_since.is_none() || !spec.fenced_by_broker {
            effects.push(ActorEffect::CloseStaleConnections);
        }
        if !spec.has_same_settings(&last) {
            effects.push(ActorEffect::Configure);
        }
        let target = match *target {
            target if !spec.requires_new_process(&last) => target,
            // A release waits no longer for a process that must be replaced than for one that
            // parks.
            TargetState::Parked(drain) => TargetState::Stopped(drain.min(spec.drain_timeout)),
            _ => TargetState::Stopped(spec.drain_timeout),
        };
        self.apply_target(target, now, effects);
    }

    fn begin(&mut self, now: Instant, effects: &mut Vec<ActorEffect>) {
        self.phase = ProcessPhase::Running(RunningProcess {
            target: TargetState::Standby(Duration::ZERO),
            parked: true,
            active_since: None,
        });
        effects.extend([
            ActorEffect::CloseStaleConnections,
            ActorEffect::EndSession,
            ActorEffect::ShowStarting,
            ActorEffect::Configure,
        ]);
        self.apply_target(self.desired.target, now, effects);
    }

    /// Commands the target, if it is another one.
    fn apply_target(&mut self, target: TargetState, now: Instant, effects: &mut Vec<ActorEffect>) {
        let ProcessPhase::Running(process) = &mut self.phase else {
            return;
        };
        if process.target == target || process.target.is_stopped() && !target.is_stopped() {
            return;
        }
        let mut kill_at = None;
        let command = match target {
            // It stands by already.
            TargetState::Standby(_) | TargetState::Parked(_) if process.parked => None,
            TargetState::Active(epoch) => Some(ProcessCommand::Activate(epoch)),
            TargetState::Prepared(within) => Some(ProcessCommand::Prepare(within)),
            TargetState::Standby(drain) | TargetState::Parked(drain) => {
                if matches!(target, TargetState::Parked(_)) {
                    kill_at = Some(now + drain + PARK_GRACE);
                }
                self.standby_commands += 1;
                let number = self.standby_commands;
                Some(ProcessCommand::Deactivate { drain, number })
            }
            TargetState::Stopped(drain) => {
                kill_at = Some(now + drain + STOP_GRACE);
                Some(ProcessCommand::Stop(drain))
            }
        };
        process.parked &= target.stands_by();
        process.target = target;
        let epoch = process.epoch();
        effects.extend(command.map(ActorEffect::Command));
        effects.extend([ActorEffect::KillAt(kill_at), ActorEffect::ShowEpoch(epoch)]);
    }

    fn end(&mut self, why: String, lease_over: bool, now: Instant, effects: &mut Vec<ActorEffect>) {
        let ProcessPhase::Running(process) = &self.phase else {
            return;
        };
        effects.extend([ActorEffect::EndSession, ActorEffect::ForgetProcess]);
        if !process.target.needs_process() {
            self.restarts.reset();
            effects.push(ActorEffect::LogEnd(why));
            self.phase = self.phase_without_process();
            return;
        }
        let stable = |since| now.saturating_duration_since(since) >= STABLE_AFTER;
        // Without its lease it ended because it had to: nothing is wrong with it.
        if lease_over || process.active_since.is_some_and(stable) {
            self.restarts.reset();
        }
        effects.push(ActorEffect::CountRestart);
        let cause = if lease_over {
            " (the lease was over)"
        } else {
            ""
        };
        self.back_off(format!("its process is gone: {why}{cause}"), now, effects);
    }

    fn back_off(&mut self, error: String, now: Instant, effects: &mut Vec<ActorEffect>) {
        let wait = self.restarts.step();
        self.phase = ProcessPhase::BackingOff(now + wait);
        effects.push(ActorEffect::ShowFailure { error, wait });
    }

    fn phase_without_process(&self) -> ProcessPhase {
        if self.desired.target.needs_process() {
            ProcessPhase::AwaitingPermit
        } else {
            ProcessPhase::Absent
        }
    }

    /// Returns true when no process is there and none is desired, or it is parked for sure.
    fn is_at_rest(&self) -> bool {
        match &self.phase {
            ProcessPhase::Absent => true,
            ProcessPhase::Running(process) => {
                process.parked && matches!(process.target, TargetState::Parked(_))
            }
            _ => false,
        }
    }
}

impl RunningProcess {
    fn epoch(&self) -> Option<u64> {
        match self.target {
            TargetState::Active(epoch) => Some(epoch),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
