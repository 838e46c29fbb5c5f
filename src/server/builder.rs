//! Building of a [`Server`], with the checks that touch nothing.

use std::{collections::BTreeMap, sync::Arc};

use quorate_service::Service;
use quorate_types::Timing;
use tokio::sync::mpsc;

use super::{Server, ServerError, StartMode};
use crate::settings::Settings;

/// Puts a [`Server`] together.
pub struct ServerBuilder {
    settings: Settings,
    start_mode: StartMode,
    join_token: Option<Arc<str>>,
    services: Vec<(String, Arc<dyn Service>)>,
    reload: Option<mpsc::Receiver<()>>,
}

impl ServerBuilder {
    pub(super) fn new(settings: Settings) -> ServerBuilder {
        ServerBuilder {
            settings,
            start_mode: StartMode::Resume,
            join_token: None,
            services: Vec::new(),
            reload: None,
        }
    }

    /// Sets how the member comes to be part of a cluster, the first time; [`StartMode::Resume`] is
    /// the default. A member that has been part of a cluster before resumes in any mode.
    pub fn start_mode(mut self, start_mode: StartMode) -> ServerBuilder {
        self.start_mode = start_mode;
        self
    }

    /// Sets the token that a newcomer shows to a cluster which asks who joins; it needs the verb
    /// `cluster`.
    pub fn join_token(mut self, token: impl Into<Arc<str>>) -> ServerBuilder {
        self.join_token = Some(token.into());
        self
    }

    /// Adds a service that this program carries in code, under a name of its own.
    pub fn service(mut self, name: impl Into<String>, service: impl Service) -> ServerBuilder {
        self.services.push((name.into(), Arc::new(service)));
        self
    }

    /// Has certificates reloaded at once for each word on `asked`; without it they are looked at
    /// every minute alone.
    pub fn reload_when(mut self, asked: mpsc::Receiver<()>) -> ServerBuilder {
        self.reload = Some(asked);
        self
    }

    /// Checks what can be checked without touching anything, and returns the server.
    pub fn build(self) -> Result<Server, ServerError> {
        Timing::from_failover_ms(self.settings.failover_ms)
            .map_err(|error| ServerError::Refused(error.to_string()))?;
        let mut services = BTreeMap::new();
        for (name, service) in self.services {
            quorate_resources::check_name(&name).map_err(|problem| {
                ServerError::Refused(format!("the service name {name:?} {problem}"))
            })?;
            if matches!(name.as_str(), "ping" | "echo") {
                return Err(ServerError::Refused(format!(
                    "the service {name:?} is built in; give yours another name"
                )));
            }
            if services.insert(name.clone(), service).is_some() {
                return Err(ServerError::Refused(format!(
                    "two services are called {name:?}"
                )));
            }
        }
        Ok(Server {
            settings: self.settings,
            start_mode: self.start_mode,
            join_token: self.join_token,
            services,
            // One that is closed: nobody asks.
            reload: self.reload.unwrap_or_else(|| mpsc::channel(1).1),
        })
    }
}
