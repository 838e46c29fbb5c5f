//! `service` and `http_channel`.

use serde::Serialize;
use serde_json::Value;

use crate::{
    Kind, PathTemplate,
    declaration::{FieldRule, choices, declare},
    field_reader::{FieldReader, GivenValue},
    field_rules::{
        LeftOutByDefault, OptionalField, QualifiedReference, ValueRule, flag, number, one_of,
        optional, reference, required,
    },
    text_rules,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

declare! {
    /// `service`: exactly one of `upstream` and `builtin`.
    pub struct Service {
        /// The name of the service.
        name: String = required(text_rules::name);
        /// HTTP URLs that handle its calls, tried in turn.
        upstream: Option<UpstreamUrls> = OptionalField(UpstreamValue);
        /// A service that the program carries in code (`ping`, `echo`, or one of an embedder's).
        builtin: Option<String> = optional(text_rules::name), then one_handles_calls(builtin);
        /// By which key the calls of an upstream are signed: `api_key/NAME`.
        sign: Option<String> = OptionalField(SIGN);
        /// Longest time for one call, in milliseconds.
        timeout_ms: u64 = number(10_000, 1..=TIMEOUT_MS_MAX);
        /// Further tries after a call that failed.
        retries: u32 = number(0, 0..=100);
        /// The `Host` that an upstream is sent.
        host: HostHeader = LeftOutByDefault(one_of());
    }
}

const SIGN: QualifiedReference = QualifiedReference {
    kinds: &[Kind::ApiKey],
    wants: "must be api_key/NAME, the key by which calls are signed",
};

/// One URL or a list of them.
struct UpstreamValue;

impl ValueRule for UpstreamValue {
    type Value = UpstreamUrls;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<UpstreamUrls> {
        Some(match given.value {
            Value::Array(list) => {
                UpstreamUrls::Many(given.list(list, UPSTREAMS_MAX, text_rules::url))
            }
            _ => UpstreamUrls::One(given.text(text_rules::url)?),
        })
    }
}

fn one_handles_calls(fields: &mut FieldReader<'_>, builtin: &Option<String>) {
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
}

choices! {
    /// Whose name stands in `Host` when an upstream is called.
    pub enum HostHeader {
        /// The upstream's own, from its URL; its redirects are rewritten for the client.
        Upstream = "upstream",
        /// What the client has asked for.
        Client = "client",
    }
}

impl Service {
    /// Returns the longest time for one call with its further tries, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        let tries = u64::from(self.retries) + 1;
        self.timeout_ms.saturating_mul(tries)
    }

    /// Returns the name of the `api_key` by which its calls are signed.
    pub fn signing_key(&self) -> Option<&str> {
        SIGN.split(self.sign.as_deref()?).map(|(_, name)| name)
    }
}

declare! {
    /// `http_channel`
    pub struct HttpChannel {
        /// The name of the channel.
        name: String = required(text_rules::name);
        /// A path, with parameters in braces: `/orders/{id}`.
        path: String = required(PathTemplate::check), then braces_are_known(path);
        /// The methods that it takes.
        methods: Vec<String> = MethodsValue;
        /// The service that handles its requests.
        service: String = reference(Kind::Service);
        /// A `basic_auth` or `api_key` by `kind/name`.
        security: Option<String> = OptionalField(SECURITY);
        /// Inactive channels answer 404.
        active: bool = flag(true);
        /// Larger bodies get 413. Bytes.
        max_body_bytes: u64 = number(1 << 20, 0..=BODY_BYTES_MAX);
    }
}

const SECURITY: QualifiedReference = QualifiedReference {
    kinds: &[Kind::BasicAuth, Kind::ApiKey],
    wants: "must be basic_auth/NAME or api_key/NAME",
};

/// A list of methods, at least one.
struct MethodsValue;

impl FieldRule for MethodsValue {
    type Value = Vec<String>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Vec<String> {
        let usual = || vec!["GET".to_owned(), "POST".to_owned()];
        let Some(mut given) = fields.take(field) else {
            return usual();
        };
        let Some(list) = given.value.as_array() else {
            given.refuse_unreadable("must be a list of texts");
            return usual();
        };
        given.list(list, METHODS_MAX, text_rules::method)
    }
}

/// Says of a path that it can't be compared with others: all members must read it alike.
fn braces_are_known(fields: &mut FieldReader<'_>, path: &str) {
    if !PathTemplate::new(path).is_known() {
        fields.not_known("path", path, "has braces of a sort that is not known");
    }
}

impl HttpChannel {
    /// Returns the kind and name of the security object that it asks for.
    pub fn security_object(&self) -> Option<(Kind, &str)> {
        SECURITY.split(self.security.as_deref()?)
    }

    /// Returns `true` if some request could be meant for both of two channels, so that it would
    /// not be clear which one gets it.
    pub fn overlaps(&self, other: &HttpChannel) -> bool {
        self.methods
            .iter()
            .any(|method| other.methods.contains(method))
            && PathTemplate::new(&self.path).overlaps(&PathTemplate::new(&other.path))
    }
}
