//! What the tests with IBM MQ add to the simulated group: a queue manager of their own each.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mq_stand_in::{
    control::{Control, Taken},
    descriptor,
    manager::{Manager, Settings},
    wire::Attributes,
};
use quorate_clock::Instant;
use quorate_ipc::SendOutcome;
use quorate_proto::connector::{Header, Send};
use quorate_resources::Kind;
use quorate_rfh2::{
    ByteOrder, ContentDescriptor, ENCODING_BIG, ENCODING_NATIVE, FolderCharset, JmsFolders,
    JmsMessageClass, Rfh2Header, read_all,
};
pub use quorate_simulated_group::*;
use quorate_supervisor::SendUnavailable;
use quorate_testkit::programs::built;
use serde_json::{Value, json};

/// The stand-in's library.
pub fn library() -> PathBuf {
    built("libmq_stand_in.so")
}

/// A queue manager with a queue `Q`, and what gives it commands.
pub struct StandIn {
    pub manager: Option<Manager>,
    pub control: Control,
    pub port: u16,
}

impl StandIn {
    pub fn start() -> StandIn {
        StandIn::keeping(None)
    }

    pub fn keeping(journal: Option<&Path>) -> StandIn {
        let manager = Manager::start(Settings {
            journal: journal.map(Path::to_owned),
            ..Settings::default()
        });
        StandIn::of(manager.unwrap())
    }

    fn of(manager: Manager) -> StandIn {
        let port = manager.address().port();
        let mut control = Control::connect(&manager.address().to_string()).unwrap();
        control.define("Q", Attributes::default()).unwrap();
        StandIn {
            manager: Some(manager),
            control,
            port,
        }
    }

