//! Where requests of one connection come from.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use quorate_platform::ip_network::IpNetwork;
use quorate_tls::FaceStream;

use super::{channel_guard::PresentedCertificate, forwarded};

/// The other end of a connection.
#[derive(Debug)]
pub(super) struct ClientOrigin {
    pub peer: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Certificate that it has shown in the handshake.
    certificate: Option<PresentedCertificate>,
}

impl ClientOrigin {
    pub(super) fn new(peer: SocketAddr, stream: &FaceStream) -> ClientOrigin {
        ClientOrigin {
            peer,
            scheme: if stream.is_tls() { "https" } else { "http" },
            certificate: PresentedCertificate::from_handshake(stream),
        }
    }

    #[cfg(test)]
    pub(super) fn plain(peer: SocketAddr) -> ClientOrigin {
        ClientOrigin {
            peer,
            scheme: "http",
            certificate: None,
        }
    }

    /// Returns the address of a request's client: of whoever connected, or whom trusted proxies
    /// connected for.
    pub(super) fn address(&self, headers: &HeaderMap, trusted: &[IpNetwork]) -> IpAddr {
        forwarded::client_address(headers, self.peer, trusted)
    }

    /// Returns the certificate of a request's client: what a trusted proxy says, where it passes a
    /// request on, or what was shown to us. The proxy's own is not its client's.
    pub(super) fn certificate(
        &self,
        headers: &HeaderMap,
        trusted: &[IpNetwork],
    ) -> Option<PresentedCertificate> {
        if forwarded::is_passed_on(headers, self.peer, trusted) {
            return PresentedCertificate::from_headers(headers);
        }
        self.certificate.clone()
    }
}
