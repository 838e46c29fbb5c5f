//! Security objects: what an HTTP channel can ask of its callers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    Kind,
    declaration::{FieldRule, choices, declare},
    field_reader::{FieldReader, GivenValue},
    field_rules::{
        LeftOutByDefault, OptionalField, QualifiedReference, TextList, ValueRule, flag, number,
        one_of, optional, required, required_list, secret, text_or,
    },
    text_rules::{self, InvalidText},
};

/// The most security objects that one channel can name in each of its two lists.
const OBJECTS_MAX: usize = 8;
/// The most values of a list of audiences, names or claims.
const LISTED_MAX: usize = 32;
/// The most keys of a `jwks`.
const KEYS_MAX: usize = 32;
/// The largest `leeway_s`: clocks that are further apart are wrong.
const LEEWAY_S_MAX: u64 = 600;
/// The largest `max_age_s` of a signed request.
const AGE_S_MAX: u64 = 86_400;

declare! {
    /// `basic_auth`
    pub struct BasicAuth {
        /// The name of the object.
        name: String = required(text_rules::name);
        /// The user name asked for.
        username: String = required(text_rules::basic_auth_username);
        /// Never shown again; left out of a PUT or apply it means unchanged.
        password: Option<String> = secret(text_rules::password);
    }
}

declare! {
    /// `api_key`
    pub struct ApiKey {
        /// The name of the object.
        name: String = required(text_rules::name);
        /// The request header that carries the key.
        header: String = text_or("X-API-Key", text_rules::header_name);
        /// Never shown again; left out of a PUT or apply it means unchanged.
        key: Option<String> = secret(text_rules::header_value);
    }
}

declare! {
    /// `jwt`: a token that an issuer has signed (RFC 7519).
    pub struct Jwt {
        /// The name of the object.
        name: String = required(text_rules::name);
        /// The `iss` that a token must have, to the letter.
        issuer: String = required(text_rules::claim_text);
        /// The `aud` of which a token must have one.
        audience: Vec<String> = required_list(LISTED_MAX, text_rules::claim_text);
        /// The algorithms by which a token may be signed: `HS256` alone, or others.
        algorithms: Vec<JwtAlgorithm> = AlgorithmsValue;
        /// Where the issuer publishes its keys.
        jwks_url: Option<String> = optional(text_rules::jwks_url);
        /// The issuer's public keys themselves (RFC 7517).
        jwks: Option<Value> = OptionalField(KeySetValue);
        /// The shared key of `HS256`. Never shown again; left out of a PUT or apply it means
        /// unchanged.
        key: Option<String> = secret(text_rules::shared_key), then
            keys_fit_algorithms(algorithms, jwks_url, jwks, key);
        /// Claims that a token must have, each with its value or with one of several.
        required_claims: BTreeMap<String, Value> = ClaimsValue;
        /// How far the issuer's clock may be from a member's, in seconds.
        leeway_s: u64 = number(60, 0..=LEEWAY_S_MAX);
        /// The request header that carries the token.
        header: String = text_or("Authorization", text_rules::header_name);
        /// Claims that the service gets, as `Quorate-Claim-NAME`.
        forward_claims: Vec<String> =
            LeftOutByDefault(ListOrNone(TextList { most: LISTED_MAX, rule: text_rules::claim_name }));
    }
}

declare! {
    /// `client_certificate`: a certificate that the caller has shown to a proxy in the
    /// handshake of TLS.
    pub struct ClientCertificate {
        /// The name of the object.
        name: String = required(text_rules::name);
        /// The authorities that have signed it, in PEM.
        ca: String = required(text_rules::certificates);
        /// The names of which it must have one: DNS names or URIs, or `*.` and the end of one.
        names: Vec<String> = required_list(LISTED_MAX, text_rules::certificate_name);
        /// Whether the service gets the certificate, as `Client-Cert` (RFC 9440).
        forward: bool = flag(false);
    }
}

