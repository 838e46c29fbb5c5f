//! Addresses of ZeroMQ's sockets.

use std::net::IpAddr;

use crate::text_rules;

/// The longest path of a socket on Linux, without its end mark.
const PATH_BYTES_MAX: usize = 107;
/// The longest name of a network interface on Linux, without its end mark.
const INTERFACE_BYTES_MAX: usize = 15;

const WANTS: &str = "must be tcp://HOST:PORT or ipc:///PATH";

/// Address that a socket can't have.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidAddress {
    #[error("{WANTS}")]
    Scheme,
    #[error(
        "{WANTS}: the path must be absolute, as in ipc:///run/orders, and have at most {PATH_BYTES_MAX} bytes"
    )]
    Path,
    #[error("{WANTS}: the port is missing")]
    NoPort,
    #[error("{WANTS}: the port must be a number from 1 to 65535")]
    Port,
    #[error("{WANTS}: an IPv6 address stands in brackets, as in tcp://[::1]:5555")]
    Brackets,
    #[error(
        "must name the host to connect to, as in tcp://orders.example.com:5555; `*` is for `method: bind`"
    )]
    Everywhere,
    #[error(
        "{WANTS}, with the name or the IP address of a host, as in tcp://orders.example.com:5555"
    )]
    Host,
    #[error(
        "must be `*`, an IP address of the member or the name of a network interface, as in tcp://*:5555, tcp://127.0.0.1:5555 or tcp://eth0:5555: the names of hosts can't be bound"
    )]
    NotBindable,
}

/// An address, taken apart.
enum ParsedAddress<'a> {
    /// The host without brackets.
    Tcp(&'a str),
    Ipc,
}

fn parse(text: &str) -> Result<ParsedAddress<'_>, InvalidAddress> {
    if let Some(path) = text.strip_prefix("ipc://") {
        let fits = path.starts_with('/')
            && path.len() > 1
            && path.len() <= PATH_BYTES_MAX
            && !path.chars().any(char::is_control);
        return fits
            .then_some(ParsedAddress::Ipc)
            .ok_or(InvalidAddress::Path);
    }
    let rest = text.strip_prefix("tcp://").ok_or(InvalidAddress::Scheme)?;
    let (host, port) = rest.rsplit_once(':').ok_or(InvalidAddress::NoPort)?;
    let is_port = port.starts_with(|c: char| c.is_ascii_digit())
        && port.parse().is_ok_and(|number: u16| number > 0);
    if !is_port {
        return Err(InvalidAddress::Port);
    }
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    if host.contains(':') && bare.is_none() {
        return Err(InvalidAddress::Brackets);
    }
    Ok(ParsedAddress::Tcp(bare.unwrap_or(host)))
}

/// Rule of the form that addresses of every socket have.
pub(super) fn form(text: &str) -> Result<(), InvalidAddress> {
    parse(text).map(|_| ())
}

/// Rule of the addresses that a socket can connect to.
pub(super) fn to_connect(text: &str) -> Result<(), InvalidAddress> {
    match parse(text)? {
        ParsedAddress::Tcp("*") => Err(InvalidAddress::Everywhere),
        ParsedAddress::Tcp(host) if text_rules::host(host).is_err() => Err(InvalidAddress::Host),
        _ => Ok(()),
    }
}

/// Rule of the addresses that a socket can bind. libzmq looks no names up to bind them.
pub(super) fn to_bind(text: &str) -> Result<(), InvalidAddress> {
    let ParsedAddress::Tcp(host) = parse(text)? else {
        return Ok(());
    };
    let interface =
        host.len() <= INTERFACE_BYTES_MAX && host != "localhost" && text_rules::host(host).is_ok();
    if host == "*" || host.parse::<IpAddr>().is_ok() || interface {
        return Ok(());
    }
    Err(InvalidAddress::NotBindable)
}

/// Address that a socket binds. Two sockets of one host can't both bind equal ones, nor one port
/// everywhere and at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundAddress<'a> {
    /// A port at all of the member's addresses.
    Everywhere(u16),
    /// A port at one address or interface.
    Host(&'a str, u16),
    /// A socket in the file system.
    File(&'a str),
}

impl<'a> BoundAddress<'a> {
    /// Takes an address apart, by no rule of what a host or a path may be: members of other
    /// rules must see the same clashes. Nothing binds what is none.
    pub fn parse(text: &'a str) -> Option<BoundAddress<'a>> {
        if let Some(path) = text.strip_prefix("ipc://") {
            return Some(BoundAddress::File(path));
        }
        let (host, port) = text.strip_prefix("tcp://")?.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let (host, port) = (bare.unwrap_or(host), port.parse().ok()?);
        Some(if everywhere(host) {
            BoundAddress::Everywhere(port)
        } else {
            BoundAddress::Host(host, port)
        })
    }
}

fn everywhere(host: &str) -> bool {
    host == "*" || host.parse::<IpAddr>().is_ok_and(|it| it.is_unspecified())
}
