//! The folder of a quickstart: its files, and the settings in them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use quorate_platform::trusted_path;

use super::{
    QuickstartArgs,
    certificates::{QuickstartCertificates, member_settings},
    process_spec::ProcessSpec,
    settings_files,
};
use crate::{balancer, cli::error::CliError, settings::Settings};

/// The name of the balancer in reports.
const BALANCER: &str = "the balancer";

/// The files of one member.
#[derive(Clone, Debug)]
pub(super) struct QuickstartMember {
    /// The member's name.
    pub name: String,
    /// The member's `quorate.toml`.
    pub config: PathBuf,
    /// The file for its output.
    pub log: PathBuf,
    /// The settings in the file.
    pub settings: Settings,
}

/// The files of the balancer.
#[derive(Clone, Debug)]
pub(super) struct QuickstartBalancer {
    /// The balancer's `balancer.toml`.
    pub config: PathBuf,
    /// The file for its output.
    pub log: PathBuf,
    /// The address on which HAProxy listens.
    pub bind: SocketAddr,
}

/// Everything in the folder.
#[derive(Debug)]
pub(super) struct QuickstartFolder {
    /// The members, in order.
    pub members: Vec<QuickstartMember>,
    /// The balancer, if wanted.
    pub balancer: Option<QuickstartBalancer>,
    /// The certificates, behind TLS.
    pub certificates: Option<QuickstartCertificates>,
    /// The file with the addresses by which the cluster knew its members when they were ready last.
    whereabouts: PathBuf,
    /// The lock, held for as long as this quickstart runs.
    _lock: Flock<File>,
}

impl QuickstartFolder {
    /// Opens the folder: makes missing files, reads the others, and locks it for this quickstart.
    pub(super) fn prepare(args: &QuickstartArgs) -> Result<QuickstartFolder, CliError> {
        make(&args.dir)?;
        let dir = fs::canonicalize(&args.dir).map_err(|error| trouble("use", &args.dir, &error))?;
        let lock = lock(&dir)?;
        let known = known(&dir);
        let certificates = certificates(&dir, args.secure, known > 0)?;
        let count = args.members.max(known);
        let members = (0..count)
            .map(|at| member(&dir, at, args.port_offset, certificates.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let balancer = if args.no_balancer {
            None
        } else {
            Some(balancer(
                &dir,
                args.port_offset,
                &members,
                certificates.as_ref(),
            )?)
        };
        let folder = QuickstartFolder {
            members,
            balancer,
            certificates,
            whereabouts: dir.join("whereabouts"),
            _lock: lock,
        };
        folder.check_distinct()?;
        Ok(folder)
    }

    /// Returns the admin URLs of all members but one.
    pub(super) fn admin_urls(&self, except: Option<&str>) -> Vec<String> {
        let others = self
            .members
            .iter()
            .filter(|member| Some(member.name.as_str()) != except);
        others.map(QuickstartMember::admin_url).collect()
    }

    /// Returns true if the members may look for each other at former addresses, since their
    /// settings were changed: unless the cluster knew them last where they are now.
    pub(super) fn may_have_moved(&self) -> bool {
        let members = self.members.iter();
        let now = members.map(|it| (it.name.as_str(), it.settings.peer.advertise.as_str()));
        fs::read_to_string(&self.whereabouts).ok() != Some(whereabouts(now))
    }

    /// Records the addresses by which the cluster knows these members, by their names.
    pub(super) fn remember(&self, peers: &BTreeMap<String, String>) {
        let ours = self.members.iter().filter_map(|member| {
            let peer = peers.get(&member.name)?;
            Some((member.name.as_str(), peer.as_str()))
        });
        // Where the record can't be written the next start takes longer, and that is all.
        let _ = fs::write(&self.whereabouts, whereabouts(ours));
    }

    /// Lists the processes of the folder.
    pub(super) fn process_specs(&self) -> Vec<ProcessSpec> {
        let members = self.members.iter().map(|member| ProcessSpec {
            name: member.name.clone(),
            subcommand: "server",
            config: member.config.clone(),
            log: member.log.clone(),
        });
        let balancer = self.balancer.iter().map(|balancer| ProcessSpec {
            name: BALANCER.into(),
            subcommand: "balancer",
            config: balancer.config.clone(),
            log: balancer.log.clone(),
        });
        members.chain(balancer).collect()
    }

    /// Lists the listeners: the process, the purpose, and the address.
    pub(super) fn binds(&self) -> Vec<(String, &'static str, SocketAddr)> {
        let members = self.members.iter().flat_map(|member| {
            let Settings {
                http, admin, peer, ..
            } = &member.settings;
            [("http", http), ("admin", admin), ("peer", peer)]
                .map(|(what, face)| (member.name.clone(), what, face.bind))
        });
        let balancer = self
            .balancer
            .iter()
            .map(|balancer| (BALANCER.into(), "http", balancer.bind));
        members.chain(balancer).collect()
    }

    /// Refuses settings that clash after changes by hand.
    fn check_distinct(&self) -> Result<(), CliError> {
        let mut seen: Vec<(String, &str, SocketAddr)> = Vec::new();
        for (who, what, bind) in self.binds() {
            if let Some((other, its, _)) = seen.iter().find(|(_, _, taken)| *taken == bind) {
                return Err(CliError::Refused(format!(
                    "{other} ({its}) and {who} ({what}) both use {bind}; change the settings of one of them"
                )));
            }
            seen.push((who, what, bind));
        }
        let mut names = std::collections::BTreeSet::new();
        match self
            .members
            .iter()
            .find(|member| !names.insert(&member.name))
        {
            Some(twice) => Err(CliError::Refused(format!(
                "two members are called {:?}; change the name in {}",
                twice.name,
                twice.config.display()
            ))),
            None => Ok(()),
        }
    }
}

/// Writes a line for each member: its name and its peer address.
fn whereabouts<'a>(peers: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    peers
        .map(|(name, peer)| format!("{name} {peer}\n"))
        .collect()
}

/// Counts the members that the folder has from an earlier run: a cluster of three does not work
/// with one of them because this run asks for one.
fn known(dir: &Path) -> u16 {
    (1..=9)
        .take_while(|at| dir.join(format!("member-{at}/quorate.toml")).exists())
        .count() as u16
}

impl QuickstartMember {
    /// Returns the URL of the member's admin port.
    pub(super) fn admin_url(&self) -> String {
        let scheme = match self.settings.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}", self.settings.admin.advertise)
    }
}