    /// Stops, as if killed, and starts at the same address.
    pub fn restart(&mut self, journal: Option<&Path>) {
        self.manager = None;
        let settings = Settings {
            listen: format!("127.0.0.1:{}", self.port),
            journal: journal.map(Path::to_owned),
            ..Settings::default()
        };
        let deadline = Instant::now() + WAIT;
        let manager = loop {
            match Manager::start(settings.clone()) {
                Ok(manager) => break manager,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        *self = StandIn::of(manager);
    }

    /// Puts a text.
    pub fn text(&mut self, text: &str) {
        let head = descriptor::utf_8();
        self.control.put("Q", &head, text.as_bytes()).unwrap();
    }

    /// Puts a text of a mainframe in this character set.
    pub fn put(&mut self, ccsid: i32, text: &[u8]) {
        let head = big_endian(ccsid, b"MQSTR   ");
        self.control.put("Q", &head, text).unwrap();
    }

    pub fn connection(&self) -> Value {
        json!({"name": "manager", "host": "127.0.0.1", "port": self.port,
               "queue_manager": "STANDIN", "channel": "DEV.APP.SVRCONN",
               "username": "app", "password": "secret", "ssl": false, "library": library()})
    }

    /// A group with this connection and two services.
    pub fn group(&self) -> Arc<SimulatedGroup> {
        let group = SimulatedGroup::with_services();
        group.put(Kind::IbmMqConnection, self.connection());
        group
    }

    /// A member that leads in term 2, with this resource beside the connection.
    pub fn member(&self, kind: Kind, resource: Value) -> SimulatedMember {
        let group = self.group();
        group.put(kind, resource);
        // Long enough for a loaded machine not to let the lease run out.
        let member = SimulatedMember::start(&group, 1, 5000);
        member.lead(2);
        member
    }

    /// One whose channel consumes.
    pub async fn consuming(&self, channel: Value) -> SimulatedMember {
        let member = self.member(Kind::IbmMqChannel, channel);
        member.active("orders").await;
        member
    }

    /// Waits until the queue has so many messages.
    pub async fn depth(&mut self, queue: &str, depth: usize) {
        eventually(&format!("{queue} has {depth} messages"), async || {
            (self.control.depth(queue).unwrap() == depth).then_some(())
        })
        .await;
    }

    /// Waits for a message on that queue and takes it.
    pub async fn taken(&mut self, queue: &str) -> Taken {
        eventually("a message is there", async || {
            self.control.take(queue).unwrap()
        })
        .await
    }
}

pub fn channel() -> Value {
    json!({"name": "orders", "connection": "manager", "queue": "Q", "service": "store"})
}

pub fn outgoing() -> Value {
    json!({"name": "out", "connection": "manager", "queue": "Q", "delivery_mode": 2, "priority": 5})
}

/// The descriptor of a mainframe's message.
pub fn big_endian(ccsid: i32, format: &[u8; 8]) -> Vec<u8> {
    let mut head = descriptor::plain();
    descriptor::set_field(&mut head, descriptor::ENCODING, ENCODING_BIG);
    descriptor::set_field(&mut head, descriptor::CCSID, ccsid);
    head[descriptor::FORMAT..descriptor::FORMAT + 8].copy_from_slice(format);
    head
}

/// The header of a JMS text message of the type `order`, for a body in this character set.
pub fn jms_header(ccsid: i32, format: [u8; 8], folder_charset: FolderCharset) -> Vec<u8> {
    let jms = JmsFolders {
        class: Some(JmsMessageClass::Text),
        kind: Some("order".into()),
        ..JmsFolders::default()
    };
    let header = Rfh2Header {
        next: ContentDescriptor {
            encoding: ENCODING_BIG,
            ccsid,
            format,
        },
        flags: 0,
        folder_charset,
        folders: jms.write().unwrap(),
    };
    header.write(ByteOrder::Big).unwrap()
}

/// Holds that a call brought this text, converted.
pub fn is_text(call: &ServiceCall, body: &str) {
    assert_eq!(call.body, body);
    assert_eq!(said(call, "content-type"), "text/plain; charset=utf-8");
    for name in ["ccsid", "not-converted"] {
        assert_eq!(said(call, &format!("quorate-property-{name}")), "");
    }
}

/// With another value of a field.
pub fn with(mut resource: Value, field: &str, value: impl Into<Value>) -> Value {
    resource[field] = value.into();
    resource
}

/// What is in a message that was taken: what JMS says, what the rest is, and the rest.
pub fn opened(taken: &Taken) -> (JmsFolders, ContentDescriptor, Vec<u8>) {
    let field = |at| descriptor::field(&taken.descriptor, at);
    let mut format = [0; 8];
    format.copy_from_slice(&taken.descriptor[descriptor::FORMAT..descriptor::FORMAT + 8]);
    let contents = ContentDescriptor {
        encoding: field(descriptor::ENCODING),
        ccsid: field(descriptor::CCSID),
        format,
    };
    assert_eq!(contents.encoding, ENCODING_NATIVE);
    let (headers, inner, at) = read_all(&taken.message, contents).unwrap();
    (
        JmsFolders::read(&headers).unwrap(),
        inner,
        taken.message[at..].to_vec(),
    )
}

pub fn header(name: &str, value: &str) -> Header {
    Header {
        name: name.to_owned(),
        value: value.to_owned().into(),
    }
}

/// Sends by the outgoing `out`.
pub async fn send(member: &SimulatedMember, message: Send) -> SendOutcome {
    send_within(member, message, WAIT).await
}

pub async fn send_within(member: &SimulatedMember, message: Send, within: Duration) -> SendOutcome {
    let deadline = Instant::now() + within;
    loop {
        let sent = member
            .handle
            .send("ibm_mq_outgoing", "out", message.clone(), deadline);
        match sent.await {
            Ok(sent) => return sent,
            // It doesn't lead yet.
            Err(SendUnavailable::Elsewhere) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A header of a call, or "".
pub fn said<'a>(call: &'a ServiceCall, name: &str) -> &'a str {
    call.headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// Waits for so many calls.
pub async fn called(group: &SimulatedGroup, calls: usize) -> Vec<ServiceCall> {
    eventually(&format!("{calls} calls"), async || {
        let all = group.calls.lock();
        (all.len() >= calls).then(|| all.clone())
    })
    .await
}

/// Waits until the channel or outgoing says something with this in it.
pub async fn complains(member: &SimulatedMember, name: &str, part: &str) -> String {
    let status = member.when(name, part, |status| {
        status
            .last_error
            .as_ref()
            .is_some_and(|it| it.contains(part))
    });
    status.await.last_error.unwrap()
}
