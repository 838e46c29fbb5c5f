//! MQGET: getting messages under syncpoint, and browsing them as the queue manager converts them.

use std::{ffi::c_void, ptr};

use libmqm_default as default;
use libmqm_sys as mq;

use super::{super::reason_codes::MqFailure, LONGEST, MqObject, MqiConnection, length};

/// First size of the buffer for a message, which grows for longer ones.
pub(crate) const ROOM: usize = 64 << 10;
/// UTF-8, which every text can be converted to.
const UTF_8: i32 = 1208;
/// Growth of a message in UTF-8: where a byte stood for one character, or two for one or for a
/// pair, there may be three for each.
const GROWTH: usize = 3;

/// Message that was got: its descriptor and its length.
pub(crate) struct GotMessage {
    pub descriptor: mq::MQMD2,
    /// Length in the buffer.
    pub length: usize,
}

/// Message that was browsed.
pub(crate) struct ConvertedMessage {
    /// Message as converted.
    pub got: GotMessage,
    /// Reason why the message is not converted; MQRC_NONE where it is.
    pub warning: mq::MQLONG,
}

/// Answer of the queue manager, of however many bytes the message has.
struct GetAnswer {
    whole: usize,
    reason: mq::MQLONG,
}

impl MqiConnection {
    /// Gets a message under syncpoint, waiting so many milliseconds for one: the first, or the
    /// first that has the ids of this descriptor.
    ///
    /// Whatever properties the message has, and whatever the queue's PROPCTL says, they come as
    /// MQRFH2 headers before the body.
    pub(crate) fn get(
        &self,
        queue: &MqObject,
        same_as: Option<&mq::MQMD2>,
        wait_ms: i32,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<GotMessage>, MqFailure> {
        let options = mq::MQGMO_SYNCPOINT | mq::MQGMO_PROPERTIES_FORCE_MQRFH2;
        loop {
            // Ids of nothing but zeros are those of any message.
            let mut descriptor = mq::MQMD2 {
                MsgId: same_as.map_or([0; 24], |it| it.MsgId),
                CorrelId: same_as.map_or([0; 24], |it| it.CorrelId),
                ..default::MQMD2_DEFAULT
            };
            let given = self.once(queue, options, wait_ms, &mut descriptor, buffer)?;
            let Some(GetAnswer { whole, reason }) = given else {
                return Ok(None);
            };
            // A warning: the message is still on the queue, and is that long.
            if reason == mq::MQRC_TRUNCATED_MSG_FAILED && whole > buffer.len() {
                buffer.resize(whole, 0);
                continue;
            }
            return Ok(Some(GotMessage {
                descriptor,
                length: whole.min(buffer.len()),
            }));
        }
    }

    /// Browses the first message of a queue that is open to browse, as the queue manager converts
    /// it to UTF-8. The message stays where it is, so that it can be browsed again with more room.
    ///
    /// The message comes without its properties: the queue manager compares the requested character
    /// set with the descriptor alone, and would leave a text as it is that stands behind a header
    /// in UTF-8.
    pub(crate) fn browse_converted(
        &self,
        queue: &MqObject,
        wait_ms: i32,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<ConvertedMessage>, MqFailure> {
        let options = mq::MQGMO_BROWSE_FIRST | mq::MQGMO_CONVERT | mq::MQGMO_NO_PROPERTIES;
        loop {
            let mut descriptor = mq::MQMD2 {
                CodedCharSetId: UTF_8,
                Encoding: mq::MQENC_NATIVE,
                ..default::MQMD2_DEFAULT
            };
            let given = self.once(queue, options, wait_ms, &mut descriptor, buffer)?;
            let Some(GetAnswer { whole, reason }) = given else {
                return Ok(None);
            };
            let short = matches!(
                reason,
                mq::MQRC_TRUNCATED_MSG_FAILED | mq::MQRC_CONVERTED_MSG_TOO_BIG
            );
            // No more than a channel carries; each round has more room than the one before.
            let longest = usize::try_from(LONGEST).unwrap_or(usize::MAX);
            let room = whole.saturating_mul(GROWTH).min(longest);
            if short && room > buffer.len() {
                buffer.resize(room, 0);
                continue;
            }
            return Ok(Some(ConvertedMessage {
                got: GotMessage {
                    descriptor,
                    length: whole.min(buffer.len()),
                },
                warning: reason,
            }));
        }
    }

    /// Calls MQGET; `None` where no message came in time.
    fn once(
        &self,
        queue: &MqObject,
        options: mq::MQLONG,
        wait_ms: i32,
        descriptor: &mut mq::MQMD2,
        buffer: &mut [u8],
    ) -> Result<Option<GetAnswer>, MqFailure> {
        let mut options = mq::MQGMO {
            Options: options | mq::MQGMO_WAIT | mq::MQGMO_FAIL_IF_QUIESCING,
            WaitInterval: wait_ms,
            ..default::MQGMO_DEFAULT
        };
        let room = length(buffer, "MQGET")?;
        let (mut whole, mut answered) = (0, mq::MQRC_NONE);
        let got = self.call("MQGET", |hconn, completion, reason| {
            // SAFETY: the descriptor is of the version that it says, and the buffer has room
            // for as many bytes as the call is given.
            unsafe {
                self.library.MQGET(
                    hconn,
                    queue.0,
                    ptr::from_mut(descriptor).cast(),
                    &mut options,
                    room,
                    buffer.as_mut_ptr().cast::<c_void>(),
                    &mut whole,
                    completion,
                    reason,
                );
            }
            answered = *reason;
        });
        match got {
            Err(failure) if failure.reason == mq::MQRC_NO_MSG_AVAILABLE => Ok(None),
            Err(failure) => Err(failure),
            Ok(()) => Ok(Some(GetAnswer {
                whole: usize::try_from(whole).unwrap_or(0),
                reason: answered,
            })),
        }
    }
}
