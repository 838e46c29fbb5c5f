//! View of the replicated state with what the connectors need of it, and nothing more.

use std::{collections::BTreeMap, sync::Arc};

use quorate_resources::Kind;
use tokio::sync::watch;

use super::{
    connector_spec::{ConnectorKey, ConnectorSpec},
    spec_builder::{self, SpecVersion},
};
pub use quorate_state::Reign;
use quorate_state::{ProgressTable, RecordedConnections, State};

/// Connectors to run, and the reign under which they run.
#[derive(Clone, Default)]
pub struct ConnectorsView {
    /// Current reign.
    pub reign: Reign,
    /// Channels and outgoings that are declared. The same `Arc` as long as none has changed.
    pub connectors: Arc<BTreeMap<ConnectorKey, Arc<ConnectorSpec>>>,
    /// Versions of what each spec was built from.
    pub(super) made_of: Arc<BTreeMap<ConnectorKey, SpecVersion>>,
    /// Names that the brokers gave the members' connections.
    pub brokers: RecordedConnections,
    /// Progress of the connectors.
    pub progress: ProgressTable,
}

impl ConnectorsView {
    /// Builds the view of `state`. Specs that have not changed stay the same `Arc`s as in `before`.
    pub fn from_state(state: &State, before: &ConnectorsView) -> ConnectorsView {
        let (mut connectors, mut made_of) = (BTreeMap::new(), BTreeMap::new());
        for (key, now, stored) in spec_builder::all(state) {
            let old = before.connectors.get(&key);
            let spec = match old {
                // With a thousand, building all anew for each write of one takes longer than the
                // write.
                Some(old) if before.made_of.get(&key) == Some(&now) => old.clone(),
                _ => {
                    let Some(spec) = spec_builder::spec(state, stored) else {
                        continue;
                    };
                    let same = old.filter(|old| ***old == spec).cloned();
                    same.unwrap_or_else(|| Arc::new(spec))
                }
            };
            made_of.insert(key.clone(), now);
            connectors.insert(key, spec);
        }
        ConnectorsView {
            reign: *state.reign(),
            connectors: Arc::new(connectors),
            made_of: Arc::new(made_of),
            brokers: state.recorded_connections().clone(),
            progress: state.progress().clone(),
        }
    }

    /// Follows the state, whose secrets are read as they stand in it.
    pub fn follow(state: watch::Receiver<Arc<State>>) -> watch::Receiver<Arc<ConnectorsView>> {
        ConnectorsView::follow_opened(state, State::clone)
    }

    /// Follows the state, with its secrets opened by `open`. Writes that concern no connector are
    /// not passed on, and cost nothing, however many connectors there are.
    pub fn follow_opened(
        mut state: watch::Receiver<Arc<State>>,
        open: impl Fn(&State) -> State + Send + 'static,
    ) -> watch::Receiver<Arc<ConnectorsView>> {
        let mut seen = open(&state.borrow_and_update());
        let (sender, receiver) = watch::channel(Arc::new(ConnectorsView::from_state(
            &seen,
            &ConnectorsView::default(),
        )));
        tokio::spawn(async move {
            while !sender.is_closed() && state.changed().await.is_ok() {
                let now = state.borrow_and_update().clone();
                let now = open(&now);
                let before = sender.borrow().clone();
                let view = if concern_connectors(&seen, &now) {
                    ConnectorsView::from_state(&now, &before)
                } else {
                    ConnectorsView {
                        reign: *now.reign(),
                        connectors: before.connectors.clone(),
                        made_of: before.made_of.clone(),
                        brokers: now.recorded_connections().clone(),
                        progress: now.progress().clone(),
                    }
                };
                seen = now;
                if view.reign != before.reign
                    || view.connectors != before.connectors
                    || view.brokers != before.brokers
                {
                    sender.send_replace(Arc::new(view));
                } else if !view.progress.is_as(&before.progress) {
                    // Read when a process is activated; nothing waits for a change of it.
                    sender.send_if_modified(|shown| {
                        *shown = Arc::new(view);
                        false
                    });
                }
            }
        });
        receiver
    }
}

/// Returns true when a spec may have changed. A service counts: its timeouts are part of a
/// channel's spec.
fn concern_connectors(before: &State, now: &State) -> bool {
    let aside = [
        Kind::HttpChannel,
        Kind::BasicAuth,
        Kind::ApiKey,
        Kind::Jwt,
        Kind::ClientCertificate,
        Kind::Hmac,
    ];
    let mut kinds = Kind::ALL.into_iter().filter(|kind| !aside.contains(kind));
    let (was, is) = (before.catalog(), now.catalog());
    before.operations().revision() != now.operations().revision()
        || was.openings() != is.openings()
        || kinds.any(|kind| is.changes(was, kind).next().is_some())
}

#[cfg(test)]
mod tests {
    use quorate_state::{Command, Machine, OperatorAction};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_changes_to_specs_concern_connectors() {
        let mut machine = Machine::default();
        let mut index = 0;
        let mut concerns = |command: Command| {
            let before = machine.state().clone();
            index += 1;
            let (answer, _) = machine.apply(index, 1, 1, &command);
            assert!(answer.changed(), "{answer:?}");
            concern_connectors(&before, machine.state())
        };
        let put = |kind, spec: Value| Command::PutResource {
            kind,
            name: "a".into(),
            spec: spec.to_string().into(),
            precondition: None,
        };
        let address = "tcp://127.0.0.1:5555";
        let channel = json!({"name": "a", "address": address, "socket_type": "PULL", "method": "bind", "service": "a"});
        let operate = Command::OperateConnector {
            kind: Kind::ZmqChannel,
            name: "a".into(),
            order: OperatorAction::Pause,
        };
        let service =
            |port: u16| json!({"name": "a", "upstream": format!("http://127.0.0.1:{port}")});
        let key = Command::PutKey {
            key: "a".into(),
            value: "b".into(),
            precondition: None,
        };
        for (command, expected) in [
            (put(Kind::Service, service(1)), true),
            (
                put(
                    Kind::HttpChannel,
                    json!({"name": "a", "path": "/a", "service": "a"}),
                ),
                false,
            ),
            (
                put(
                    Kind::ApiKey,
                    json!({"name": "a", "header": "x-key", "key": "k"}),
                ),
                false,
            ),
            (put(Kind::ZmqChannel, channel), true),
            (operate, true),
            (key, false),
            (put(Kind::Service, service(2)), true),
        ] {
            let shown = format!("{command:?}");
            assert_eq!(concerns(command), expected, "{shown}");
        }
    }
}
