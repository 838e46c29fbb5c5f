//! MQ's reason codes: what each means here, and what would be right.

use libmqm_sys as mq;
use quorate_resources::IbmMqConnection;

use super::super::broker_link::ConnectorError;

/// Returns the address of a queue manager as MQ writes it.
pub(super) fn address(manager: &IbmMqConnection) -> String {
    format!("{}({})", manager.host, manager.port)
}

/// Failure of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MqFailure {
    pub verb: &'static str,
    /// MQ's reason code.
    pub reason: i32,
}

/// Kind of a failure, by what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MqFailureKind {
    /// The connection is gone, or has to go: the run loop connects again.
    ConnectionLost,
    /// Over by itself soon: something is full, held or shut at the moment.
    Transient,
    /// An operator has to see to it.
    Permanent,
}

impl MqFailure {
    /// Returns the kind of the failure.
    pub(crate) fn kind(self) -> MqFailureKind {
        match self.reason {
            mq::MQRC_CONNECTION_BROKEN
            | mq::MQRC_HCONN_ERROR
            | mq::MQRC_Q_MGR_NOT_AVAILABLE
            | mq::MQRC_Q_MGR_QUIESCING
            | mq::MQRC_Q_MGR_STOPPING
            | mq::MQRC_UNEXPECTED_ERROR
            | mq::MQRC_CONNECTION_QUIESCING
            | mq::MQRC_CONNECTION_STOPPING
            | mq::MQRC_CALL_INTERRUPTED
            | mq::MQRC_RECONNECTING
            | mq::MQRC_CHANNEL_STOPPED
            | mq::MQRC_CHANNEL_STOPPED_BY_USER
            | mq::MQRC_CHANNEL_NOT_AVAILABLE
            | mq::MQRC_HOST_NOT_AVAILABLE => MqFailureKind::ConnectionLost,
            mq::MQRC_OBJECT_IN_USE
            | mq::MQRC_Q_FULL
            | mq::MQRC_PUT_INHIBITED
            | mq::MQRC_GET_INHIBITED
            | mq::MQRC_Q_SPACE_NOT_AVAILABLE
            | mq::MQRC_RESOURCE_PROBLEM
            | mq::MQRC_STORAGE_NOT_AVAILABLE => MqFailureKind::Transient,
            _ => MqFailureKind::Permanent,
        }
    }

    /// Returns true if the queue manager is there, and takes no more work.
    pub(crate) fn quiescing(self) -> bool {
        matches!(
            self.reason,
            mq::MQRC_Q_MGR_QUIESCING | mq::MQRC_CONNECTION_QUIESCING
        )
    }

