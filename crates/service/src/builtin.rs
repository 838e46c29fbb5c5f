//! Services that every member carries.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, StatusCode, header};

use super::api::{Reply, Request, Service, ServiceError};

/// Name of the service that answers that the member is alive.
pub(crate) const PING: &str = "ping";
/// Name of the service that answers with the request's body.
pub(crate) const ECHO: &str = "echo";

/// Returns every built-in service by name.
pub(crate) fn all() -> [(&'static str, Arc<dyn Service>); 2] {
    [(PING, Arc::new(PingService)), (ECHO, Arc::new(EchoService))]
}

/// Returns true when every member carries `name`, whatever else its program carries.
pub(crate) fn is_builtin(name: &str) -> bool {
    [PING, ECHO].contains(&name)
}

struct PingService;

#[async_trait]
impl Service for PingService {
    async fn handle(&self, request: Request) -> Result<Reply, ServiceError> {
        let cid = request.cid;
        Ok(Reply::json(format!(
            r#"{{"zato_env": {{"details": "", "result": "ZATO_OK", "cid": "{cid}"}}, "zato_ping_response": {{"pong": "zato"}}}}"#
        )))
    }
}

struct EchoService;

#[async_trait]
impl Service for EchoService {
    async fn handle(&self, request: Request) -> Result<Reply, ServiceError> {
        let mut headers = HeaderMap::new();
        if let Some(kind) = request.headers.get(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, kind.clone());
        }
        Ok(Reply {
            status: StatusCode::OK,
            headers,
            body: request.body,
        })
    }
}
