//! Check by an `hmac`: a signature over the body, as webhooks have it.
//!
//! Without a time a copy of a request is as good as the request, which is how GitHub signs and what
//! it means by sending one again. With one it is signed too (`TIME.BODY`), a signature that is older
//! than `max_age_s` is refused, and so is one that this member has taken already.

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use quorate_clock::{Instant, wall_time};
use quorate_resources::Kind;
use ring::hmac;
use subtle::{Choice, ConstantTimeEq};

use super::{
    caller::{Caller, CheckFailure},
    replay_cache::ReplayCache,
};

/// Signatures that one request may bring: senders that change their secret bring two.
const SIGNATURES_MAX: usize = 4;

/// Check by an `hmac`.
pub(super) struct HmacCheck<'c> {
    pub name: &'c str,
    pub secret: &'c str,
    pub header: HeaderName,
    pub prefix: &'c str,
    pub is_base64: bool,
    pub timestamp: Option<HeaderName>,
    pub max_age_s: u64,
}

/// What a request says of its signature.
#[derive(Debug)]
pub(super) struct SignatureClaim<'r> {
    signatures: Vec<[u8; 32]>,
    /// The time as it is signed.
    time: Option<&'r str>,
}

impl HmacCheck<'_> {
    pub(super) fn challenge(&self) -> String {
        format!(
            "Signature realm=\"{}\", header=\"{}\"",
            self.name, self.header
        )
    }

    /// Returns what a request says of its signature, if it has the form and is of now.
    pub(super) fn claim<'r>(
        &self,
        headers: &'r HeaderMap,
    ) -> Result<SignatureClaim<'r>, CheckFailure> {
        const WRONG: CheckFailure = CheckFailure::Wrong("signature");
        let mut values = headers.get_all(&self.header).iter();
        let value = values.next().ok_or(CheckFailure::Missing)?;
        if values.next().is_some() {
            return Err(WRONG);
        }
        let value = value.to_str().map_err(|_| WRONG)?;
        let (written, time) = match &self.timestamp {
            None => (vec![value], None),
            Some(header) if *header == self.header => in_one_header(value),
            Some(header) => {
                let time = headers.get(header).and_then(|it| it.to_str().ok());
                (vec![value], time)
            }
        };
        if self.timestamp.is_some() {
            let time = time.and_then(seconds).ok_or(WRONG)?;
            let now = wall_time().duration_since(UNIX_EPOCH).unwrap_or_default();
            if now.as_secs().abs_diff(time) > self.max_age_s {
                return Err(CheckFailure::Wrong("signature_age"));
            }
        }
        let signatures = written.iter().take(SIGNATURES_MAX);
        let signatures: Vec<_> = signatures.filter_map(|it| self.decoded(it)).collect();
        if signatures.is_empty() {
            return Err(WRONG);
        }
        Ok(SignatureClaim { signatures, time })
    }

    fn decoded(&self, written: &str) -> Option<[u8; 32]> {
        let text = written.trim().strip_prefix(self.prefix)?;
        let bytes = if self.is_base64 {
            BASE64_STANDARD.decode(text).ok()?
        } else {
            from_hex(text)?
        };
        bytes.try_into().ok()
    }

    /// Returns the caller, if the body is signed.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        body: Option<&Bytes>,
        replays: &Mutex<ReplayCache>,
    ) -> Result<Caller, CheckFailure> {
        let claim = self.claim(headers)?;
        // It is read for every claim that has the form; one that got too old meanwhile is refused.
        let body = body.ok_or(CheckFailure::Wrong("signature_age"))?;
        let code = self.code(claim.time, body);
        let good = claim.signatures.iter();
        let good = good.fold(Choice::from(0), |good, it| good | it.ct_eq(&code));
        if !bool::from(good) {
            return Err(CheckFailure::Wrong("signature"));
        }
        if claim.time.is_some() {
            // One that is ahead of our clock is good for longer.
            let good_for = Duration::from_secs(2 * self.max_age_s + 1);
            if !replays.lock().is_first_use(&code, good_for, Instant::now()) {
                return Err(CheckFailure::Wrong("signature_replayed"));
            }
        }
        Ok(Caller::of_object(Kind::Hmac, self.name))
    }

    fn code(&self, time: Option<&str>, body: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        if let Some(time) = time {
            context.update(time.as_bytes());
            context.update(b".");
        }
        context.update(body);
        let mut code = [0; 32];
        code.copy_from_slice(context.sign().as_ref());
        code
    }
}

/// Reads `t=TIME,v1=SIGNATURE`, with any number of signatures.
fn in_one_header(value: &str) -> (Vec<&str>, Option<&str>) {
    let (mut signatures, mut time) = (Vec::new(), None);
    for (name, value) in value.split(',').filter_map(|it| it.trim().split_once('=')) {
        match name {
            "t" => time = Some(value),
            "v1" => signatures.push(value),
            _ => {}
        }
    }
    (signatures, time)
}

