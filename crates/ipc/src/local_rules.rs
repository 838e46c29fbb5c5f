//! Local rules: what this host allows a connector, whatever the cluster's configuration says.
//!
//! A user who may write the configuration could otherwise have every member load any library,
//! unlink any file that the member's user may unlink (libzmq does so before it binds `ipc://`), or
//! open a port to the network. So the member's own settings say what is allowed here, and the
//! member hands them to each connector process in a variable of its environment.
//!
//! A library runs code from the moment in which it is loaded, so a list of names is not enough: the
//! file must be what the host's administrator has put there. A path is followed to its end once,
//! and that file is loaded; the file and each folder above it can be written by root, this user and
//! IBM's installer (`mqm`) alone, so nobody else can exchange it between the check and the load. It
//! is loaded by its path and not by an open descriptor: IBM's client finds its installation, and
//! the libraries beside it, by where it was loaded from. What remains: those libraries beside it
//! are protected by the same folders, but those that it finds elsewhere are the system's matter;
//! and a bare name is found by the system's own rules, of which only the folders in LD_LIBRARY_PATH
//! are checked.

use std::{
    env, io,
    net::IpAddr,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Component, Path, PathBuf},
    sync::OnceLock,
};

use nix::unistd::User;
use quorate_platform::{
    private_folder::{self, FolderError},
    trusted_path::{self, UntrustedPath},
};
use serde::{Deserialize, Serialize};

use crate::{egress_networks::EgressNetworks, process_rules::ProcessRules};

/// Content of the folder for the sockets of `ipc://`, for messages to the user who has to close it.
pub const IPC_DIR_HOLDS: &str =
    "it is zmq.ipc_dir, and whoever reaches a socket in it may send messages";

/// Environment variable with the rules of a connector process.
pub const RULES_VARIABLE: &str = "QUORATE_LOCAL_RULES";

/// End of an entry that stands for everything below a folder.
pub(crate) const BENEATH: &str = "/**";

/// Rule of this host that a connector breaks.
#[derive(Debug, thiserror::Error)]
pub enum LocalRuleError {
    /// The library may not be loaded.
    #[error(
        "the library {name:?} is not allowed on this member: {reason}; its settings allow {allowed:?} (ibm_mq.libraries)"
    )]
    Library {
        /// Name or path that was asked for.
        name: String,
        /// Allowed names and paths.
        allowed: Vec<String>,
        /// Reason.
        reason: PathProblem,
    },
    /// The key repository may not be used.
    #[error(
        "the key repository {path:?} is not allowed on this member: {reason}; it must lie below {} (ibm_mq.key_repositories)",
        .folder.display()
    )]
    KeyRepository {
        /// Path that was asked for.
        path: String,
        /// Folder of allowed repositories.
        folder: PathBuf,
        /// Reason.
        reason: PathProblem,
    },
    /// The `ipc://` socket may not be used.
    #[error(
        "ipc://{path} is not allowed on this member: {reason}; its settings allow what lies below {} (zmq.ipc_dir)",
        .folder.display()
    )]
    Ipc {
        /// Path that was asked for.
        path: String,
        /// Folder of allowed sockets.
        folder: PathBuf,
        /// Reason.
        reason: PathProblem,
    },
    /// The address may not be bound.
    #[error(
        "to listen at {host} is not allowed on this member: whoever reaches it may send; its settings allow loopback and {allowed:?} (zmq.bind, or insecure = [\"zmq\"] for every address)"
    )]
    Bind {
        /// Host that was asked for.
        host: String,
        /// Allowed addresses and interfaces.
        allowed: Vec<String>,
    },
}

