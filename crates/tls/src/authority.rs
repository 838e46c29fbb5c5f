//! An authority that makes certificates for one cluster.
//!
//! P-256 with SHA-256. The root is valid for 20 years and signs no other authority; a certificate
//! is valid for 90 days, as server and as client. Both begin to be valid a little before they are
//! made, for hosts whose clocks are behind.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use quorate_clock::{id128, wall_time};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject};
use webpki::EndEntityCert;
use x509_parser::{parse_x509_certificate, parse_x509_crl};

use crate::{CertificateIdentity, Validity, identity};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Time for which a root is valid.
const ROOT_DAYS: u32 = 20 * 365;

/// Time for which a certificate is valid, unless it is said.
const LEAF_DAYS: u32 = 90;

/// Time after which the next list of what is revoked is due. Members go by one that is late, too.
const LIST_DAYS: u32 = 10 * 365;

/// Reason for which no certificate can be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The domain can't be one.
    #[error(
        "{0:?} can't name a cluster in certificates: 1 to 63 lower-case letters, digits or hyphens"
    )]
    Domain(String),
    /// A host can't be one.
    #[error("{0:?} is no host: a DNS name without wildcards, or an IP address")]
    Host(String),
    /// The certificate is of no authority of ours.
    #[error(
        "the authority's certificate has no URI quorate://DOMAIN/ca: quorate cert create-ca makes one that has"
    )]
    NotOurs,
    /// A certificate to be revoked is not understood, or another authority's.
    #[error("the certificate to be revoked is not one of the cluster {0}")]
    NotIssued(String),
    /// The list of what is revoked is not understood.
    #[error("the list of what was revoked before is not understood")]
    List,
    /// The certificate or the key is not understood.
    #[error(transparent)]
    Failed(#[from] rcgen::Error),
}

/// Authority of one cluster, with its private key.
pub struct CertificateAuthority {
    domain: String,
    cert_pem: String,
    key_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Certificate and private key, in PEM.
pub struct IssuedCertificate {
    /// The certificate.
    pub cert_pem: String,
    /// The key.
    pub key_pem: String,
    /// The end of its time.
    pub not_after: SystemTime,
}

impl CertificateAuthority {
    /// Makes an authority; without a domain, for one made up at random.
    ///
    /// # Errors
    /// The domain can't be one.
    pub fn create(domain: Option<&str>) -> Result<CertificateAuthority, AuthorityError> {
        let domain = match domain {
            Some(domain) => domain.to_owned(),
            None => format!("{:016x}", id128() >> 64),
        };
        if !identity::is_domain(&domain) {
            return Err(AuthorityError::Domain(domain));
        }
        let now = wall_time();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Quorate authority of {domain}"));
        params.subject_alt_names = vec![SanType::URI(format!("quorate://{domain}/ca").try_into()?)];
        params.not_before = (now - DAY).into();
        params.not_after = (now + DAY * ROOT_DAYS).into();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let cert_pem = params.self_signed(&key)?.pem();
        CertificateAuthority::from_pem(&cert_pem, &key.serialize_pem())
    }

