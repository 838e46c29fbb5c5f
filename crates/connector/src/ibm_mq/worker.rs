//! Thread that a connection belongs to: MQ's verbs block, and a handle is bound to its thread.
//!
//! The thread executes commands, and gets a message while the consumer waits for one and none is in
//! the unit of work. A get waits for a slice only, so that no command is later than that.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use libmqm_sys as mq;
use quorate_clock::Instant;
use quorate_ipc::local_rules::LocalRules;
use quorate_resources::IbmMqConnection;
use tokio::sync::oneshot;

use super::{
    super::{
        broker_link::ConnectorError,
        dial::{allowed, lookup, waited_for},
    },
    call_watchdog::CallWatchdog,
    commands::{CommandReply, MqCommand, MqPutRequest, MqPutResult, MqSettlement},
    library,
    mqi_connection::{MqObject, MqiConnection},
    queue_reader::MqQueueReader,
    reason_codes::{MqFailure, MqFailureKind},
};

/// Interval of the queries whether the queue manager is there, while there is nothing else to ask
/// it.
const PING: Duration = Duration::from_secs(2);

/// Result of connecting: the queue manager's id of the connection.
pub(super) type MqConnectResult = Result<[u8; 24], ConnectorError>;

/// Starts the thread, which ends when the connection is lost or when no sender of commands is left.
pub(super) fn start(
    to: IbmMqConnection,
    name: String,
    commands: Receiver<MqCommand>,
    watchdog: Arc<CallWatchdog>,
    connected: oneshot::Sender<MqConnectResult>,
    ended: oneshot::Sender<()>,
) -> Result<(), ConnectorError> {
    let work = move || {
        let loaded = check_address(&to)
            .and_then(|()| allowed_library(&to, LocalRules::current()))
            .and_then(|it| library::load(&it));
        let connection = loaded.and_then(|library| {
            MqiConnection::connect(library, &to, &name, watchdog.clone())
                .map_err(|failure| failure.into_error(&to, ""))
        });
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                let _ = connected.send(Err(error));
                return;
            }
        };
        if connected.send(Ok(connection.id)).is_err() {
            // Nobody waited that long.
            return;
        }
        let mut worker = MqWorker {
            connection,
            manager: to,
            reading: None,
            writing: None,
            asked: Instant::now(),
        };
        if let Err(error) = worker.work(&commands) {
            // First, so that a caller that is left without an answer finds out why.
            watchdog.mark_lost(error);
        }
        drop(worker);
        let _ = ended.send(());
    };
    thread::Builder::new()
        .name("ibm-mq".to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| {
            ConnectorError::new(format!("can't start a thread for the connection: {error}"))
        })
}

/// Checks that this host allows each address that the queue manager's name has. IBM's client looks
/// the name up itself, a moment later, and is not told the address instead: in TLS it tells the
/// name to routers that go by it.
fn check_address(to: &IbmMqConnection) -> Result<(), ConnectorError> {
    let looked_up = waited_for(lookup(&to.host, to.port));
    // Unchecked nothing is connected to: a name server may be slow for us and quick for the client.
    let addresses =
        looked_up.map_err(|error| ConnectorError::new(format!("{}: {error}", to.host)))?;
    for address in addresses {
        allowed(address).map_err(|error| ConnectorError::new(error.to_string()))?;
    }
    Ok(())
}

/// Returns the library to load, if this host allows it and everything else that the connection
/// names here.
fn allowed_library(to: &IbmMqConnection, rules: &LocalRules) -> Result<PathBuf, ConnectorError> {
    if let Some(path) = &to.ssl_key_repository {
        rules.key_repository(path)?;
    }
    Ok(rules.library(&to.library)?)
}

/// Open connection on its thread.
pub(super) struct MqWorker {
    pub(super) connection: MqiConnection,
    pub(super) manager: IbmMqConnection,
    reading: Option<MqQueueReader>,
    /// Queue that is open for output.
    writing: Option<MqObject>,
    /// Time of the queue manager's last answer.
    asked: Instant,
}

