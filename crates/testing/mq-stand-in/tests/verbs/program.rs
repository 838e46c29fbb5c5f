//! A program that uses the functions of the library.

use libmqm_default as default;
use libmqm_sys as mq;
use mq_stand_in::{
    abi::{MQBACK, MQCMIT, MQCONNX, MQDISC, MQGET, MQOPEN, MQPUT},
    control::Control,
    manager::{Manager, Settings},
    wire::Attributes,
};

/// Outside of any unit of work.
pub const NOW: mq::MQLONG = mq::MQPMO_NO_SYNCPOINT;

/// A field, padded with blanks.
pub fn field<const N: usize>(text: &str) -> [mq::MQCHAR; N] {
    let mut field = [b' ' as mq::MQCHAR; N];
    for (to, byte) in field.iter_mut().zip(text.bytes()) {
        *to = byte as mq::MQCHAR;
    }
    field
}

/// What a call answered: the reason.
pub fn answer(call: impl FnOnce(&mut mq::MQLONG, &mut mq::MQLONG)) -> mq::MQLONG {
    let (mut completion, mut reason) = (-1, -1);
    call(&mut completion, &mut reason);
    assert_eq!(completion == mq::MQCC_OK, reason == mq::MQRC_NONE);
    reason
}

/// A program that is connected.
pub struct Program {
    pub hconn: mq::MQHCONN,
}

impl Program {
    pub fn connect(manager: &Manager) -> Program {
        let address = manager.address();
        let mut channel = mq::MQCD {
            ChannelName: field("DEV.APP.SVRCONN"),
            ConnectionName: field(&format!("{}({})", address.ip(), address.port())),
            ..default::MQCD_CLIENT_CONN_DEFAULT
        };
        let mut options = mq::MQCNO {
            Version: mq::MQCNO_VERSION_7,
            Options: mq::MQCNO_RECONNECT_DISABLED,
            ClientConnPtr: (&raw mut channel).cast(),
            ..default::MQCNO_DEFAULT
        };
        let mut hconn = 0;
        let reason = answer(|completion, reason| {
            // SAFETY: the options and what they point at are there.
            unsafe {
                MQCONNX(
                    &field("STANDIN"),
                    &mut options,
                    &mut hconn,
                    completion,
                    reason,
                )
            }
        });
        assert_eq!(reason, 0);
        Program { hconn }
    }

    pub fn open(&self, options: mq::MQLONG) -> Result<mq::MQHOBJ, mq::MQLONG> {
        let mut object = mq::MQOD {
            ObjectName: field("Q"),
            ..default::MQOD_DEFAULT
        };
        let mut hobj = 0;
        match answer(|completion, reason| {
            // SAFETY: the descriptor is there.
            unsafe {
                MQOPEN(
                    self.hconn,
                    &mut object,
                    options,
                    &mut hobj,
                    completion,
                    reason,
                );
            }
        }) {
            0 => Ok(hobj),
            reason => Err(reason),
        }
    }

    pub fn put(&self, hobj: mq::MQHOBJ, body: &str, priority: mq::MQLONG, syncpoint: mq::MQLONG) {
        let mut descriptor = mq::MQMD2 {
            Priority: priority,
            ..default::MQMD2_DEFAULT
        };
        let mut options = mq::MQPMO {
            Options: syncpoint,
            ..default::MQPMO_DEFAULT
        };
        let reason = answer(|completion, reason| {
            let (head, buffer) = (
                (&raw mut descriptor).cast(),
                body.as_ptr().cast_mut().cast(),
            );
            let length = body.len() as mq::MQLONG;
            // SAFETY: the descriptor and the body are there.
            unsafe {
                MQPUT(
                    self.hconn,
                    hobj,
                    head,
                    &mut options,
                    length,
                    buffer,
                    completion,
                    reason,
                )
            }
        });
        assert_eq!(reason, 0);
    }

    /// The body and the count of backouts, or the reason and the length.
    pub fn get(
        &self,
        hobj: mq::MQHOBJ,
        room: usize,
    ) -> Result<(String, mq::MQLONG), (mq::MQLONG, mq::MQLONG)> {
        let mut descriptor = default::MQMD2_DEFAULT;
        let mut options = mq::MQGMO {
            Options: mq::MQGMO_SYNCPOINT,
            ..default::MQGMO_DEFAULT
        };
        let (mut buffer, mut length) = (vec![0; room], 0);
        let reason = answer(|completion, reason| {
            let (head, to) = ((&raw mut descriptor).cast(), buffer.as_mut_ptr().cast());
            let room = room as mq::MQLONG;
            // SAFETY: the descriptor is there, and the buffer has that much room.
            unsafe {
                MQGET(
                    self.hconn,
                    hobj,
                    head,
                    &mut options,
                    room,
                    to,
                    &mut length,
                    completion,
                    reason,
                );
            }
        });
        buffer.truncate(length as usize);
        match reason {
            0 => Ok((String::from_utf8(buffer).unwrap(), descriptor.BackoutCount)),
            reason => Err((reason, length)),
        }
    }