    /// Returns the failure in words.
    pub(crate) fn text(self, manager: &IbmMqConnection, queue: &str) -> String {
        let IbmMqConnection {
            queue_manager: name,
            channel,
            ..
        } = manager;
        let address = address(manager);
        let user = manager.username.as_deref().unwrap_or_default();
        let MqFailure { verb, reason } = self;
        let answer = format!("{verb} answered {reason}");
        match reason {
            mq::MQRC_NOT_AUTHORIZED if verb == "MQCONNX" => format!(
                "the queue manager {name:?} at {address} did not let the user {user:?} in: correct username or password in the ibm_mq_connection, or the rules (CHLAUTH, CONNAUTH) of the channel {channel:?} ({answer})"
            ),
            mq::MQRC_NOT_AUTHORIZED => format!(
                "the user {user:?} may not use the queue {queue:?}: a channel needs the authorities get and inq, an outgoing and a backout queue put ({answer})"
            ),
            mq::MQRC_Q_MGR_NAME_ERROR => format!(
                "there is no queue manager {name:?} at {address}: correct `queue_manager` or the address ({answer})"
            ),
            mq::MQRC_UNKNOWN_OBJECT_NAME => format!(
                "there is no queue {queue:?} in the queue manager {name:?}: define it there, or correct `queue` ({answer})"
            ),
            mq::MQRC_UNKNOWN_REMOTE_Q_MGR => format!(
                "the queue manager {name:?} knows no way to the one of the queue {queue:?}: define it there, or leave the queue manager out of queue://MANAGER/QUEUE ({answer})"
            ),
            mq::MQRC_PERSISTENT_NOT_ALLOWED => format!(
                "the queue {queue:?} is a temporary one, which has no persistent messages: send with the property delivery-mode 1 ({answer})"
            ),
            mq::MQRC_OBJECT_IN_USE => format!(
                "another program has the queue {queue:?} open for input; it is taken over as soon as that one is gone ({answer})"
            ),
            mq::MQRC_GET_INHIBITED => format!(
                "getting from the queue {queue:?} is inhibited: ALTER QLOCAL with GET(ENABLED) allows it ({answer})"
            ),
            mq::MQRC_PUT_INHIBITED => format!(
                "putting to the queue {queue:?} is inhibited: ALTER QLOCAL with PUT(ENABLED) allows it ({answer})"
            ),
            mq::MQRC_Q_FULL => format!(
                "the queue {queue:?} is full: something must take messages from it, or its MAXDEPTH be raised ({answer})"
            ),
            mq::MQRC_MSG_TOO_BIG_FOR_Q
            | mq::MQRC_MSG_TOO_BIG_FOR_Q_MGR
            | mq::MQRC_MSG_TOO_BIG_FOR_CHANNEL
            | mq::MQRC_DATA_LENGTH_ERROR => format!(
                "the message is longer than the queue {queue:?}, the queue manager or the channel {channel:?} takes: raise their MAXMSGL ({answer})"
            ),
            mq::MQRC_NOT_OPEN_FOR_INPUT
            | mq::MQRC_OBJECT_TYPE_ERROR
            | mq::MQRC_OPTION_NOT_VALID_FOR_TYPE => format!(
                "{queue:?} is no queue that messages can be taken from, such as a remote one ({answer})"
            ),
            mq::MQRC_OBJECT_CHANGED => format!(
                "the definition of the queue {queue:?} was changed while it was open ({answer})"
            ),
            mq::MQRC_Q_MGR_QUIESCING | mq::MQRC_CONNECTION_QUIESCING => format!(
                "the queue manager {name:?} is being stopped and takes no more work; it is asked again until it is back ({answer})"
            ),
            mq::MQRC_Q_MGR_STOPPING | mq::MQRC_CONNECTION_STOPPING => format!(
                "the queue manager {name:?} is stopping; it is asked again until it is back ({answer})"
            ),
            mq::MQRC_Q_MGR_NOT_AVAILABLE | mq::MQRC_HOST_NOT_AVAILABLE => format!(
                "can't reach the queue manager {name:?} at {address}: is it running, does its listener run, and are host and port right? ({answer})"
            ),
            mq::MQRC_CHANNEL_NOT_AVAILABLE
            | mq::MQRC_CHANNEL_STOPPED
            | mq::MQRC_CHANNEL_STOPPED_BY_USER => format!(
                "the channel {channel:?} of the queue manager {name:?} is stopped, or has all the instances that it may have (MAXINST, MAXINSTC): start it there ({answer})"
            ),
            mq::MQRC_UNKNOWN_CHANNEL_NAME | mq::MQRC_CHANNEL_CONFIG_ERROR => format!(
                "the queue manager {name:?} at {address} has no server-connection channel {channel:?}, or its settings and ours don't fit: correct `channel` ({answer})"
            ),
            mq::MQRC_CHANNEL_BLOCKED => format!(
                "a rule of the queue manager {name:?} (CHLAUTH) blocks the channel {channel:?} for this host or the user {user:?} ({answer})"
            ),
            mq::MQRC_MAX_CONNS_LIMIT_REACHED => format!(
                "the queue manager {name:?} has all the connections that it may have ({answer})"
            ),
            mq::MQRC_KEY_REPOSITORY_ERROR => format!(
                "the key repository {:?} can't be opened: `ssl_key_repository` is its path, on every member, with the stash file (.sth) beside it ({answer})",
                manager.ssl_key_repository.as_deref().unwrap_or_default()
            ),
            mq::MQRC_SSL_PEER_NAME_MISMATCH => format!(
                "the queue manager's certificate is not the one that is expected there ({answer})"
            ),
            mq::MQRC_SSL_INITIALIZATION_ERROR
            | mq::MQRC_SSL_CONFIG_ERROR
            | mq::MQRC_JSSE_ERROR
            | mq::MQRC_UNSUPPORTED_CIPHER_SUITE
            | mq::MQRC_SSL_NOT_ALLOWED
            | mq::MQRC_SSL_CERTIFICATE_REVOKED
            | mq::MQRC_SSL_CERT_STORE_ERROR
            | mq::MQRC_CHANNEL_SSL_ERROR
            | mq::MQRC_SCO_ERROR => format!(
                "TLS with the queue manager {name:?} at {address} failed: `ssl_cipher_spec` ({:?}) must be the SSLCIPH of the channel {channel:?}, and the key repository must hold the certificate of who signed the queue manager's ({answer})",
                manager.ssl_cipher_spec.as_deref().unwrap_or_default()
            ),
            mq::MQRC_BACKED_OUT => format!(
                "the queue manager backed the unit of work out; the message comes again ({answer})"
            ),
            mq::MQRC_CONNECTION_BROKEN
            | mq::MQRC_HCONN_ERROR
            | mq::MQRC_CALL_INTERRUPTED
            | mq::MQRC_RECONNECTING => format!(
                "the connection to the queue manager {name:?} at {address} is lost ({answer})"
            ),
            _ => format!(
                "{answer} for {queue:?} at the queue manager {name:?} ({address}); `mqrc {reason}` tells what it means"
            ),
        }
    }

