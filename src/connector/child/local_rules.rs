//! What this host allows a connector, whatever the cluster's configuration says.
//!
//! Whoever may write the configuration could otherwise have every member load any library,
//! unlink any file that the member's user may unlink (libzmq does so before it binds
//! `ipc://`), or open a port to the network. So the member's own settings say what is
//! allowed here, and hand it to each connector process in a variable of its environment.

use std::{
    env,
    fs::DirBuilder,
    io,
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt},
    path::{Component, Path, PathBuf},
    sync::OnceLock,
};

use serde::{Deserialize, Serialize};

/// The variable that a process finds the rules in.
pub const VARIABLE: &str = "QUORATE_LOCAL_RULES";

/// Ends an entry that stands for everything below a folder.
const BENEATH: &str = "/**";

/// What this host allows.
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
        }
    }
}

static HERE: OnceLock<LocalRules> = OnceLock::new();

impl LocalRules {
    /// Reads the rules from the environment; once, when the process begins. Where there are
    /// none the strict ones hold.
    pub fn take_up() -> io::Result<()> {
        let Ok(text) = env::var(VARIABLE) else {
            return Ok(());
        };
        let rules = serde_json::from_str(&text).map_err(|error| {
            let why = format!("{VARIABLE} can't be read: {error}");
            io::Error::new(io::ErrorKind::InvalidInput, why)
        })?;
        let _ = HERE.set(rules);
        Ok(())
    }

    /// Those of this process; the strict ones where nothing was taken up.
    pub fn here() -> &'static LocalRules {
        HERE.get_or_init(LocalRules::default)
    }

    /// What is to be loaded for this `library`: the name, or the file that the path leads to.
    pub fn library(&self, name: &str) -> Result<PathBuf, String> {
        let refused = |why: String| {
            format!(
                "the library {name:?} is not allowed on this member: {why}; its settings allow {:?} (ibm_mq.libraries)",
                self.mq_libraries
            )
        };
        if !name.starts_with('/') {
            let listed = self.mq_libraries.iter().any(|it| it == name);
            return listed
                .then(|| name.into())
                .ok_or_else(|| refused("that name is not listed".into()));
        }
        let path = Path::new(name);
        let listed = self.mq_libraries.iter().any(|it| covers(it, path));
        if !listed {
            return Err(refused("that path is not listed".into()));
        }
        // A file that isn't there is told of by who loads it.
        let Ok(real) = path.canonicalize() else {
            return Ok(path.to_owned());
        };
        if !self.mq_libraries.iter().any(|it| covers(it, &real)) {
            return Err(refused(format!("it leads to {}", real.display())));
        }
        others_may_not_write(&real).map_err(refused)?;
        Ok(real)
    }

    /// Whether this `ssl_key_repository` may be used.
    pub fn key_repository(&self, path: &str) -> Result<(), String> {
        let folder = &self.mq_key_repositories;
        match is_beneath(Path::new(path), folder) {
            true => Ok(()),
            false => Err(format!(
                "the key repository {path:?} is not allowed on this member: it must lie below {} (ibm_mq.key_repositories)",
                folder.display()
            )),
        }
    }

    /// Makes the folder for the sockets of `ipc://`, for the member's user alone.
    pub fn make_ipc_dir(&self) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.zmq_ipc_dir)
    }

    /// Whether a socket may connect to this path or, with `bind`, be made there.
    pub fn ipc(&self, path: &str, bind: bool) -> Result<(), String> {
        let refused = |why: String| {
            format!(
                "ipc://{path} is not allowed on this member: {why}; its settings allow what lies below {} (zmq.ipc_dir)",
                self.zmq_ipc_dir.display()
            )
        };
        let path = Path::new(path);
        if !is_beneath(path, &self.zmq_ipc_dir) {
            return Err(refused("it lies elsewhere".into()));
        }
        // What a link in it leads to counts, not what it is called.
        let folder = path.parent().unwrap_or(path);
        if let (Ok(real), Ok(allowed)) = (folder.canonicalize(), self.zmq_ipc_dir.canonicalize())
            && !real.starts_with(&allowed)
        {
            return Err(refused(format!("it leads to {}", real.display())));
        }
        // libzmq removes what is there before it binds.
        if bind
            && let Ok(there) = path.symlink_metadata()
            && !there.file_type().is_socket()
        {
            return Err(refused("there is a file that is no socket".into()));
        }
        Ok(())
    }

    /// Whether a socket may listen at this host of a `tcp://` address.
    pub fn bind(&self, host: &str) -> Result<(), String> {
        let bare = host.trim_matches(['[', ']']);
        let loopback = bare.parse::<IpAddr>().is_ok_and(|it| it.is_loopback()) || bare == "lo";
        let listed = |it: &String| it == "*" || it == bare || it == host;
        if loopback || self.zmq_bind.iter().any(listed) {
            return Ok(());
        }
        Err(format!(
            "to listen at {host} is not allowed on this member: whoever reaches it may send; its settings allow loopback and {:?} (zmq.bind, or insecure = [\"zmq\"] for every address)",
            self.zmq_bind
        ))
    }
}

/// Whether an entry of the list stands for this path.
fn covers(entry: &str, path: &Path) -> bool {
    match entry.strip_suffix(BENEATH) {
        Some(folder) => is_beneath(
            path,
            Path::new(if folder.is_empty() { "/" } else { folder }),
        ),
        None => Path::new(entry) == path,
    }
}

