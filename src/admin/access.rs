//! The one table of what each call of this API needs, and the router that is built from it.
//!
//! A handler is reached through [`Routes`] alone, and [`Routes::on`] takes a [`RouteRule`], which
//! nothing but the table here can make: a call without an entry can't be written. The check stands
//! directly around the handler, so that a refused request's body isn't read.
//!
//! A refusal names the verb and scope that were missing, and is made before anything is looked up:
//! it is the same whether the thing is there or not. Where a body decides what is asked for
//! ([`RouteScope::Body`]) the handler checks each part of it, and what is written is checked by
//! [`crate::cluster::ClusterHandle::propose`], and once more where it is applied.

use axum::{
    Router,
    extract::{DefaultBodyLimit, Query, RawPathParams, Request, rejection::RawPathParamsRejection},
    handler::Handler,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use quorate_resources::{AccessVerb, Kind};
use quorate_state::{AccessRequirement, AccessScope};
use serde::Deserialize;

use super::{caller::Caller, config, kv, problem::ApiProblem};

/// Where the scope of a call is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouteScope {
    /// The call is answered to anyone: no more than a status.
    Open,
    /// Anyone who is known may call it.
    Known,
    /// The cluster as a whole.
    Cluster,
    /// All resources but roles and identities.
    AllKinds,
    /// All identities: of administrators, in effect.
    AllIdentities,
    /// All resources of the kind in the path.
    KindInPath,
    /// The resource in the path.
    ResourceInPath,
    /// The key in the path.
    KeyInPath,
    /// The keys with the prefix in the query.
    PrefixInQuery,
    /// The service in the path.
    ServiceInPath,
    /// Each thing in the body, or in the query: the handler asks.
    Body,
}

/// An entry of the table.
#[derive(Debug)]
pub(super) struct RouteRule {
    filter: MethodFilter,
    #[cfg(test)]
    method: &'static str,
    path: &'static str,
    verb: AccessVerb,
    scope: RouteScope,
}

const GET: (MethodFilter, &str) = (MethodFilter::GET, "GET");
const PUT: (MethodFilter, &str) = (MethodFilter::PUT, "PUT");
const POST: (MethodFilter, &str) = (MethodFilter::POST, "POST");
const DELETE: (MethodFilter, &str) = (MethodFilter::DELETE, "DELETE");
/// HEAD goes with GET; HAProxy's own default is OPTIONS.
const PROBE: (MethodFilter, &str) = (MethodFilter::GET.or(MethodFilter::OPTIONS), "GET, OPTIONS");

macro_rules! route_table {
    ($($name:ident = $method:ident $path:literal, $verb:ident $scope:ident;)+) => {
        $(pub(super) static $name: RouteRule = RouteRule {
            filter: $method.0,
            #[cfg(test)]
            method: $method.1,
            path: $path,
            verb: AccessVerb::$verb,
            scope: RouteScope::$scope,
        };)+

        /// Every entry, in the order of the table.
        #[cfg(test)]
        static TABLE: &[&RouteRule] = &[$(&$name),+];
    };
}

route_table! {
    HEALTH_LIVE = PROBE "/health/live", Read Open;
    HEALTH_READY = PROBE "/health/ready", Read Open;
    HEALTH_LEADER = PROBE "/leader", Read Open;
    HEALTH_CONNECTOR_SERVER = PROBE "/connector-server", Read Open;
    WHOAMI = GET "/v1/security/whoami", Read Known;
    LEADER = GET "/v1/cluster/leader", Read Cluster;
    MEMBERS = GET "/v1/cluster/members", Read Cluster;
    STATUS = GET "/v1/cluster/status", Read Cluster;
    TAKEOVERS = GET "/v1/cluster/takeovers", Read Cluster;
    SETTINGS = GET "/v1/cluster/settings", Read Cluster;
    MEMBER_REPORT = GET "/v1/member", Read Cluster;
    CONNECTORS = GET "/v1/connectors", Read Cluster;
    METRICS = GET "/metrics", Metrics Cluster;
    CHANGE_SETTINGS = PUT "/v1/cluster/settings", Cluster Cluster;
    JOIN = POST "/v1/cluster/join", Cluster Cluster;
    TRANSFER = POST "/v1/cluster/transfer-leadership", Transfer Cluster;
    LIST_RESOURCES = GET "/v1/config", Read AllKinds;
    LIST_KIND = GET "/v1/config/{kind}", Read KindInPath;
    READ_RESOURCE = GET "/v1/config/{kind}/{name}", Read ResourceInPath;
    PUT_RESOURCE = PUT "/v1/config/{kind}/{name}", Write ResourceInPath;
    DELETE_RESOURCE = DELETE "/v1/config/{kind}/{name}", Delete ResourceInPath;
    APPLY = POST "/v1/config/apply", Write Body;
    VALIDATE = POST "/v1/config/validate", Write Body;
    LIST_KEYS = GET "/v1/kv", Read PrefixInQuery;
    READ_NO_KEY = GET "/v1/kv/", Read KeyInPath;
    PUT_NO_KEY = PUT "/v1/kv/", Write KeyInPath;
    DELETE_NO_KEY = DELETE "/v1/kv/", Delete KeyInPath;
    READ_KEY = GET "/v1/kv/{*key}", Read KeyInPath;
    PUT_KEY = PUT "/v1/kv/{*key}", Write KeyInPath;
    DELETE_KEY = DELETE "/v1/kv/{*key}", Delete KeyInPath;
    WATCH = GET "/v1/watch", Read PrefixInQuery;
    PAUSE = POST "/v1/connectors/{kind}/{name}/pause", Operate ResourceInPath;
    RESUME = POST "/v1/connectors/{kind}/{name}/resume", Operate ResourceInPath;
    RESTART = POST "/v1/connectors/{kind}/{name}/restart", Operate ResourceInPath;
    INVOKE = POST "/v1/services/{name}/invoke", Invoke ServiceInPath;
    SEND = POST "/v1/outgoing/{kind}/{name}/send", Send ResourceInPath;
    KEYS = GET "/v1/security/keys", Read Cluster;
    ROTATE_KEYS = POST "/v1/security/keys/rotate", Cluster Cluster;
    ACCEPT_KEY = POST "/v1/security/keys/accept", Cluster Cluster;
    SET_RECOVERY_KEY = PUT "/v1/security/keys/recovery", Cluster Cluster;
    KEY_BOXES = GET "/v1/security/keys/boxes", Cluster Cluster;
    RESTORE_KEY_BOXES = POST "/v1/security/keys/boxes", Cluster Cluster;
    LIST_TOKENS = GET "/v1/security/tokens", Grant Body;
    CREATE_TOKEN = POST "/v1/security/tokens", Grant Body;
    AUDIT = GET "/v1/audit", Grant AllIdentities;
    REVOKE_TOKEN = DELETE "/v1/security/tokens/{id}", Grant Body;
}