declare! {
    /// `hmac`: a signature over the body by a secret that both ends know, as webhooks have it.
    pub struct Hmac {
        /// The name of the object.
        name: String = required(text_rules::name);
        /// Never shown again; left out of a PUT or apply it means unchanged.
        secret: Option<String> = secret(text_rules::hmac_secret);
        /// The request header that carries the signature.
        header: String = required(text_rules::header_name);
        /// The hash function of the HMAC.
        algorithm: HmacAlgorithm = one_of();
        /// What stands before the signature in its header.
        prefix: Option<String> = optional(text_rules::signature_prefix);
        /// How the signature is written.
        encoding: SignatureEncoding = one_of();
        /// The request header with the time at which it was signed, in seconds since 1970, which
        /// is signed too. The same as `header`: both stand there as `t=TIME,v1=SIGNATURE`.
        timestamp_header: Option<String> = optional(text_rules::header_name);
        /// How old a signature may be where there is a time, in seconds.
        max_age_s: u64 = number(300, 1..=AGE_S_MAX);
    }
}

choices! {
    /// How a token may be signed.
    pub enum JwtAlgorithm {
        /// RSASSA-PKCS1-v1_5 with SHA-256, by a key of 2048 bits or more.
        Rs256 = "RS256",
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
        /// Ed25519.
        EdDsa = "EdDSA",
        /// HMAC with SHA-256: whoever can check a token can make one.
        Hs256 = "HS256",
    }
}

choices! {
    /// The hash function of an `hmac`.
    pub enum HmacAlgorithm {
        /// SHA-256.
        Sha256 = "sha256",
    }
}

choices! {
    /// How a signature is written in its header.
    pub enum SignatureEncoding {
        /// In hexadecimal digits, large or small.
        Hex = "hex",
        /// In base64 with padding.
        Base64 = "base64",
    }
}

impl Jwt {
    /// Returns `true` if its tokens are signed by a key that is shared with the issuer.
    pub fn is_shared(&self) -> bool {
        self.algorithms.contains(&JwtAlgorithm::Hs256)
    }
}

/// The security objects that a channel may name.
pub(crate) const SECURITY: QualifiedReference = QualifiedReference {
    kinds: &[
        Kind::BasicAuth,
        Kind::ApiKey,
        Kind::Jwt,
        Kind::ClientCertificate,
        Kind::Hmac,
    ],
    wants: "must be KIND/NAME with the kind basic_auth, api_key, jwt, client_certificate or hmac",
};

/// Lists of security objects are bounded alike.
pub(crate) const SECURITY_LIST: crate::field_rules::ReferenceList =
    crate::field_rules::ReferenceList {
        of: SECURITY,
        most: OBJECTS_MAX,
        rule: security_object,
    };

fn security_object(text: &str) -> Result<(), InvalidText> {
    SECURITY.check(text)
}

/// A list of algorithms, at least one.
struct AlgorithmsValue;

impl FieldRule for AlgorithmsValue {
    type Value = Vec<JwtAlgorithm>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Self::Value {
        let usual = || {
            vec![
                JwtAlgorithm::Rs256,
                JwtAlgorithm::Es256,
                JwtAlgorithm::EdDsa,
            ]
        };
        let Some(mut given) = fields.take(field) else {
            return usual();
        };
        given.choices().unwrap_or_else(usual)
    }
}

/// A list that may be left out, which is none.
struct ListOrNone(TextList<InvalidText>);

impl FieldRule for ListOrNone {
    type Value = Vec<String>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Vec<String> {
        let given = fields.take(field);
        given
            .and_then(|mut it| self.0.parse(&mut it))
            .unwrap_or_default()
    }
}

/// The public keys of an issuer. They are shown again, so that no private one may stand there.
struct KeySetValue;

