//! The balancer's settings: a small TOML file.

#[cfg(test)]
mod tests;

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_tls::CertificateFiles;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::{
    BalancerError, MembersTlsFiles, error::BadBalancerSetting, files,
    front_certificate::FrontFiles, members_tls::CheckTls,
};

/// Settings that have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalancerSettings {
    /// The address for requests of clients.
    pub bind: SocketAddr,
    /// `host:port` of the administration of members to begin with.
    pub members: Vec<String>,
    /// The files for TLS to the admin ports of members; without them these are plain.
    pub members_tls: Option<MembersTlsFiles>,
    /// What HAProxy has to know of these files, once they were loaded.
    pub(super) check_tls: Option<CheckTls>,
    /// HAProxy: a name to look for on the PATH, or a path.
    pub haproxy: String,
    /// File with the token that is shown to members which ask who the balancer is.
    pub token_file: Option<PathBuf>,
    /// The folder for HAProxy's configuration, the socket and the `pid` file.
    pub dir: PathBuf,
    /// Who is served `/zato-lb-stats`.
    pub stats: StatsPage,
    /// The files of the front's certificate; without them the front is plain.
    pub tls: Option<FrontFiles>,
    /// The name of the file in `dir` that HAProxy reads these from, once it was written.
    pub(super) front_pem: Option<String>,
    /// The interval at which a member is asked for the list of members.
    pub poll: Duration,
    /// The interval at which HAProxy checks each member's readiness.
    pub check: Duration,
    /// The time for a connection to a member.
    pub connect_timeout: Duration,
    /// The time for which a member may send nothing on a request, or longer where the longest
    /// service of the cluster needs it.
    pub server_timeout: Duration,
    /// The time for which a client may send nothing, between two requests too.
    pub client_timeout: Duration,
    /// The time that running requests have to finish when the balancer ends.
    pub drain: Duration,
    /// The most connections from clients.
    pub maxconn: u32,
    /// Addresses and networks of proxies in front of this one, whose headers about a client count.
    pub trusted_proxies: Vec<String>,
}

/// Who is served the page of statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsPage {
    /// Nobody.
    Off,
    /// This host: the page has the members' addresses and what they do.
    ThisHost,
    /// Whoever reaches the front.
    Everyone,
}

impl BalancerSettings {
    /// Returns the time for one health check: a member that is busy for a moment is not dead.
    pub(super) fn check_timeout(&self) -> Duration {
        (self.check * 2).max(Duration::from_millis(500))
    }

    /// Reads and checks a settings file. All bad settings are reported at once.
    pub fn load(path: &Path) -> Result<BalancerSettings, BalancerError> {
        let wrong = |problems| BalancerError::Settings {
            path: path.to_owned(),
            problems,
        };
        let text = fs::read_to_string(path)
            .map_err(|error| files::failed("can't read the balancer's settings", path, error))?;
        let file: BalancerSettingsFile =
            toml::from_str(&text).map_err(|e| wrong(vec![BadBalancerSetting::NotToml(e)]))?;
        let parent = path.parent().unwrap_or(Path::new("."));
        let home = std::path::absolute(parent)
            .map_err(|error| files::failed("can't find the folder", parent, error))?;
        file.check(&home).map_err(wrong)
    }
}

/// Writes a settings file for `bind` and these members into `dir`, unless there is one,
/// and returns its path. `more` ends the file. Makes the folder.
pub fn write_default(
    dir: &Path,
    bind: SocketAddr,
    admin_urls: &[String],
    more: &str,
) -> Result<PathBuf, BalancerError> {
    let path = dir.join("balancer.toml");
    if path.exists() {
        return Ok(path);
    }
    files::make_folder(dir)?;
    let members: Vec<String> = admin_urls
        .iter()
        .map(|url| format!("    {url:?},\n"))
        .collect();
    let text = format!(
        "# Settings of `quorate balancer`; docs/operations.md has all of them.\n\n\
         # Where requests come in.\n\
         bind = \"{bind}\"\n\n\
         # Members to ask who the members are; those that join later are found by themselves.\n\
         members = [\n{}]\n{more}",
        members.concat()
    );
    files::replace(&path, &text)?;
    Ok(path)
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BalancerSettingsFile {
    bind: String,
    insecure: bool,
    members: Vec<String>,
    members_tls: Option<MembersTlsTable>,
    haproxy: String,
    token_file: Option<PathBuf>,
    dir: PathBuf,
    #[serde(deserialize_with = "stats")]
    stats: StatsPage,
    tls: Option<FrontTable>,
    poll_ms: u64,
    check_ms: u64,
    connect_timeout_ms: u64,
    server_timeout_ms: u64,
    client_timeout_ms: u64,
    drain_ms: u64,
    maxconn: Option<u64>,
    #[serde(deserialize_with = "several")]
    trusted_proxies: Vec<String>,
}

/// The table `tls`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontTable {
    cert: PathBuf,
    key: PathBuf,
}

