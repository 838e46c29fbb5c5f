//! Safe calls of MQI's verbs: one connection, used by the one thread that made it.
#![allow(unsafe_code)]

pub(super) mod get;

use std::{ffi::c_void, ptr, sync::Arc};

use libmqm_default as default;
use libmqm_sys as mq;
use quorate_resources::IbmMqConnection;

use super::{
    call_watchdog::CallWatchdog,
    fixed_fields::{padded, text},
    library::MqLibrary,
    outgoing_message::MqAddress,
    reason_codes::{MqFailure, address},
};

/// Longest message of MQ: 100 MiB.
const LONGEST: i32 = 100 << 20;
/// Seconds between two heartbeats on an idle connection, if the queue manager's channel (HBINT)
/// doesn't want fewer.
const HEARTBEAT_S: i32 = 5;
/// Length of a queue's name.
const NAME_LENGTH: i32 = 48;
/// Open queue, or the queue manager itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MqObject(mq::MQHOBJ);

/// Connection to a queue manager. Dropping it backs out its unit of work and disconnects: without
/// the former the disconnect would commit it.
pub(super) struct MqiConnection {
    library: MqLibrary,
    hconn: mq::MQHCONN,
    watchdog: Arc<CallWatchdog>,
    /// Queue manager's id of the connection.
    pub id: [u8; 24],
}

fn checked(verb: &'static str, completion: i32, reason: i32) -> Result<(), MqFailure> {
    match completion {
        mq::MQCC_OK | mq::MQCC_WARNING => Ok(()),
        _ => Err(MqFailure { verb, reason }),
    }
}

fn length(bytes: &[u8], verb: &'static str) -> Result<i32, MqFailure> {
    let reason = mq::MQRC_DATA_LENGTH_ERROR;
    i32::try_from(bytes.len()).map_err(|_| MqFailure { verb, reason })
}

impl MqiConnection {
    /// Connects. The queue manager shows `name`.
    pub(super) fn connect(
        library: MqLibrary,
        to: &IbmMqConnection,
        name: &str,
        watchdog: Arc<CallWatchdog>,
    ) -> Result<Self, MqFailure> {
        let mut channel = mq::MQCD {
            Version: mq::MQCD_VERSION_11,
            TransportType: mq::MQXPT_TCP,
            ChannelName: padded(&to.channel),
            ConnectionName: padded(&address(to)),
            MaxMsgLength: LONGEST,
            HeartbeatInterval: HEARTBEAT_S,
            ..default::MQCD_CLIENT_CONN_DEFAULT
        };
        let mut tls = mq::MQSCO {
            KeyRepository: padded(to.ssl_key_repository.as_deref().unwrap_or_default()),
            ..default::MQSCO_DEFAULT
        };
        if to.ssl {
            channel.SSLCipherSpec = padded(to.ssl_cipher_spec.as_deref().unwrap_or_default());
        }
        let user = to.username.clone().unwrap_or_default();
        let password = to.password.clone().unwrap_or_default();
        let mut credentials = mq::MQCSP {
            AuthenticationType: mq::MQCSP_AUTH_USER_ID_AND_PWD,
            CSPUserIdPtr: user.as_ptr().cast_mut().cast(),
            CSPUserIdLength: length(user.as_bytes(), "MQCONNX")?,
            CSPPasswordPtr: password.as_ptr().cast_mut().cast(),
            CSPPasswordLength: length(password.as_bytes(), "MQCONNX")?,
            ..default::MQCSP_DEFAULT
        };
        let mut options = mq::MQCNO {
            Version: mq::MQCNO_VERSION_7,
            // A connection that comes back by itself would do so past a lost lease.
            Options: mq::MQCNO_RECONNECT_DISABLED,
            ClientConnPtr: ptr::from_mut(&mut channel).cast(),
            ApplName: padded(name),
            ..default::MQCNO_DEFAULT
        };
        if to.ssl {
            options.SSLConfigPtr = &raw mut tls;
        }
        if to.username.is_some() {
            options.SecurityParmsPtr = &raw mut credentials;
        }
        let queue_manager = padded(&to.queue_manager);
        let mut hconn = mq::MQHC_UNUSABLE_HCONN;
        let (mut completion, mut reason) = (mq::MQCC_FAILED, mq::MQRC_UNEXPECTED_ERROR);
        // SAFETY: every structure that `options` points at, and the texts that those point
        // at, live until the call has returned; it keeps none of them.
        unsafe {
            library.MQCONNX(
                &queue_manager,
                &mut options,
                &mut hconn,
                &mut completion,
                &mut reason,
            );
        }
        checked("MQCONNX", completion, reason)?;
        Ok(MqiConnection {
            library,
            hconn,
            watchdog,
            id: options.ConnectionId,
        })
    }