/// Calls with their handlers, each behind its entry of the table.
pub(super) struct Routes<S>(Router<S>);

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub(super) fn new() -> Routes<S> {
        Routes(Router::new())
    }

    /// Adds the handler of a call.
    pub(super) fn on<H, T>(self, rule: &'static RouteRule, handler: H) -> Routes<S>
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let guard = from_fn(move |params: PathParams, request: Request, next: Next| {
            guard(rule, params, request, next)
        });
        let guarded = on(rule.filter, handler).route_layer(guard);
        Routes(self.0.route(rule.path, guarded))
    }

    /// Adds the calls of others.
    pub(super) fn merge(self, others: Routes<S>) -> Routes<S> {
        Routes(self.0.merge(others.0))
    }

    /// Bounds the bodies of the calls so far.
    pub(super) fn body_max(self, bytes: usize) -> Routes<S> {
        self.layers(|router| router.layer(DefaultBodyLimit::max(bytes)))
    }

    /// Puts layers around the calls so far. Layers alone: a route that is added here has no entry.
    pub(super) fn layers(self, add: impl FnOnce(Router<S>) -> Router<S>) -> Routes<S> {
        Routes(add(self.0))
    }

    /// Returns the router.
    pub(super) fn into_router(self) -> Router<S> {
        self.0
    }
}

type PathParams = Result<RawPathParams, RawPathParamsRejection>;

/// Lets a request through to its handler if its caller may make it.
async fn guard(
    rule: &'static RouteRule,
    params: PathParams,
    request: Request,
    next: Next,
) -> Response {
    let checked = check(rule, params, &request);
    match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(rule: &RouteRule, params: PathParams, request: &Request) -> Result<(), ApiProblem> {
    if rule.scope == RouteScope::Open {
        return Ok(());
    }
    let caller = request.extensions().get::<Caller>();
    let caller = caller.ok_or_else(|| ApiProblem::internal("nobody has asked who calls"))?;
    if caller.is_unrestricted() {
        return Ok(());
    }
    match scope(rule.scope, params, request)? {
        Some(scope) => caller.check(&AccessRequirement::new(rule.verb, scope)),
        None => Ok(()),
    }
}

/// Finds the scope of a request; `None`: none is needed, or the handler asks.
fn scope(
    found: RouteScope,
    params: PathParams,
    request: &Request,
) -> Result<Option<AccessScope>, ApiProblem> {
    #[derive(Deserialize)]
    struct PrefixQuery {
        #[serde(default)]
        prefix: String,
    }
    let param = |name: &str| -> Result<String, ApiProblem> {
        let params = params.as_ref();
        let params = params.map_err(|error| ApiProblem::bad_request(error.body_text()))?;
        let mut named = params.iter().filter(|(it, _)| *it == name);
        let value = named.next().map(|(_, value)| value.to_owned());
        value.ok_or_else(|| ApiProblem::internal(format!("the path has no {name}")))
    };
    let kind = || param("kind").and_then(|it| config::parse_kind(&it));
    Ok(match found {
        RouteScope::Open | RouteScope::Known | RouteScope::Body => None,
        RouteScope::Cluster => Some(AccessScope::Cluster),
        RouteScope::AllKinds => Some(AccessScope::AllKinds),
        RouteScope::AllIdentities => Some(AccessScope::Kind(Kind::Identity)),
        RouteScope::KindInPath => Some(AccessScope::Kind(kind()?)),
        RouteScope::ResourceInPath => Some(AccessScope::Resource {
            kind: kind()?,
            name: param("name")?,
        }),
        RouteScope::KeyInPath if request.uri().path() == kv::PATH => {
            Some(AccessScope::Key(String::new()))
        }
        RouteScope::KeyInPath => Some(AccessScope::Key(kv::key_in(request.uri().path())?)),
        RouteScope::PrefixInQuery => {
            let Query(PrefixQuery { prefix }) = Query::try_from_uri(request.uri())?;
            Some(AccessScope::Prefix(prefix))
        }
        RouteScope::ServiceInPath => Some(AccessScope::Service(param("name")?)),
    })
}

#[cfg(test)]
mod tests;
