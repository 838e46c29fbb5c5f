use std::time::Duration;

use quorate_types::{ElectionReason, ElectionRecord};

use super::*;
use crate::connector_status::ConnectorState;

const ME: MemberId = 2;
const PATIENCE: Duration = Duration::from_secs(10);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn spec(name: &str, fenced_by_broker: bool) -> ConnectorSpec {
    ConnectorSpec {
        key: ConnectorKey {
            kind: "amqp_channel",
            name: name.into(),
        },
        fenced_by_broker,
        ..ConnectorSpec::for_test()
    }
}

fn active(name: &str, epoch: u64, at: Instant) -> ConnectorStatus {
    ConnectorStatus {
        state: ConnectorState::Active,
        epoch: Some(epoch),
        activated_at: Some(at),
        ..ConnectorStatus::starting("amqp_channel", name, "b")
    }
}

/// What is seen from member 2.
struct Scene {
    zero: Instant,
    leadership: Leadership,
    reign: Reign,
    connectors: BTreeMap<ConnectorKey, Arc<ConnectorSpec>>,
    statuses: Vec<ConnectorStatus>,
    clear_at: Option<Instant>,
    story: TakeoverTraceBuilder,
}

impl Scene {
    /// Member 1 reigns with epoch 5 in term 1.
    fn new(specs: &[ConnectorSpec]) -> Scene {
        let reign = Reign {
            holder: Some(1),
            epoch: 5,
            term: 1,
            released: false,
            ..Reign::default()
        };
        let keyed = specs
            .iter()
            .map(|it| (it.key.clone(), Arc::new(it.clone())));
        Scene {
            zero: Instant::now(),
            leadership: Leadership::default(),
            reign,
            connectors: keyed.collect(),
            statuses: Vec::new(),
            clear_at: None,
            story: TakeoverTraceBuilder::new(ME, reign, PATIENCE),
        }
    }

    fn at(&self, after: u64) -> Instant {
        self.zero + ms(after)
    }

    fn elected(&mut self, term: u64, reason: ElectionReason, former: Option<MemberId>) {
        self.leadership = Leadership {
            me: ME,
            term,
            leader: Some(ME),
            leading: true,
            election: Some(ElectionRecord {
                reason,
                former,
                lost_at: former.map(|_| self.zero),
                detected_at: self.at(3),
                elected_at: self.at(9),
            }),
            ..Leadership::default()
        };
    }

    fn reign(&mut self, epoch: u64, term: u64, released: bool) {
        let before = self.reign;
        let former = match before.epoch == epoch {
            true => before.former,
            false => before.holder,
        };
        self.reign = Reign {
            holder: Some(ME),
            epoch,
            term,
            released,
            former,
            ..Reign::default()
        };
    }

    fn look(&mut self, after: u64) -> Vec<TakeoverTrace> {
        let now = self.at(after);
        let seen = TakeoverObservation {
            leadership: &self.leadership,
            reign: self.reign,
            connectors: &self.connectors,
            statuses: &self.statuses,
            clear_at: self.clear_at,
        };
        self.story.look(now, &seen)
    }

    fn record(&self, told: &TakeoverTrace) -> Takeover {
        let now = (self.at(1_000), ms(1_700_000_001_000));
        told.record(now, Some("a".into()), "b".into())
    }
}

#[test]
fn death_is_traced_once_all_connectors_work() {
    let mut scene = Scene::new(&[spec("x", true), spec("y", false)]);
    assert_eq!(scene.look(0), []);
    scene.elected(2, ElectionReason::Death, Some(1));
    scene.reign(8, 2, false);
    scene.clear_at = Some(scene.at(172));
    assert_eq!(scene.look(12), []);
    scene.statuses = vec![active("x", 8, scene.at(14))];
    assert_eq!(scene.look(20), []);
    assert_eq!(scene.story.bound(), Some(scene.at(12) + PATIENCE));
    scene.statuses.push(active("y", 8, scene.at(175)));
    let told = scene.look(180);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].from, Some(1));
    assert!(told[0].still_reigns);
    let wanted = Takeover {
        epoch: 8,
        term: 2,
        from: Some("a".into()),
        to: "b".into(),
        reason: Reason::Death.into(),
        began_ms: 1_700_000_000_000,
        detected_us: Some(3_000),
        elected_us: Some(9_000),
        committed_us: 12_000,
        lease_waited_us: 160_000,
        first_active_us: Some(14_000),
        last_active_us: Some(175_000),
        connectors: 2,
        activated: 2,
    };
    assert_eq!(scene.record(&told[0]), wanted);
    assert_eq!(scene.look(200), [], "told twice");
}

