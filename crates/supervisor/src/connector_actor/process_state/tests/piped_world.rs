//! Process at the end of a pipe, and the laws of the transition checked at each effect.

use std::collections::VecDeque;

use super::*;

fn desired(target: TargetState) -> DesiredConnector {
    DesiredConnector {
        spec: Arc::new(ConnectorSpec::for_test()),
        target,
        stale_connections: None,
        generation: 1,
    }
}

/// Process at the end of a pipe: what is sent arrives later, in its order.
pub(super) struct PipedProcess {
    commands: VecDeque<ProcessCommand>,
    replies: VecDeque<ActorEvent>,
    works: bool,
    ended: bool,
    got_stop: bool,
    /// Creation and restart that it was started for.
    pub version: (u64, u64),
    kill_at: Option<Instant>,
    /// Time by which it has to be gone or to stand by, by the commands that were sent.
    deadline: Option<Instant>,
    /// Number of the command to stand by after which no other was sent.
    last_deactivation: Option<u64>,
}

impl PipedProcess {
    pub(super) fn handle_command(&mut self) {
        let command = self.commands.pop_front().filter(|_| !self.ended);
        match command {
            Some(ProcessCommand::Activate(_)) => {
                self.works = true;
                self.replies
                    .push_back(ActorEvent::Reported { active: true });
            }
            Some(ProcessCommand::Prepare(_)) => self.works = true,
            Some(ProcessCommand::Deactivate { number, .. }) => {
                self.works = false;
                self.replies
                    .push_back(ActorEvent::Reported { active: false });
                self.replies.push_back(ActorEvent::StandsBy(number));
            }
            Some(ProcessCommand::Stop(_)) => self.end(),
            None => {}
        }
    }

    pub(super) fn end(&mut self) {
        if !self.ended {
            (self.ended, self.works) = (true, false);
            self.replies.push_back(ActorEvent::Ended {
                why: "it ended".into(),
                lease_over: false,
            });
        }
    }

    fn is_at_rest(&self) -> bool {
        let begins = |it: &ProcessCommand| {
            matches!(it, ProcessCommand::Activate(_) | ProcessCommand::Prepare(_))
        };
        !self.works && !self.commands.iter().any(begins)
    }
}

/// Transition with a process, checked against the laws at each effect.
pub(super) struct World {
    pub state: ProcessState,
    pub now: Instant,
    pub desired: DesiredConnector,
    pub process: Option<PipedProcess>,
    pub confirmed: u64,
    pub failures: Vec<Duration>,
}

impl World {
    pub(super) fn new(target: TargetState) -> World {
        let desired = desired(target);
        let mut world = World {
            state: ProcessState::new(desired.clone()),
            now: Instant::now(),
            desired: desired.clone(),
            process: None,
            confirmed: 0,
            failures: Vec::new(),
        };
        world.advance(ActorEvent::Targeted(desired));
        world
    }

    pub(super) fn active() -> World {
        let mut world = World::new(TargetState::Active(7));
        world.start();
        world.exchange();
        assert!(world.state.may_send());
        world
    }

    pub(super) fn advance(&mut self, event: ActorEvent) -> Vec<ActorEffect> {
        if let (ActorEvent::StandsBy(number), Some(process)) = (&event, &mut self.process)
            && process.last_deactivation == Some(*number)
        {
            process.deadline = None;
        }
        let effects = self.state.transition(event, self.now);
        for effect in &effects {
            self.perform(effect);
        }
        if self.state.wants_permit() {
            assert!(self.process.is_none(), "one process at a time");
            assert!(self.desired.target.needs_process());
        }
        if let Some(process) = &self.process {
            assert_eq!(process.kill_at, process.deadline);
            assert!(!(self.state.may_send() && process.got_stop));
        }
        effects
    }

