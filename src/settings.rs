//! A member's settings: file, environment and flags, in rising order of precedence,
//! made into one validated struct.
//!
//! Every setting has one key, for example `http.bind`: a line of the TOML file, the
//! environment variable `QUORATE_HTTP_BIND`, or the flag `--set http.bind=...`. All bad
//! ones are reported at once, each with its value and what would be right; a key that
//! does not exist is refused. Relative paths count from the file's folder.

mod address;
mod error;
mod hardening;
mod insecure;
mod layers;
mod reader;
mod security;
mod tls;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_types::timing::{FAILOVER_MS_MAX, FAILOVER_MS_MIN};

pub(crate) use address::check_advertise;
pub use error::{BadSetting, SettingsError};
pub use hardening::{HardeningSettings, LoopbackUsers};
pub use insecure::InsecureFaces;
pub use quorate_log::{LogFormat, LogSettings};
pub use reader::{LOG_LEVEL, is_log_level};
pub use security::{SecurityMode, SecuritySettings, socket_beside};

use layers::SettingsLayers;
use quorate_platform::ip_network::IpNetwork;
use quorate_tls::MemberTlsFiles;
use reader::SettingsReader;

/// The address of a listener, and the one that others use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// The address that is listened on.
    pub bind: SocketAddr,
    /// `host:port` as other members and clients reach it; `bind` by default.
    pub advertise: String,
}

/// The limits for clients of the services' port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at a time; more wait to be accepted.
    pub connections_max: usize,
    /// The request line and the headers together, in bytes.
    pub head_bytes_max: usize,
    /// Longest time from the first byte of a request to the end of its headers.
    pub head_wait: Duration,
    /// The time for which a client that sends a body may send nothing.
    pub body_wait: Duration,
    /// The time for which a connection may be idle between requests.
    pub idle_wait: Duration,
    /// The proxies whose headers about a client count.
    pub trusted_proxies: Vec<IpNetwork>,
    /// The proxies whose word of a client's certificate counts.
    pub certificate_proxies: Vec<IpNetwork>,
}

/// The rules of this host for connectors, whatever the cluster's configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorRules {
    /// Client libraries of IBM MQ: names, absolute paths, or all below a folder (`/opt/mqm/**`).
    pub mq_libraries: Vec<String>,
    /// The folder that holds the key repositories of IBM MQ.
    pub mq_key_repositories: PathBuf,
    /// The folder that holds the sockets of `ipc://` addresses of ZeroMQ.
    pub zmq_ipc_dir: PathBuf,
    /// Addresses and interfaces, beside loopback, that ZeroMQ may listen at; `*` is all.
    pub zmq_bind: Vec<String>,
}

/// The networks that upstreams of services and brokers may not be in, whatever the cluster's
/// configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressSettings {
    /// Networks that are not connected to; nor are the admin and peer ports of members.
    pub deny: Vec<IpNetwork>,
    /// Exceptions that are connected to all the same.
    pub allow: Vec<IpNetwork>,
}

/// The limits after which a snapshot is taken: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// The number of log entries.
    pub entries: u64,
    /// The bytes of log.
    pub bytes: u64,
    /// The number of log entries that stay behind a snapshot, for members that lag a little.
    pub keep: u64,
}

