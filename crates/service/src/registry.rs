//! Registry of services, and the call of one: here, or on a member that carries it.

mod service_table;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use quorate_platform::egress::EgressPolicy;
use quorate_state::State;
use quorate_types::MemberId;
use tokio::sync::watch;

pub use service_table::ServiceHost;
use service_table::{ServiceEntry, ServiceTable};

use super::{
    api::{ALWAYS, Origin, Reply, Request, Service, ServiceDispatch, ServiceError},
    builtin,
    call_limiter::{self, CallLimiter, CallPermit},
    derived_view::DerivedView,
    invoke::{self, CallRules, ServiceTarget},
    service_answer::{ServiceAnswer, ServiceAnswerBody},
    stream_options::{BodyMode, StreamOptions},
    upstream::{self, UpstreamClient, UpstreamClients},
};

/// Rules of a service that only code knows of.
const CODE_RULES: CallRules = CallRules {
    timeout: Duration::from_secs(10),
    retries: 0,
};

/// Opener of a state's secrets, as far as this member can open them.
pub type OpenState = Arc<dyn Fn(&State) -> State + Send + Sync>;

/// Services of this member: those that its program carries in code, and those of the catalog, as
/// new as the applied state at each call. Where both have one name, the catalog's is meant.
pub struct Services {
    carried: BTreeMap<String, Arc<dyn Service>>,
    http: UpstreamClient,
    state: watch::Receiver<Arc<State>>,
    open: OpenState,
    table: DerivedView<ServiceTable>,
    places: CallLimiter,
    refuses_messages: AtomicBool,
    elsewhere: OnceLock<Weak<dyn ServiceDispatch>>,
}

impl Services {
    /// Creates the services. `carried`: the services of the program, by name. `ping` and `echo` are
    /// added; nobody else can have these names.
    pub fn new(
        carried: BTreeMap<String, Arc<dyn Service>>,
        state: watch::Receiver<Arc<State>>,
    ) -> Arc<Services> {
        Services::with_calls_max(carried, state, call_limiter::EACH_MAX)
    }

    /// As [`Services::new`], with rules where upstreams may be, and an opener of secrets.
    pub fn with_egress(
        carried: BTreeMap<String, Arc<dyn Service>>,
        state: watch::Receiver<Arc<State>>,
        egress: EgressPolicy,
        open: OpenState,
    ) -> Arc<Services> {
        Services::with_limits(carried, state, egress, call_limiter::EACH_MAX, open)
    }

    /// As [`Services::new`], with another bound on the calls that run at a time: so many for
    /// clients, and as many for messages. More are refused, so that another member gets them.
    pub fn with_calls_max(
        carried: BTreeMap<String, Arc<dyn Service>>,
        state: watch::Receiver<Arc<State>>,
        calls_max: usize,
    ) -> Arc<Services> {
        let as_they_are: OpenState = Arc::new(State::clone);
        let egress = EgressPolicy::default();
        Services::with_limits(carried, state, egress, calls_max, as_they_are)
    }

    fn with_limits(
        mut carried: BTreeMap<String, Arc<dyn Service>>,
        state: watch::Receiver<Arc<State>>,
        egress: EgressPolicy,
        calls_max: usize,
        open: OpenState,
    ) -> Arc<Services> {
        for (name, service) in builtin::all() {
            if carried.insert(name.to_owned(), service).is_some() {
                tracing::warn!(
                    service = name,
                    "the name of a built-in service is taken; it stays built in"
                );
            }
        }
        let clients = UpstreamClients::new(egress);
        let (known, http, opener) = (carried.clone(), clients.shared(), open.clone());
        let table = DerivedView::new(state.clone(), move |state, before| {
            ServiceTable::build(opener(state).catalog(), before, &known, &clients)
        });
        Arc::new(Services {
            carried,
            http,
            state,
            open,
            table,
            places: CallLimiter::new(calls_max),
            refuses_messages: AtomicBool::new(false),
            elsewhere: OnceLock::new(),
        })
    }