/// By the path's text: `..` is in none that is allowed.
fn is_beneath(path: &Path, folder: &Path) -> bool {
    let climbs = path.components().any(|it| it == Component::ParentDir);
    !climbs && path != folder && path.starts_with(folder)
}

/// Whoever may write a library runs code in this process. Its owner and its group are those
/// that the settings trust by listing it.
fn others_may_not_write(file: &Path) -> Result<(), String> {
    for path in [Some(file), file.parent()].into_iter().flatten() {
        let seen = path
            .metadata()
            .map_err(|error| format!("{} can't be looked at: {error}", path.display()))?;
        if seen.mode() & 0o002 != 0 {
            let shown = path.display().to_string();
            // The command is there to be typed.
            let word = shlex::try_quote(&shown).map_or_else(|_| format!("{shown:?}"), Into::into);
            return Err(format!("others may write {shown}: chmod o-w {word}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{
            fs::{PermissionsExt, symlink},
            net::UnixListener,
        },
    };

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_libraries_that_are_listed_and_that_others_can_not_write_are_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (mq, other) = (root.join("my mq"), root.join("other"));
        for folder in [&mq, &other] {
            fs::create_dir(folder).unwrap();
            mode(folder, 0o755);
        }
        let good = mq.join("libmqic_r.so");
        for file in [&good, &other.join("libevil.so")] {
            fs::write(file, "").unwrap();
            mode(file, 0o755);
        }
        symlink(other.join("libevil.so"), mq.join("libsly.so")).unwrap();
        let rules = LocalRules {
            mq_libraries: vec!["libmqic_r.so".into(), format!("{}/**", mq.display())],
            ..LocalRules::default()
        };
        let ask = |path: &Path| rules.library(path.to_str().unwrap());
        assert_eq!(rules.library("libmqic_r.so"), Ok("libmqic_r.so".into()));
        assert_eq!(ask(&good), Ok(good.clone()));
        assert_eq!(ask(&mq.join("absent.so")), Ok(mq.join("absent.so")));
        for (path, why) in [
            (PathBuf::from("libc.so.6"), "not listed"),
            (other.join("libevil.so"), "not listed"),
            (mq.join("../other/libevil.so"), "not listed"),
            (mq.join("libsly.so"), "it leads to"),
        ] {
            let refused = ask(&path).unwrap_err();
            assert!(
                refused.contains(why) && refused.contains("ibm_mq.libraries"),
                "{refused}"
            );
        }
        for (path, wide, narrow) in [(&good, 0o777, 0o755), (&mq, 0o777, 0o755)] {
            mode(path, wide);
            let refused = ask(&good).unwrap_err();
            let command = format!("chmod o-w '{}'", path.display());
            assert!(refused.contains(&command), "{refused}");
            mode(path, narrow);
        }
        assert_eq!(ask(&good), Ok(good));
    }

    #[test]
    fn a_key_repository_lies_in_its_folder() {
        let rules = LocalRules::default();
        assert_eq!(rules.key_repository("/etc/quorate/mq/key.kdb"), Ok(()));
        for path in [
            "/etc/quorate/mq",
            "/etc/quorate/mq/../../shadow",
            "/tmp/key.kdb",
        ] {
            assert!(rules.key_repository(path).is_err(), "{path}");
        }
    }

    #[test]
    fn no_file_outside_of_the_folder_and_none_that_is_no_socket_is_bound_over() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("zmq"), dir.path().join("outside"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(inside.join("file"), "kept").unwrap();
        symlink(&outside, inside.join("link")).unwrap();
        let _there = UnixListener::bind(inside.join("socket")).unwrap();
        let rules = LocalRules {
            zmq_ipc_dir: inside.clone(),
            ..LocalRules::default()
        };
        let ask = |path: PathBuf| rules.ipc(path.to_str().unwrap(), true);
        for good in ["new", "socket"] {
            assert_eq!(ask(inside.join(good)), Ok(()), "{good}");
        }
        for (bad, why) in [
            (outside.join("marker"), "elsewhere"),
            (inside.join("../outside/marker"), "elsewhere"),
            (inside.clone(), "elsewhere"),
            (inside.join("link/marker"), "it leads to"),
            (inside.join("file"), "no socket"),
        ] {
            let refused = ask(bad).unwrap_err();
            assert!(
                refused.contains(why) && refused.contains("zmq.ipc_dir"),
                "{refused}"
            );
        }
        assert_eq!(fs::read(inside.join("file")).unwrap(), b"kept");
    }

    #[test]
    fn beyond_loopback_only_what_is_listed_is_bound() {
        let rules = |bind: &[&str]| LocalRules {
            zmq_bind: bind.iter().map(|it| (*it).to_owned()).collect(),
            ..LocalRules::default()
        };
        for host in ["127.0.0.1", "127.0.0.2", "[::1]", "lo"] {
            assert_eq!(rules(&[]).bind(host), Ok(()), "{host}");
        }
        for host in ["*", "0.0.0.0", "[::]", "eth0", "192.0.2.1"] {
            assert!(rules(&[]).bind(host).is_err(), "{host}");
            assert_eq!(rules(&["*"]).bind(host), Ok(()), "{host}");
            assert_eq!(rules(&[host]).bind(host), Ok(()), "{host}");
        }
    }
}