    fn perform(&mut self, effect: &ActorEffect) {
        match effect {
            ActorEffect::Command(command) => self.command(*command),
            ActorEffect::KillAt(at) => self.process.as_mut().unwrap().kill_at = *at,
            ActorEffect::ForgetProcess => self.process = None,
            ActorEffect::ShowFailure { wait, .. } => self.failures.push(*wait),
            ActorEffect::ConfirmGeneration(generation) => {
                assert_eq!(*generation, self.desired.generation);
                assert!(*generation > self.confirmed);
                assert!(!self.desired.target.needs_process());
                assert!(self.process.as_ref().is_none_or(|it| {
                    it.is_at_rest() && matches!(self.desired.target, TargetState::Parked(_))
                }));
                self.confirmed = *generation;
            }
            _ => {}
        }
    }

    fn command(&mut self, command: ProcessCommand) {
        let DesiredConnector { spec, target, .. } = &self.desired;
        let process = self.process.as_mut().unwrap();
        let stops = matches!(command, ProcessCommand::Stop(_));
        assert!(stops || !process.got_stop, "stopped is final");
        assert!(stops || process.version == (spec.created, spec.restarted));
        process.got_stop |= stops;
        process.last_deactivation = None;
        process.deadline = match command {
            ProcessCommand::Activate(epoch) => {
                assert_eq!(*target, TargetState::Active(epoch), "a reign");
                None
            }
            ProcessCommand::Prepare(_) => None,
            ProcessCommand::Deactivate { drain, number } => {
                process.last_deactivation = Some(number);
                matches!(target, TargetState::Parked(_)).then(|| self.now + drain + PARK_GRACE)
            }
            ProcessCommand::Stop(drain) => Some(self.now + drain + STOP_GRACE),
        };
        process.commands.push_back(command);
    }

    pub(super) fn target(&mut self, target: TargetState) -> Vec<ActorEffect> {
        self.change(target, |_| {})
    }

    pub(super) fn change(
        &mut self,
        target: TargetState,
        change: impl FnOnce(&mut ConnectorSpec),
    ) -> Vec<ActorEffect> {
        change(Arc::make_mut(&mut self.desired.spec));
        self.desired.target = target;
        self.desired.generation += 1;
        self.advance(ActorEvent::Targeted(self.desired.clone()))
    }

    /// Uses the permit that is wanted, if one is.
    pub(super) fn start(&mut self) -> Vec<ActorEffect> {
        if !self.state.wants_permit() {
            return Vec::new();
        }
        self.advance(ActorEvent::Permitted);
        let spec = &self.desired.spec;
        self.process = Some(PipedProcess {
            commands: VecDeque::new(),
            replies: VecDeque::new(),
            works: false,
            ended: false,
            got_stop: false,
            version: (spec.created, spec.restarted),
            kill_at: None,
            deadline: None,
            last_deactivation: None,
        });
        self.advance(ActorEvent::Started)
    }

    pub(super) fn fail_start(&mut self) {
        if self.state.wants_permit() {
            self.advance(ActorEvent::Permitted);
            self.advance(ActorEvent::StartFailed("no memory".into()));
        }
    }

    pub(super) fn deliver_reply(&mut self) {
        let reply = self.process.as_mut().and_then(|it| it.replies.pop_front());
        if let Some(reply) = reply {
            self.advance(reply);
        }
    }

    /// Has all commands handled and all replies delivered.
    pub(super) fn exchange(&mut self) {
        for _ in 0..100 {
            if let Some(process) = &mut self.process {
                process.handle_command();
            }
            self.deliver_reply();
        }
    }

    pub(super) fn crash(&mut self, lease_over: bool) {
        self.advance(ActorEvent::Ended {
            why: "it ended".into(),
            lease_over,
        });
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
        if self.state.retry_at().is_some_and(|at| self.now >= at) {
            self.advance(ActorEvent::RetryDue);
        }
        if let Some(process) = &mut self.process
            && process.kill_at.is_some_and(|at| self.now >= at)
        {
            process.end();
        }
    }
}
