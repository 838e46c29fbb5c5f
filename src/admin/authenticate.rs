//! Authentication: every request but for health is asked who sends it, before anything else.
//!
//! In the mode `local` the answer is always "someone who may do everything". In the mode `on` it is
//! the local socket's user, another member (`Quorate-On-Behalf`), or the bearer of a token. Marks
//! that only members may set are taken off all other requests, and the token is taken off before
//! anything that logs or passes on sees the request.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, SystemTime},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::header::AUTHORIZATION;
use quorate_clock::wall_time;
use quorate_state as state;
use quorate_types::MemberId;

use super::{
    AdminContext,
    bearer_token::BearerToken,
    caller::{Caller, CallerProof},
    health,
    login_guard::LoginGuard,
    on_behalf::{self, ON_BEHALF, VouchedPrincipal},
    peers::PASSED_ON,
    problem::ApiProblem,
};
use crate::settings::SecurityMode;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionOrigin {
    /// A connection to the port.
    Network(IpAddr),
    /// A connection to the local socket, of the member's own user or of root.
    LocalSocket,
}

/// The way in: the mode, and the failures so far.
#[derive(Default)]
pub struct AccessGate {
    mode: SecurityMode,
    failures: LoginGuard,
}

impl AccessGate {
    /// Makes the gate of a mode.
    pub fn new(mode: SecurityMode) -> AccessGate {
        AccessGate {
            mode,
            failures: LoginGuard::default(),
        }
    }

    /// Returns true if callers are asked who they are.
    pub(super) fn asks(&self) -> bool {
        self.mode == SecurityMode::On
    }
}

/// Reason why nobody is let in; part of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoginFailure {
    NoToken,
    BadToken,
    Expired,
    Disabled,
    BadVoucher,
}

impl LoginFailure {
    fn as_str(self) -> &'static str {
        match self {
            LoginFailure::NoToken => "no_token",
            LoginFailure::BadToken => "bad_token",
            LoginFailure::Expired => "expired",
            LoginFailure::Disabled => "disabled",
            LoginFailure::BadVoucher => "bad_voucher",
        }
    }

    /// Only who has shown the right secret learns more than that it was not taken.
    fn detail(self) -> &'static str {
        match self {
            LoginFailure::NoToken => {
                "this member asks who you are: send a token, Authorization: Bearer qt1_... (quorate: --token-file FILE), or ask at its local socket (quorate: --socket)"
            }
            LoginFailure::BadToken => {
                "there is no such token: it was mistyped, revoked, or is of another cluster"
            }
            LoginFailure::Expired => {
                "the token has expired: have another one made (quorate token create)"
            }
            LoginFailure::Disabled => "the token's identity is disabled",
            LoginFailure::BadVoucher => {
                "Quorate-On-Behalf is not signed by a member of this cluster for this request and moment; do the clocks of the members agree?"
            }
        }
    }
}