    /// Returns the names of the services that the program carries in code, sorted, as they are
    /// announced.
    pub fn carried_names(&self) -> Vec<String> {
        self.carried.keys().cloned().collect()
    }

    /// Returns the client by which upstreams are called, and nothing that the rules of egress
    /// refuse.
    pub(crate) fn http_client(&self) -> UpstreamClient {
        self.http.clone()
    }

    /// Returns the state that is applied now.
    pub fn state(&self) -> Arc<State> {
        self.state.borrow().clone()
    }

    /// Returns the opener of secrets.
    pub(crate) fn opener(&self) -> OpenState {
        self.open.clone()
    }

    /// Returns the number of calls that run on this member now.
    pub fn in_flight(&self) -> usize {
        self.places.taken()
    }

    /// Refuses messages of other members from now on, so that these send them elsewhere; HTTP
    /// requests are still served. The first step of an orderly stop.
    pub fn refuse_messages(&self) {
        self.refuses_messages.store(true, Ordering::Relaxed);
    }

    pub(super) fn refuses_messages(&self) -> bool {
        self.refuses_messages.load(Ordering::Relaxed)
    }

    /// Sets the way for calls whose service this program doesn't carry. The first one stays.
    pub(super) fn send_elsewhere_through(&self, dispatch: Weak<dyn ServiceDispatch>) {
        if self.elsewhere.set(dispatch).is_err() {
            tracing::warn!(
                "a second dispatcher was made for one member's services; the first stays"
            );
        }
    }

    /// Returns true when an HTTP upstream handles this service, rather than code.
    pub fn is_upstream(&self, service: &str) -> bool {
        let table = self.table.get();
        let target = table
            .entries
            .get(service)
            .and_then(|entry| entry.target.as_ref());
        matches!(target, Some(ServiceTarget::Upstream(_)))
    }

    /// Returns how this service takes the body of a request.
    pub(crate) fn body_mode(&self, service: &str) -> BodyMode {
        let table = self.table.get();
        match table.entries.get(service) {
            Some(ServiceEntry {
                target: Some(ServiceTarget::Upstream(upstream)),
                rules,
                ..
            }) => match rules.retries {
                // A signature covers the body, so it has to be there.
                _ if upstream.is_signed() => BodyMode::Whole,
                0 => BodyMode::Stream,
                _ => BodyMode::ShortWhole,
            },
            _ => BodyMode::Whole,
        }
    }

    /// Returns the longest time that a call of this service takes, all tries together.
    pub(crate) fn patience(&self, service: &str) -> Duration {
        let table = self.table.get();
        let rules = table.entries.get(service).map(|entry| entry.rules);
        rules.unwrap_or(CODE_RULES).patience()
    }

    /// Returns the longest time for which any call may be silent: proxies in front of the members
    /// have to wait for so long.
    pub fn longest_wait(&self) -> Duration {
        let longest = self.table.get().longest_patience();
        longest.max(upstream::STREAM_SILENCE)
    }

    /// Returns the members that can run this service; also for an unknown name.
    pub fn carrier(&self, service: &str) -> ServiceHost {
        match self.table.get().entries.get(service) {
            Some(entry) => entry.carrier.clone(),
            None => ServiceHost::with_code(service),
        }
    }

    /// Returns true when [`Services::call`] can run this service.
    pub fn carries(&self, service: &str) -> bool {
        self.find(service).is_some()
    }

    /// Returns the other members that announce that they carry this name in code.
    pub(super) fn announced_by(&self, state: &State, code: &str, member: MemberId) -> bool {
        state
            .announced_programs()
            .get(&member)
            .is_some_and(|announced| announced.services.iter().any(|name| name == code))
    }

