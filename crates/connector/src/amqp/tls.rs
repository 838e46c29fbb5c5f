//! TLS to the broker, and the errors of its handshake.
//!
//! lapin's own way would trust a given authority *beside* those of the system, and want the system
//! to have some; here `tls_ca` is trusted alone.

use std::io;

use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use rustls::{
    CertificateError, Error, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::super::broker_link::ConnectorError;

/// Returns a connector that trusts the authorities in `ca` (PEM), or without it those of the
/// system.
pub(super) fn connector(ca: Option<&str>) -> Result<RustlsConnector, ConnectorError> {
    let trusted = match ca {
        Some(pem) => RustlsConnectorConfig::default().with_parsable_certificates(authorities(pem)?),
        None => RustlsConnectorConfig::new_with_native_certs().map_err(|error| {
            ConnectorError::new(format!(
                "this machine has no certificates of authorities to trust ({error}): install them, or give the broker's authority as `tls_ca`"
            ))
        })?,
    };
    trusted
        .connector_with_no_client_auth()
        .map_err(|error| ConnectorError::new(format!("TLS can't be set up: {error}")))
}

fn authorities(pem: &str) -> Result<Vec<CertificateDer<'static>>, ConnectorError> {
    let wrong = |why: String| {
        ConnectorError::new(format!(
            "`tls_ca` must be certificates in PEM, each between BEGIN CERTIFICATE and END CERTIFICATE: {why}"
        ))
    };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let read = read.map_err(|error| wrong(error.to_string()))?;
    if read.is_empty() {
        return Err(wrong("there is none in it".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &read {
        roots
            .add(certificate.clone())
            .map_err(|error| wrong(error.to_string()))?;
    }
    Ok(read)
}

/// Returns what a failed handshake with the host means, and what would be right; `None` if the
/// error has nothing to do with TLS.
pub(super) fn explain(error: &io::Error, host: &str, port: u16, own_ca: bool) -> Option<String> {
    let at = format!("{host}:{port}");
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Some(format!(
            "the broker {at} ended the TLS handshake: is it its port for TLS (usually 5671)?"
        ));
    }
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let certificate = match error {
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. } => {
            return Some(format!(
                "the broker does not speak TLS at {at}: its port for TLS is usually 5671; or set `tls: false`"
            ));
        }
        Error::AlertReceived(alert) => {
            return Some(format!(
                "the broker {at} refused TLS ({alert:?}): it must take TLS 1.2 or 1.3, know its own host name {host:?} and ask for no client certificate"
            ));
        }
        Error::InvalidCertificate(certificate) => certificate,
        other => return Some(format!("TLS with the broker {at} failed: {other}")),
    };
    Some(match certificate {
        // Signed by an authority of the same name with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature if own_ca => format!(
            "the certificate of the broker {at} is not trusted: it must be signed by an authority in `tls_ca`"
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of the broker {at} is not trusted: this machine doesn't know the authority that signed it; give its certificate as `tls_ca`"
        ),
        CertificateError::NotValidForName => format!(
            "the certificate of the broker {at} is not for the name {host:?}: `host` must be a name in the certificate"
        ),
        CertificateError::NotValidForNameContext { presented, .. } => format!(
            "the certificate of the broker {at} is not for the name {host:?}: `host` must be a name in the certificate, which has {presented:?}"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the certificate of the broker {at} has expired: renew it at the broker, or correct the clock of this machine"
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the certificate of the broker {at} is not valid yet: correct the clock of this machine, or replace it at the broker"
        ),
        other => format!("the certificate of the broker {at} is refused: {other}"),
    })
}
