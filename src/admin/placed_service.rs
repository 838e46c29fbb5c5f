//! The administration API behind the places that its connections and requests have.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{body::Body, response::IntoResponse};
use http::{HeaderValue, Request, Response, StatusCode, header};
use tower_service::Service;

use super::{
    authenticate::ConnectionOrigin,
    connection_table::{ConnectionPlace, ConnectionTable, HeldBody},
    health,
    problem::ApiProblem,
};

/// The API for one connection: notes when it has a request and from where, and refuses one that has
/// no place.
#[derive(Clone)]
pub(super) struct PlacedService<S> {
    inner: S,
    table: ConnectionTable,
    place: Arc<ConnectionPlace>,
}

impl<S> PlacedService<S> {
    /// Wraps the API.
    pub(super) fn new(inner: S, table: ConnectionTable, place: Arc<ConnectionPlace>) -> Self {
        PlacedService {
            inner,
            table,
            place,
        }
    }
}

type AnswerFuture = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S, B> Service<Request<B>> for PlacedService<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = AnswerFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> AnswerFuture {
        let origin = ConnectionOrigin::Network(self.place.host());
        request.extensions_mut().insert(origin);
        let connection = self.place.begin_request();
        let needs_place = !health::PATHS.contains(&request.uri().path());
        let held = needs_place.then(|| self.table.begin_request());
        if let Some(None) = held {
            return Box::pin(async move {
                let _until_answered = connection;
                Ok(busy())
            });
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            Ok(response.map(|body| HeldBody::wrap(body, connection, held.flatten())))
        })
    }
}

/// The answer where there is no place for a request. What is left of its body is not read.
fn busy() -> Response<Body> {
    let why = "nothing was done: this member has as many administration requests as it takes; try again, or ask another member";
    let problem = ApiProblem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", why);
    let mut response = problem.into_response();
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
