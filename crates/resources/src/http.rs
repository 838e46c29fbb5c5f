//! `service` and `http_channel`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Kind, PathTemplate,
    field_reader::{FieldReader, ParseOutcome},
    text_rules, yes,
};

/// The longest time that can be allowed for one call, in milliseconds.
const TIMEOUT_MS_MAX: u64 = 3_600_000;
/// The most URLs that one service can have.
const UPSTREAMS_MAX: usize = 32;
/// The most methods that one channel can take.
const METHODS_MAX: usize = 16;
/// The largest `max_body_bytes`: bodies are held in memory.
const BODY_BYTES_MAX: u64 = 1 << 30;

/// One URL or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UpstreamUrls {
    /// `upstream: http://a`
    One(String),
    /// `upstream: [http://a, http://b]`
    Many(Vec<String>),
}

impl UpstreamUrls {
    /// The URLs as a slice.
    pub fn as_slice(&self) -> &[String] {
        match self {
            UpstreamUrls::One(url) => std::slice::from_ref(url),
            UpstreamUrls::Many(urls) => urls,
        }
    }
}

/// `service`: exactly one of `upstream` and `builtin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// HTTP URLs that handle its calls, tried in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamUrls>,
    /// A service that the program carries in code (`ping`, `echo`, or one of an embedder's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<String>,
    /// Longest time for one call, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Further tries after a call that failed.
    #[serde(default)]
    pub retries: u32,
    /// The `Host` that an upstream is sent.
    #[serde(default, skip_serializing_if = "HostHeader::is_default")]
    pub host: HostHeader,
    /// By which key the calls of an upstream are signed: `api_key/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<String>,
}

/// Whose name stands in `Host` when an upstream is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostHeader {
    /// The upstream's own, from its URL; its redirects are rewritten for the client.
    #[default]
    Upstream,
    /// What the client has asked for.
    Client,
}

impl HostHeader {
    const CHOICES: [(&'static str, HostHeader); 2] = [
        ("upstream", HostHeader::Upstream),
        ("client", HostHeader::Client),
    ];

    fn is_default(&self) -> bool {
        *self == HostHeader::default()
    }
}

fn timeout_ms() -> u64 {
    10_000
}

impl Service {
    /// How long one call of it may take, its further tries among it, in milliseconds.
    pub(super) fn longest_ms(&self) -> u64 {
        let tries = u64::from(self.retries) + 1;
        self.timeout_ms.saturating_mul(tries)
    }

    pub(super) fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let name = fields.required("name", text_rules::name);
        let upstream = fields.one_or_many("upstream", UPSTREAMS_MAX, text_rules::url);
        let builtin = fields.text("builtin", text_rules::name);
        match (fields.has("upstream"), fields.has("builtin")) {
            (false, false) => fields.refuse(
                "upstream",
                "",
                "give exactly one of `upstream` (a URL, or a list of them) and `builtin` (a service that the program carries in code)",
            ),
            (true, true) => fields.refuse(
                "builtin",
                builtin.as_deref().unwrap_or_default(),
                "give exactly one of `upstream` and `builtin`, not both",
            ),
            _ => {}
        }
        if fields.has("host") && fields.has("builtin") {
            fields.refuse(
                "host",
                "",
                "is for an `upstream` alone: a service in code is sent the client's headers as they are",
            );
        }
        if fields.has("sign") && fields.has("builtin") {
            fields.refuse(
                "sign",
                "",
                "is for an `upstream` alone: nothing comes between the program and a service in its code",
            );
        }
        let sign = fields.text("sign", sign);
        if let Some(text) = sign.as_deref().filter(|it| split_sign(it).is_none()) {
            fields.not_known("sign", text, SIGN);
        }
        let it = Service {
            name,
            upstream: upstream.map(|(urls, alone)| match <[String; 1]>::try_from(urls) {
                Ok([url]) if alone => UpstreamUrls::One(url),
                Ok(url) => UpstreamUrls::Many(url.into()),
                Err(urls) => UpstreamUrls::Many(urls),
            }),
            builtin,
            timeout_ms: fields.number("timeout_ms", timeout_ms(), 1..=TIMEOUT_MS_MAX),
            retries: fields.number("retries", 0, 0..=100),
            host: fields
                .one_of("host", &HostHeader::CHOICES)
                .unwrap_or_default(),
            sign,
        };
        fields.finish(it)
    }

