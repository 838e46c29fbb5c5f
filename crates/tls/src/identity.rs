//! Whom a certificate names: one URI among its alternative names, and nothing else.
//!
//! `quorate://DOMAIN/KIND/NAME`. The domain is the cluster's own word, the same in all of its
//! certificates, so that two clusters that trust one authority stay apart. Kinds are `member`,
//! with the member's number, `member-name`, `balancer` and `client`.
//!
//! **Why a member's name and not its number.** Whoever makes a certificate by hand does so before
//! the member has joined, and until then neither its number nor the cluster's id exist: both are
//! made by the cluster. Its name is in its settings from the start, is unique in the membership,
//! and is replicated with it. So certificates from files say `member-name`, and a cluster that
//! makes its certificates itself says `member`.
//!
//! **What is compared.** Where a message carries a member's number, the certificate must be that
//! member's ([`CertificateIdentity::may_speak_for`]): 1. a number in the certificate must be equal;
//! 2. a name must be the one that the membership has for this number. 3. A number that the
//! membership does not have is believed: a member that was away does not know a newcomer that
//! leads by now, and would never hear of it otherwise. What is believed then is a holder of a
//! member's certificate of this domain, never a stranger. 4. A name that the membership has under
//! another number is no reason to refuse: a member that was taken out and joined anew has a new
//! number under its old name, and one that was away still knows the old one.
//!
//! **Common names are never looked at**, and neither are wildcards. Addresses are no part of it:
//! servers are checked by `member.DOMAIN.quorate.internal`, which no DNS has, so that a member may
//! move, and be reached through a forwarded port.

use std::fmt;

use rustls_pki_types::{CertificateDer, DnsName, ServerName};
use webpki::EndEntityCert;

const SCHEME: &str = "quorate://";

/// Longest name, as in a member's settings, and longest domain: one label of a DNS name.
const NAME_BYTES_MAX: usize = 63;

/// Reason for which a certificate names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It has no URI of ours.
    #[error(
        "it names nobody: it needs one URI quorate://DOMAIN/member-name/NAME among its alternative names (a common name counts for nothing)"
    )]
    Missing,
    /// It has more than one.
    #[error("it has several quorate:// URIs, and must have exactly one")]
    Several,
    /// The URI is none of ours.
    #[error(
        "{0:?} is no identity: it must be quorate://DOMAIN/member-name/NAME, or member/NUMBER, balancer/NAME or client/NAME, without wildcards"
    )]
    Malformed(String),
    /// The certificate is not understood.
    #[error("it is not understood: {0}")]
    Certificate(String),
}

/// Subject of a certificate within its domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateSubject {
    /// A member, by its number in the cluster.
    MemberId(u64),
    /// A member, by its name.
    MemberName(String),
    /// A balancer.
    Balancer(String),
    /// A person or a program that commands.
    Client(String),
}

/// Identity in a certificate. Worth something only where the certificate has been verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateIdentity {
    /// The cluster's word for itself: lower-case letters, digits and hyphens.
    pub domain: String,
    /// The one who holds the key.
    pub subject: CertificateSubject,
}

impl CertificateIdentity {
    /// Reads the identity in a certificate.
    ///
    /// # Errors
    /// There is none, more than one, or one that is not understood.
    pub fn from_certificate(
        certificate: &CertificateDer<'_>,
    ) -> Result<CertificateIdentity, IdentityError> {
        let parsed = EndEntityCert::try_from(certificate)
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        let mut ours = parsed.valid_uri_names().filter(|uri| {
            let scheme = uri.get(..SCHEME.len());
            scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
        });
        let uri = ours.next().ok_or(IdentityError::Missing)?;
        if ours.next().is_some() {
            return Err(IdentityError::Several);
        }
        CertificateIdentity::parse(uri)
    }

    /// Parses a URI.
    ///
    /// # Errors
    /// It is none of the known forms.
    pub fn parse(uri: &str) -> Result<CertificateIdentity, IdentityError> {
        let parsed = || {
            let (domain, path) = uri.strip_prefix(SCHEME)?.split_once('/')?;
            let (kind, name) = path.split_once('/')?;
            is_domain(domain).then_some(())?;
            let subject = match kind {
                "member" => CertificateSubject::MemberId(parse_id(name)?),
                "member-name" => CertificateSubject::MemberName(parse_name(name)?),
                "balancer" => CertificateSubject::Balancer(parse_name(name)?),
                "client" => CertificateSubject::Client(parse_name(name)?),
                _ => return None,
            };
            Some(CertificateIdentity {
                domain: domain.to_owned(),
                subject,
            })
        };
        parsed().ok_or_else(|| IdentityError::Malformed(uri.to_owned()))
    }

    /// Returns the URI in the certificate.
    pub fn uri(&self) -> String {
        let CertificateIdentity { domain, subject } = self;
        match subject {
            CertificateSubject::MemberId(id) => format!("{SCHEME}{domain}/member/{id}"),
            CertificateSubject::MemberName(name) => format!("{SCHEME}{domain}/member-name/{name}"),
            CertificateSubject::Balancer(name) => format!("{SCHEME}{domain}/balancer/{name}"),
            CertificateSubject::Client(name) => format!("{SCHEME}{domain}/client/{name}"),
        }
    }

