//! Sandbox of a connector process: the files of this host that its kind of broker needs.
//!
//! In these processes libraries in C read what strangers send, so one of them may come to do what
//! it likes. It then has what its own connector has, and nothing of its member: neither the data
//! folder nor keys, settings or the member's memory, and no other connector's ([`file_sandbox`] has
//! the argument). What is allowed is listed here, rather than what is not.
//!
//! A file of the list that is replaced by another one, and not written anew in place, is not the
//! allowed one any more; folders have no such trouble. It can happen to the files by which names of
//! hosts are looked up. A process that finds itself without them ends in an orderly way, and the
//! next one is allowed the new ones: [`is_outdated`].

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use quorate_platform::{
    file_sandbox::{self, ABI_THAT_KEEPS_FILES, AllowedFiles},
    private_folder,
};

use crate::{
    local_rules::{BENEATH, IPC_DIR_HOLDS, LocalRules},
    process_rules::SandboxMode,
};

/// Files by which names of hosts and users are looked up, and the time zone.
const NAME_SERVICE: [&str; 11] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/networks",
    "/etc/passwd",
    "/etc/group",
    "/etc/localtime",
];

/// Folders of what `/etc/resolv.conf` is a link to, where a program of the system writes it.
const RESOLVERS: [&str; 4] = [
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/connman",
];

/// Sockets of name services.
const NAME_SOCKETS: [&str; 3] = ["/run/nscd", "/run/systemd/resolve", "/run/systemd/userdb"];

/// Libraries and what loads them, time zones, certificates of authorities. No folder of private
/// keys is among them.
const SYSTEM: [&str; 21] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/usr/share/zoneinfo",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/var/lib/ca-certificates",
];

const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];

/// IBM MQ's installation and data, and what its client asks the system.
const MQ_READ: [&str; 8] = [
    "/opt/mqm",
    "/etc/opt/mqm",
    "/var/mqm",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/version",
    "/proc/sys/kernel",
    "/sys/devices/system/cpu",
];

/// Logs of IBM MQ's client.
const MQ_LOGS: [&str; 2] = ["errors", "trace"];

/// Sandbox that a process was not to go without.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorSandboxError {
    /// The kernel can't keep it.
    #[error(
        "security.sandbox is \"required\", but this kernel's Landlock has ABI {abi}, and {ABI_THAT_KEEPS_FILES} (Linux 6.2) is needed: set it to \"best-effort\", or run a kernel that has it (`lsm=` of its command line may leave it out)"
    )]
    NotKept {
        /// ABI of the kernel; 0: none.
        abi: u8,
    },
    /// The kernel refused.
    #[error(transparent)]
    Refused(#[from] file_sandbox::SandboxError),
}

/// Checks that this kernel keeps the sandbox that the settings want. Returns its ABI; 0: there is
/// none, or none is wanted.
pub fn check(mode: SandboxMode) -> Result<u8, ConnectorSandboxError> {
    match mode {
        SandboxMode::Off => Ok(0),
        _ => kept(mode, file_sandbox::kernel_abi()),
    }
}

/// Puts this process, a connector of this kind, into its sandbox. To be called before there is a
/// second thread. Returns the kernel's ABI; 0: there is none.
pub fn enter(kind: &str, rules: &LocalRules) -> Result<u8, ConnectorSandboxError> {
    if rules.process.sandbox == SandboxMode::Off {
        return Ok(0);
    }
    if kind.starts_with("zmq_") {
        // Here it can't be made any more later on. What is wrong with it is said by who uses it.
        let _ = private_folder::make(&rules.zmq_ipc_dir, IPC_DIR_HOLDS);
    }
    let replaced: Vec<PathBuf> = replaceable(|name| env::var_os(name)).collect();
    // What isn't there yet may come, and isn't allowed then either.
    let _ = REPLACEABLE.set(replaced.into_iter().filter(|it| !is_refused(it)).collect());
    let abi = file_sandbox::enter(&allowed(kind, rules, |name| env::var_os(name)))?;
    kept(rules.process.sandbox, abi)
}

static REPLACEABLE: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Returns true if a file that this process could read when it began, or that was not there, is
/// another one now, which its sandbox doesn't know. Blocks.
pub fn is_outdated() -> bool {
    REPLACEABLE
        .get()
        .is_some_and(|files| files.iter().any(|it| is_refused(it)))
}