    /// Converts the failure for the run loop.
    pub(crate) fn into_error(self, manager: &IbmMqConnection, queue: &str) -> ConnectorError {
        ConnectorError {
            text: self.text(manager, queue),
            transient: self.reason == mq::MQRC_OBJECT_IN_USE,
            ..ConnectorError::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(reason: i32) -> MqFailure {
        MqFailure {
            verb: "MQGET",
            reason,
        }
    }

    #[test]
    fn failure_kinds_follow_reason_codes() {
        for reason in [
            2009, 2018, 2059, 2161, 2162, 2195, 2202, 2203, 2537, 2538, 2544, 2549, 2279, 2283,
        ] {
            assert_eq!(
                failure(reason).kind(),
                MqFailureKind::ConnectionLost,
                "{reason}"
            );
        }
        for reason in [2042, 2016, 2051, 2053] {
            assert_eq!(failure(reason).kind(), MqFailureKind::Transient, "{reason}");
        }
        for reason in [2035, 2058, 2085, 2397, 2030, 2003, 1] {
            assert_eq!(failure(reason).kind(), MqFailureKind::Permanent, "{reason}");
        }
    }

    #[test]
    fn failure_text_has_reason_and_no_secret() {
        let manager: IbmMqConnection = serde_json::from_value(serde_json::json!({
            "name": "m", "host": "mq.example", "port": 1414, "queue_manager": "QM1", "channel": "C",
            "username": "app", "password": "secret", "ssl": true, "library": "l"
        }))
        .unwrap();
        for reason in 2001..2600 {
            let error = failure(reason).into_error(&manager, "ORDERS");
            assert!(error.text.contains(&reason.to_string()), "{}", error.text);
            assert!(!error.text.contains("secret"), "{}", error.text);
            assert_eq!(error.transient, reason == 2042);
        }
    }
}
