//! User at the other end of a TCP connection within this host, as the kernel tells (sock_diag).
//!
//! On a host with other users loopback is open to all of them. The kernel knows whose each socket
//! is, and is asked for the one socket whose own address is the other end's. What it says can't be
//! chosen by the one who connects.

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

use nix::{
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvmsg,
            sendmsg, setsockopt, socket, sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike},
    },
    unistd::geteuid,
};
use tokio::net::TcpStream;

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST` of linux/netlink.h.
const REQUEST: u16 = 1;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of a request: the header and `struct inet_diag_req_v2`.
const ASKED: usize = HEADER + 56;
/// Place of `idiag_uid` in an answer: behind the header, four bytes, the ids, and three numbers.
const UID: usize = HEADER + 4 + 48 + 12;
/// Place of `idiag_inode`, behind it.
const INODE: usize = UID + 4;
/// The kernel answers at once.
const ANSWER_MS: i64 = 200;

/// Returns true if this connection comes from another host, or from this user or root on this
/// one. Where its source is says nothing of that: a socket may be bound to any address of this
/// host. So the kernel is asked in any case, and only an address that is none of this host's may
/// have no socket here. What the kernel doesn't say is taken for a no: the other end is gone,
/// mostly.
pub fn is_same_user(connection: &TcpStream) -> bool {
    let (Ok(here), Ok(there)) = (connection.local_addr(), connection.peer_addr()) else {
        return false;
    };
    let (here, there) = (canonical(here), canonical(there));
    match owner(there, here) {
        Ok(uid) => uid == 0 || uid == geteuid().as_raw(),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_here(there.ip()) => true,
        Err(error) => {
            tracing::debug!(%error, "it is not known whose connection this is");
            false
        }
    }
}

/// Returns true for an address of this host: the one from which it would speak to itself. What
/// can't be found out is taken for one.
fn is_here(address: IpAddr) -> bool {
    let any = match address {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    };
    let speak = || {
        let socket = UdpSocket::bind((any, 0))?;
        // Sends nothing.
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    address.is_loopback() || speak().map_or(true, |near| near.ip() == address)
}

/// Returns the user of the socket at `near` that is connected to `far`.
fn owner(near: SocketAddr, far: SocketAddr) -> io::Result<u32> {
    let asking = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    setsockopt(&asking, ReceiveTimeout, &TimeVal::milliseconds(ANSWER_MS))?;
    let request = request(near, far);
    let kernel = NetlinkAddr::new(0, 0);
    let fd = asking.as_raw_fd();
    let sent = [IoSlice::new(&request)];
    sendmsg(fd, &sent, &[], MsgFlags::empty(), Some(&kernel))?;
    let mut answer = [0; 1024];
    let mut room = [IoSliceMut::new(&mut answer)];
    let length = recvmsg::<NetlinkAddr>(fd, &mut room, None, MsgFlags::empty())?.bytes;
    uid_of(&answer[..length.min(answer.len())])
}

/// Writes the question for one socket.
fn request(near: SocketAddr, far: SocketAddr) -> [u8; ASKED] {
    let mut bytes = [0; ASKED];
    let mut at = 0;
    let mut put = |field: &[u8]| {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    };
    put(&(ASKED as u32).to_ne_bytes());
    put(&BY_FAMILY.to_ne_bytes());
    put(&REQUEST.to_ne_bytes());
    // Sequence and port id.
    put(&[0; 8]);
    let family = match near {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    // The family, TCP, nothing more than the usual, and any state.
    put(&[family as u8, 6, 0, 0]);
    put(&u32::MAX.to_ne_bytes());
    put(&near.port().to_be_bytes());
    put(&far.port().to_be_bytes());
    for address in [near.ip(), far.ip()] {
        let mut field = [0; 16];
        match address {
            IpAddr::V4(it) => field[..4].copy_from_slice(&it.octets()),
            IpAddr::V6(it) => field.copy_from_slice(&it.octets()),
        }
        put(&field);
    }
    // Any interface, and no cookie.
    put(&[0; 4]);
    put(&[u8::MAX; 8]);
    bytes
}

/// Reads the answer: `struct inet_diag_msg`, or an error.
fn uid_of(answer: &[u8]) -> io::Result<u32> {
    let cut_short = || io::Error::other("the kernel's answer is cut short");
    let word = |at: usize| answer.get(at..at + 4)?.try_into().ok();
    let kind = answer.get(4..6).and_then(|it| it.try_into().ok());
    if kind.map(u16::from_ne_bytes) != Some(BY_FAMILY) {
        let code = word(HEADER).map(i32::from_ne_bytes);
        return Err(io::Error::from_raw_os_error(
            code.unwrap_or(0).wrapping_neg(),
        ));
    }
    // One that its owner has closed belongs to nobody any more, and is told as root's.
    match word(INODE) {
        None => Err(cut_short()),
        Some([0, 0, 0, 0]) => Err(io::Error::other("its owner has closed it")),
        Some(_) => word(UID).map(u32::from_ne_bytes).ok_or_else(cut_short),
    }
}

/// An address of IPv4 is one, however it is written.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::CommandExt,
        process::{Command, Stdio},
    };

    use tokio::net::TcpListener;

    use super::*;

    // Test 34.
    // guarantee: SECURITY-45
    #[tokio::test]
    async fn own_connections_are_known_by_both_protocols() {
        for bind in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(bind).await else {
                println!("this machine has no IPv6");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let host = if bind.contains("::1") {
                "::1"
            } else {
                "127.0.0.1"
            };
            let client = TcpStream::connect((host, port)).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            assert!(is_same_user(&server), "{bind}");
            assert!(is_same_user(&client), "{bind}");
        }
    }

    // Test 34.
    // guarantee: SECURITY-45
    #[tokio::test]
    async fn connections_of_other_users_are_known() {
        if !geteuid().is_root() {
            return println!("only root may start a process of another user");
        }
        // Ours is root's, so the other's is asked for by itself.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read -r line <&3");
        let mut other = Command::new("bash")
            .args(["-c", &script])
            .uid(65_534)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (near, far) = (server.peer_addr().unwrap(), server.local_addr().unwrap());
        assert_eq!(owner(near, far).unwrap(), 65_534);
        assert!(!is_same_user(&server));
        // From whatever address of this host.
        let script = format!(
            "import socket; s = socket.create_connection(('127.0.0.1', {port}), source_address=('127.0.0.9', 0)); s.send(b'x'); s.close()"
        );
        let mut early = Command::new("python3")
            .args(["-c", &script])
            .uid(65_534)
            .spawn()
            .unwrap();
        let (closed, _) = listener.accept().await.unwrap();
        early.wait().unwrap();
        assert!(!is_same_user(&closed), "its owner has closed it");
        drop(closed);
        drop(server);
        other.wait().unwrap();
        // The other end is gone.
        assert!(owner(near, far).is_err());
    }
}
