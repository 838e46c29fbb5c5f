//! Check by a `client_certificate`: what a caller has shown in the handshake of TLS with a proxy.
//!
//! 1. Who shows a certificate has its key: that was proved in the handshake, by the proxy that tells
//!    of it. `Client-Cert` (RFC 9440) lets in from the proxies alone that the member's settings name
//!    for it (`http.certificate_proxies`): a certificate is no secret, so that whoever else may
//!    write the header could be anybody. To be trusted for a client's address is not enough.
//! 2. It is signed by one of the object's authorities, valid now, and for clients: that is checked
//!    here for each request, whatever the proxy has checked, since one proxy serves the channels of
//!    many authorities.
//! 3. One of its DNS names or URIs is among the object's `names`. The common name is never looked
//!    at.

use std::{sync::Arc, time::UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use quorate_clock::wall_time;
use quorate_resources::{ClientCertificate, Kind};
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
    server::WebPkiClientVerifier,
};

use super::caller::{Caller, CheckFailure};
use crate::authorities::authorities;

/// The certificate of the client of a proxy, and those between it and its authority (RFC 9440).
pub(in crate::http) const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
pub(in crate::http) const CLIENT_CERT_CHAIN: HeaderName =
    HeaderName::from_static("client-cert-chain");

/// Certificates between a caller's and its authority.
const INTERMEDIATES_MAX: usize = 8;

/// Certificate that a caller has shown, with what is between it and its authority.
#[derive(Clone, Debug)]
pub(in crate::http) struct PresentedCertificate {
    leaf: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
}

impl PresentedCertificate {
    /// Reads what a trusted proxy says of its client; what can't be read is none.
    pub(in crate::http) fn from_headers(headers: &HeaderMap) -> Option<PresentedCertificate> {
        let mut leaves = headers.get_all(CLIENT_CERT).iter();
        let leaf = byte_sequence(leaves.next()?.to_str().ok()?)?;
        if leaves.next().is_some() {
            return None;
        }
        let mut intermediates = Vec::new();
        for value in headers.get_all(CLIENT_CERT_CHAIN) {
            for item in value.to_str().ok()?.split(',') {
                intermediates.push(byte_sequence(item)?);
            }
        }
        (intermediates.len() <= INTERMEDIATES_MAX).then_some(PresentedCertificate {
            leaf,
            intermediates,
        })
    }
}

/// Reads a byte sequence of structured fields (RFC 9651, 3.3.5): base64 between colons.
fn byte_sequence(item: &str) -> Option<CertificateDer<'static>> {
    let inner = item.trim().strip_prefix(':')?.strip_suffix(':')?;
    let der = BASE64_STANDARD.decode(inner).ok()?;
    (!der.is_empty()).then(|| der.into())
}

/// Check by a `client_certificate`.
pub(super) struct CertificateCheck<'c> {
    pub rules: &'c ClientCertificate,
}

impl CertificateCheck<'_> {
    pub(super) fn challenge(&self) -> String {
        format!("ClientCertificate realm=\"{}\"", self.rules.name)
    }

    pub(super) fn check(
        &self,
        shown: Option<&PresentedCertificate>,
    ) -> Result<Caller, CheckFailure> {
        let shown = shown.ok_or(CheckFailure::Missing)?;
        let roots = authorities(&self.rules.ca).ok_or_else(|| {
            let name = &self.rules.name;
            CheckFailure::Broken(format!(
                "the `ca` of client_certificate/{name} has no certificate that can be used"
            ))
        })?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| CheckFailure::Broken(error.to_string()))?;
        let since = wall_time().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(since);
        if let Err(error) = verifier.verify_client_cert(&shown.leaf, &shown.intermediates, now) {
            tracing::debug!(object = self.rules.name, %error, "a client's certificate is refused");
            return Err(CheckFailure::Wrong("certificate"));
        }
        let name = self.name_of(&shown.leaf);
        let name = name.ok_or(CheckFailure::Wrong("certificate_name"))?;
        let caller = Caller::with_subject(Kind::ClientCertificate, &self.rules.name, &name);
        if !self.rules.forward {
            return Ok(caller);
        }
        let text = format!(":{}:", BASE64_STANDARD.encode(&shown.leaf));
        let value = HeaderValue::try_from(text).map_err(|_| CheckFailure::Wrong("certificate"))?;
        Ok(caller.with_header(CLIENT_CERT, value))
    }

    /// Returns the first name of a certificate that is among those asked for.
    fn name_of(&self, leaf: &CertificateDer<'_>) -> Option<String> {
        let certificate = webpki::EndEntityCert::try_from(leaf).ok()?;
        let mut hosts = certificate.valid_dns_names();
        let mut uris = certificate.valid_uri_names();
        let found = hosts
            .find(|host| self.rules.names.iter().any(|it| is_host(it, host)))
            .or_else(|| uris.find(|uri| self.rules.names.iter().any(|it| it == uri)));
        found.map(str::to_owned)
    }
}