/// Reads a time of digits alone: what is signed is the text, of which there is one for a time.
fn seconds(text: &str) -> Option<u64> {
    let digits = (1..=12).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let bytes = pairs.iter().map(|[high, low]| {
        let byte = digit(*high)? << 4 | digit(*low)?;
        u8::try_from(byte).ok()
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(timestamp: Option<&'static str>) -> HmacCheck<'static> {
        HmacCheck {
            name: "hooks",
            secret: "It's a Secret to Everybody",
            header: HeaderName::from_static("x-hub-signature-256"),
            prefix: if timestamp.is_some() { "" } else { "sha256=" },
            is_base64: false,
            timestamp: timestamp.map(HeaderName::from_static),
            max_age_s: 300,
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn hex(code: &[u8]) -> String {
        code.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn now() -> u64 {
        let now = wall_time().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs()
    }

    /// The example of GitHub's documentation.
    #[test]
    fn published_signature_of_github_is_accepted() {
        let check = check(None);
        let sent = headers(&[(
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )]);
        let replays = Mutex::default();
        let body = Bytes::from_static(b"Hello, World!");
        for _ in 0..2 {
            let outcome = check.check(&sent, Some(&body), &replays);
            assert_eq!(outcome, Ok(Caller::of_object(Kind::Hmac, "hooks")));
        }
        let other = Bytes::from_static(b"Hello, World?");
        let outcome = check.check(&sent, Some(&other), &replays);
        assert_eq!(outcome, Err(CheckFailure::Wrong("signature")));
    }

    #[test]
    fn malformed_signatures_read_no_body() {
        let check = check(None);
        let good = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        for sent in [
            "",
            "sha256=",
            good,
            &format!("sha1={good}"),
            &format!("sha256={}", &good[1..]),
            &format!("sha256={good}00"),
            &format!("sha256=+{}", &good[1..]),
            &format!("sha256={}", good.replace('7', "g")),
        ] {
            let claim = check.claim(&headers(&[("x-hub-signature-256", sent)]));
            assert_eq!(
                claim.err(),
                Some(CheckFailure::Wrong("signature")),
                "{sent}"
            );
        }
        let twice = headers(&[("x-hub-signature-256", "a"), ("x-hub-signature-256", "b")]);
        assert!(check.claim(&twice).is_err());
        let none = check.claim(&HeaderMap::new());
        assert_eq!(none.err(), Some(CheckFailure::Missing));
    }

    #[test]
    fn timed_signature_is_fresh_and_counts_once() {
        let check = check(Some("x-time"));
        let (body, replays) = (Bytes::from_static(b"{}"), Mutex::default());
        let signed = |at: u64, says: u64| {
            let code = hex(&check.code(Some(&at.to_string()), &body));
            headers(&[
                ("x-hub-signature-256", &code),
                ("x-time", &says.to_string()),
            ])
        };
        let ask = |sent: &HeaderMap| check.check(sent, Some(&body), &replays);
        let now = now();
        let sent = signed(now, now);
        assert!(ask(&sent).is_ok());
        assert_eq!(ask(&sent), Err(CheckFailure::Wrong("signature_replayed")));
        assert!(ask(&signed(now - 200, now - 200)).is_ok());
        for at in [now - 400, now + 400] {
            assert_eq!(
                ask(&signed(at, at)),
                Err(CheckFailure::Wrong("signature_age"))
            );
        }
        // An old signature with a new time.
        let moved = ask(&signed(now - 400, now));
        assert_eq!(moved, Err(CheckFailure::Wrong("signature")));
        let mut untimed = signed(now, now);
        untimed.remove("x-time");
        assert_eq!(ask(&untimed), Err(CheckFailure::Wrong("signature")));
    }

    #[test]
    fn time_and_signatures_share_a_header() {
        let check = check(Some("x-hub-signature-256"));
        let (body, replays) = (Bytes::from_static(b"{}"), Mutex::default());
        let at = now();
        let code = hex(&check.code(Some(&at.to_string()), &body));
        let other = "0".repeat(64);
        let text = format!("t={at},v1={other},v1={code},v0=x");
        let sent = headers(&[("x-hub-signature-256", &text)]);
        assert!(check.check(&sent, Some(&body), &replays).is_ok());
        let text = format!("v1={code}");
        let sent = headers(&[("x-hub-signature-256", &text)]);
        assert!(check.check(&sent, Some(&body), &replays).is_err());
    }

    #[test]
    fn base64_signature_is_accepted_too() {
        let check = HmacCheck {
            is_base64: true,
            prefix: "",
            ..check(None)
        };
        let body = Bytes::from_static(b"{}");
        let text = BASE64_STANDARD.encode(check.code(None, &body));
        let sent = headers(&[("x-hub-signature-256", &text)]);
        assert!(check.check(&sent, Some(&body), &Mutex::default()).is_ok());
    }
}
