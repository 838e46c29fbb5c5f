//! Who asks on the admin port: behind TLS, whom the certificate of the connection names.
//!
//! Without TLS the port asks nobody who he is; it is for loopback, or for a network that the
//! settings call trusted. Behind TLS it is open to the network, and answers only those whom a
//! certificate of the cluster's own domain names: members, clients, and balancers for the list of
//! members. Health is answered to everyone, by status alone.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, Request, StatusCode, header::WWW_AUTHENTICATE};
use quorate_tls::{CertificateIdentity, CertificateSubject, ClientCertificate, FaceStream};
use tower_service::Service;

use super::{health, problem::ApiProblem};

/// Caller of an admin call: an extension of each request.
#[derive(Clone, Debug, Default)]
pub struct AdminCaller {
    /// True for a connection by TLS.
    pub is_tls: bool,
    /// The certificate that was shown and verified, if any.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl AdminCaller {
    /// Returns the caller on this connection.
    pub fn from_stream(stream: &FaceStream) -> AdminCaller {
        AdminCaller {
            is_tls: stream.is_tls(),
            certificate: stream.client_certificate().cloned(),
        }
    }

    /// Returns whom the certificate names, if it is of the cluster's own domain.
    pub fn identity(&self) -> Option<&CertificateIdentity> {
        self.certificate.as_ref()?.identity.as_ref()
    }

    /// Refuses a newcomer that is not the member that it wants to be.
    pub fn may_join_as(&self, name: &str) -> Result<(), ApiProblem> {
        if !self.is_tls {
            return Ok(());
        }
        match self.identity() {
            Some(identity) if identity.may_be_named(name) => Ok(()),
            Some(identity) => Err(forbidden(format!(
                "{identity} can't join as {name:?}: a newcomer needs a certificate with its own name, which `quorate cert issue --name {name}` makes"
            ))),
            None => Err(unauthenticated()),
        }
    }

    fn check<B>(&self, request: &Request<B>) -> Result<(), ApiProblem> {
        let path = request.uri().path();
        if !self.is_tls || health::PATHS.contains(&path) {
            return Ok(());
        }
        let identity = self.identity().ok_or_else(unauthenticated)?;
        match identity.subject {
            CertificateSubject::Balancer(_)
                if (request.method(), path) != (&Method::GET, "/v1/cluster/members") =>
            {
                Err(forbidden(format!(
                    "{identity} may ask for the members alone, with GET /v1/cluster/members"
                )))
            }
            _ => Ok(()),
        }
    }
}

fn unauthenticated() -> ApiProblem {
    ApiProblem::new(
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
        "no certificate of this cluster was shown: `quorate cert issue --client NAME` makes one, and commands take it with --ca, --cert and --key",
    )
}

fn forbidden(detail: String) -> ApiProblem {
    ApiProblem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

/// Service of one connection: checks its caller, and hands it to the handlers.
#[derive(Clone)]
pub(super) struct CallerService<S> {
    inner: S,
    caller: AdminCaller,
}

impl<S> CallerService<S> {
    /// Wraps the API, for this caller.
    pub(super) fn new(inner: S, caller: AdminCaller) -> Self {
        CallerService { inner, caller }
    }
}

type AnswerFuture = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl<S, B> Service<Request<B>> for CallerService<S>
where
    S: Service<Request<B>, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = AnswerFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> AnswerFuture {
        if let Err(problem) = self.caller.check(&request) {
            let mut response = problem.into_response();
            if response.status() == StatusCode::UNAUTHORIZED {
                let asked = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(WWW_AUTHENTICATE, asked);
            }
            return Box::pin(std::future::ready(Ok(response)));
        }
        request.extensions_mut().insert(self.caller.clone());
        Box::pin(self.inner.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uri: Option<&str>) -> AdminCaller {
        let certificate = uri.map(|uri| ClientCertificate {
            certificate: Vec::new().into(),
            identity: CertificateIdentity::parse(uri).ok(),
        });
        AdminCaller {
            is_tls: true,
            certificate: certificate.map(Arc::new),
        }
    }

    fn status(caller: &AdminCaller, method: Method, path: &str) -> StatusCode {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap();
        match caller.check(&request) {
            Ok(()) => StatusCode::OK,
            Err(problem) => problem.into_response().status(),
        }
    }

    // Test 7 in part.
    // guarantee: SECURITY-10
    #[test]
    fn stranger_behind_tls_gets_health_alone() {
        for stranger in [caller(None), caller(Some("no identity"))] {
            assert_eq!(status(&stranger, Method::GET, "/health/ready"), 200);
            for path in ["/v1/cluster/members", "/metrics", "/v1/kv/a", "/nothing"] {
                assert_eq!(status(&stranger, Method::GET, path), 401, "{path}");
            }
            assert!(stranger.may_join_as("a").is_err());
        }
        assert_eq!(
            status(&AdminCaller::default(), Method::PUT, "/v1/kv/a"),
            200
        );
    }

    #[test]
    fn balancer_gets_the_list_of_members() {
        let balancer = caller(Some("quorate://x/balancer/front"));
        assert_eq!(status(&balancer, Method::GET, "/v1/cluster/members"), 200);
        assert_eq!(status(&balancer, Method::GET, "/v1/kv/a"), 403);
        assert_eq!(status(&balancer, Method::POST, "/v1/cluster/join"), 403);
    }

    #[test]
    fn newcomer_joins_under_its_own_name() {
        let member = caller(Some("quorate://x/member-name/a"));
        assert!(member.may_join_as("a").is_ok() && member.may_join_as("b").is_err());
        let client = caller(Some("quorate://x/client/a"));
        assert!(client.may_join_as("a").is_err());
        assert_eq!(status(&client, Method::PUT, "/v1/kv/a"), 200);
    }
}