/// Returns true if a DNS name is the one that is wanted, or ends like it: `*.` stands for one or
/// more labels. A wildcard in the certificate itself is no name of anybody.
fn is_host(wanted: &str, host: &str) -> bool {
    if host.contains('*') {
        return false;
    }
    let (wanted, host) = (wanted.to_ascii_lowercase(), host.to_ascii_lowercase());
    match wanted.strip_prefix('*') {
        None => wanted == host,
        Some(end) => host.len() > end.len() && host.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyPair, SanType,
    };

    use super::*;

    type TestAuthority = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> TestAuthority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn issued(by: &TestAuthority, names: &[&str], purpose: ExtendedKeyUsagePurpose) -> Vec<u8> {
        let mut params = CertificateParams::default();
        for name in names {
            params.subject_alt_names.push(if name.contains(':') {
                SanType::URI((*name).try_into().unwrap())
            } else {
                SanType::DnsName((*name).try_into().unwrap())
            });
        }
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "admin.partner.example");
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, by).unwrap().der().to_vec()
    }

    fn shown(der: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let text = format!(":{}:", BASE64_STANDARD.encode(der));
        headers.insert(CLIENT_CERT, HeaderValue::try_from(text).unwrap());
        headers
    }

    fn rules(authority: &TestAuthority, names: &[&str]) -> ClientCertificate {
        ClientCertificate {
            name: "partners".into(),
            ca: authority.pem(),
            names: names.iter().map(|it| it.to_string()).collect(),
            forward: true,
        }
    }

    fn ask(rules: &ClientCertificate, der: &[u8]) -> Result<Caller, CheckFailure> {
        let shown = PresentedCertificate::from_headers(&shown(der));
        CertificateCheck { rules }.check(shown.as_ref())
    }

    /// Test 49, the part that is decided here: whose certificate gets in.
    #[test]
    fn certificate_needs_authority_purpose_and_name() {
        let (ours, theirs) = (authority(), authority());
        let rules = rules(&ours, &["*.partner.example", "urn:partner:7"]);
        let client = ExtendedKeyUsagePurpose::ClientAuth;
        for (der, outcome) in [
            (
                issued(&ours, &["a.partner.example"], client.clone()),
                Ok("a.partner.example"),
            ),
            (
                issued(&ours, &["urn:partner:7"], client.clone()),
                Ok("urn:partner:7"),
            ),
            (
                issued(&ours, &["x.example", "b.PARTNER.example"], client.clone()),
                Ok("b.PARTNER.example"),
            ),
            (
                issued(&ours, &["partner.example"], client.clone()),
                Err("certificate_name"),
            ),
            (
                issued(&ours, &["apartner.example"], client.clone()),
                Err("certificate_name"),
            ),
            (
                issued(&ours, &["*.partner.example"], client.clone()),
                Err("certificate_name"),
            ),
            (
                issued(&ours, &["urn:partner:71"], client.clone()),
                Err("certificate_name"),
            ),
            // The common name is that of a partner.
            (issued(&ours, &[], client.clone()), Err("certificate_name")),
            (
                issued(&theirs, &["a.partner.example"], client),
                Err("certificate"),
            ),
            (
                issued(
                    &ours,
                    &["a.partner.example"],
                    ExtendedKeyUsagePurpose::ServerAuth,
                ),
                Err("certificate"),
            ),
        ] {
            match (ask(&rules, &der), outcome) {
                (Ok(caller), Ok(name)) => {
                    let wanted = format!("client_certificate/partners/{name}");
                    assert_eq!(caller.name(), wanted);
                    let mut headers = HeaderMap::new();
                    caller.describe(&mut headers);
                    assert_eq!(headers[CLIENT_CERT], shown(&der)[CLIENT_CERT]);
                }
                (Err(failure), Err(why)) => assert_eq!(failure, CheckFailure::Wrong(why)),
                (found, wanted) => panic!("{found:?}, and not {wanted:?}"),
            }
        }
        let none = CertificateCheck { rules: &rules }.check(None);
        assert_eq!(none, Err(CheckFailure::Missing));
    }

    #[test]
    fn malformed_header_is_no_certificate() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CLIENT_CERT, HeaderValue::from_str(value).unwrap());
            PresentedCertificate::from_headers(&headers)
        };
        assert!(read(":AAAA:").is_some());
        for value in [
            "",
            "AAAA",
            ":AAAA",
            "::",
            ":A:",
            ":AA AA:",
            "\"AAAA\"",
            ":AAAA:, :AAAA:",
        ] {
            assert!(read(value).is_none(), "{value}");
        }
        let mut twice = HeaderMap::new();
        twice.append(CLIENT_CERT, HeaderValue::from_static(":AAAA:"));
        twice.append(CLIENT_CERT, HeaderValue::from_static(":AAAA:"));
        assert!(PresentedCertificate::from_headers(&twice).is_none());
        let mut long = HeaderMap::new();
        long.insert(CLIENT_CERT, HeaderValue::from_static(":AAAA:"));
        let chain = [":AAAA:"; INTERMEDIATES_MAX + 1].join(", ");
        long.insert(CLIENT_CERT_CHAIN, HeaderValue::from_str(&chain).unwrap());
        assert!(PresentedCertificate::from_headers(&long).is_none());
    }

    #[test]
    fn garbage_is_refused_without_panic() {
        let rules = rules(&authority(), &["a"]);
        for der in [&b"x"[..], &[0x30, 0x82, 0xff, 0xff], &[0; 300]] {
            assert_eq!(ask(&rules, der), Err(CheckFailure::Wrong("certificate")));
        }
    }

    #[test]
    fn unusable_authority_lets_nobody_in() {
        let ours = authority();
        let mut rules = rules(&ours, &["a.example"]);
        rules.ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into();
        let der = issued(&ours, &["a.example"], ExtendedKeyUsagePurpose::ClientAuth);
        assert!(matches!(ask(&rules, &der), Err(CheckFailure::Broken(_))));
    }
}