    /// Returns true for a member's identity.
    pub fn is_member(&self) -> bool {
        matches!(
            self.subject,
            CertificateSubject::MemberId(_) | CertificateSubject::MemberName(_)
        )
    }

    /// Returns true if the holder may speak as the member with this number, which the membership
    /// knows by that name, or does not know.
    pub fn may_speak_for(&self, id: u64, known_name: Option<&str>) -> bool {
        match &self.subject {
            CertificateSubject::MemberId(own) => *own == id,
            CertificateSubject::MemberName(own) => known_name.is_none_or(|name| name == own),
            CertificateSubject::Balancer(_) | CertificateSubject::Client(_) => false,
        }
    }

    /// Returns true if the holder is the member of this name, as far as names are in certificates.
    pub fn may_be_named(&self, name: &str) -> bool {
        match &self.subject {
            CertificateSubject::MemberName(own) => own == name,
            CertificateSubject::MemberId(_) => true,
            CertificateSubject::Balancer(_) | CertificateSubject::Client(_) => false,
        }
    }

    /// Returns the names that a server of this identity bears beside its URI.
    pub fn server_names(&self) -> Vec<String> {
        let member = any_member_name(&self.domain);
        match self.subject {
            CertificateSubject::MemberId(id) => {
                vec![format!("m{id}.{}.quorate.internal", self.domain), member]
            }
            CertificateSubject::MemberName(_) => vec![member],
            CertificateSubject::Balancer(_) | CertificateSubject::Client(_) => Vec::new(),
        }
    }
}

impl fmt::Display for CertificateIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri())
    }
}

/// Returns the name that every member of a domain bears, which no DNS has.
pub fn any_member_name(domain: &str) -> String {
    format!("member.{domain}.quorate.internal")
}

/// Returns that name for a verifier.
pub(crate) fn any_member(domain: &str) -> Result<ServerName<'static>, IdentityError> {
    let name = any_member_name(domain);
    let name = DnsName::try_from(name).map_err(|_| IdentityError::Malformed(domain.to_owned()))?;
    Ok(ServerName::DnsName(name))
}

/// Returns true for names that only identities bear.
pub(crate) fn is_reserved_host(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "quorate.internal" || host.ends_with(".quorate.internal")
}

/// Returns true for lower-case letters, digits and hyphens: one label of a DNS name.
pub(crate) fn is_domain(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty()
        && text.len() <= NAME_BYTES_MAX
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.chars().all(allowed)
}

fn parse_id(text: &str) -> Option<u64> {
    let id: u64 = text.parse().ok()?;
    // One way to write each number.
    (id.to_string() == text && id > 0).then_some(id)
}

fn parse_name(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_name = text.len() <= NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(allowed);
    is_name.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_read_as_they_are_written() {
        for uri in [
            "quorate://aa11/member/3",
            "quorate://shop-1/member-name/node-a.rack_2",
            "quorate://aa11/balancer/front",
            "quorate://aa11/client/Ann",
        ] {
            assert_eq!(CertificateIdentity::parse(uri).unwrap().uri(), uri);
        }
    }

    // Test 9 in part: wildcards.
    #[test]
    fn other_uris_are_no_identities() {
        for uri in [
            "quorate://aa11/member/*",
            "quorate://*/member/3",
            "quorate://aa11/member-name/*",
            "quorate://aa11/member/03",
            "quorate://aa11/member/0",
            "quorate://aa11/member/3/4",
            "quorate://AA11/member/3",
            "QUORATE://aa11/member/3",
            "quorate://a.b/member/3",
            "quorate:///member/3",
            "quorate://aa11/member/",
            "quorate://aa11/admin/ann",
            "quorate://aa11/client/a%2Fb",
        ] {
            assert!(CertificateIdentity::parse(uri).is_err(), "{uri}");
        }
    }

    // Test 5 in part.
    #[test]
    fn members_speak_for_themselves_alone() {
        let by_id = CertificateIdentity::parse("quorate://aa11/member/3").unwrap();
        assert!(by_id.may_speak_for(3, Some("c")) && by_id.may_speak_for(3, None));
        assert!(!by_id.may_speak_for(2, Some("b")) && !by_id.may_speak_for(2, None));
        let by_name = CertificateIdentity::parse("quorate://aa11/member-name/c").unwrap();
        assert!(by_name.may_speak_for(3, Some("c")) && by_name.may_speak_for(9, None));
        assert!(!by_name.may_speak_for(2, Some("b")));
        for other in ["quorate://aa11/client/c", "quorate://aa11/balancer/c"] {
            let other = CertificateIdentity::parse(other).unwrap();
            assert!(!other.may_speak_for(3, Some("c")) && !other.may_speak_for(9, None));
            assert!(!other.may_be_named("c"));
        }
    }
}
