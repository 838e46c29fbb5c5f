//! Conversion by the queue manager (MQGMO_CONVERT) of texts that the tables here lack.
//!
//! # Why a message is got as it is, and converted beside that
//!
//! One could ask for the conversion with each get. It would be a get under syncpoint of something
//! else than what was put, and these follow from that:
//!
//! - The backout queue would no longer get the message: bytes of a format of one's own have gone
//!   through whatever exit the queue manager has for it, and no one can get them back.
//! - A text would come as IBM's tables and the queue manager's settings have it
//!   (`ConvEBCDICNewline` decides what a line's end is), or as ours where it has none: which, one
//!   couldn't know. For the pages that [`super::charset`] has, ours are the same for all.
//! - A message whose text gets too long for the buffer is *taken*, and comes unconverted
//!   (MQRC_CONVERTED_MSG_TOO_BIG). To ask again it must be backed out, which MQ counts.
//! - The queue manager would convert everything, whether anybody needs it or not.
//!
//! So a message is got as it was put, and read with our tables. Only where they lack its text's
//! character set, as they do all that have characters of two bytes, the queue manager is asked: the
//! message is *browsed* first, converted, and then got, unconverted. A browse takes nothing. It can
//! be repeated with more room, and however it fails the message is got as any other; the text then
//! stays bytes, and a property has the reason.
//!
//! A message that is in a unit of work can't be browsed, by this program neither. The first one of
//! a session that needs it has been got by then: it is given back, unseen by any service, and comes
//! again. MQ counts that as a try. It is not counted here, but a session that follows can't know: a
//! message at which one session begins to browse and ends has one try less, as it has by being
//! given back at a takeover. From then on every message of the session is browsed before it is got,
//! which is a call more.
//!
//! The queue is opened a second time, to browse only, when that is first needed: a channel without
//! such texts needs no authority for it, and the handle that keeps others from getting is never
//! closed for this.

use libmqm_sys as mq;

use super::{
    charset::decode,
    message_headers::{contents, read_headers},
    mqi_connection::{
        MqObject, MqiConnection,
        get::{ConvertedMessage, ROOM},
    },
    reason_codes::{MqFailure, MqFailureKind},
};

/// State of the queue manager's conversion in a session.
#[derive(Default)]
pub(super) enum TextConversion {
    /// No message has needed it so far.
    #[default]
    Unneeded,
    /// The queue is open to browse.
    Browsing(MqObject),
    /// The queue manager can't be asked, for this reason.
    Refused(NotConverted),
}

/// Reason why a text was not converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotConverted {
    #[error("it is no text of that character set")]
    NoText,
    #[error("its character set is not known here")]
    UnknownCharset,
    #[error("the queue manager left it as it is")]
    LeftAsIs,
    #[error("the queue manager can't convert it (MQGET answered {0})")]
    NotPossible(i32),
    #[error("the queue manager could not be asked to convert it ({verb} answered {reason}{hint})")]
    NotAsked {
        verb: &'static str,
        reason: i32,
        hint: &'static str,
    },
}

/// Message as it was browsed before it was got.
pub(super) struct BrowsedMessage {
    /// Descriptor; `None` where browsing failed.
    descriptor: Option<Box<mq::MQMD2>>,
    text: Result<String, NotConverted>,
}

impl TextConversion {
    /// Opens the queue to browse, if that hasn't been tried. Returns `None` if messages are browsed
    /// from now on, otherwise the message that stands in for every browse.
    pub(super) fn begin(
        &mut self,
        connection: &MqiConnection,
        queue: &str,
    ) -> Result<Option<BrowsedMessage>, MqFailure> {
        if let TextConversion::Unneeded = self {
            *self = match connection.open_to_browse(queue) {
                Ok(object) => TextConversion::Browsing(object),
                Err(failure) if failure.kind() == MqFailureKind::ConnectionLost => {
                    return Err(failure);
                }
                Err(failure) => TextConversion::Refused(refused(failure)),
            };
        }
        Ok(match self {
            TextConversion::Refused(why) => Some(BrowsedMessage::failed(why.clone())),
            TextConversion::Unneeded | TextConversion::Browsing(_) => None,
        })
    }

