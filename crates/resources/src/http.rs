//! `service` and `http_channel`.

use serde_json::Value;
use url::Url;

use crate::{
    Kind, OneOrMany, PathTemplate,
    declaration::{FieldNature, FieldRule, choices, declare},
    field_reader::{FieldReader, GivenValue},
    field_rules::{
        LeftOutByDefault, NumberValue, OptionalField, QualifiedReference, RequiredField, ValueRule,
        flag, number, one_of, optional, optional_nested, optional_number, reference, required,
        secret,
    },
    security::{SECURITY, SECURITY_LIST},
    text_rules,
    upstream::{AuthScheme, UpstreamAuth, UpstreamTls, secret_fits_scheme},
};

/// The longest time that can be allowed for one call, in milliseconds.
const TIMEOUT_MS_MAX: u64 = 3_600_000;
/// The most URLs that one service can have.
const UPSTREAMS_MAX: usize = 32;
/// The most methods that one channel can take.
const METHODS_MAX: usize = 16;
/// The most calls in a window of `rate_limit`.
const REQUESTS_MAX: u64 = 1_000_000;
/// The longest window of `rate_limit`, in seconds.
const WINDOW_S_MAX: u64 = 86_400;
/// The largest `max_body_bytes`: bodies are held in memory.
const BODY_BYTES_MAX: u64 = 1 << 30;

