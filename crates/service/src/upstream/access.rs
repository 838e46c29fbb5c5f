//! Access to an upstream: the client that calls it, and the credentials that go with each call.
//!
//! Services without TLS rules of their own share one client and its pool. One that has an authority
//! or a certificate of its own gets a client of its own, so that no connection is used for a service
//! that would not have made it.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, InvalidHeaderName, InvalidHeaderValue},
};
use quorate_platform::egress::EgressPolicy;
use quorate_resources::{AuthScheme, Service, UpstreamAuth, UpstreamTls};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{
        CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
};

use super::upstream_client::{UpstreamClient, client, system_roots, trusting};
use crate::{authorities::authorities, headers::remove_alike};

/// Clients of upstreams of one member.
pub(crate) struct UpstreamClients {
    shared: UpstreamClient,
    system_roots: Arc<RootCertStore>,
    egress: EgressPolicy,
}

/// Client and credentials of one service.
pub(super) struct UpstreamAccess {
    pub http: UpstreamClient,
    credentials: Option<(HeaderName, HeaderValue)>,
}

/// Reason for which a service can't be called at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpstreamSetupError {
    #[error(
        "the secret of its `auth` is not there, or is sealed and this member can't open it: see `quorate secret status`"
    )]
    NoSecret,
    #[error("the secret of its `auth` can't stand in a header: {0}")]
    Secret(#[from] InvalidHeaderValue),
    #[error("the header of its `auth` can't be used: {0}")]
    Header(#[from] InvalidHeaderName),
    #[error("its `auth.{0}` is missing")]
    Missing(&'static str),
    #[error("its `tls.server_name` is none: {0}")]
    ServerName(#[from] InvalidDnsNameError),
    #[error("its `tls.ca` has no certificate that can be used")]
    Authority,
    #[error("its `auth.certificate` or its key can't be read: {0}")]
    Pem(#[from] pem::Error),
    #[error("its `auth.certificate` can't be used: {0}")]
    Certificate(#[from] rustls::Error),
}

impl UpstreamClients {
    /// Creates the clients, which trust the system's authorities, and connect to nothing that the
    /// rules of egress refuse.
    pub(crate) fn new(egress: EgressPolicy) -> UpstreamClients {
        let system_roots = Arc::new(system_roots());
        let tls = trusting(system_roots.clone()).with_no_client_auth();
        UpstreamClients {
            shared: client(tls, None, false, egress.clone()),
            system_roots,
            egress,
        }
    }

    /// Returns the client for what has no rules of its own.
    pub(crate) fn shared(&self) -> UpstreamClient {
        self.shared.clone()
    }

    /// Returns what a service is called with.
    pub(super) fn access(&self, service: &Service) -> Result<UpstreamAccess, UpstreamSetupError> {
        let auth = service.auth.as_ref();
        let secret = service.auth_secret.as_deref();
        let with_secret = auth
            .map(|auth| match secret {
                Some(secret) => Ok((auth, secret)),
                None => Err(UpstreamSetupError::NoSecret),
            })
            .transpose()?;
        let credentials = match with_secret {
            Some((auth, secret)) => credentials(auth, secret)?,
            None => None,
        };
        let certificate = with_secret.filter(|(auth, _)| auth.scheme == AuthScheme::Certificate);
        let http = match (&service.tls, certificate) {
            (None, None) => self.shared(),
            (tls, certificate) => self.own(tls.as_ref(), certificate)?,
        };
        Ok(UpstreamAccess { http, credentials })
    }

    fn own(
        &self,
        tls: Option<&UpstreamTls>,
        certificate: Option<(&UpstreamAuth, &str)>,
    ) -> Result<UpstreamClient, UpstreamSetupError> {
        let roots = match tls.and_then(|tls| tls.ca.as_deref()) {
            None => self.system_roots.clone(),
            Some(pem) => Arc::new(authorities(pem).ok_or(UpstreamSetupError::Authority)?),
        };
        let config: ClientConfig = match certificate {
            None => trusting(roots).with_no_client_auth(),
            Some((auth, key)) => {
                let pem = auth.certificate.as_deref();
                let pem = pem.ok_or(UpstreamSetupError::Missing("certificate"))?;
                let chain = CertificateDer::pem_slice_iter(pem.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>()?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
                trusting(roots).with_client_auth_cert(chain, key)?
            }
        };
        let name = tls.and_then(|tls| tls.server_name.clone());
        let name = name.map(ServerName::try_from).transpose()?;
        // Rules of TLS that a URL could get round by being http would be none.
        Ok(client(config, name, true, self.egress.clone()))
    }
}

/// Returns the header that shows who calls; a certificate is shown otherwise.
fn credentials(
    auth: &UpstreamAuth,
    secret: &str,
) -> Result<Option<(HeaderName, HeaderValue)>, UpstreamSetupError> {
    let (name, text) = match auth.scheme {
        AuthScheme::Bearer => (header::AUTHORIZATION, format!("Bearer {secret}")),
        AuthScheme::Basic => {
            let user = auth.username.as_deref();
            let user = user.ok_or(UpstreamSetupError::Missing("username"))?;
            let pair = BASE64_STANDARD.encode(format!("{user}:{secret}"));
            (header::AUTHORIZATION, format!("Basic {pair}"))
        }
        AuthScheme::Header => {
            let name = auth.header.as_deref();
            let name = name.ok_or(UpstreamSetupError::Missing("header"))?;
            (name.parse()?, secret.to_owned())
        }
        AuthScheme::Certificate => return Ok(None),
    };
    let mut value = HeaderValue::try_from(text)?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}

impl UpstreamAccess {
    /// Adds the credentials to a call, in place of what its client has sent under that name, or
    /// under one that an upstream may take for it.
    pub(super) fn add_credentials(&self, headers: &mut HeaderMap) {
        if let Some((name, value)) = &self.credentials {
            remove_alike(headers, name);
            headers.insert(name, value.clone());
        }
    }
}
