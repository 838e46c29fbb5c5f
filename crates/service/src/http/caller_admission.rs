//! Admission of a caller to a channel: its limits first, then its guard.

use std::net::SocketAddr;

use bytes::Bytes;
use http::HeaderMap;
use quorate_resources::HttpChannel;

use super::{
    caller_limits::CallerLimits,
    channel_guard::{Caller, ChannelGuard, CheckMemory, PresentedCertificate},
    client_limits::ClientLimits,
    error_envelope::HttpRefusal,
    forwarded,
    request_body::RequestBody,
};
use crate::upstream::UpstreamClient;

/// What a member remembers of callers between requests.
pub(super) struct CallerAdmission {
    limits: CallerLimits,
    memory: CheckMemory,
}

/// Caller that a channel has let through.
#[derive(Default)]
pub(super) struct AdmittedCaller {
    /// `None`: anybody may call.
    pub caller: Option<Caller>,
    /// The body, where its signature was checked.
    pub body: Option<Bytes>,
}

impl CallerAdmission {
    /// Creates one that knows nobody yet. Keys of issuers are fetched by `http`.
    pub(super) fn new(http: UpstreamClient) -> CallerAdmission {
        CallerAdmission {
            limits: CallerLimits::default(),
            memory: CheckMemory::new(http),
        }
    }

    /// Lets a caller through, or returns why not. Cheap bounds come first, so that who asks too
    /// often costs little; the body is read for a signature alone, up to what the channel takes.
    pub(super) async fn admit(
        &self,
        guard: &ChannelGuard<'_>,
        channel: &HttpChannel,
        headers: &mut HeaderMap,
        body: &mut RequestBody,
        peer: SocketAddr,
        limits: &ClientLimits,
    ) -> Result<AdmittedCaller, HttpRefusal> {
        let mut admitted = AdmittedCaller::default();
        if guard.is_open() && channel.rate_limit.is_none() {
            return Ok(admitted);
        }
        let trusted = &limits.trusted_proxies;
        let source = forwarded::client_address(headers, peer, trusted);
        self.limits.take_unidentified(channel, source)?;
        if !guard.is_open() {
            self.limits.check_failures(source)?;
            if guard.wants_body(headers) {
                let whole = body.read(channel.max_body_bytes, limits.sending());
                admitted.body = Some(whole.await?);
            }
            let certificate = forwarded::is_trusted(peer, &limits.certificate_proxies)
                .then(|| PresentedCertificate::from_headers(headers))
                .flatten();
            let body = admitted.body.as_ref();
            let checking = guard.check(headers, certificate.as_ref(), body, &self.memory);
            admitted.caller = checking.await.map_err(|refused| {
                self.limits.note_refusal(&refused, source, &channel.name);
                refused.refusal
            })?;
        }
        let caller = admitted.caller.as_ref();
        self.limits.take_identified(channel, caller, source)?;
        Ok(admitted)
    }
}
