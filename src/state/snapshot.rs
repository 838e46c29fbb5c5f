//! The state as bytes: a versioned sequence of records, each with its length before it.
//!
//! The same state gives the same bytes: everything is written in the order of its
//! keys, and the last applied index, which differs between members that stopped at
//! different blank entries, is not in it. Resources stand in it as the JSON that was
//! put, so that another version reads them by its own lights.

use std::{
    io::{self, BufReader, BufWriter, Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use prost::{Message, Oneof};

use super::{
    Announced, Catalog, Entry, Kv, Reign, State, Takeover, Takeovers,
    announced::Announcements,
    brokers::{BrokerConnection, Brokers},
    kv::{KEY_BYTES_MAX, VALUE_BYTES_MAX},
};

const MAGIC: &str = "quorate-state";
/// Raised when an older program could misread what this one writes.
const FORMAT: u32 = 1;
/// No record is longer: the largest hold one key, one resource or one announcement.
const RECORD_BYTES_MAX: usize = VALUE_BYTES_MAX + KEY_BYTES_MAX + 1024;

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    body: Option<Body>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Body {
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
    /// How many records came before.
    #[prost(uint64, tag = "6")]
    End(u64),
    #[prost(message, tag = "7")]
    Takeover(Takeover),
    #[prost(message, tag = "8")]
    Connected(ConnectedRecord),
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "1")]
    magic: String,
    #[prost(uint32, tag = "2")]
    format: u32,
    #[prost(uint64, tag = "3")]
    revision: u64,
    #[prost(uint64, tag = "4")]
    catalog_revision: u64,
    #[prost(uint64, tag = "5")]
    kv_revision: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ReignRecord {
    #[prost(uint64, optional, tag = "1")]
    holder: Option<u64>,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(uint64, tag = "3")]
    term: u64,
    #[prost(bool, tag = "4")]
    released: bool,
    #[prost(uint64, optional, tag = "5")]
    former: Option<u64>,
    #[prost(bool, tag = "6")]
    clear: bool,
}

#[derive(Clone, PartialEq, Message)]
struct ConnectedRecord {
    #[prost(uint64, tag = "1")]
    member: u64,
    #[prost(message, repeated, tag = "2")]
    connections: Vec<ConnectionRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct ConnectionRecord {
    #[prost(string, tag = "1")]
    connector: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    label: String,
}

#[derive(Clone, PartialEq, Message)]
struct AnnouncedRecord {
    #[prost(uint64, tag = "1")]
    member: u64,
    #[prost(string, repeated, tag = "2")]
    services: Vec<String>,
    #[prost(string, tag = "3")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceRecord {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint64, tag = "3")]
    revision: u64,
    #[prost(string, tag = "4")]
    spec: String,
}

#[derive(Clone, PartialEq, Message)]
struct KeyRecord {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(uint64, tag = "2")]
    revision: u64,
    #[prost(bytes = "bytes", tag = "3")]
    value: Bytes,
}

