//! The addresses of the listeners, and the checks of addresses in settings.
//!
//! The rule: loopback, unless there is TLS, or the user has declared in so many words that the
//! network is trusted.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Component, Path, PathBuf},
};

use super::{ListenAddress, error::AddressError, layers::GivenSetting, reader::SettingsReader};

/// Reads `SECTION.bind` and `SECTION.advertise`.
pub(super) fn face(
    r: &mut SettingsReader,
    section: &str,
    port: u16,
    insecure: bool,
) -> Option<ListenAddress> {
    let bind = bind(r, &format!("{section}.bind"), port, insecure);
    let key = format!("{section}.advertise");
    let what = "host:port as the other members reach it, for example 10.0.0.1:17010";
    let given = r.text(&key, what);
    let bind = bind?;
    match given {
        Some((text, given)) => {
            if let Err(problem) = check_advertise(&text) {
                r.bad(&key, Some(&given), format!("{problem}; must be {what}"));
                return None;
            }
            Some(ListenAddress {
                bind,
                advertise: text,
            })
        }
        None if bind.ip().is_unspecified() => {
            let problem = format!(
                "is missing; {section}.bind = \"{bind}\" is every address of this host, so say which one others use: {what}"
            );
            r.bad(&key, None, problem);
            None
        }
        None => Some(ListenAddress {
            bind,
            advertise: bind.to_string(),
        }),
    }
}

fn bind(r: &mut SettingsReader, key: &str, port: u16, insecure: bool) -> Option<SocketAddr> {
    let what = format!("address:port, for example 127.0.0.1:{port} or [::1]:{port}");
    let Some((text, given)) = given_text(r, key, &what)? else {
        return Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    };
    let literal = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text,
    };
    let Ok(address) = literal.parse::<SocketAddr>() else {
        r.bad(key, Some(&given), format!("must be {what}"));
        return None;
    };
    if address.port() == 0 {
        r.bad(
            key,
            Some(&given),
            format!("port 0 can't be told to others; must be {what}"),
        );
        return None;
    }
    if !address.ip().is_loopback() && !insecure {
        let face = key.split('.').next().unwrap_or(key);
        let tls = match face {
            "admin" | "peer" => "give the member a certificate (tls.cert, tls.key and tls.ca), ",
            _ => "",
        };
        let problem = format!(
            "listens beyond loopback without TLS; {tls}bind 127.0.0.1, or say `insecure = [\"{face}\"]` (`insecure = true` for all faces, or --insecure) if everyone who can reach it may do everything"
        );
        r.bad(key, Some(&given), problem);
        return None;
    }
    Some(address)
}

/// Reads an optional text. The outer `None`: it was given and is bad. The inner: it was not given.
fn given_text(
    r: &mut SettingsReader,
    key: &str,
    what: &str,
) -> Option<Option<(String, GivenSetting)>> {
    let before = r.errors();
    let text = r.text(key, what);
    (r.errors() == before).then_some(text)
}

/// Checks a name or an address, with or without a port, as browsers and clients send it.
pub(super) fn check_host(text: &str) -> Result<(), AddressError> {
    let good = text
        .parse::<http::uri::Authority>()
        .is_ok_and(|it| !it.as_str().contains('@'));
    if good {
        Ok(())
    } else {
        Err(AddressError::Host)
    }
}

/// Returns a path without `.` and `..`: others are compared with it by their text.
pub(super) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// Checks a library of IBM MQ, or a folder of such.
pub(super) fn check_library(text: &str) -> Result<(), AddressError> {
    let folder = text.strip_suffix("/**").unwrap_or(text);
    let is_path = text.starts_with('/') && !folder.contains("..") && !folder.contains('*');
    let is_name = !text.is_empty() && !text.contains(['/', '*']);
    if is_path || is_name {
        Ok(())
    } else {
        Err(AddressError::Library)
    }
}

/// Checks an address or interface for ZeroMQ sockets to listen at.
pub(super) fn check_interface(text: &str) -> Result<(), AddressError> {
    let is_interface = (1..=15).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.@".contains(c));
    if text == "*" || text.parse::<IpAddr>().is_ok() || is_interface {
        Ok(())
    } else {
        Err(AddressError::Interface)
    }
}

/// Checks a `host:port` that others are to use.
pub(crate) fn check_advertise(text: &str) -> Result<(), AddressError> {
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(AddressError::PortMissing);
    };
    if text.contains("://") || text.contains('/') {
        return Err(AddressError::Url);
    }
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(AddressError::Port(port.to_owned()));
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        if ip.is_ipv6() && !host.starts_with('[') {
            return Err(AddressError::Brackets);
        }
        if ip.is_unspecified() {
            return Err(AddressError::Unreachable);
        }
        return Ok(());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
    if host.is_empty() || !host.chars().all(allowed) {
        return Err(AddressError::NotAHost(host.to_owned()));
    }
    Ok(())
}

/// Refuses two listeners that share a port on one address.
pub(super) fn distinct(r: &mut SettingsReader, faces: [(&str, &Option<ListenAddress>); 3]) {
    for (at, (name, face)) in faces.iter().enumerate() {
        for (other, second) in &faces[at + 1..] {
            let (Some(face), Some(second)) = (face, second) else {
                continue;
            };
            if face.bind.port() != second.bind.port() {
                continue;
            }
            let (one, two) = (face.bind.ip(), second.bind.ip());
            if one == two || one.is_unspecified() || two.is_unspecified() {
                let problem = format!(
                    "{name}.bind has the same port ({}); give each face its own",
                    second.bind.port()
                );
                r.bad(&format!("{other}.bind"), None, problem);
            }
        }
    }
}