    fn call(
        &self,
        verb: &'static str,
        call: impl FnOnce(mq::MQHCONN, &mut mq::MQLONG, &mut mq::MQLONG),
    ) -> Result<(), MqFailure> {
        let (mut completion, mut reason) = (mq::MQCC_FAILED, mq::MQRC_UNEXPECTED_ERROR);
        let _calling = self.watchdog.calling();
        call(self.hconn, &mut completion, &mut reason);
        checked(verb, completion, reason)
    }

    fn open_object(&self, mut object: mq::MQOD, options: i32) -> Result<MqObject, MqFailure> {
        let mut hobj = mq::MQHO_UNUSABLE_HOBJ;
        self.call("MQOPEN", |hconn, completion, reason| {
            // SAFETY: all that is passed is plain data of this frame.
            unsafe {
                self.library
                    .MQOPEN(hconn, &mut object, options, &mut hobj, completion, reason);
            }
        })?;
        Ok(MqObject(hobj))
    }

    pub(super) fn open(&self, queue: &str, options: i32) -> Result<MqObject, MqFailure> {
        let object = mq::MQOD {
            ObjectName: padded(queue),
            ..default::MQOD_DEFAULT
        };
        self.open_object(object, options | mq::MQOO_FAIL_IF_QUIESCING)
    }

    /// Opens a queue to browse its messages, beside other programs that get from it.
    pub(super) fn open_to_browse(&self, queue: &str) -> Result<MqObject, MqFailure> {
        self.open(queue, mq::MQOO_BROWSE | mq::MQOO_NO_READ_AHEAD)
    }

    /// Opens the queue manager, to ask it whether it is there.
    pub(super) fn open_manager(&self) -> Result<MqObject, MqFailure> {
        let object = mq::MQOD {
            ObjectType: mq::MQOT_Q_MGR,
            ..default::MQOD_DEFAULT
        };
        self.open_object(object, mq::MQOO_INQUIRE)
    }

    pub(super) fn close(&self, object: MqObject) -> Result<(), MqFailure> {
        let mut hobj = object.0;
        self.call("MQCLOSE", |hconn, completion, reason| {
            // SAFETY: all that is passed is plain data of this frame.
            unsafe {
                self.library
                    .MQCLOSE(hconn, &mut hobj, mq::MQCO_NONE, completion, reason);
            }
        })
    }

    /// Puts a message on an open queue, outside of any unit of work: once this has returned the
    /// message is there. The descriptor then has its id.
    pub(super) fn put(
        &self,
        queue: &MqObject,
        descriptor: &mut mq::MQMD2,
        own_id: bool,
        body: &[u8],
    ) -> Result<(), MqFailure> {
        let mut options = put_options(mq::MQPMO_NO_SYNCPOINT, own_id);
        let length = length(body, "MQPUT")?;
        self.call("MQPUT", |hconn, completion, reason| {
            // SAFETY: the descriptor is of the version that it says; the body is that long
            // and is only read.
            unsafe {
                self.library.MQPUT(
                    hconn,
                    queue.0,
                    ptr::from_mut(descriptor).cast(),
                    &mut options,
                    length,
                    body.as_ptr().cast_mut().cast::<c_void>(),
                    completion,
                    reason,
                );
            }
        })
    }

    /// Puts a message in the same way on a queue that is opened for it.
    pub(super) fn put_to(
        &self,
        to: &MqAddress,
        descriptor: &mut mq::MQMD2,
        own_id: bool,
        body: &[u8],
    ) -> Result<(), MqFailure> {
        let options = put_options(mq::MQPMO_NO_SYNCPOINT, own_id);
        self.put_once(to, descriptor, options, body)
    }

