//! Forwarding headers: `X-Forwarded-For`, `-Host`, `-Proto` and `Forwarded`.
//!
//! A client could write there what it likes, so the headers from an address that is not trusted are
//! dropped. Those of a trusted proxy are kept, and the proxy's own address put behind them.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use quorate_platform::ip_network::IpNetwork;

use crate::headers::{FORWARDED_HOST, FORWARDED_PROTO, strip_claims};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Returns true for a proxy that may say who its clients are.
pub(super) fn is_trusted(peer: SocketAddr, trusted: &[IpNetwork]) -> bool {
    let address = peer.ip().to_canonical();
    trusted.iter().any(|network| network.contains(address))
}

/// Returns the address of a request's client: who connected, or whom trusted proxies connected for.
/// A proxy adds the address of whoever connected to it behind what it was told, so that the last
/// address that is no trusted proxy's is the last one that somebody trusted has seen.
pub(super) fn client_address(
    headers: &HeaderMap,
    peer: SocketAddr,
    trusted: &[IpNetwork],
) -> IpAddr {
    let mut address = peer.ip().to_canonical();
    let mut path = list(headers, &FORWARDED_FOR);
    if path.is_empty() {
        let known = list(headers, &header::FORWARDED);
        // One that names nobody ends the way back: what stands before it is anybody's word.
        let nodes = known.iter().map(|it| forwarded_for(it).unwrap_or_default());
        path = nodes.collect();
    }
    for before in path.iter().rev() {
        let is_proxy = trusted.iter().any(|network| network.contains(address));
        let Some(before) = node_address(before).filter(|_| is_proxy) else {
            break;
        };
        address = before;
    }
    address
}

/// Returns what stands behind `for=` in an element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<String> {
    let pairs = element.split(';').filter_map(|it| it.split_once('='));
    let mut nodes = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let (_, node) = nodes.next()?;
    Some(node.trim().trim_matches('"').to_owned())
}

/// Reads an address with or without a port, one of IPv6 with or without brackets.
fn node_address(node: &str) -> Option<IpAddr> {
    let bare = node.trim_matches(['[', ']']).parse().ok();
    let address: Option<IpAddr> =
        bare.or_else(|| node.parse::<SocketAddr>().ok().map(|it| it.ip()));
    address.map(|it| it.to_canonical())
}

/// Sets in a request's headers what is known of its client. `host` is the host that it asked for.
pub(super) fn describe(
    headers: &mut HeaderMap,
    peer: SocketAddr,
    host: Option<&HeaderValue>,
    trusted: &[IpNetwork],
) {
    let address = peer.ip().to_canonical();
    strip_claims(headers, is_trusted(peer, trusted));
    let mut path: Vec<String> = list(headers, &FORWARDED_FOR);
    // A proxy sets the one or the other, and most pass on what a client has put in the other.
    let known = if path.is_empty() {
        list(headers, &header::FORWARDED)
    } else {
        Vec::new()
    };
    path.push(address.to_string());
    set(headers, FORWARDED_FOR, &path.join(", "));
    if let Some(host) = host.filter(|_| !headers.contains_key(FORWARDED_HOST)) {
        headers.insert(FORWARDED_HOST, host.clone());
    }
    if !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    let forwarded = if known.is_empty() {
        elements(headers, &path)
    } else {
        known
            .into_iter()
            .chain([node(&address.to_string())])
            .collect()
    };
    set(headers, header::FORWARDED, &forwarded.join(", "));
}

/// Builds `Forwarded` from the other headers: the first one asked for the host.
fn elements(headers: &HeaderMap, path: &[String]) -> Vec<String> {
    let mut elements: Vec<String> = path.iter().map(|address| node(address)).collect();
    let header = |name: HeaderName| headers.get(name)?.to_str().ok();
    if let Some(first) = elements.first_mut() {
        if let Some(host) = header(FORWARDED_HOST).filter(|host| is_quotable(host)) {
            *first += &format!(";host=\"{host}\"");
        }
        if let Some(proto) = header(FORWARDED_PROTO).filter(|proto| is_token(proto)) {
            *first += &format!(";proto={proto}");
        }
    }
    elements
}

/// Formats an address for `for=` (RFC 7239, 6): one of IPv6 in brackets and quotes.
fn node(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => format!("for={ip}"),
        Ok(IpAddr::V6(ip)) => format!("for=\"[{ip}]\""),
        Err(_) if is_quotable(address) => format!("for=\"{address}\""),
        Err(_) => "for=unknown".to_owned(),
    }
}

fn is_quotable(text: &str) -> bool {
    !text.is_empty() && !text.contains(['"', '\\', ',', ';'])
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
}

fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|item| item.trim().to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(peer: &str, sent: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let host = HeaderValue::from_static("shop.example");
        describe(&mut headers, peer.parse().unwrap(), Some(&host), &trusted);
        headers
    }

    #[test]
    fn client_is_named_and_cannot_name_itself() {
        let headers = described(
            "192.0.2.7:5",
            &[
                ("x-forwarded-for", "1.2.3.4"),
                ("x-forwarded-host", "evil"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-prefix", "/x"),
                ("x-real-ip", "1.2.3.4"),
                ("forwarded", "for=1.2.3.4"),
            ],
        );
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(
            headers["forwarded"],
            "for=192.0.2.7;host=\"shop.example\";proto=http"
        );
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn trusted_proxy_is_kept_and_appended() {
        let headers = described(
            "10.1.2.3:5",
            &[
                ("x-forwarded-for", "2001:db8::1, 192.0.2.7"),
                ("x-forwarded-for", "192.0.2.8"),
                ("x-forwarded-host", "a.example"),
                ("x-forwarded-proto", "https"),
            ],
        );
        assert_eq!(
            headers["x-forwarded-for"],
            "2001:db8::1, 192.0.2.7, 192.0.2.8, 10.1.2.3"
        );
        assert_eq!(headers["x-forwarded-host"], "a.example");
        assert_eq!(
            headers["forwarded"],
            "for=\"[2001:db8::1]\";host=\"a.example\";proto=https, \
             for=192.0.2.7, for=192.0.2.8, for=10.1.2.3"
        );
        let headers = described("10.1.2.3:5", &[("forwarded", "for=192.0.2.7;proto=https")]);
        assert_eq!(
            headers["forwarded"],
            "for=192.0.2.7;proto=https, for=10.1.2.3"
        );
    }

    #[test]
    fn x_forwarded_for_overrides_clients_forwarded() {
        let headers = described(
            "10.1.2.3:5",
            &[
                ("x-forwarded-for", "192.0.2.7"),
                ("forwarded", "for=1.2.3.4"),
                ("x_forwarded_for", "1.2.3.4"),
            ],
        );
        assert_eq!(
            headers["forwarded"],
            "for=192.0.2.7;host=\"shop.example\";proto=http, for=10.1.2.3"
        );
        assert!(!headers.contains_key("x_forwarded_for"));
    }

    /// Test 51: behind the balancer the client's address counts, and not what it says itself.
    #[test]
    fn client_is_last_address_seen_by_trusted() {
        let trusted: Vec<IpNetwork> = vec!["10.0.0.0/8".parse().unwrap()];
        let client = |peer: &str, name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            client_address(&headers, peer.parse().unwrap(), &trusted).to_string()
        };
        for (peer, name, value, found) in [
            ("10.1.2.3:5", "x-forwarded-for", "192.0.2.7", "192.0.2.7"),
            (
                "10.1.2.3:5",
                "x-forwarded-for",
                "1.1.1.1, 192.0.2.7",
                "192.0.2.7",
            ),
            (
                "10.1.2.3:5",
                "x-forwarded-for",
                "192.0.2.7, 10.9.9.9",
                "192.0.2.7",
            ),
            (
                "10.1.2.3:5",
                "x-forwarded-for",
                "10.8.8.8, 10.9.9.9",
                "10.8.8.8",
            ),
            (
                "10.1.2.3:5",
                "x-forwarded-for",
                "192.0.2.7, unknown",
                "10.1.2.3",
            ),
            (
                "10.1.2.3:5",
                "x-forwarded-for",
                "2001:db8::1",
                "2001:db8::1",
            ),
            (
                "10.1.2.3:5",
                "x-forwarded-for",
                "192.0.2.7:4711",
                "192.0.2.7",
            ),
            (
                "10.1.2.3:5",
                "forwarded",
                "for=1.1.1.1, FOR=\"[2001:db8::1]:47\";proto=http",
                "2001:db8::1",
            ),
            ("10.1.2.3:5", "x-other", "192.0.2.7", "10.1.2.3"),
            ("192.0.2.9:5", "x-forwarded-for", "192.0.2.7", "192.0.2.9"),
            (
                "[::ffff:10.1.2.3]:5",
                "x-forwarded-for",
                "192.0.2.7",
                "192.0.2.7",
            ),
        ] {
            assert_eq!(client(peer, name, value), found, "{name}: {value}");
        }
    }

    #[test]
    fn certificates_are_told_by_trusted_proxies_alone() {
        let sent = [("client-cert", ":AAAA:"), ("client-cert-chain", ":AAAA:")];
        assert!(described("10.1.2.3:5", &sent).contains_key("client-cert"));
        let stranger = described("192.0.2.7:5", &sent);
        assert!(!stranger.contains_key("client-cert"));
        assert!(!stranger.contains_key("client-cert-chain"));
    }

    #[test]
    fn ipv4_address_is_same_on_ipv6_socket() {
        let headers = described("[::ffff:192.0.2.7]:5", &[]);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
    }
}