    /// Waits so many milliseconds for a message, and browses it.
    pub(super) fn browse(
        &self,
        connection: &MqiConnection,
        wait_ms: i32,
    ) -> Result<BrowseOutcome, MqFailure> {
        let object = match self {
            TextConversion::Unneeded => return Ok(BrowseOutcome::Off),
            TextConversion::Refused(why) => {
                return Ok(BrowseOutcome::Message(BrowsedMessage::failed(why.clone())));
            }
            TextConversion::Browsing(object) => object,
        };
        let mut buffer = vec![0; ROOM];
        match connection.browse_converted(object, wait_ms, &mut buffer) {
            Ok(None) => Ok(BrowseOutcome::Empty),
            Ok(Some(converted)) => Ok(BrowseOutcome::Message(BrowsedMessage::read(
                &converted, &buffer,
            ))),
            Err(failure) if failure.kind() == MqFailureKind::ConnectionLost => Err(failure),
            // Whatever the failure is: the get that follows reports it, if it is that of the queue.
            Err(failure) => Ok(BrowseOutcome::Message(BrowsedMessage::failed(refused(
                failure,
            )))),
        }
    }

    /// Closes the queue, if it was opened to browse.
    pub(super) fn close(self, connection: &MqiConnection) -> Result<(), MqFailure> {
        match self {
            TextConversion::Browsing(object) => connection.close(object),
            TextConversion::Unneeded | TextConversion::Refused(_) => Ok(()),
        }
    }
}

/// Outcome of a browse.
pub(super) enum BrowseOutcome {
    /// Messages are not browsed.
    Off,
    /// No message is there.
    Empty,
    /// A message is there, or browsing failed.
    Message(BrowsedMessage),
}

impl BrowsedMessage {
    fn failed(why: NotConverted) -> Self {
        BrowsedMessage {
            descriptor: None,
            text: Err(why),
        }
    }

    fn read(converted: &ConvertedMessage, buffer: &[u8]) -> Self {
        let ConvertedMessage { got, warning } = converted;
        let text = match *warning {
            mq::MQRC_NONE => {
                let raw = &buffer[..got.length];
                let contents = contents(&got.descriptor);
                // Headers that hold something else than properties are still there.
                let inner = read_headers(raw, contents).map(|(_, inner, at)| (inner, at));
                let (inner, at) = inner.unwrap_or((contents, 0));
                decode(&raw[at..], inner.ccsid, inner.encoding).ok_or(NotConverted::LeftAsIs)
            }
            reason => Err(NotConverted::NotPossible(reason)),
        };
        BrowsedMessage {
            descriptor: Some(Box::new(got.descriptor)),
            text,
        }
    }

    /// Returns the descriptor, by whose ids the message is to be got.
    pub(super) fn descriptor(&self) -> Option<&mq::MQMD2> {
        self.descriptor.as_deref()
    }

    /// Returns true if the message that was got is the one that was browsed. Senders may give an id
    /// twice, and the first of two can expire between browse and get.
    pub(super) fn is_same_as(&self, got: &mq::MQMD2) -> bool {
        let identity = |it: &mq::MQMD2| {
            let put = (it.PutDate, it.PutTime, it.PutApplName);
            (it.MsgId, it.CorrelId, it.MsgSeqNumber, put)
        };
        let browsed = self.descriptor();
        browsed.is_none_or(|browsed| identity(browsed) == identity(got))
    }

    /// Returns the text of the message, or why there is none.
    pub(super) fn text(&self) -> Result<&str, NotConverted> {
        self.text.as_deref().map_err(NotConverted::clone)
    }
}

/// Returns why the queue manager could not be asked.
fn refused(failure: MqFailure) -> NotConverted {
    let MqFailure { verb, reason } = failure;
    let hint = if reason == mq::MQRC_NOT_AUTHORIZED {
        "; grant the authority browse on the queue"
    } else {
        ""
    };
    NotConverted::NotAsked { verb, reason, hint }
}

#[cfg(test)]
mod tests {
    use libmqm_default::MQMD2_DEFAULT;

    use super::*;

    #[test]
    fn message_with_ids_of_another_is_distinguished() {
        let first = mq::MQMD2 {
            MsgId: [7; 24],
            PutTime: [1; 8],
            ..MQMD2_DEFAULT
        };
        let second = mq::MQMD2 {
            PutTime: [2; 8],
            ..first
        };
        let browsed = BrowsedMessage {
            descriptor: Some(Box::new(first)),
            text: Ok(String::new()),
        };
        // A message that was got is unconverted, and may have been given back before.
        let got = mq::MQMD2 {
            CodedCharSetId: 1399,
            BackoutCount: 1,
            ..first
        };
        assert!(browsed.is_same_as(&got));
        assert!(!browsed.is_same_as(&second));
        assert!(BrowsedMessage::failed(NotConverted::LeftAsIs).is_same_as(&second));
    }
}