/// Reason why a path is not allowed.
#[derive(Debug, thiserror::Error)]
pub enum PathProblem {
    /// The name is not in the list.
    #[error("that name is not listed")]
    NameNotListed,
    /// The path is not in the list.
    #[error("that path is not listed")]
    PathNotListed,
    /// The path is not below its folder.
    #[error("it lies elsewhere")]
    Elsewhere,
    /// A link in the path leads elsewhere.
    #[error("it leads to {}", .0.display())]
    LeadsTo(PathBuf),
    /// The path leads to something else than a file.
    #[error("{} is no file", .0.display())]
    NoFile(PathBuf),
    /// The path leads to something else than a socket.
    #[error("there is a file that is no socket")]
    NoSocket,
    /// A link in the path is broken.
    #[error("{} leads nowhere: {error}", .path.display())]
    LeadsNowhere {
        /// The link.
        path: PathBuf,
        /// Error of following it.
        error: io::Error,
    },
    /// Other users may read a key.
    #[error("others may read {}: chmod o-rwx {}", .0.display(), private_folder::quoted(.0))]
    ReadableByOthers(PathBuf),
    /// Other users may write the file or a folder above it.
    #[error(transparent)]
    Untrusted(#[from] UntrustedPath),
    /// Other users may write a folder in which libraries are searched.
    #[error("a folder of LD_LIBRARY_PATH can't be trusted: {0}")]
    SearchFolder(UntrustedPath),
    /// The folder for sockets is not private.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Rules of this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalRules {
    /// Client libraries of IBM MQ: names, absolute paths, or everything below a folder, as in
    /// `/opt/mqm/**`.
    pub mq_libraries: Vec<String>,
    /// The folder below which key repositories of IBM MQ lie.
    pub mq_key_repositories: PathBuf,
    /// The folder below which sockets of `ipc://` lie.
    pub zmq_ipc_dir: PathBuf,
    /// The addresses and interfaces, beside loopback, that may be bound; `*` is all of them.
    pub zmq_bind: Vec<String>,
    /// The networks that brokers may not be in.
    #[serde(default)]
    pub egress: EgressNetworks,
    /// The rules for the process itself.
    #[serde(default)]
    pub process: ProcessRules,
}

impl Default for LocalRules {
    fn default() -> Self {
        LocalRules {
            mq_libraries: ["libmqic_r.so", "libmqm_r.so", "/opt/mqm/**"]
                .map(str::to_owned)
                .into(),
            mq_key_repositories: "/etc/quorate/mq".into(),
            zmq_ipc_dir: "/run/quorate/zmq".into(),
            zmq_bind: Vec::new(),
            egress: EgressNetworks::default(),
            process: ProcessRules::default(),
        }
    }
}

static HERE: OnceLock<LocalRules> = OnceLock::new();

impl LocalRules {
    /// Reads the rules from the environment, once, at the start of the process. Without any, the
    /// strict ones hold.
    pub fn load_from_environment() -> io::Result<()> {
        let Ok(text) = env::var(RULES_VARIABLE) else {
            return Ok(());
        };
        let rules = serde_json::from_str(&text).map_err(|error| {
            let why = format!("{RULES_VARIABLE} can't be read: {error}");
            io::Error::new(io::ErrorKind::InvalidInput, why)
        })?;
        let _ = HERE.set(rules);
        Ok(())
    }

    /// Returns the rules of this process; the strict ones where none were loaded.
    pub fn current() -> &'static LocalRules {
        HERE.get_or_init(LocalRules::default)
    }

    /// Returns the library to load for this `library`: the name, or the file that the path leads
    /// to.
    pub fn library(&self, name: &str) -> Result<PathBuf, LocalRuleError> {
        let refused = |reason: PathProblem| LocalRuleError::Library {
            name: name.to_owned(),
            allowed: self.mq_libraries.clone(),
            reason,
        };
        if !name.starts_with('/') {
            if !self.mq_libraries.iter().any(|it| it == name) {
                return Err(refused(PathProblem::NameNotListed));
            }
            search_folders().map_err(refused)?;
            return Ok(name.into());
        }
        let path = Path::new(name);
        let listed = self.mq_libraries.iter().any(|it| covers(it, path));
        if !listed {
            return Err(refused(PathProblem::PathNotListed));
        }
        let Some(real) = resolve(path).map_err(refused)? else {
            return Ok(path.to_owned());
        };
        if !self.mq_libraries.iter().any(|it| covers(it, &real)) {
            return Err(refused(PathProblem::LeadsTo(real)));
        }
        if !real.is_file() {
            return Err(refused(PathProblem::NoFile(real)));
        }
        check_trusted(&real).map_err(refused)?;
        Ok(real)
    }

    /// Checks that this `ssl_key_repository` may be used. It is the path of several files, with or
    /// without their endings: keys, and the stash with the password to them.
    pub fn key_repository(&self, path: &str) -> Result<(), LocalRuleError> {
        let folder = &self.mq_key_repositories;
        let refused = |reason: PathProblem| LocalRuleError::KeyRepository {
            path: path.to_owned(),
            folder: folder.clone(),
            reason,
        };
        if !is_beneath(Path::new(path), folder) {
            return Err(refused(PathProblem::Elsewhere));
        }
        let stem = path.strip_suffix(".kdb").unwrap_or(path);
        for ending in ["", ".kdb", ".p12", ".sth"] {
            // The client that looks for a missing file reports it.
            let Ok(real) = Path::new(&format!("{stem}{ending}")).canonicalize() else {
                continue;
            };
            if !folder.canonicalize().is_ok_and(|it| real.starts_with(it)) {
                return Err(refused(PathProblem::LeadsTo(real)));
            }
            check_trusted(&real).map_err(refused)?;
            let mode = real.metadata().map_or(0, |it| it.mode());
            if real.is_file() && mode & 0o007 != 0 {
                return Err(refused(PathProblem::ReadableByOthers(real)));
            }
        }
        Ok(())
    }