#[test]
fn broker_fenced_waits_for_no_lease() {
    let mut scene = Scene::new(&[]);
    scene.elected(2, ElectionReason::Timeout, Some(1));
    scene.reign(8, 2, false);
    scene.clear_at = Some(scene.at(172));
    let told = scene.look(12);
    let record = scene.record(&told[0]);
    assert_eq!((record.lease_waited_us, record.connectors), (0, 0));
    assert_eq!(record.reason(), Reason::Timeout);
    assert_eq!(record.first_active_us, None);
}

#[test]
fn paused_or_foreign_epoch_connector_is_not_counted() {
    let paused = ConnectorSpec {
        active: false,
        ..spec("y", true)
    };
    let mut scene = Scene::new(&[spec("x", true), paused]);
    scene.elected(2, ElectionReason::Transfer, Some(1));
    scene.reign(8, 2, false);
    scene.statuses = vec![active("x", 5, scene.at(1))];
    assert_eq!(scene.look(12), []);
    scene.statuses = vec![active("x", 8, scene.at(13))];
    let told = scene.look(14);
    let record = scene.record(&told[0]);
    assert_eq!((record.connectors, record.activated), (1, 1));
    assert_eq!(record.reason(), Reason::Transfer);
}

#[test]
fn connector_never_active_is_recorded_as_missing() {
    let mut scene = Scene::new(&[spec("x", true), spec("y", true)]);
    scene.elected(2, ElectionReason::Timeout, None);
    scene.reign(8, 2, false);
    scene.statuses = vec![active("x", 8, scene.at(14))];
    assert_eq!(scene.look(12), []);
    let told = scene.look(12 + PATIENCE.as_millis() as u64);
    let record = scene.record(&told[0]);
    assert_eq!((record.connectors, record.activated), (2, 1));
    assert_eq!(record.reason(), Reason::Start);
    assert_eq!(record.detected_us, Some(0), "nothing was lost before");
    assert!(told[0].still_reigns);
}

#[test]
fn ended_reign_is_not_recorded() {
    // Lost before the connector was at work; then released; then another's.
    for end in 0..3 {
        let mut scene = Scene::new(&[spec("x", true)]);
        scene.elected(2, ElectionReason::Death, Some(1));
        scene.reign(8, 2, false);
        assert_eq!(scene.look(12), []);
        match end {
            0 => scene.leadership.leading = false,
            1 => scene.reign.released = true,
            _ => {
                scene.reign = Reign {
                    holder: Some(3),
                    epoch: 9,
                    term: 3,
                    released: false,
                    ..Reign::default()
                }
            }
        }
        let told = scene.look(20);
        assert_eq!(told.len(), 1, "case {end}");
        assert_eq!(
            (told[0].epoch, told[0].still_reigns),
            (8, false),
            "case {end}"
        );
        assert_eq!(scene.look(21), [], "case {end}");
    }
}

#[test]
fn second_reign_in_term_has_no_election() {
    let mut scene = Scene::new(&[]);
    scene.elected(2, ElectionReason::Death, Some(1));
    scene.reign(8, 2, false);
    assert_eq!(scene.look(12).len(), 1);
    scene.reign(8, 2, true);
    assert_eq!(scene.look(50), []);
    scene.reign(11, 2, false);
    let told = scene.look(70);
    let record = scene.record(&told[0]);
    assert_eq!(record.reason(), Reason::Again);
    assert_eq!((record.detected_us, record.elected_us), (None, None));
    assert_eq!(record.committed_us, 20_000, "since the release");
    assert_eq!(told[0].from, Some(ME));
}

#[test]
fn past_reigns_are_not_traced_at_start() {
    let mut scene = Scene::new(&[]);
    for epoch in 6..9 {
        scene.reign(epoch, 1, false);
        assert_eq!(scene.look(epoch), []);
    }
}
