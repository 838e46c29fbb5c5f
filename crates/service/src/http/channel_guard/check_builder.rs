//! Checks made of the security objects of the catalog: the one place where their secrets are read.

use quorate_resources::{Kind, SignatureEncoding};
use quorate_state::Catalog;

use super::{
    caller_check::CallerCheck,
    certificate::CertificateCheck,
    hmac_signature::HmacCheck,
    jwt::{JwtCheck, KeySource},
    static_credentials::{KeyCheck, PasswordCheck},
};

/// Returns the check of one object, as it is written and by kind and name.
pub(super) fn check<'c>(
    written: &str,
    object: Option<(Kind, &'c str)>,
    catalog: &'c Catalog,
) -> CallerCheck<'c> {
    let check = match object {
        Some((Kind::BasicAuth, name)) => basic_auth(name, catalog),
        Some((Kind::ApiKey, name)) => api_key(name, catalog),
        Some((Kind::Jwt, name)) => jwt(name, catalog),
        Some((Kind::ClientCertificate, name)) => client_certificate(name, catalog),
        Some((Kind::Hmac, name)) => hmac(name, catalog),
        _ => None,
    };
    check.unwrap_or_else(|| {
        CallerCheck::Broken(format!("security object {written:?} can't be used"))
    })
}

fn basic_auth<'c>(name: &'c str, catalog: &'c Catalog) -> Option<CallerCheck<'c>> {
    let it = catalog.basic_auth(name)?;
    Some(CallerCheck::Password(PasswordCheck {
        name,
        username: &it.username,
        password: it.password.as_deref()?,
    }))
}

fn api_key<'c>(name: &'c str, catalog: &'c Catalog) -> Option<CallerCheck<'c>> {
    let it = catalog.api_key(name)?;
    Some(CallerCheck::Key(KeyCheck {
        name,
        header: it.header.parse().ok()?,
        key: it.key.as_deref()?,
    }))
}

fn jwt<'c>(name: &'c str, catalog: &'c Catalog) -> Option<CallerCheck<'c>> {
    let it = catalog.jwt(name)?;
    // A public key is never taken for a shared one: rules bind who proposes, and not the log.
    let keys = match (it.is_shared(), &it.key, &it.jwks, &it.jwks_url) {
        (true, Some(key), None, None) if it.algorithms.len() == 1 => KeySource::Shared(key),
        (false, _, Some(set), None) => KeySource::Set(set),
        (false, _, None, Some(url)) => KeySource::Url(url),
        _ => return None,
    };
    Some(CallerCheck::Jwt(JwtCheck {
        rules: it,
        header: it.header.parse().ok()?,
        keys,
    }))
}

fn client_certificate<'c>(name: &'c str, catalog: &'c Catalog) -> Option<CallerCheck<'c>> {
    let rules = catalog.client_certificate(name)?;
    Some(CallerCheck::Certificate(CertificateCheck { rules }))
}

fn hmac<'c>(name: &'c str, catalog: &'c Catalog) -> Option<CallerCheck<'c>> {
    let it = catalog.hmac(name)?;
    let timestamp = it.timestamp_header.as_ref();
    Some(CallerCheck::Hmac(HmacCheck {
        name,
        secret: it.secret.as_deref()?,
        header: it.header.parse().ok()?,
        prefix: it.prefix.as_deref().unwrap_or_default(),
        is_base64: it.encoding == SignatureEncoding::Base64,
        timestamp: match timestamp {
            Some(header) => Some(header.parse().ok()?),
            None => None,
        },
        max_age_s: it.max_age_s,
    }))
}