impl MqWorker {
    /// Executes commands until no sender is left (`Ok`) or the connection is lost.
    fn work(&mut self, commands: &Receiver<MqCommand>) -> Result<(), ConnectorError> {
        loop {
            let due = self.reading.as_ref().and_then(MqQueueReader::due);
            let ping = self.asked + PING;
            let wait = due.map_or(ping, |due| due.min(ping));
            match commands.recv_timeout(wait.saturating_duration_since(Instant::now())) {
                Ok(MqCommand::Disconnect) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(command) => {
                    self.execute(command)?;
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            match (&mut self.reading, due) {
                (Some(reading), Some(due)) if due <= Instant::now() => {
                    reading.get(&self.connection, &self.manager)?;
                    self.asked = Instant::now();
                }
                _ => self.ping()?,
            }
        }
    }

    /// Finds a lost connection while nothing else would.
    fn ping(&mut self) -> Result<(), ConnectorError> {
        let asking = || {
            let object = self.connection.open_manager()?;
            let asked = self.connection.inquire_name(&object, mq::MQCA_Q_MGR_NAME);
            self.connection.close(object)?;
            asked
        };
        let asked = asking();
        self.asked = Instant::now();
        match asked {
            Err(failure) if failure.kind() == MqFailureKind::ConnectionLost => {
                Err(failure.into_error(&self.manager, ""))
            }
            // Any other answer is one: that this may not be asked, for example.
            _ => Ok(()),
        }
    }

    fn execute(&mut self, command: MqCommand) -> Result<(), ConnectorError> {
        match command {
            MqCommand::Open {
                queue,
                jms,
                messages,
                answer,
            } => {
                let opened =
                    MqQueueReader::open(&self.connection, &self.manager, queue, jms, messages);
                match opened {
                    Ok(reader) => {
                        self.reading = Some(reader);
                        let _ = answer.send(Ok(()));
                    }
                    Err((error, kind)) => {
                        let _ = answer.send(Err(error.clone()));
                        return if kind == MqFailureKind::ConnectionLost {
                            Err(error)
                        } else {
                            Ok(())
                        };
                    }
                }
            }
            MqCommand::Next => {
                if let Some(reader) = &mut self.reading {
                    reader.wanted = true;
                }
            }
            MqCommand::Settle { token, how, answer } => {
                if self.reading.is_none() {
                    return Ok(());
                }
                self.settle(token, how, answer)?;
            }
            MqCommand::Cancel { answer } => {
                if let Some(reader) = &mut self.reading {
                    reader.cancelled = true;
                }
                let _ = answer.send(());
            }
            MqCommand::Close { answer } => {
                if let Some(reader) = self.reading.take() {
                    reader.close(&self.connection, &self.manager)?;
                }
                let _ = answer.send(());
            }
            MqCommand::CountReaders { queue, answer } => {
                let _ = answer.send(self.number(&queue, mq::MQIA_OPEN_INPUT_COUNT));
            }
            MqCommand::QueryDepth { queue, answer } => {
                let own = self.reading.as_ref().map_or(0, MqQueueReader::in_hand);
                let depth = self.number(&queue, mq::MQIA_CURRENT_Q_DEPTH);
                let _ = answer.send(depth.map(|depth| depth.saturating_sub(own)));
            }
            MqCommand::OpenTarget { queue, answer } => {
                let opened = self.connection.open(&queue, mq::MQOO_OUTPUT);
                let opened = opened.map(|object| self.writing = Some(object));
                self.answer(opened, &queue, answer)?;
            }
            MqCommand::Disconnect => {}
            MqCommand::Put { put, answer } => self.answer_put(*put, answer)?,
        }
        self.asked = Instant::now();
        Ok(())
    }

    fn settle(
        &mut self,
        token: u64,
        how: MqSettlement,
        answer: CommandReply<Result<(), ConnectorError>>,
    ) -> Result<(), ConnectorError> {
        let Some(reader) = &mut self.reading else {
            return Ok(());
        };
        let settled = reader.settle(&self.connection, &self.manager, token, how);
        let (result, lost) = match settled {
            Ok(()) => (Ok(()), None),
            Err((error, MqFailureKind::ConnectionLost)) => (Err(error.clone()), Some(error)),
            Err((error, _)) => (Err(error), None),
        };
        let _ = answer.send(result);
        lost.map_or(Ok(()), Err)
    }

    fn answer_put(
        &mut self,
        put: MqPutRequest,
        answer: CommandReply<MqPutResult>,
    ) -> Result<(), ConnectorError> {
        let result = self.put(put);
        let lost = result
            .err()
            .filter(|failure| failure.kind() == MqFailureKind::ConnectionLost)
            .map(|failure| failure.into_error(&self.manager, ""));
        let _ = answer.send(result);
        lost.map_or(Ok(()), Err)
    }

    fn answer(
        &self,
        result: Result<(), MqFailure>,
        queue: &str,
        answer: oneshot::Sender<Result<(), ConnectorError>>,
    ) -> Result<(), ConnectorError> {
        let error = |failure: MqFailure| failure.into_error(&self.manager, queue);
        let lost = result
            .err()
            .filter(|failure| failure.kind() == MqFailureKind::ConnectionLost);
        let _ = answer.send(result.map_err(error));
        lost.map_or(Ok(()), |failure| Err(error(failure)))
    }

    /// Returns a numeric attribute of a queue; `None` where it can't be asked.
    fn number(&self, queue: &str, selector: i32) -> Option<u64> {
        let object = self.connection.open(queue, mq::MQOO_INQUIRE).ok()?;
        let number = self.connection.inquire_number(&object, selector).ok();
        let _ = self.connection.close(object);
        number.and_then(|number| u64::try_from(number).ok())
    }

    fn put(&mut self, put: MqPutRequest) -> MqPutResult {
        let mut ready = put.ready;
        if !put.claim.begin() {
            // Nobody waits for the put any more, and its outcome is that it was not sent.
            return Ok([0; 24]);
        }
        let (descriptor, own_id) = (&mut ready.descriptor, ready.own_id);
        match (&ready.to, &self.writing) {
            (None, Some(object)) => self
                .connection
                .put(object, descriptor, own_id, &ready.body)?,
            (Some(to), _) => self
                .connection
                .put_to(to, descriptor, own_id, &ready.body)?,
            (None, None) => {
                return Err(MqFailure {
                    verb: "MQPUT",
                    reason: mq::MQRC_NOT_OPEN_FOR_OUTPUT,
                });
            }
        }
        Ok(ready.descriptor.MsgId)
    }
}