    /// The name of the `api_key` by which its calls are signed.
    pub fn signing_key(&self) -> Option<&str> {
        split_sign(self.sign.as_deref()?)
    }
}

/// `http_channel`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpChannel {
    /// Its name.
    pub name: String,
    /// A path, with parameters in braces: `/orders/{id}`.
    pub path: String,
    /// The methods that it takes.
    #[serde(default = "methods")]
    pub methods: Vec<String>,
    /// The service that handles its requests.
    pub service: String,
    /// A `basic_auth` or `api_key` by `kind/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<String>,
    /// Inactive channels answer 404.
    #[serde(default = "yes")]
    pub active: bool,
    /// Larger bodies get 413. Bytes.
    #[serde(default = "max_body_bytes")]
    pub max_body_bytes: u64,
}

fn methods() -> Vec<String> {
    vec!["GET".into(), "POST".into()]
}

fn max_body_bytes() -> u64 {
    1 << 20
}

impl HttpChannel {
    pub(super) fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let it = HttpChannel {
            name: fields.required("name", text_rules::name),
            path: fields.required("path", PathTemplate::check),
            methods: fields
                .many("methods", METHODS_MAX, text_rules::method)
                .unwrap_or_else(methods),
            service: fields.required("service", text_rules::name),
            security: fields.text("security", security),
            active: fields.flag("active", yes()),
            max_body_bytes: fields.number("max_body_bytes", max_body_bytes(), 0..=BODY_BYTES_MAX),
        };
        // What others clash with and what others are named: all members must read it alike.
        if !PathTemplate::new(&it.path).is_known() {
            fields.not_known("path", &it.path, "has braces of a sort that is not known");
        }
        if let Some(text) = it
            .security
            .as_ref()
            .filter(|it| split_security(it).is_none())
        {
            fields.not_known("security", text, SECURITY);
        }
        fields.finish(it)
    }

    /// The kind and name of the security object that it asks for.
    pub fn security_object(&self) -> Option<(Kind, &str)> {
        split_security(self.security.as_deref()?)
    }

    /// Whether some request could be meant for both of two channels, so that it would not
    /// be clear which one gets it.
    pub fn overlaps(&self, other: &HttpChannel) -> bool {
        self.methods
            .iter()
            .any(|method| other.methods.contains(method))
            && PathTemplate::new(&self.path).overlaps(&PathTemplate::new(&other.path))
    }
}

const SIGN: &str = "must be api_key/NAME, the key by which calls are signed";

fn split_sign(text: &str) -> Option<&str> {
    match split_security(text)? {
        (Kind::ApiKey, name) => Some(name),
        _ => None,
    }
}

fn sign(text: &str) -> Result<(), String> {
    match split_sign(text) {
        Some(name) => text_rules::name(name),
        None => Err(SIGN.into()),
    }
}

const SECURITY: &str = "must be basic_auth/NAME or api_key/NAME";

fn split_security(text: &str) -> Option<(Kind, &str)> {
    let (kind, name) = text.split_once('/')?;
    let kind = kind
        .parse()
        .ok()
        .filter(|kind| matches!(kind, Kind::BasicAuth | Kind::ApiKey))?;
    Some((kind, name))
}

fn security(text: &str) -> Result<(), String> {
    match split_security(text) {
        Some((_, name)) => text_rules::name(name),
        None => Err(SECURITY.into()),
    }
}