    /// Runs a service on this member: at most `timeout_ms` for each try, `retries` further tries,
    /// within the request's deadline.
    pub async fn call(&self, service: &str, request: Request) -> Result<Reply, ServiceError> {
        let call_permit = self.places.take(&request.origin).ok_or_else(|| {
            ServiceError::NotRun(format!(
                "{} calls are in progress on this member, as many as it takes",
                self.places.each_max()
            ))
        })?;
        let flow = StreamOptions::default();
        let answer = self.run(service, request, &flow, call_permit).await?;
        let ServiceAnswerBody::Whole(body) = answer.body else {
            let why = "its answer is a stream, which was not asked for";
            return Err(ServiceError::Failed(why.into()));
        };
        Ok(Reply {
            status: answer.status,
            headers: answer.headers,
            body,
        })
    }

    /// Takes a place for the call of an HTTP client; `None` when there is none left.
    pub(crate) fn admit(&self, origin: &Origin) -> Option<CallPermit> {
        self.places.take(origin)
    }

    /// Runs a service for an HTTP client, here or on a member that carries it. An upstream's answer
    /// is passed on as it comes, and keeps the place until it has ended.
    pub(crate) async fn serve(
        &self,
        service: &str,
        request: Request,
        flow: &StreamOptions,
        call_permit: CallPermit,
    ) -> Result<ServiceAnswer, ServiceError> {
        if self.carries(service) {
            return self.run(service, request, flow, call_permit).await;
        }
        if flow.upload.is_some() {
            return Err(invoke::not_an_upstream());
        }
        self.call_anywhere(service, request)
            .await
            .map(ServiceAnswer::from)
    }

    async fn run(
        &self,
        service: &str,
        request: Request,
        flow: &StreamOptions,
        call_permit: CallPermit,
    ) -> Result<ServiceAnswer, ServiceError> {
        let (target, rules) = self.find(service).ok_or_else(|| self.unknown(service))?;
        let applied_epoch = || self.state.borrow().reign().epoch;
        let mut outcome = invoke::call(&target, rules, request, flow, applied_epoch).await;
        if let Ok(answer) = &mut outcome {
            answer.hold(call_permit);
        }
        metrics::counter!("quorate_service_calls_total",
            "service" => service.to_owned(), "outcome" => outcome_label(&outcome))
        .increment(1);
        outcome
    }

    /// Runs a service on this member if it carries it, otherwise on one that does.
    pub async fn call_anywhere(
        &self,
        service: &str,
        request: Request,
    ) -> Result<Reply, ServiceError> {
        if self.carries(service) {
            return self.call(service, request).await;
        }
        match self.elsewhere.get().and_then(Weak::upgrade) {
            Some(dispatch) => dispatch.dispatch(service, request, ALWAYS).await,
            None => Err(self.unknown(service)),
        }
    }

    fn find(&self, service: &str) -> Option<(ServiceTarget, CallRules)> {
        match self.table.get().entries.get(service) {
            Some(entry) => entry.target.clone().map(|target| (target, entry.rules)),
            None => self
                .carried
                .get(service)
                .map(|code| (ServiceTarget::Code(code.clone()), CODE_RULES)),
        }
    }

    fn unknown(&self, service: &str) -> ServiceError {
        ServiceError::NotRun(match self.carrier(service) {
            ServiceHost::Code(code) if code != service => format!(
                "service {service:?} is carried in code as {code:?}, which this member's program does not have"
            ),
            _ => format!("there is no service {service:?} on this member"),
        })
    }
}

fn outcome_label(outcome: &Result<ServiceAnswer, ServiceError>) -> &'static str {
    match outcome {
        Ok(answer) if answer.status.is_server_error() => "error",
        Ok(_) => "ok",
        Err(ServiceError::NotRun(_)) => "not_run",
        Err(ServiceError::Failed(_)) => "failed",
        Err(ServiceError::TimedOut(_)) => "timed_out",
        Err(ServiceError::Fenced(_)) => "fenced",
        Err(ServiceError::BadRequest(_)) => "bad_request",
    }
}