    pub fn commit(&self) {
        assert_eq!(
            answer(|completion, reason| MQCMIT(self.hconn, completion, reason)),
            0
        );
    }

    pub fn back_out(&self) {
        assert_eq!(
            answer(|completion, reason| MQBACK(self.hconn, completion, reason)),
            0
        );
    }

    pub fn disconnect(mut self) {
        let hconn = &mut self.hconn;
        assert_eq!(
            answer(|completion, reason| MQDISC(hconn, completion, reason)),
            0
        );
    }
}

/// A queue manager with a queue `Q`.
pub fn manager() -> Manager {
    let manager = Manager::start(Settings::default()).unwrap();
    let mut control = Control::connect(&manager.address().to_string()).unwrap();
    control.define("Q", Attributes::default()).unwrap();
    manager
}

/// Control of a queue manager.
pub fn control(manager: &Manager) -> Control {
    Control::connect(&manager.address().to_string()).unwrap()
}

/// What a get gave: completion code, reason, descriptor, bytes and whole length.
#[derive(Debug)]
pub struct Got {
    pub codes: (mq::MQLONG, mq::MQLONG),
    pub descriptor: mq::MQMD2,
    pub body: Vec<u8>,
    pub length: usize,
}

impl Program {
    /// Gets with options of one's own.
    pub fn get_with(
        &self,
        hobj: mq::MQHOBJ,
        mut options: mq::MQGMO,
        mut descriptor: mq::MQMD2,
        room: usize,
    ) -> Got {
        let (mut buffer, mut length) = (vec![0; room], 0);
        let (mut completion, mut reason) = (-1, -1);
        // SAFETY: the structures are there, and the buffer has that much room.
        unsafe {
            MQGET(
                self.hconn,
                hobj,
                (&raw mut descriptor).cast(),
                &mut options,
                room as mq::MQLONG,
                buffer.as_mut_ptr().cast(),
                &mut length,
                &mut completion,
                &mut reason,
            );
        }
        buffer.truncate(length as usize);
        Got {
            codes: (completion, reason),
            descriptor,
            body: buffer,
            length: length as usize,
        }
    }

    /// Gets with these options only.
    pub fn get_plain(&self, hobj: mq::MQHOBJ, options: mq::MQLONG) -> Got {
        let options = mq::MQGMO {
            Options: options,
            ..default::MQGMO_DEFAULT
        };
        self.get_with(hobj, options, default::MQMD2_DEFAULT, 100)
    }

    /// Puts with a descriptor and options of one's own; gives both codes and the descriptor.
    pub fn put_with(
        &self,
        hobj: mq::MQHOBJ,
        mut options: mq::MQPMO,
        mut descriptor: mq::MQMD2,
        body: &[u8],
    ) -> ((mq::MQLONG, mq::MQLONG), mq::MQMD2) {
        let (mut completion, mut reason) = (-1, -1);
        // SAFETY: the structures and the body are there.
        unsafe {
            MQPUT(
                self.hconn,
                hobj,
                (&raw mut descriptor).cast(),
                &mut options,
                body.len() as mq::MQLONG,
                body.as_ptr().cast_mut().cast(),
                &mut completion,
                &mut reason,
            );
        }
        ((completion, reason), descriptor)
    }

    /// Opens an object of one's own and gives its name then.
    pub fn open_object(
        &self,
        mut object: mq::MQOD,
        options: mq::MQLONG,
    ) -> Result<(mq::MQHOBJ, String), mq::MQLONG> {
        let mut hobj = 0;
        let reason = answer(|completion, reason| {
            // SAFETY: the descriptor is there.
            unsafe {
                MQOPEN(
                    self.hconn,
                    &mut object,
                    options,
                    &mut hobj,
                    completion,
                    reason,
                )
            };
        });
        let name: String = object
            .ObjectName
            .iter()
            .map(|it| char::from(*it as u8))
            .collect();
        if reason == 0 {
            Ok((hobj, name.trim_end().to_owned()))
        } else {
            Err(reason)
        }
    }
}