    /// Checks that a socket may connect to this path or, with `bind`, be made there. Makes the
    /// folder for the sockets then.
    pub fn ipc(&self, path: &str, bind: bool) -> Result<(), LocalRuleError> {
        let refused = |reason: PathProblem| LocalRuleError::Ipc {
            path: path.to_owned(),
            folder: self.zmq_ipc_dir.clone(),
            reason,
        };
        let path = Path::new(path);
        if !is_beneath(path, &self.zmq_ipc_dir) {
            return Err(refused(PathProblem::Elsewhere));
        }
        let held = if bind {
            private_folder::make(&self.zmq_ipc_dir, IPC_DIR_HOLDS)
        } else {
            private_folder::check(&self.zmq_ipc_dir, IPC_DIR_HOLDS)
        };
        held.map_err(|error| refused(error.into()))?;
        // The target of a link in it counts, not its name.
        let folder = path.parent().unwrap_or(path);
        if let (Ok(real), Ok(allowed)) = (folder.canonicalize(), self.zmq_ipc_dir.canonicalize())
            && !real.starts_with(&allowed)
        {
            return Err(refused(PathProblem::LeadsTo(real)));
        }
        // libzmq removes what is there before it binds.
        if bind
            && let Ok(there) = path.symlink_metadata()
            && !there.file_type().is_socket()
        {
            return Err(refused(PathProblem::NoSocket));
        }
        Ok(())
    }

    /// Checks that a socket may listen at this host of a `tcp://` address.
    pub fn bind(&self, host: &str) -> Result<(), LocalRuleError> {
        let bare = host.trim_matches(['[', ']']);
        let loopback = bare.parse::<IpAddr>().is_ok_and(|it| it.is_loopback()) || bare == "lo";
        let listed = |it: &String| it == "*" || it == bare || it == host;
        if loopback || self.zmq_bind.iter().any(listed) {
            return Ok(());
        }
        Err(LocalRuleError::Bind {
            host: host.to_owned(),
            allowed: self.zmq_bind.clone(),
        })
    }
}

/// Returns true if an entry of the list stands for this path.
fn covers(entry: &str, path: &Path) -> bool {
    match entry.strip_suffix(BENEATH) {
        Some(folder) => is_beneath(
            path,
            Path::new(if folder.is_empty() { "/" } else { folder }),
        ),
        None => Path::new(entry) == path,
    }
}

/// Compares the texts of the paths: `..` is in none that is allowed.
fn is_beneath(path: &Path, folder: &Path) -> bool {
    let climbs = path.components().any(|it| it == Component::ParentDir);
    !climbs && path != folder && path.starts_with(folder)
}

/// Returns where a path leads, by all links; `None` where nothing is there and nobody else can put
/// anything there: loading it reports that.
fn resolve(path: &Path) -> Result<Option<PathBuf>, PathProblem> {
    for (depth, it) in path.ancestors().enumerate() {
        if it.symlink_metadata().is_err() {
            continue;
        }
        let real = it
            .canonicalize()
            .map_err(|error| PathProblem::LeadsNowhere {
                path: it.to_owned(),
                error,
            })?;
        if depth == 0 {
            return Ok(Some(real));
        }
        check_trusted(&real)?;
        return Ok(None);
    }
    Ok(None)
}

/// Checks the folders in which a library is searched by its name alone, before the system's own:
/// each folder of LD_LIBRARY_PATH. The libraries that it needs itself are searched there, too.
fn search_folders() -> Result<(), PathProblem> {
    let folders = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    for folder in env::split_paths(&folders) {
        let here = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &folder
        };
        if let Ok(real) = here.canonicalize() {
            trusted_path::check(&real, installer()).map_err(PathProblem::SearchFolder)?;
        }
    }
    Ok(())
}

/// Checks that nobody else can write the file or a folder above it.
fn check_trusted(path: &Path) -> Result<(), PathProblem> {
    Ok(trusted_path::check(path, installer())?)
}

/// Returns the user that IBM's installer gives its files to, where there is one.
fn installer() -> Option<u32> {
    static INSTALLER: OnceLock<Option<u32>> = OnceLock::new();
    *INSTALLER.get_or_init(|| User::from_name("mqm").ok()?.map(|it| it.uid.as_raw()))
}

#[cfg(test)]
mod tests;