impl ValueRule for KeySetValue {
    type Value = Value;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<Value> {
        // What is put here by mistake may be a private key.
        given.hide();
        let set = given.value;
        if !set.is_object() {
            given.refuse_unreadable("must be an object with the list `keys` (RFC 7517)");
            return None;
        }
        let keys = set["keys"].as_array().map_or(&[][..], Vec::as_slice);
        let text = |key: &Value, member: &str| key[member].as_str().map(str::to_owned);
        if keys.is_empty() || keys.len() > KEYS_MAX {
            given.refuse(format!("must have 1 to {KEYS_MAX} keys in its list `keys`"));
        } else if keys.iter().any(is_private) {
            given.refuse("must have public keys alone: it is shown again");
        } else if keys.iter().any(|key| text(key, "kid").is_none()) {
            given.refuse("must have a `kid` in each key, by which tokens name it");
        } else if keys.iter().any(|key| !is_usable(key)) {
            given.refuse(
                "must have keys of kty RSA, of kty EC with crv P-256, or of kty OKP with crv Ed25519",
            );
        }
        Some(set.clone())
    }
}

fn is_private(key: &Value) -> bool {
    ["d", "p", "q", "k"].iter().any(|it| key.get(it).is_some())
}

fn is_usable(key: &Value) -> bool {
    matches!(
        (key["kty"].as_str(), key["crv"].as_str()),
        (Some("RSA"), None) | (Some("EC"), Some("P-256")) | (Some("OKP"), Some("Ed25519"))
    )
}

/// Claims and what they must be.
struct ClaimsValue;

impl FieldRule for ClaimsValue {
    type Value = BTreeMap<String, Value>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Self::Value {
        let Some(mut given) = fields.take(field) else {
            return BTreeMap::new();
        };
        let Some(claims) = given.value.as_object() else {
            given.refuse_unreadable("must be an object of claims, each with its value");
            return BTreeMap::new();
        };
        let is_scalar = |it: &Value| it.is_string() || it.is_number() || it.is_boolean();
        let is_value = |it: &Value| match it {
            Value::Array(list) => !list.is_empty() && list.iter().all(is_scalar),
            it => is_scalar(it),
        };
        if claims.len() > LISTED_MAX {
            given.refuse(format!("must have at most {LISTED_MAX} claims"));
        } else if let Some(name) = claims.keys().find(|it| it.len() > 256) {
            given.refuse(format!("has a claim with a name of {} bytes", name.len()));
        } else if let Some((name, _)) = claims.iter().find(|(_, it)| !is_value(it)) {
            given.refuse(format!(
                "must give {name:?} a text, a number, true or false, or a list of these"
            ));
        }
        claims.clone().into_iter().collect()
    }

    fn nature<'a>(&self, claims: &'a Self::Value) -> crate::declaration::FieldNature<'a> {
        if claims.is_empty() {
            return crate::declaration::FieldNature::LeftOut;
        }
        crate::declaration::FieldNature::Plain
    }
}

/// Refuses keys of the wrong sort: were a public key taken for a shared one, anybody could sign.
fn keys_fit_algorithms(
    fields: &mut FieldReader<'_>,
    algorithms: &[JwtAlgorithm],
    jwks_url: &Option<String>,
    jwks: &Option<Value>,
    key: &Option<String>,
) {
    let shared = algorithms.contains(&JwtAlgorithm::Hs256);
    if shared && algorithms.len() > 1 {
        let why = "can't have HS256 beside algorithms with public keys: make two objects";
        return fields.refuse("algorithms", "", why);
    }
    match (shared, jwks_url.is_some(), jwks.is_some()) {
        (true, true, _) => fields.refuse("jwks_url", "", "is not for HS256, which has a `key`"),
        (true, _, true) => fields.refuse("jwks", "", "is not for HS256, which has a `key`"),
        (false, false, false) | (false, true, true) => fields.refuse(
            "jwks_url",
            "",
            "give exactly one of `jwks_url` (where the issuer publishes its keys) and `jwks` (the keys themselves)",
        ),
        _ => {}
    }
    if !shared && key.is_some() {
        fields.refuse("key", "", "is for `algorithms: [HS256]` alone");
    }
}