    /// Puts a message on a queue in the unit of work, as the user who put the message that was got
    /// from `of`, if this user may do so.
    pub(super) fn put_along(
        &self,
        queue: &str,
        of: &MqObject,
        descriptor: &mut mq::MQMD2,
        body: &[u8],
    ) -> Result<(), MqFailure> {
        let plain = put_options(mq::MQPMO_SYNCPOINT, true);
        let passing = mq::MQPMO {
            Options: plain.Options | mq::MQPMO_PASS_ALL_CONTEXT,
            Context: of.0,
            ..plain
        };
        let to = MqAddress {
            manager: String::new(),
            queue: queue.to_owned(),
        };
        match self.put_once(&to, descriptor, passing, body) {
            Err(failure) if failure.reason == mq::MQRC_NOT_AUTHORIZED => {
                self.put_once(&to, descriptor, plain, body)
            }
            result => result,
        }
    }

    fn put_once(
        &self,
        to: &MqAddress,
        descriptor: &mut mq::MQMD2,
        mut options: mq::MQPMO,
        body: &[u8],
    ) -> Result<(), MqFailure> {
        let mut object = mq::MQOD {
            ObjectName: padded(&to.queue),
            ObjectQMgrName: padded(&to.manager),
            ..default::MQOD_DEFAULT
        };
        let length = length(body, "MQPUT1")?;
        self.call("MQPUT1", |hconn, completion, reason| {
            // SAFETY: as for MQPUT.
            unsafe {
                self.library.MQPUT1(
                    hconn,
                    &mut object,
                    ptr::from_mut(descriptor).cast(),
                    &mut options,
                    length,
                    body.as_ptr().cast_mut().cast::<c_void>(),
                    completion,
                    reason,
                );
            }
        })
    }

    /// Returns a numeric attribute of an object that was opened for inquiry.
    pub(super) fn inquire_number(
        &self,
        object: &MqObject,
        selector: i32,
    ) -> Result<i32, MqFailure> {
        let (mut selector, mut number) = (selector, 0);
        self.call("MQINQ", |hconn, completion, reason| {
            // SAFETY: one selector, room for one number and for no text.
            unsafe {
                self.library.MQINQ(
                    hconn,
                    object.0,
                    1,
                    &raw mut selector,
                    1,
                    &raw mut number,
                    0,
                    ptr::null_mut(),
                    completion,
                    reason,
                );
            }
        })?;
        Ok(number)
    }

    /// Returns a name of an object that was opened for inquiry.
    pub(super) fn inquire_name(
        &self,
        object: &MqObject,
        selector: i32,
    ) -> Result<String, MqFailure> {
        let mut selector = selector;
        let mut name: mq::MQCHAR48 = padded("");
        self.call("MQINQ", |hconn, completion, reason| {
            // SAFETY: one selector of a text of 48 characters, for which there is room.
            unsafe {
                self.library.MQINQ(
                    hconn,
                    object.0,
                    1,
                    &raw mut selector,
                    0,
                    ptr::null_mut(),
                    NAME_LENGTH,
                    name.as_mut_ptr(),
                    completion,
                    reason,
                );
            }
        })?;
        // The field is filled with these where objects of this type have no such name, as aliases
        // don't.
        Ok(Some(text(&name))
            .filter(|name| !name.starts_with('*'))
            .unwrap_or_default())
    }

    pub(super) fn commit(&self) -> Result<(), MqFailure> {
        self.call("MQCMIT", |hconn, completion, reason| {
            // SAFETY: all that is passed is plain data of this frame.
            unsafe { self.library.MQCMIT(hconn, completion, reason) }
        })
    }

    pub(super) fn back_out(&self) -> Result<(), MqFailure> {
        self.call("MQBACK", |hconn, completion, reason| {
            // SAFETY: all that is passed is plain data of this frame.
            unsafe { self.library.MQBACK(hconn, completion, reason) }
        })
    }
}

impl Drop for MqiConnection {
    fn drop(&mut self) {
        let _ = self.back_out();
        let _ = self.call("MQDISC", |mut hconn, completion, reason| {
            // SAFETY: all that is passed is plain data of this frame.
            unsafe { self.library.MQDISC(&mut hconn, completion, reason) }
        });
    }
}

/// Returns options by which the answer comes once the message is there, whatever the queue's
/// DEFPRESP says.
fn put_options(syncpoint: i32, own_id: bool) -> mq::MQPMO {
    let id = if own_id { 0 } else { mq::MQPMO_NEW_MSG_ID };
    mq::MQPMO {
        Options: syncpoint | mq::MQPMO_SYNC_RESPONSE | mq::MQPMO_FAIL_IF_QUIESCING | id,
        ..default::MQPMO_DEFAULT
    }
}
