//! Check of a caller by one security object.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use parking_lot::Mutex;

use super::{
    caller::{Caller, CheckFailure},
    certificate::{CLIENT_CERT, CLIENT_CERT_CHAIN, CertificateCheck, PresentedCertificate},
    hmac_signature::HmacCheck,
    jwks_cache::JwksCache,
    jwt::JwtCheck,
    replay_cache::ReplayCache,
    static_credentials::{KeyCheck, PasswordCheck},
};
use crate::upstream::UpstreamClient;

/// Check by one object of the catalog.
pub(super) enum CallerCheck<'c> {
    Password(PasswordCheck<'c>),
    Key(KeyCheck<'c>),
    Jwt(JwtCheck<'c>),
    Certificate(CertificateCheck<'c>),
    Hmac(HmacCheck<'c>),
    /// The object can't be used, so nobody gets in by it.
    Broken(String),
}

/// What of a request a check may look at.
pub(super) struct CallerRequest<'r> {
    pub headers: &'r HeaderMap,
    pub certificate: Option<&'r PresentedCertificate>,
    /// There where it was asked for.
    pub body: Option<&'r Bytes>,
}

/// What the checks of one member remember between requests.
pub(in crate::http) struct CheckMemory {
    pub(super) replays: Mutex<ReplayCache>,
    pub(super) jwks: JwksCache,
}

impl CheckMemory {
    /// Creates an empty one. Keys of issuers are fetched by `http`, under its rules of egress.
    pub(in crate::http) fn new(http: UpstreamClient) -> CheckMemory {
        CheckMemory {
            replays: Mutex::default(),
            jwks: JwksCache::new(http),
        }
    }
}

impl CallerCheck<'_> {
    /// Lists the headers that the service is not to get.
    pub(super) fn credential_headers(&self) -> Vec<&HeaderName> {
        match self {
            CallerCheck::Password(_) => vec![&header::AUTHORIZATION],
            CallerCheck::Key(it) => vec![&it.header],
            CallerCheck::Jwt(it) => vec![&it.header],
            CallerCheck::Certificate(_) => vec![&CLIENT_CERT, &CLIENT_CERT_CHAIN],
            // A signature opens nothing by itself, and the service may want to check it again.
            CallerCheck::Hmac(_) | CallerCheck::Broken(_) => Vec::new(),
        }
    }

    /// Returns what a 401 says of it.
    pub(super) fn challenge(&self) -> Option<String> {
        Some(match self {
            CallerCheck::Password(it) => it.challenge(),
            CallerCheck::Key(it) => it.challenge(),
            CallerCheck::Jwt(it) => it.challenge(),
            CallerCheck::Certificate(it) => it.challenge(),
            CallerCheck::Hmac(it) => it.challenge(),
            CallerCheck::Broken(_) => return None,
        })
    }

    pub(super) fn wants_body(&self, headers: &HeaderMap) -> bool {
        match self {
            CallerCheck::Hmac(it) => it.claim(headers).is_ok(),
            _ => false,
        }
    }

    /// Returns the caller, or why nobody is let in.
    pub(super) async fn check(
        &self,
        request: &CallerRequest<'_>,
        memory: &CheckMemory,
    ) -> Result<Caller, CheckFailure> {
        match self {
            CallerCheck::Password(it) => it.check(request.headers),
            CallerCheck::Key(it) => it.check(request.headers),
            CallerCheck::Jwt(it) => it.check(request.headers, &memory.jwks).await,
            CallerCheck::Certificate(it) => it.check(request.certificate),
            CallerCheck::Hmac(it) => it.check(request.headers, request.body, &memory.replays),
            CallerCheck::Broken(why) => Err(CheckFailure::Broken(why.clone())),
        }
    }
}