/// The table `members_tls`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MembersTlsTable {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl MembersTlsTable {
    fn files(self, home: &Path) -> MembersTlsFiles {
        MembersTlsFiles {
            pair: CertificateFiles {
                cert: home.join(self.cert),
                key: home.join(self.key),
            },
            ca: home.join(self.ca),
        }
    }
}

/// Reads who is served the statistics. `true`, of earlier versions, is this host.
fn stats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StatsPage, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "must be true (for this host), false or \"everyone\""
    )]
    enum StatsChoice {
        Served(bool),
        To(StatsAudience),
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum StatsAudience {
        Everyone,
    }
    Ok(match StatsChoice::deserialize(deserializer)? {
        StatsChoice::Served(false) => StatsPage::Off,
        StatsChoice::Served(true) => StatsPage::ThisHost,
        StatsChoice::To(StatsAudience::Everyone) => StatsPage::Everyone,
    })
}

/// Reads several strings, as an array or with commas between them: a member's settings take
/// both too.
fn several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "must be strings, for example [\"a\", \"b\"] or \"a, b\""
    )]
    enum StringList {
        Array(Vec<String>),
        Commas(String),
    }
    Ok(match StringList::deserialize(deserializer)? {
        StringList::Array(texts) => texts,
        StringList::Commas(text) => {
            let parts = text.split(',').map(str::trim).filter(|it| !it.is_empty());
            parts.map(str::to_owned).collect()
        }
    })
}

impl Default for BalancerSettingsFile {
    fn default() -> BalancerSettingsFile {
        BalancerSettingsFile {
            bind: "127.0.0.1:11223".to_owned(),
            insecure: false,
            members: Vec::new(),
            members_tls: None,
            haproxy: "haproxy".to_owned(),
            token_file: None,
            dir: PathBuf::from("."),
            stats: StatsPage::ThisHost,
            tls: None,
            poll_ms: 500,
            check_ms: 250,
            connect_timeout_ms: 1_000,
            server_timeout_ms: 60_000,
            client_timeout_ms: 60_000,
            drain_ms: 5_000,
            maxconn: None,
            trusted_proxies: Vec::new(),
        }
    }
}

impl BalancerSettingsFile {
    fn check(self, home: &Path) -> Result<BalancerSettings, Vec<BadBalancerSetting>> {
        let mut problems = Vec::new();
        let bind = address(&self.bind, self.insecure || self.tls.is_some())
            .map_err(|problem| problems.push(problem))
            .ok();
        let mut members = Vec::new();
        if self.members.is_empty() {
            problems.push(BadBalancerSetting::NoMembers);
        }
        for url in &self.members {
            match admin(url, self.members_tls.is_some()) {
                Ok(address) => members.push(address),
                Err(problem) => problems.push(problem),
            }
        }
        if self.haproxy.is_empty() {
            problems.push(BadBalancerSetting::NoHaproxy);
        }
        let mut ms = |name: &'static str, value, range| match within(name, value, range) {
            Ok(value) => Duration::from_millis(value),
            Err(problem) => {
                problems.push(problem);
                Duration::ZERO
            }
        };
        let poll = ms("poll_ms", self.poll_ms, 50..=60_000);
        let check = ms("check_ms", self.check_ms, 20..=60_000);
        let connect_timeout = ms("connect_timeout_ms", self.connect_timeout_ms, 10..=60_000);
        let server_timeout = ms(
            "server_timeout_ms",
            self.server_timeout_ms,
            100..=86_400_000,
        );
        let client_timeout = ms(
            "client_timeout_ms",
            self.client_timeout_ms,
            100..=86_400_000,
        );
        let drain = ms("drain_ms", self.drain_ms, 0..=8_000);
        let maxconn = connections(self.maxconn)
            .map_err(|problem| problems.push(problem))
            .ok();
        let proxies = self.trusted_proxies.iter();
        problems.extend(proxies.filter_map(|it| network(it).err()));
        match (bind, maxconn, problems.is_empty()) {
            (Some(bind), Some(maxconn), true) => Ok(BalancerSettings {
                bind,
                members,
                members_tls: self.members_tls.map(|table| table.files(home)),
                check_tls: None,
                haproxy: self.haproxy,
                token_file: self.token_file.map(|it| home.join(it)),
                dir: home.join(self.dir),
                stats: self.stats,
                tls: self.tls.map(|table| FrontFiles {
                    cert: home.join(table.cert),
                    key: home.join(table.key),
                }),
                front_pem: None,
                poll,
                check,
                connect_timeout,
                server_timeout,
                client_timeout,
                drain,
                maxconn,
                trusted_proxies: self.trusted_proxies,
            }),
            _ => Err(problems),
        }
    }
}