impl State {
    /// Writes the snapshot.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut out = Writer {
            out: BufWriter::new(out),
            records: 0,
        };
        out.record(Body::Header(Header {
            magic: MAGIC.into(),
            format: FORMAT,
            revision: self.revision,
            catalog_revision: self.catalog.revision(),
            kv_revision: self.kv.revision(),
        }))?;
        let Reign {
            holder,
            epoch,
            term,
            released,
            former,
            clear,
        } = self.reign;
        out.record(Body::Reign(ReignRecord {
            holder,
            epoch,
            term,
            released,
            former,
            clear,
        }))?;
        for (member, said) in &self.announced.by_member {
            out.record(Body::Announced(AnnouncedRecord {
                member: *member,
                services: said.services.clone(),
                version: said.version.clone(),
            }))?;
        }
        for takeover in self.takeovers.oldest_first() {
            out.record(Body::Takeover(takeover.clone()))?;
        }
        for (member, connections) in &self.brokers.by_member {
            let records = connections.iter().map(|(connector, it)| ConnectionRecord {
                connector: connector.clone(),
                name: it.name.clone(),
                label: it.label.clone(),
            });
            out.record(Body::Connected(ConnectedRecord {
                member: *member,
                connections: records.collect(),
            }))?;
        }
        for (kind, name, stored) in self.catalog.all() {
            out.record(Body::Resource(ResourceRecord {
                kind: kind.as_str().into(),
                name: name.into(),
                revision: stored.revision,
                spec: stored.spec().into(),
            }))?;
        }
        for (key, entry) in self.kv.list("", None) {
            out.record(Body::Key(KeyRecord {
                key: key.into(),
                revision: entry.revision,
                value: entry.value.clone(),
            }))?;
        }
        let records = out.records;
        out.record(Body::End(records))?;
        out.out.flush()
    }

    /// Reads a snapshot. `applied` is not in it.
    pub fn read_from(input: &mut dyn Read) -> io::Result<State> {
        let mut input = Reader {
            input: BufReader::new(input),
            records: 0,
        };
        let Body::Header(header) = input.record()? else {
            return Err(bad("it does not begin with a header"));
        };
        if header.magic != MAGIC {
            return Err(bad(format!(
                "it begins with {:?} instead of {MAGIC:?}",
                header.magic
            )));
        }
        if header.format != FORMAT {
            return Err(bad(format!(
                "it has format {} and this program reads format {FORMAT}: run the version that wrote it",
                header.format
            )));
        }
        let mut state = State {
            applied: 0,
            revision: header.revision,
            catalog: Catalog::restored(header.catalog_revision),
            kv: Kv::restored(header.kv_revision),
            reign: Reign::default(),
            announced: Announcements::default(),
            takeovers: Takeovers::default(),
            brokers: Brokers::default(),
        };
        loop {
            let before = input.records;
            match input.record()? {
                Body::Header(_) => return Err(bad("it has a second header")),
                Body::Reign(ReignRecord {
                    holder,
                    epoch,
                    term,
                    released,
                    former,
                    clear,
                }) => {
                    state.reign = Reign {
                        holder,
                        epoch,
                        term,
                        released,
                        former,
                        clear,
                    };
                }
                Body::Announced(AnnouncedRecord {
                    member,
                    services,
                    version,
                }) => {
                    let said = Announced { services, version };
                    state.announced.by_member.insert(member, said.into());
                }
                Body::Takeover(it) => state.takeovers.keep(it),
                Body::Connected(ConnectedRecord {
                    member,
                    connections,
                }) => {
                    let connections = connections.into_iter().map(|it| {
                        let (name, label) = (it.name, it.label);
                        (it.connector, BrokerConnection { name, label })
                    });
                    let connections = Arc::new(connections.collect());
                    state.brokers.by_member.insert(member, connections);
                }
                Body::Resource(it) => restore(&mut state.catalog, &it)?,
                Body::Key(KeyRecord {
                    key,
                    revision,
                    value,
                }) => {
                    state.kv.restore(&key, Entry { revision, value });
                }
                Body::End(records) if records == before => return Ok(state),
                Body::End(records) => {
                    return Err(bad(format!(
                        "it has {before} records and should have {records}"
                    )));
                }
            }
        }
    }
}

fn restore(catalog: &mut Catalog, it: &ResourceRecord) -> io::Result<()> {
    let kind = it
        .kind
        .parse()
        .map_err(|problem| bad(format!("{problem}")))?;
    catalog
        .restore(kind, &it.name, it.revision, &it.spec)
        .map_err(|errors| {
            let errors: Vec<String> = errors
                .iter()
                .map(|it| format!("{}: {}", it.field, it.problem))
                .collect();
            bad(format!(
                "{}/{} is not as this program knows it ({}): run the version that wrote it",
                it.kind,
                it.name,
                errors.join("; ")
            ))
        })
}

fn bad(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the snapshot can't be read: {what}"),
    )
}

struct Writer<W: Write> {
    out: W,
    records: u64,
}

impl<W: Write> Writer<W> {
    fn record(&mut self, body: Body) -> io::Result<()> {
        let record = Record { body: Some(body) }.encode_to_vec();
        let length = u32::try_from(record.len()).map_err(|_| bad("a record is too long"))?;
        self.records += 1;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&record)
    }
}

struct Reader<R: Read> {
    input: R,
    records: u64,
}

impl<R: Read> Reader<R> {
    fn record(&mut self) -> io::Result<Body> {
        let mut length = [0; 4];
        self.fill(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > RECORD_BYTES_MAX {
            return Err(bad(format!(
                "record {} would have {length} bytes",
                self.records
            )));
        }
        let mut record = vec![0; length];
        self.fill(&mut record)?;
        let record = Record::decode(Bytes::from(record))
            .map_err(|problem| bad(format!("record {}: {problem}", self.records)))?;
        self.records += 1;
        record.body.ok_or_else(|| {
            bad(format!(
                "record {} is of a sort that this program does not know: run the version that wrote it",
                self.records - 1
            ))
        })
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.input
            .read_exact(buffer)
            .map_err(|problem| match problem.kind() {
                io::ErrorKind::UnexpectedEof => {
                    bad(format!("it ends after {} records", self.records))
                }
                _ => problem,
            })
    }
}