declare! {
    /// `service`: exactly one of `upstream` and `builtin`.
    pub struct Service {
        /// The name of the service.
        name: String = required(text_rules::name);
        /// HTTP URLs that handle its calls, tried in turn.
        upstream: Option<OneOrMany> = OptionalField(UpstreamValue);
        /// A service that the program carries in code (`ping`, `echo`, or one of an embedder's).
        builtin: Option<String> = optional(text_rules::name), then one_handles_calls(builtin);
        /// By which key the calls of an upstream are signed: `api_key/NAME`.
        sign: Option<String> = OptionalField(SIGN);
        /// The TLS of an upstream.
        tls: Option<UpstreamTls> = optional_nested();
        /// By what an upstream knows its caller.
        auth: Option<UpstreamAuth> = optional_nested(), then
            tls_needs_https(upstream, tls, auth);
        /// The secret of `auth`. Never shown again; left out of a PUT or apply it means unchanged.
        auth_secret: Option<String> = secret(text_rules::auth_secret), then
            secret_fits_scheme(auth, auth_secret);
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
    type Value = OneOrMany;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<OneOrMany> {
        Some(match given.value {
            Value::Array(list) => OneOrMany::Many(given.list(list, UPSTREAMS_MAX, text_rules::url)),
            _ => OneOrMany::One(given.text(text_rules::url)?),
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
    for field in ["tls", "auth", "auth_secret"] {
        if fields.has(field) && fields.has("builtin") {
            let why = "is for an `upstream` alone: no connection is made to a service in code";
            fields.refuse(field, "", why);
        }
    }
    if fields.has("sign") && fields.has("builtin") {
        fields.refuse(
            "sign",
            "",
            "is for an `upstream` alone: nothing comes between the program and a service in its code",
        );
    }
}

/// Refuses rules of TLS for a URL that has none: they would look kept and be passed over.
fn tls_needs_https(
    fields: &mut FieldReader<'_>,
    upstream: &Option<OneOrMany>,
    tls: &Option<UpstreamTls>,
    auth: &Option<UpstreamAuth>,
) {
    let urls = upstream.as_ref().map_or(&[][..], OneOrMany::as_slice);
    if !urls.iter().any(|url| url.starts_with("http://")) {
        return;
    }
    let why = "needs an `upstream` whose URLs all begin with https://: without TLS it would be passed over";
    if tls.is_some() {
        fields.refuse("tls", "", why);
    }
    if auth
        .as_ref()
        .is_some_and(|auth| auth.scheme == AuthScheme::Certificate)
    {
        fields.refuse("auth.scheme", "certificate", why);
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

    /// Lists the URLs of its upstream.
    pub(crate) fn upstreams(&self) -> &[String] {
        self.upstream.as_ref().map_or(&[][..], OneOrMany::as_slice)
    }

    /// Lists where its upstream is: scheme, host and port of each URL. A URL that is none counts as
    /// it stands.
    pub(crate) fn origins(&self) -> Vec<String> {
        let origin = |text: &String| match Url::parse(text) {
            Ok(url) => url.origin().ascii_serialization(),
            Err(_) => text.clone(),
        };
        self.upstreams().iter().map(origin).collect()
    }

    /// Returns a warning where its credentials go unencrypted to another host.
    pub(crate) fn warning(&self) -> Option<String> {
        self.auth.as_ref()?;
        let urls = self.upstream.as_ref()?.as_slice();
        let is_open = |text: &&String| {
            Url::parse(text).is_ok_and(|url| url.scheme() == "http" && !text_rules::is_here(&url))
        };
        let open = urls.iter().find(is_open)?;
        Some(format!(
            "its `auth` is sent to {open} unencrypted, for all on the way to read: use https"
        ))
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
        /// Security objects by `kind/name`, of which a caller must satisfy one.
        security: Option<OneOrMany> = OptionalField(AnySecurityValue);
        /// Security objects by `kind/name`, of which a caller must satisfy each.
        security_all: Option<Vec<String>> =
            OptionalField(SECURITY_LIST), then objects_stand_once(security, security_all);
        /// How often it may be called at each member.
        rate_limit: Option<ChannelRateLimit> = optional_nested();
        /// Inactive channels answer 404.
        active: bool = flag(true);
        /// Larger bodies get 413. Bytes.
        max_body_bytes: u64 = number(1 << 20, 0..=BODY_BYTES_MAX);
    }
}

declare! {
    /// How often a channel may be called, at each member.
    pub struct ChannelRateLimit {
        /// Whose calls are counted together.
        per: RateScope = one_of();
        /// Calls that may be made in each `window_s`.
        requests: u32 = RequiredField(NumberValue::within(1..=REQUESTS_MAX));
        /// Seconds.
        window_s: u32 = number(60, 1..=WINDOW_S_MAX);
        /// Calls that may be made at once; as many as `requests` where it is left out.
        burst: Option<u32> = optional_number(REQUESTS_MAX);
    }
}

choices! {
    /// Whose calls are counted together.
    pub enum RateScope {
        /// Those of one caller; of a channel without security, those of one address.
        Caller = "caller",
        /// Those from one address (of IPv6: from one /64).
        Source = "source",
        /// All calls of the channel.
        Channel = "channel",
    }
}

/// One security object or a list of them.
struct AnySecurityValue;

impl ValueRule for AnySecurityValue {
    type Value = OneOrMany;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<OneOrMany> {
        Some(match given.value {
            Value::Array(_) => OneOrMany::Many(SECURITY_LIST.parse(given)?),
            _ => OneOrMany::One(SECURITY.parse(given)?),
        })
    }

    fn nature<'a>(&self, value: &'a OneOrMany) -> FieldNature<'a> {
        SECURITY_LIST.natures_of(value.as_slice())
    }
}

/// Refuses an object in both lists: it would be checked twice, and a signature counts once.
fn objects_stand_once(
    fields: &mut FieldReader<'_>,
    any: &Option<OneOrMany>,
    each: &Option<Vec<String>>,
) {
    let any = any.as_ref().map_or(&[][..], OneOrMany::as_slice);
    let twice = each.iter().flatten().find(|it| any.contains(it));
    if let Some(twice) = twice {
        fields.refuse("security_all", twice, "stands in `security` already");
    }
}

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
    /// Lists the security objects of which a caller must satisfy one, each as it is written and by
    /// kind and name; none: anybody may call.
    pub fn any_security(&self) -> Vec<(&str, Option<(Kind, &str)>)> {
        let written = self.security.as_ref().map_or(&[][..], OneOrMany::as_slice);
        written
            .iter()
            .map(|it| (&**it, SECURITY.split(it)))
            .collect()
    }

    /// Lists the security objects of which a caller must satisfy each, in the same form.
    pub fn each_security(&self) -> Vec<(&str, Option<(Kind, &str)>)> {
        let written = self.security_all.iter().flatten();
        written.map(|it| (&**it, SECURITY.split(it))).collect()
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