fn address(bind: &str, may_be_open: bool) -> Result<SocketAddr, BadBalancerSetting> {
    let given = || bind.to_owned();
    let address: SocketAddr = bind
        .parse()
        .map_err(|_| BadBalancerSetting::NotAnAddress(given()))?;
    if address.port() == 0 {
        return Err(BadBalancerSetting::PortZero(given()));
    }
    if !address.ip().is_loopback() && !may_be_open {
        return Err(BadBalancerSetting::Exposed(given()));
    }
    Ok(address)
}

/// Returns `host:port` of an admin URL.
fn admin(url: &str, has_tls: bool) -> Result<String, BadBalancerSetting> {
    let wrong = || BadBalancerSetting::NotAnAdminUrl(url.to_owned());
    let parsed = Url::parse(url).map_err(|_| wrong())?;
    let plain = matches!(parsed.scheme(), "http" | "https")
        && matches!(parsed.path(), "" | "/")
        && parsed.query().is_none()
        && parsed.fragment().is_none()
        && parsed.username().is_empty()
        && parsed.password().is_none();
    match (plain, parsed.host_str(), parsed.port_or_known_default()) {
        (true, Some(_), Some(_)) if has_tls != (parsed.scheme() == "https") => {
            let why = if has_tls {
                "members_tls is there"
            } else {
                "members_tls is not there"
            };
            Err(BadBalancerSetting::OtherScheme(url.to_owned(), why))
        }
        (true, Some(host), Some(port)) if port > 0 => Ok(format!("{host}:{port}")),
        _ => Err(wrong()),
    }
}

/// Checks that HAProxy can match an address with `text`.
fn network(text: &str) -> Result<(), BadBalancerSetting> {
    let (address, prefix) = text.split_once('/').unwrap_or((text, "0"));
    let bits = address
        .parse::<IpAddr>()
        .map(|ip| if ip.is_ipv4() { 32 } else { 128 });
    match (bits, prefix.parse::<u32>()) {
        (Ok(bits), Ok(prefix)) if prefix <= bits => Ok(()),
        _ => Err(BadBalancerSetting::NotANetwork(text.to_owned())),
    }
}

fn within(
    name: &'static str,
    value: u64,
    range: RangeInclusive<u64>,
) -> Result<u64, BadBalancerSetting> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (from, to) = range.into_inner();
    Err(BadBalancerSetting::OutOfRange {
        name,
        value,
        from,
        to,
    })
}

/// Returns the most connections. HAProxy needs two open files for each connection and won't start
/// without the right to them, so the number is what was asked for, or as many as can be had.
fn connections(asked: Option<u64>) -> Result<u32, BadBalancerSetting> {
    use nix::sys::resource::{Resource, getrlimit};
    let (_, files) =
        getrlimit(Resource::RLIMIT_NOFILE).map_err(BadBalancerSetting::FileLimitUnknown)?;
    let most = (files.saturating_sub(200) / 2).clamp(1, 1_000_000);
    let maxconn = asked.unwrap_or(most.min(10_000));
    within("maxconn", maxconn, 1..=1_000_000)?;
    if maxconn > most {
        return Err(BadBalancerSetting::TooFewFiles {
            maxconn,
            files,
            most,
        });
    }
    Ok(u32::try_from(maxconn).expect("invariant: the range ends below 2^32"))
}