/// Returns the wall clock in milliseconds since 1970, by which credentials expire.
pub(super) fn now_ms() -> u64 {
    let since = wall_time().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Asks who sends a request, and lets it on with its [`Caller`].
pub(super) async fn authenticate(
    State(context): State<AdminContext>,
    mut request: Request,
    next: Next,
) -> Response {
    if health::PATHS.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match identify(&context, &mut request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn identify(context: &AdminContext, request: &mut Request) -> Result<Caller, ApiProblem> {
    let gate = &context.access;
    let voucher = request.headers_mut().remove(ON_BEHALF);
    if !gate.asks() {
        return Ok(Caller::anyone());
    }
    let credentials = request.headers_mut().remove(AUTHORIZATION);
    let origin = request.extensions().get::<ConnectionOrigin>().copied();
    let state = context.cluster.state();
    let login = Login {
        state: &state,
        source: address(origin),
        member: context.me(),
    };
    if let Some(voucher) = &voucher {
        let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
        let key = state.access().voucher_key();
        let vouched =
            key.and_then(|key| on_behalf::verify(key, voucher, request.method(), path, now_ms()));
        // A signature can't be guessed, so the members' requests are never held up for failures.
        let caller = vouched.ok_or(LoginFailure::BadVoucher);
        let caller = caller.and_then(|it| login.of_principal(&it));
        return caller.map_err(|failure| refuse(gate, login.source, failure));
    }
    // Only members may say that a request was passed on.
    request.headers_mut().remove(PASSED_ON);
    if origin == Some(ConnectionOrigin::LocalSocket) {
        let proof = CallerProof::LocalSocket;
        return Ok(Caller::unrestricted("local", proof, login.member));
    }
    let Some(credentials) = credentials else {
        return Err(ApiProblem::unauthenticated(LoginFailure::NoToken.detail()));
    };
    if let Some(wait) = gate.failures.wait(login.source) {
        return Err(ApiProblem::too_many_failures(wait));
    }
    let bearer = credentials.to_str().ok().and_then(|it| {
        let (scheme, token) = it.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let caller = login.of_bearer(bearer.unwrap_or_default());
    caller.map_err(|failure| refuse(gate, login.source, failure))
}

/// A login, as of a state.
struct Login<'a> {
    state: &'a state::State,
    source: IpAddr,
    member: MemberId,
}

impl Login<'_> {
    fn of_bearer(&self, text: &str) -> Result<Caller, LoginFailure> {
        let token = BearerToken::parse(text).ok_or(LoginFailure::BadToken)?;
        let stored = self.state.access().tokens().get(&token.id);
        let stored = stored
            .filter(|it| token.is_of(&it.hash))
            .ok_or(LoginFailure::BadToken)?;
        self.of_token(&stored.identity, &token.id)
    }

    /// Makes the caller of a token that is known to be right.
    fn of_token(&self, identity: &str, token: &str) -> Result<Caller, LoginFailure> {
        let stored = self.state.access().tokens().get(token);
        let stored = stored
            .filter(|it| *it.identity == *identity)
            .ok_or(LoginFailure::BadToken)?;
        if !stored.is_live(now_ms()) {
            return Err(LoginFailure::Expired);
        }
        let seen = (&*self.source.to_string(), self.member);
        let caller = Caller::of_token(self.state, identity, token, stored.not_after_ms, seen);
        caller.ok_or(LoginFailure::Disabled)
    }

    fn of_principal(&self, principal: &VouchedPrincipal) -> Result<Caller, LoginFailure> {
        match principal {
            VouchedPrincipal::Member => Ok(Caller::member()),
            VouchedPrincipal::Host => {
                let proof = CallerProof::Member;
                Ok(Caller::unrestricted("local", proof, self.member))
            }
            VouchedPrincipal::Identity { identity, token } => self.of_token(identity, token),
        }
    }
}

fn refuse(gate: &AccessGate, source: IpAddr, failure: LoginFailure) -> ApiProblem {
    gate.failures.failed(source, failure.as_str());
    ApiProblem::unauthenticated(failure.detail())
}

fn address(origin: Option<ConnectionOrigin>) -> IpAddr {
    match origin {
        Some(ConnectionOrigin::Network(address)) => address,
        Some(ConnectionOrigin::LocalSocket) | None => Ipv4Addr::LOCALHOST.into(),
    }
}

/// Returns true while a caller is still who he was, with what he then may do: his token is neither
/// revoked nor expired, and `allows` holds of his present permissions.
pub(super) fn still_may(
    caller: &Caller,
    state: &state::State,
    requirement: &state::AccessRequirement,
) -> bool {
    let Some(actor) = caller.actor() else {
        return caller.may(requirement);
    };
    caller.not_after_ms.is_none_or(|it| now_ms() <= it)
        && state.permissions_of_actor(actor).allow(requirement)
}

/// The longest life of a token that is told how long it lives: ten years.
pub(super) const TOKEN_LIFE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use quorate_resources::Kind;
    use quorate_state::{Command, Machine, NewToken};
    use serde_json::json;

    use super::*;

    fn put(identity: serde_json::Value) -> Command {
        Command::PutResource {
            kind: Kind::Identity,
            name: "ann".into(),
            spec: identity.to_string().into(),
            precondition: None,
        }
    }

    #[test]
    fn token_counts_until_expired_revoked_or_disabled() {
        let token = BearerToken::random();
        let mut machine = Machine::default();
        let create = |not_after_ms| {
            Command::CreateToken(Box::new(NewToken {
                id: token.id.clone(),
                hash: token.hash(),
                identity: "ann".into(),
                now_ms: 0,
                not_after_ms,
            }))
        };
        let revoke = Command::RevokeToken {
            id: token.id.clone(),
        };
        let mut login = |commands: &[Command], text: &str| {
            for command in commands {
                let index = machine.state().applied() + 1;
                machine.apply(index, 1, 1, command);
            }
            let login = Login {
                state: machine.state(),
                source: Ipv4Addr::LOCALHOST.into(),
                member: 1,
            };
            login.of_bearer(text).map(|it| it.name.to_string())
        };
        let text = token.text();
        let ann = json!({"name": "ann", "roles": ["reader"]});
        let live = login(&[put(ann.clone()), create(None)], &text);
        assert_eq!(live, Ok("ann".into()));
        let disabled = json!({"name": "ann", "roles": ["reader"], "disabled": true});
        assert_eq!(login(&[put(disabled)], &text), Err(LoginFailure::Disabled));
        assert_eq!(
            login(&[put(ann), revoke.clone()], &text),
            Err(LoginFailure::BadToken)
        );
        assert_eq!(login(&[create(Some(1))], &text), Err(LoginFailure::Expired));
        let other = BearerToken::random().text();
        for wrong in [other.as_str(), "", "qt1_", "Basic YTpi"] {
            assert_eq!(login(&[], wrong), Err(LoginFailure::BadToken), "{wrong}");
        }
    }
}
