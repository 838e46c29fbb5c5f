//! Port binding, with the process that has the port when binding fails.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    os::unix::fs::MetadataExt,
    path::Path,
};

use super::host_processes;

/// Error of a port that can't be had.
#[derive(Debug)]
pub struct PortTaken {
    /// The purpose of the port, for example `http`.
    pub what: String,
    /// The address.
    pub address: SocketAddr,
    /// The process that listens there, when it can be seen.
    pub owner: Option<String>,
    /// The error of the operating system.
    pub cause: io::Error,
}

impl fmt::Display for PortTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortTaken {
            what,
            address,
            owner,
            cause,
        } = self;
        match (cause.kind(), owner) {
            (io::ErrorKind::AddrInUse, Some(owner)) => {
                write!(
                    f,
                    "{what}: port {} of {} is taken by {owner}",
                    address.port(),
                    address.ip()
                )
            }
            (io::ErrorKind::AddrInUse, None) => {
                write!(
                    f,
                    "{what}: port {} of {} is taken by another process",
                    address.port(),
                    address.ip()
                )
            }
            _ => write!(f, "{what}: can't listen on {address}: {cause}"),
        }
    }
}

impl std::error::Error for PortTaken {}

/// Listens on an address for a purpose, `what`. The listener is ready to be given to tokio.
pub fn listen(what: &str, address: SocketAddr) -> Result<TcpListener, PortTaken> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|cause| PortTaken {
        what: what.to_owned(),
        address,
        owner: owner(address.port()),
        cause,
    })
}

/// Returns the process that listens on a TCP port of this host: `haproxy (process 4711)`.
pub fn owner(port: u16) -> Option<String> {
    let inode = listening_inode("/proc/net/tcp", port)
        .or_else(|| listening_inode("/proc/net/tcp6", port))?;
    let pid = host_processes::all().find(|pid| holds_socket(*pid, inode))?;
    let name = host_processes::name(pid).unwrap_or_else(|| "a process".into());
    Some(format!("{name} (process {pid})"))
}

/// Returns the inode of the socket in state LISTEN (0A) on a port, from `/proc/net/tcp`.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    let text = std::fs::read_to_string(table).ok()?;
    text.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = columns.get(1)?.rsplit_once(':')?;
        let listening = *columns.get(3)? == "0A" && u16::from_str_radix(local, 16) == Ok(port);
        listening.then(|| columns.get(9)?.parse().ok()).flatten()
    })
}

fn holds_socket(pid: u32, inode: u64) -> bool {
    let Ok(handles) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    handles
        .flatten()
        .any(|handle| is_socket(&handle.path(), inode))
}

fn is_socket(handle: &Path, inode: u64) -> bool {
    std::fs::metadata(handle).is_ok_and(|meta| meta.ino() == inode)
        && std::fs::read_link(handle)
            .is_ok_and(|link| link.as_os_str().to_string_lossy().starts_with("socket:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_port_is_reported_with_its_owner() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap();
        let error = listen("http", address).unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.contains(&format!(
                "http: port {} of 127.0.0.1 is taken by",
                address.port()
            )),
            "{shown}"
        );
        assert!(
            shown.contains(&format!("(process {})", std::process::id())),
            "{shown}"
        );
    }

    #[test]
    fn a_free_port_is_listened_on() {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        listen("http", port).unwrap();
    }
}