fn is_refused(path: &Path) -> bool {
    File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

fn kept(mode: SandboxMode, abi: u8) -> Result<u8, ConnectorSandboxError> {
    if mode == SandboxMode::Required && abi < ABI_THAT_KEEPS_FILES {
        return Err(ConnectorSandboxError::NotKept { abi });
    }
    Ok(abi)
}

/// Files that are named one by one.
fn replaceable(variable: impl Fn(&str) -> Option<OsString>) -> impl Iterator<Item = PathBuf> {
    let bundle = variable("SSL_CERT_FILE").map(PathBuf::from);
    NAME_SERVICE.iter().map(PathBuf::from).chain(bundle)
}

fn allowed(
    kind: &str,
    rules: &LocalRules,
    variable: impl Fn(&str) -> Option<OsString>,
) -> AllowedFiles {
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut files = AllowedFiles {
        read: [paths(&SYSTEM), paths(&RESOLVERS)].concat(),
        devices: paths(&DEVICES),
        sockets: paths(&NAME_SOCKETS),
        write: Vec::new(),
    };
    files.read.extend(replaceable(&variable));
    for name in ["SSL_CERT_DIR", "LD_LIBRARY_PATH"] {
        let folders = variable(name).unwrap_or_default();
        let named = env::split_paths(&folders).filter(|it| it.is_absolute());
        files.read.extend(named);
    }
    if kind.starts_with("zmq_") {
        files.write.push(rules.zmq_ipc_dir.clone());
    }
    if kind.starts_with("ibm_mq_") {
        allow_ibm_mq(&mut files, rules, variable);
    }
    files
}

fn allow_ibm_mq(
    files: &mut AllowedFiles,
    rules: &LocalRules,
    variable: impl Fn(&str) -> Option<OsString>,
) {
    files.read.extend(MQ_READ.iter().map(PathBuf::from));
    files.read.push(rules.mq_key_repositories.clone());
    let listed = rules.mq_libraries.iter().filter(|it| it.starts_with('/'));
    files
        .read
        .extend(listed.filter_map(|entry| library_folder(entry)));
    // Tables of channels and the like, which the host's administrator names.
    for name in ["MQCHLLIB", "MQCLNTCF", "MQ_INSTALLATION_PATH"] {
        files.read.extend(absolute(variable(name)));
    }
    if let Some(stem) = absolute(variable("MQSSLKEYR")) {
        let stem = stem.with_extension("");
        let endings = ["kdb", "sth", "p12", "rdb", "crl"];
        files.read.extend(endings.map(|it| stem.with_extension(it)));
    }
    let mut data = vec![PathBuf::from("/var/mqm")];
    data.extend(absolute(variable("MQ_DATA_PATH")));
    data.extend(absolute(variable("MQ_OVERRIDE_DATA_PATH")));
    if let Some(home) = absolute(variable("HOME")) {
        data.push(home.join("IBM/MQ/data"));
    }
    for folder in data {
        let logs = MQ_LOGS.map(|it| folder.join(it));
        if folder.is_dir() {
            // The client makes them when it has something to write.
            logs.iter().for_each(|it| drop(fs::create_dir(it)));
        }
        files.write.extend(logs);
        files.read.push(folder);
    }
}

/// Returns the folder of an entry of `ibm_mq.libraries`: a library's own libraries lie beside it.
fn library_folder(entry: &str) -> Option<PathBuf> {
    match entry.strip_suffix(BENEATH) {
        Some("") => Some(PathBuf::from("/")),
        Some(folder) => Some(PathBuf::from(folder)),
        None => {
            let folder = Path::new(entry).parent()?;
            (folder != Path::new("/")).then(|| folder.to_owned())
        }
    }
}

fn absolute(value: Option<OsString>) -> Option<PathBuf> {
    let path = value.map(PathBuf::from)?;
    let is_path = path.is_absolute() && path.as_os_str() != OsStr::new("/");
    is_path.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> LocalRules {
        LocalRules {
            mq_libraries: vec!["libmqic_r.so".into(), "/opt/ibm/lib64/libmqic_r.so".into()],
            zmq_ipc_dir: "/srv/quorate/run/zmq".into(),
            ..LocalRules::default()
        }
    }

    fn files(kind: &str, environment: &[(&str, &str)]) -> AllowedFiles {
        allowed(kind, &rules(), |name| {
            let found = environment.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    fn has(paths: &[PathBuf], path: &str) -> bool {
        paths.iter().any(|it| it == Path::new(path))
    }

    // Test 58.
    // guarantee: SECURITY-40
    #[test]
    fn each_kind_has_its_own_files_alone() {
        let (amqp, zmq, mq) = (
            files("amqp_channel", &[]),
            files("zmq_outgoing", &[]),
            files("ibm_mq_channel", &[]),
        );
        assert!(amqp.write.is_empty(), "{:?}", amqp.write);
        assert_eq!(zmq.write, [PathBuf::from("/srv/quorate/run/zmq")]);
        assert!(has(&mq.write, "/var/mqm/errors"));
        for path in ["/opt/ibm/lib64", "/etc/quorate/mq", "/opt/mqm"] {
            assert!(has(&mq.read, path), "{path}");
            assert!(!has(&amqp.read, path) && !has(&zmq.read, path), "{path}");
        }
        let all = [&amqp, &zmq, &mq];
        let all = all.iter().flat_map(|it| it.read.iter().chain(&it.write));
        for path in all {
            // None of these has the data folder, keys or settings below it.
            for wide in [
                "/", "/etc", "/var", "/var/lib", "/srv", "/usr", "/proc", "/run",
            ] {
                assert_ne!(path, Path::new(wide));
            }
        }
    }

    #[test]
    fn administrators_variables_allow_more_files() {
        let files = files(
            "ibm_mq_outgoing",
            &[
                ("SSL_CERT_FILE", "/srv/ca.pem"),
                ("LD_LIBRARY_PATH", "/srv/a:relative:/srv/b"),
                ("HOME", "/srv/q"),
                ("MQCHLLIB", "/srv/tables"),
                ("MQSSLKEYR", "/srv/keys/one.kdb"),
                ("MQCLNTCF", "/"),
            ],
        );
        for path in [
            "/srv/ca.pem",
            "/srv/a",
            "/srv/b",
            "/srv/tables",
            "/srv/keys/one.kdb",
            "/srv/keys/one.sth",
            "/srv/q/IBM/MQ/data",
        ] {
            assert!(has(&files.read, path), "{path}");
        }
        assert!(has(&files.write, "/srv/q/IBM/MQ/data/errors"));
        assert!(!has(&files.read, "relative") && !has(&files.read, "/"));
    }

    #[test]
    fn required_sandbox_names_kernel_and_remedy() {
        assert_eq!(kept(SandboxMode::Required, 3).unwrap(), 3);
        assert_eq!(kept(SandboxMode::BestEffort, 0).unwrap(), 0);
        let told = kept(SandboxMode::Required, 2).unwrap_err().to_string();
        for text in ["security.sandbox", "ABI 2", "best-effort", "Linux 6.2"] {
            assert!(told.contains(text), "{text}: {told}");
        }
    }
}