/// Makes the certificates of a folder that has them, or is new and to have them.
fn certificates(
    dir: &Path,
    wanted: bool,
    is_used: bool,
) -> Result<Option<QuickstartCertificates>, CliError> {
    let exist = QuickstartCertificates::exist(dir);
    if wanted && is_used && !exist {
        return Err(CliError::Refused(format!(
            "{} has members without TLS: give --secure another folder, with --dir DIR",
            dir.display()
        )));
    }
    if !wanted && !exist {
        return Ok(None);
    }
    QuickstartCertificates::prepare(dir).map(Some)
}

fn member(
    dir: &Path,
    at: u16,
    offset: u16,
    certificates: Option<&QuickstartCertificates>,
) -> Result<QuickstartMember, CliError> {
    let name = format!("member-{}", at + 1);
    let folder = dir.join(&name);
    make(&folder)?;
    let config = folder.join("quorate.toml");
    let mut text = settings_files::member(&name, offset + at);
    if let Some(certificates) = certificates {
        certificates.ensure_member(&name)?;
        text += &member_settings(&name);
    }
    write_if_absent(&config, &text)?;
    let settings =
        Settings::load(&config, [], &[]).map_err(|error| CliError::Refused(error.to_string()))?;
    Ok(QuickstartMember {
        name: settings.name.clone(),
        log: folder.join("quorate.log"),
        config,
        settings,
    })
}

fn balancer(
    dir: &Path,
    offset: u16,
    members: &[QuickstartMember],
    certificates: Option<&QuickstartCertificates>,
) -> Result<QuickstartBalancer, CliError> {
    let refused = |error: balancer::BalancerError| CliError::Refused(error.to_string());
    let folder = dir.join("balancer");
    let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, settings_files::BALANCER + offset));
    let admins: Vec<String> = members.iter().map(QuickstartMember::admin_url).collect();
    let tls = certificates.map(QuickstartCertificates::balancer_settings);
    let config =
        balancer::settings::write_default(&folder, bind, &admins, &tls.unwrap_or_default())
            .map_err(refused)?;
    let settings = balancer::BalancerSettings::load(&config).map_err(refused)?;
    if !installed(&settings.haproxy) {
        return Err(CliError::Refused(format!(
            "there is no {:?} on this machine: install HAProxy (on Debian: apt-get install haproxy), \
             or run the members alone with --no-balancer",
            settings.haproxy
        )));
    }
    Ok(QuickstartBalancer {
        log: folder.join("quorate.log"),
        config,
        bind: settings.bind,
    })
}

/// Returns true if a program is there, by path or on the PATH. Debian keeps HAProxy in /usr/sbin,
/// which is not on everybody's.
fn installed(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&paths)
        .chain(usual)
        .any(|folder| folder.join(program).is_file())
}

/// Makes a folder of a quickstart.
pub(super) fn make(folder: &Path) -> Result<(), CliError> {
    trusted_path::make_folder(folder).map_err(|error| trouble("work in", folder, &error))
}

/// Writes settings where there are none: existing ones are the user's and stay as they are.
fn write_if_absent(file: &Path, text: &str) -> Result<(), CliError> {
    if file.exists() {
        return Ok(());
    }
    let beside = file.with_extension("toml.new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, file))
        .map_err(|error| trouble("write", file, &error))
}

/// Locks the folder: two quickstarts on one folder would stop each other's members.
fn lock(dir: &Path) -> Result<Flock<File>, CliError> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| trouble("write", &path, &error))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => CliError::Refused(format!(
            "another quickstart runs on {}; stop it first (Ctrl-C), or use another folder and other ports: --dir DIR --port-offset N",
            dir.display()
        )),
        other => trouble("lock", &path, &other.into()),
    })
}

fn trouble(verb: &str, path: &Path, error: &std::io::Error) -> CliError {
    CliError::Refused(format!("can't {verb} {}: {error}", path.display()))
}