/// A member's settings, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The member's name, unique in the cluster.
    pub name: String,
    /// The folder of the log, the state and the marker.
    pub data_dir: PathBuf,
    /// The folder of the member's own keys: outside of the data folder, so that a copy of the data
    /// opens no secret.
    pub keys_dir: PathBuf,
    /// The pid file, written once the lock on `data_dir` is held.
    pub pid_file: PathBuf,
    /// The time to wait for that lock.
    pub lock_wait: Duration,
    /// The failover promise, in milliseconds, that the first member of a cluster makes. From
    /// then on it is a value of the cluster.
    pub failover_ms: u64,
    /// The same, where it was given: it should not differ from the cluster's.
    pub failover_ms_given: Option<u64>,
    /// The time that requests and messages in flight have to finish at the end.
    pub drain: Duration,
    /// The most connectors whose processes stand by while another member runs them.
    pub standby_max: usize,
    /// Listeners that may be reached beyond loopback without TLS.
    pub insecure: InsecureFaces,
    /// The certificate of the peer and admin ports, and the authorities of their callers. Without
    /// it both are plain.
    pub tls: Option<MemberTlsFiles>,
    /// The address of the services.
    pub http: ListenAddress,
    /// The limits for clients of the services.
    pub http_limits: HttpLimits,
    /// The address of REST, health and metrics.
    pub admin: ListenAddress,
    /// Names, beside its own and those of the members, under which the administration API may be
    /// called; pages from there are trusted.
    pub admin_allowed_hosts: Vec<String>,
    /// The address for other members.
    pub peer: ListenAddress,
    /// The rules for connectors on this host.
    pub connectors: ConnectorRules,
    /// The rules for upstreams of services and for brokers.
    pub egress: EgressSettings,
    /// The settings of this process and those of connectors.
    pub hardening: HardeningSettings,
    /// The settings about callers of the admin port.
    pub security: SecuritySettings,
    /// The settings of the log.
    pub log: LogSettings,
    /// The limits of snapshots.
    pub snapshot: SnapshotSettings,
    /// Warnings, logged at the start.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Reads `file`, the environment's `QUORATE_*` variables and the flags' `key=value`s.
    pub fn load(
        file: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Settings, SettingsError> {
        let text = std::fs::read_to_string(file).map_err(|cause| SettingsError::Unreadable {
            file: file.to_owned(),
            cause,
        })?;
        let absolute = std::path::absolute(file).map_err(|cause| SettingsError::Unreadable {
            file: file.to_owned(),
            cause,
        })?;
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        Settings::from_layers(&text, file, folder, environment, flags)
    }

    /// Reads TOML text alone, for a program that embeds a member. Relative paths count from
    /// `folder`.
    pub fn from_toml(text: &str, folder: &Path) -> Result<Settings, SettingsError> {
        Settings::from_layers(text, Path::new("the settings"), folder, [], &[])
    }

    fn from_layers(
        text: &str,
        file: &Path,
        folder: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Settings, SettingsError> {
        let mut layers =
            SettingsLayers::from_file(text).map_err(|cause| SettingsError::NotToml {
                file: file.to_owned(),
                cause,
            })?;
        layers.add_environment(environment);
        layers.add_flags(flags);
        let mut reader = SettingsReader::new(layers);
        let settings = read(&mut reader, folder);
        let (errors, warnings) = reader.finish();
        match settings {
            Some(settings) if errors.is_empty() => Ok(Settings {
                warnings,
                ..settings
            }),
            _ => Err(SettingsError::Bad {
                file: file.to_owned(),
                errors,
            }),
        }
    }
}

/// Reads every setting, so that every error is found; `None` after an error that left nothing to go
/// on with.
fn read(r: &mut SettingsReader, folder: &Path) -> Option<Settings> {
    let name = r.name("name");
    let data_dir = folder.join(r.path("data_dir", "data"));
    let keys_dir = keys_dir(r, folder, &data_dir);
    let pid_file = r.optional_path("pid_file");
    let lock_wait = r.millis("lock_wait_ms", 5_000, 0..=60_000);
    let failover_is_given = r.is_given("failover_ms");
    let failover_ms = r.integer_since(
        "failover_ms",
        500,
        FAILOVER_MS_MIN..=FAILOVER_MS_MAX,
        ": in less an election's messages and writes don't fit, and who can wait longer than the most needs no promise",
    );
    // A member ends within 10 s of SIGTERM: the other steps of its end need the rest.
    let drain = r.millis("drain_ms", 4_000, 0..=6_000);
    let standby_max = r.integer("standby_max", 200, 0..=1_000) as usize;
    let insecure = insecure::read(r);
    let errors = r.errors();
    let tls = tls::read(r, folder);
    // Bad files are told once, and not as a missing permission too.
    let has_tls = tls.is_some() || r.errors() > errors;
    let http = address::face(r, "http", 17010, insecure.http);
    let http_limits = HttpLimits {
        connections_max: r.integer("http.connections_max", 8_192, 1..=1_000_000) as usize,
        head_bytes_max: r.integer("http.head_bytes_max", 32 << 10, 8_192..=1 << 20) as usize,
        head_wait: r.millis("http.head_wait_ms", 10_000, 100..=3_600_000),
        body_wait: r.millis("http.body_wait_ms", 30_000, 100..=3_600_000),
        idle_wait: r.millis("http.idle_wait_ms", 75_000, 100..=3_600_000),
        trusted_proxies: r.networks("http.trusted_proxies", "127.0.0.0/8, ::1"),
        certificate_proxies: r.networks("http.certificate_proxies", ""),
    };
    r.retired(
        "http.answer_wait_ms",
        "an answer is waited for as long as its service's timeout_ms and retries say",
    );
    let admin = address::face(r, "admin", 17110, insecure.admin || has_tls);
    let admin_allowed_hosts = r
        .list("admin.allowed_hosts", address::check_host)
        .unwrap_or_default();
    let peer = address::face(r, "peer", 17210, insecure.peer || has_tls);
    address::distinct(r, [("http", &http), ("admin", &admin), ("peer", &peer)]);
    let connectors = connector_rules(r, folder, &data_dir, insecure);
    let egress = EgressSettings {
        deny: r.networks("egress.deny", "169.254.0.0/16, fe80::/10"),
        allow: r.networks("egress.allow", ""),
    };
    let hardening = hardening::read(r);
    let security = security::read(
        r,
        (folder, &data_dir),
        has_tls || (insecure.admin && insecure.peer),
    );
    let log = LogSettings {
        level: r.log_level("log.level", "info"),
        format: r.log_format("log.format"),
    };
    let snapshot = SnapshotSettings {
        entries: r.integer("snapshot.entries", 100_000, 100..=100_000_000),
        bytes: r.integer("snapshot.bytes", 256 << 20, 1 << 20..=1 << 40),
        keep: r.integer("snapshot.keep", 5_000, 0..=100_000_000),
    };
    Some(Settings {
        name: name?,
        // Beside the data, not in it: a folder of data can be moved or wiped whole.
        pid_file: pid_file.map_or_else(|| data_dir.with_file_name("pid"), |path| folder.join(path)),
        data_dir,
        keys_dir,
        lock_wait,
        failover_ms,
        failover_ms_given: failover_is_given.then_some(failover_ms),
        drain,
        standby_max,
        insecure,
        tls,
        http: http?,
        http_limits,
        admin: admin?,
        admin_allowed_hosts,
        peer: peer?,
        connectors,
        egress,
        hardening,
        security,
        log,
        snapshot,
        warnings: Vec::new(),
    })
}

/// Reads the folder of the keys: beside the data folder, and never in it.
fn keys_dir(r: &mut SettingsReader, folder: &Path, data_dir: &Path) -> PathBuf {
    const KEY: &str = "security.keys_dir";
    let given = r.optional_path(KEY);
    let dir = match &given {
        Some(path) => address::normal(&folder.join(path)),
        None => data_dir.with_file_name("keys"),
    };
    if dir.starts_with(address::normal(data_dir)) {
        let problem = "must lie outside of data_dir: a copy of the data is not to have the key that opens its secrets";
        r.bad(KEY, None, problem);
    }
    dir
}

fn connector_rules(
    r: &mut SettingsReader,
    folder: &Path,
    data_dir: &Path,
    insecure: InsecureFaces,
) -> ConnectorRules {
    let usual = ["libmqic_r.so", "libmqm_r.so", "/opt/mqm/**"];
    let repositories = r.path("ibm_mq.key_repositories", "/etc/quorate/mq");
    ConnectorRules {
        mq_libraries: r
            .list("ibm_mq.libraries", address::check_library)
            .unwrap_or_else(|| usual.map(str::to_owned).into()),
        mq_key_repositories: address::normal(&folder.join(repositories)),
        zmq_ipc_dir: match r.optional_path("zmq.ipc_dir") {
            Some(path) => address::normal(&folder.join(path)),
            // Beside the data, not in it.
            None => data_dir.with_file_name("run").join("zmq"),
        },
        zmq_bind: {
            let listed = r.list("zmq.bind", address::check_interface);
            let everywhere = || insecure.zmq.then(|| "*".to_owned()).into_iter().collect();
            listed.unwrap_or_else(everywhere)
        },
    }
}

#[cfg(test)]
mod tests;