    /// Takes an authority up that was made before.
    ///
    /// # Errors
    /// It is not understood, or none of ours.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<CertificateAuthority, AuthorityError> {
        let not_understood = rcgen::Error::CouldNotParseCertificate;
        let certificate =
            CertificateDer::from_pem_slice(cert_pem.as_bytes()).map_err(|_| not_understood)?;
        let domain = authority_domain(&certificate).ok_or(AuthorityError::NotOurs)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, KeyPair::from_pem(key_pem)?)?;
        Ok(CertificateAuthority {
            domain,
            cert_pem: cert_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            issuer,
        })
    }

    #[cfg(test)]
    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// Returns the cluster's word for itself.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the certificate, which is no secret.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Returns the private key. Whoever has it is every member.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Makes a certificate for whom `identity` names, for `days` (90 if none are given). A member's
    /// is good for these hosts too, beside its name in the cluster and `localhost`.
    ///
    /// # Errors
    /// A host can't be one, or the identity is of another domain.
    pub fn issue(
        &self,
        identity: &CertificateIdentity,
        hosts: &[String],
        days: Option<u32>,
    ) -> Result<IssuedCertificate, AuthorityError> {
        let now = wall_time();
        let validity = Validity {
            not_before: now - HOUR,
            not_after: now + DAY * days.unwrap_or(LEAF_DAYS),
        };
        self.issue_for(identity, hosts, validity)
    }

    /// Makes a certificate that is valid for exactly this time.
    ///
    /// # Errors
    /// As of [`CertificateAuthority::issue`].
    pub fn issue_for(
        &self,
        identity: &CertificateIdentity,
        hosts: &[String],
        validity: Validity,
    ) -> Result<IssuedCertificate, AuthorityError> {
        if identity.domain != self.domain {
            return Err(AuthorityError::Domain(identity.domain.clone()));
        }
        let mut names = vec![SanType::URI(identity.uri().try_into()?)];
        for name in identity.server_names() {
            names.push(SanType::DnsName(name.try_into()?));
        }
        if identity.is_member() {
            names.push(SanType::DnsName("localhost".try_into()?));
            names.push(SanType::IpAddress(IpAddr::from([127, 0, 0, 1])));
            names.push(SanType::IpAddress(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])));
        }
        for host in hosts {
            let name = host_name(host)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut params = CertificateParams::default();
        // A name for people; nobody is known by it.
        params
            .distinguished_name
            .push(DnType::CommonName, "Quorate");
        params.subject_alt_names = names;
        params.not_before = validity.not_before.into();
        params.not_after = validity.not_after.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(IssuedCertificate {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            not_after: validity.not_after,
        })
    }
}

impl CertificateAuthority {
    /// Makes the list (PEM) of what this authority has revoked: what is on `before`, the list so
    /// far, and this certificate (PEM).
    ///
    /// # Errors
    /// The certificate is none of this cluster, or the list is not understood.
    pub fn revoke(
        &self,
        before: Option<&str>,
        certificate: &str,
    ) -> Result<String, AuthorityError> {
        let now = wall_time();
        let mut revoked = match before {
            Some(list) => revoked_before(list).ok_or(AuthorityError::List)?,
            None => Vec::new(),
        };
        let serial = self.serial(certificate);
        let serial = serial.ok_or_else(|| AuthorityError::NotIssued(self.domain.clone()))?;
        if !revoked.iter().any(|it| it.serial_number == serial) {
            revoked.push(RevokedCertParams {
                serial_number: serial,
                revocation_time: now.into(),
                reason_code: None,
                invalidity_date: None,
            });
        }
        // Lists are numbered upwards.
        let number = now.duration_since(SystemTime::UNIX_EPOCH);
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + DAY * LIST_DAYS).into(),
            crl_number: SerialNumber::from(number.unwrap_or_default().as_micros() as u64),
            issuing_distribution_point: None,
            revoked_certs: revoked,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.pem()?)
    }

    /// Returns the serial number of a certificate of this cluster.
    fn serial(&self, certificate: &str) -> Option<SerialNumber> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        let identity = CertificateIdentity::from_certificate(&der).ok()?;
        let (_, parsed) = parse_x509_certificate(&der).ok()?;
        (identity.domain == self.domain).then(|| SerialNumber::from_slice(parsed.raw_serial()))
    }
}

/// Reads what is on a list.
fn revoked_before(list: &str) -> Option<Vec<RevokedCertParams>> {
    let der = CertificateRevocationListDer::from_pem_slice(list.as_bytes()).ok()?;
    let (_, parsed) = parse_x509_crl(&der).ok()?;
    let revoked = parsed.iter_revoked_certificates();
    let revoked = revoked.map(|it| RevokedCertParams {
        serial_number: SerialNumber::from_slice(it.raw_serial()),
        revocation_time: it.revocation_date.to_datetime(),
        reason_code: None,
        invalidity_date: None,
    });
    Some(revoked.collect())
}

/// Returns the domain in an authority's certificate.
pub(crate) fn authority_domain(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let uri = parsed.valid_uri_names().next()?;
    let domain = uri.strip_prefix("quorate://")?.strip_suffix("/ca")?;
    identity::is_domain(domain).then(|| domain.to_owned())
}

fn host_name(host: &str) -> Result<SanType, AuthorityError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let is_name = !host.is_empty() && host.len() <= 253 && host.chars().all(allowed);
    if !is_name || identity::is_reserved_host(host) {
        return Err(AuthorityError::Host(host.to_owned()));
    }
    Ok(SanType::DnsName(host.try_into()?))
}
