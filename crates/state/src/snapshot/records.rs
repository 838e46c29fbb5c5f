//! Records of a snapshot.

use bytes::Bytes;
use prost::{Message, Oneof};
use quorate_proto::command::{Outcome, SendKey};

use crate::Takeover;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    #[prost(
        oneof = "Body",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 60, 61, 62, 80, 81, 82"
    )]
    pub body: Option<Body>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Body {
    #[prost(message, tag = "1")]
    Header(Header),
    #[prost(message, tag = "2")]
    Reign(ReignRecord),
    #[prost(message, tag = "3")]
    Announced(AnnouncedRecord),
    #[prost(message, tag = "4")]
    Resource(ResourceRecord),
    #[prost(message, tag = "5")]
    Key(KeyRecord),
    /// Number of records before this one.
    #[prost(uint64, tag = "6")]
    End(u64),
    #[prost(message, tag = "7")]
    Takeover(Takeover),
    #[prost(message, tag = "8")]
    Connected(ConnectedRecord),
    #[prost(message, tag = "9")]
    Operation(OperationRecord),
    #[prost(message, tag = "10")]
    Clock(ClockRecord),
    #[prost(message, tag = "11")]
    Sending(SendingRecord),
    #[prost(message, tag = "12")]
    Change(ChangeRecord),
    #[prost(message, tag = "13")]
    Failover(FailoverRecord),
    #[prost(message, tag = "14")]
    Progress(ProgressRecord),
    #[prost(message, tag = "60")]
    Keyring(KeyringRecord),
    #[prost(message, tag = "61")]
    SealKey(SealKeyRecord),
    #[prost(message, tag = "62")]
    ClusterKey(ClusterKeyRecord),
    #[prost(message, tag = "80")]
    Access(AccessRecord),
    #[prost(message, tag = "81")]
    Token(TokenRecord),
    #[prost(message, tag = "82")]
    Audit(AuditRecord),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AuditRecord {
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    #[prost(string, tag = "2")]
    pub text: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub prev: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub hash: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AccessRecord {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub voucher_key: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TokenRecord {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub hash: Bytes,
    #[prost(string, tag = "3")]
    pub identity: String,
    #[prost(uint64, tag = "4")]
    pub created_ms: u64,
    #[prost(uint64, optional, tag = "5")]
    pub not_after_ms: Option<u64>,
    #[prost(uint64, tag = "6")]
    pub revision: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Header {
    #[prost(string, tag = "1")]
    pub magic: String,
    #[prost(uint32, tag = "2")]
    pub format: u32,
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    #[prost(uint64, tag = "4")]
    pub catalog_revision: u64,
    #[prost(uint64, tag = "5")]
    pub kv_revision: u64,
    #[prost(uint64, tag = "6")]
    pub operations_revision: u64,
    /// Absent where the version that wrote it kept no changelog of keys.
    #[prost(uint64, optional, tag = "7")]
    pub history_floor: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct ReignRecord {
    #[prost(uint64, optional, tag = "1")]
    pub holder: Option<u64>,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(uint64, tag = "3")]
    pub term: u64,
    #[prost(bool, tag = "4")]
    pub released: bool,
    #[prost(uint64, optional, tag = "5")]
    pub former: Option<u64>,
    #[prost(bool, tag = "6")]
    pub clear: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProgressRecord {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub kept: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConnectedRecord {
    #[prost(uint64, tag = "1")]
    pub member: u64,
    #[prost(message, repeated, tag = "2")]
    pub connections: Vec<ConnectionRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConnectionRecord {
    #[prost(string, tag = "1")]
    pub connector: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub label: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AnnouncedRecord {
    #[prost(uint64, tag = "1")]
    pub member: u64,
    #[prost(string, repeated, tag = "2")]
    pub services: Vec<String>,
    #[prost(string, tag = "3")]
    pub version: String,
    #[prost(uint64, optional, tag = "4")]
    pub failover_ms: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FailoverRecord {
    #[prost(uint64, tag = "1")]
    pub target_ms: u64,
    #[prost(uint64, optional, tag = "2")]
    pub former_ms: Option<u64>,
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    #[prost(uint64, repeated, tag = "4")]
    pub applied: Vec<u64>,
}

/// Present once anything was done about the keyring; before the other records of it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyringRecord {
    #[prost(uint64, tag = "1")]
    pub revision: u64,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub recovery: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SealKeyRecord {
    #[prost(uint64, tag = "1")]
    pub member: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub public_key: Bytes,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub pending: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClusterKeyRecord {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(uint64, tag = "2")]
    pub added: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub check: Bytes,
    #[prost(message, repeated, tag = "4")]
    pub boxes: Vec<KeyBoxRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyBoxRecord {
    #[prost(uint64, tag = "1")]
    pub owner: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub content: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceRecord {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    #[prost(string, tag = "4")]
    pub spec: String,
    #[prost(uint64, tag = "5")]
    pub created: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyRecord {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(uint64, tag = "2")]
    pub revision: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ChangeRecord {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(uint64, tag = "2")]
    pub revision: u64,
    #[prost(uint64, optional, tag = "3")]
    pub previous: Option<u64>,
    /// Value that was written. Without it and without `current` the key was deleted.
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub value: Option<Bytes>,
    /// True when the key still has the value: it stands in the key's own record.
    #[prost(bool, tag = "5")]
    pub current: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OperationRecord {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(bool, tag = "3")]
    pub paused: bool,
    #[prost(uint64, tag = "4")]
    pub restarted: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct ClockRecord {
    #[prost(uint64, tag = "1")]
    pub ms: u64,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(uint64, tag = "3")]
    pub read_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SendingRecord {
    #[prost(message, optional, tag = "1")]
    pub key: Option<SendKey>,
    #[prost(uint64, tag = "2")]
    pub intent: u64,
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
    #[prost(uint64, tag = "4")]
    pub ticket: u64,
    #[prost(bytes = "bytes", tag = "5")]
    pub fingerprint: Bytes,
    #[prost(uint64, tag = "6")]
    pub at_ms: u64,
    #[prost(message, optional, tag = "7")]
    pub outcome: Option<Outcome>,
}
