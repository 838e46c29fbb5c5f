//! The thread that a connection belongs to: MQ's verbs block, and a handle is for the thread
//! that made it.
//!
//! It takes orders, and gets a message while somebody waits for one and none is in its unit
//! of work. A get waits for a slice only, so that an order is never later than that.

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
use tokio::sync::oneshot;

use super::{
    super::broker_link::ConnectorError,
    call_watchdog::CallWatchdog,
    commands::{MqCommand, MqPutRequest, MqPutResult},
    library,
    mqi_connection::{MqObject, MqiConnection},
    queue_reader::MqQueueReader,
    reason_codes::{MqFailure, MqFailureKind},
    settings::MqConnectionSettings,
};

/// How often the queue manager is asked whether it is there, while there is nothing else to
/// ask it.
const PING: Duration = Duration::from_secs(2);

/// What is known once it is connected: what the queue manager calls the connection.
pub type MqConnectResult = Result<[u8; 24], ConnectorError>;

/// Starts it. It ends when the connection is lost or when nobody is left to give it orders.
pub fn start(
    to: MqConnectionSettings,
    name: String,
    orders: Receiver<MqCommand>,
    pulse: Arc<CallWatchdog>,
    connected: oneshot::Sender<MqConnectResult>,
    ended: oneshot::Sender<()>,
) -> Result<(), ConnectorError> {
    let work = move || {
        let loaded = allowed_library(&to, LocalRules::current()).and_then(|it| library::load(&it));
        let connection = loaded.and_then(|library| {
            MqiConnection::connect(library, &to, &name, pulse.clone())
                .map_err(|failure| failure.trouble(&to, ""))
        });
        let connection = match connection {
            Ok(connection) => connection,
            Err(trouble) => {
                let _ = connected.send(Err(trouble));
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
        if let Err(trouble) = worker.work(&orders) {
            // First, so that whoever is left without an answer finds out why.
            pulse.mark_lost(trouble);
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

/// The library to load, if this host allows it and what else the connection names here.
fn allowed_library(
    to: &MqConnectionSettings,
    rules: &LocalRules,
) -> Result<PathBuf, ConnectorError> {
    if let Some(path) = &to.ssl_key_repository {
        rules.key_repository(path).map_err(ConnectorError::new)?;
    }
    rules.library(&to.library).map_err(ConnectorError::new)
}

/// A connection at work.
pub struct MqWorker {
    pub(super) connection: MqiConnection,
    pub(super) manager: MqConnectionSettings,
    reading: Option<MqQueueReader>,
    /// The queue that is open for output.
    writing: Option<MqObject>,
    /// When the queue manager answered last.
    asked: Instant,
}

impl MqWorker {
    /// Works until nobody is left (`Ok`) or the connection is lost.
    fn work(&mut self, orders: &Receiver<MqCommand>) -> Result<(), ConnectorError> {
        loop {
            let due = self.reading.as_ref().and_then(MqQueueReader::due);
            let ping = self.asked + PING;
            let wait = due.map_or(ping, |due| due.min(ping));
            match orders.recv_timeout(wait.saturating_duration_since(Instant::now())) {
                Ok(MqCommand::Disconnect) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(order) => {
                    self.execute(order)?;
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

    /// Notices a lost connection while nothing else would.
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
                Err(failure.trouble(&self.manager, ""))
            }
            // It answered: that it may not be asked this, for example.
            _ => Ok(()),
        }
    }

    fn execute(&mut self, order: MqCommand) -> Result<(), ConnectorError> {
        match order {
            MqCommand::Open {
                queue,
                jms,
                messages,
                answer,
            } => {
                let opened =
                    MqQueueReader::open(&self.connection, &self.manager, queue, jms, messages);
                match opened {
                    Ok(reading) => {
                        self.reading = Some(reading);
                        let _ = answer.send(Ok(()));
                    }
                    Err((trouble, kind)) => {
                        let _ = answer.send(Err(trouble.clone()));
                        return if kind == MqFailureKind::ConnectionLost {
                            Err(trouble)
                        } else {
                            Ok(())
                        };
                    }
                }
            }
            MqCommand::Next => {
                if let Some(reading) = &mut self.reading {
                    reading.wanted = true;
                }
            }
            MqCommand::Settle { token, how, answer } => {
                let Some(reading) = &mut self.reading else {
                    return Ok(());
                };
                let settled = reading.settle(&self.connection, &self.manager, token, how);
                let (result, lost) = match settled {
                    Ok(()) => (Ok(()), None),
                    Err((trouble, MqFailureKind::ConnectionLost)) => {
                        (Err(trouble.clone()), Some(trouble))
                    }
                    Err((trouble, _)) => (Err(trouble), None),
                };
                let _ = answer.send(result);
                lost.map_or(Ok(()), Err)?;
            }
            MqCommand::Cancel { answer } => {
                if let Some(reading) = &mut self.reading {
                    reading.cancelled = true;
                }
                let _ = answer.send(());
            }
            MqCommand::Close { answer } => {
                if let Some(reading) = self.reading.take() {
                    reading.close(&self.connection, &self.manager)?;
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
            MqCommand::Put { put, answer } => {
                let put = self.put(*put);
                let lost = put
                    .err()
                    .filter(|failure| failure.kind() == MqFailureKind::ConnectionLost)
                    .map(|failure| failure.trouble(&self.manager, ""));
                let _ = answer.send(put);
                lost.map_or(Ok(()), Err)?;
            }
        }
        self.asked = Instant::now();
        Ok(())
    }

    fn answer(
        &self,
        result: Result<(), MqFailure>,
        queue: &str,
        answer: oneshot::Sender<Result<(), ConnectorError>>,
    ) -> Result<(), ConnectorError> {
        let trouble = |failure: MqFailure| failure.trouble(&self.manager, queue);
        let lost = result
            .err()
            .filter(|failure| failure.kind() == MqFailureKind::ConnectionLost);
        let _ = answer.send(result.map_err(trouble));
        lost.map_or(Ok(()), |failure| Err(trouble(failure)))
    }

    /// A number that a queue has; `None` where that can't be asked.
    fn number(&self, queue: &str, selector: i32) -> Option<u64> {
        let object = self.connection.open(queue, mq::MQOO_INQUIRE).ok()?;
        let number = self.connection.inquire_number(&object, selector).ok();
        let _ = self.connection.close(object);
        number.and_then(|number| u64::try_from(number).ok())
    }

    fn put(&mut self, put: MqPutRequest) -> MqPutResult {
        let mut ready = put.ready;
        if !put.begun.begin() {
            // Nobody waits for it any more, and was told that it is not sent.
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
