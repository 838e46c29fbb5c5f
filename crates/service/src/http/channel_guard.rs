//! Guard of an HTTP channel: which callers it lets through, and as whom.
//!
//! A channel names security objects of which a caller must satisfy one (`security`) and such of
//! which it must satisfy each (`security_all`). Whatever the outcome, the credentials that these
//! objects look at are taken out of the request, but for signatures, which open nothing by
//! themselves: they are meant for this check, not for the service. What a service gets instead is `Quorate-Caller`.
//!
//! An object that can't be used lets nobody in: a channel is never more open than it says.

mod caller;
mod caller_check;
mod certificate;
mod check_builder;
mod hmac_signature;
mod json_web_key;
mod jwks_cache;
mod jwt;
mod replay_cache;
mod signed_token;
mod static_credentials;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use quorate_log::RateLimit;
use quorate_resources::HttpChannel;
use quorate_state::Catalog;

pub(super) use self::{
    caller::Caller, caller_check::CheckMemory, certificate::PresentedCertificate,
};
use self::{
    caller::CheckFailure,
    caller_check::{CallerCheck, CallerRequest},
};
use super::error_envelope::HttpRefusal;

/// Each request may bring the line about.
static REFUSED: RateLimit = RateLimit::each_second();

/// Guard of one channel, as the catalog has it at the time of the request.
pub(super) struct ChannelGuard<'c> {
    any: Vec<CallerCheck<'c>>,
    each: Vec<CallerCheck<'c>>,
}

/// Refusal of a caller.
#[derive(Debug)]
pub(super) struct GuardRefusal {
    pub refusal: HttpRefusal,
    /// Where credentials were brought that are wrong: what is wrong with them, for a metric.
    pub failed: Option<&'static str>,
}

impl<'c> ChannelGuard<'c> {
    pub(super) fn from_channel(channel: &'c HttpChannel, catalog: &'c Catalog) -> ChannelGuard<'c> {
        let checks = |named: Vec<_>| {
            let named = named.into_iter();
            named
                .map(|(written, object)| check_builder::check(written, object, catalog))
                .collect()
        };
        ChannelGuard {
            any: checks(channel.any_security()),
            each: checks(channel.each_security()),
        }
    }

    /// Returns true if anybody may call.
    pub(super) fn is_open(&self) -> bool {
        self.any.is_empty() && self.each.is_empty()
    }

    fn checks(&self) -> impl Iterator<Item = &CallerCheck<'c>> {
        self.any.iter().chain(&self.each)
    }

    /// Returns true if a signature over the body is to be checked, and is worth reading the body
    /// for: it is there, in its form and of now.
    pub(super) fn wants_body(&self, headers: &HeaderMap) -> bool {
        self.checks().any(|check| check.wants_body(headers))
    }

    /// Lets a request through, with its caller, or returns what it lacks. `body` is there where
    /// [`ChannelGuard::wants_body`] asked for it.
    pub(super) async fn check(
        &self,
        headers: &mut HeaderMap,
        certificate: Option<&PresentedCertificate>,
        body: Option<&Bytes>,
        memory: &CheckMemory,
    ) -> Result<Option<Caller>, GuardRefusal> {
        let request = CallerRequest {
            headers,
            certificate,
            body,
        };
        let outcome = self.outcome(&request, memory).await;
        for name in self.checks().flat_map(CallerCheck::credential_headers) {
            headers.remove(name);
        }
        outcome.map_err(|failure| self.refusal(failure))
    }

    async fn outcome(
        &self,
        request: &CallerRequest<'_>,
        memory: &CheckMemory,
    ) -> Result<Option<Caller>, CheckFailure> {
        let mut caller: Option<Caller> = None;
        if !self.any.is_empty() {
            caller = Some(first_of(&self.any, request, memory).await?);
        }
        for check in &self.each {
            let found = check.check(request, memory).await?;
            caller = Some(match caller {
                None => found,
                Some(before) => before.and(found),
            });
        }
        Ok(caller)
    }

    fn refusal(&self, failure: CheckFailure) -> GuardRefusal {
        let (status, details, failed) = match failure {
            CheckFailure::Missing => (StatusCode::UNAUTHORIZED, "credentials are required", None),
            CheckFailure::Wrong(why) => (
                StatusCode::UNAUTHORIZED,
                "the credentials are not accepted",
                Some(why),
            ),
            CheckFailure::Unavailable(why) => {
                if let Some(left_out) = REFUSED.due(&why) {
                    tracing::warn!(
                        why,
                        left_out,
                        "the callers of an HTTP channel can't be checked"
                    );
                }
                let details = "the credentials can't be checked now; the request was not handled";
                (StatusCode::SERVICE_UNAVAILABLE, details, None)
            }
            CheckFailure::Broken(why) => {
                if let Some(left_out) = REFUSED.due(&why) {
                    tracing::error!(why, left_out, "HTTP channel refuses everybody");
                }
                let details = "this channel's security can't be checked";
                (StatusCode::INTERNAL_SERVER_ERROR, details, None)
            }
        };
        let mut refusal = HttpRefusal::new(status, details);
        if status == StatusCode::UNAUTHORIZED {
            refusal = refusal.with(header::WWW_AUTHENTICATE, self.challenges());
        }
        GuardRefusal { refusal, failed }
    }

    fn challenges(&self) -> HeaderValue {
        let challenges: Vec<String> = self.checks().filter_map(CallerCheck::challenge).collect();
        HeaderValue::try_from(challenges.join(", ")).unwrap_or(HeaderValue::from_static("Basic"))
    }
}

/// Returns the caller by the first check that lets it through. Otherwise the failure that says
/// most: that it can't be known now, that what was brought is wrong, that nothing was brought.
async fn first_of(
    checks: &[CallerCheck<'_>],
    request: &CallerRequest<'_>,
    memory: &CheckMemory,
) -> Result<Caller, CheckFailure> {
    let mut failures = Vec::with_capacity(checks.len());
    for check in checks {
        match check.check(request, memory).await {
            Ok(caller) => return Ok(caller),
            Err(failure) => failures.push(failure),
        }
    }
    let worst = failures.into_iter().max_by_key(CheckFailure::weight);
    Err(worst.unwrap_or(CheckFailure::Missing))
}
