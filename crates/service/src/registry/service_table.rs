//! Table of the catalog's services: of each its rules, and where it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use imbl::OrdMap;
use quorate_resources::{self as resource, Kind, Resource};
use quorate_state::{Catalog, StoredResource};

use crate::{
    api::Service,
    builtin,
    invoke::{CallRules, ServiceTarget},
    upstream::{HttpUpstream, UpstreamClients},
};

/// Members that can run a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceHost {
    /// Every member: the service is reached over HTTP, or built into Quorate.
    EveryMember,
    /// Members whose program carries this name in code.
    Code(String),
}

impl ServiceHost {
    /// Returns the members that have this name in code.
    pub(super) fn with_code(code: &str) -> ServiceHost {
        if builtin::is_builtin(code) {
            ServiceHost::EveryMember
        } else {
            ServiceHost::Code(code.to_owned())
        }
    }
}

/// The services of the catalog by name.
#[derive(Default)]
pub(super) struct ServiceTable {
    /// Catalog that it was built from.
    catalog: Catalog,
    pub entries: OrdMap<Arc<str>, ServiceEntry>,
    /// Number of services with each patience.
    patience: OrdMap<Duration, usize>,
}

/// A service of the catalog.
#[derive(Clone)]
pub(super) struct ServiceEntry {
    pub rules: CallRules,
    pub carrier: ServiceHost,
    /// `None`: this program doesn't carry it.
    pub target: Option<ServiceTarget>,
}

impl ServiceTable {
    /// Builds the table from the one before and from what has changed since: with twenty thousand
    /// services, building all anew at each write of one would hold a call up for longer than the
    /// write.
    pub(super) fn build(
        catalog: &Catalog,
        before: Option<&ServiceTable>,
        carried: &BTreeMap<String, Arc<dyn Service>>,
        clients: &UpstreamClients,
    ) -> ServiceTable {
        let none = ServiceTable::default();
        let before = before.unwrap_or(&none);
        let mut entries = before.entries.clone();
        let mut patience = before.patience.clone();
        for (was, is) in catalog.changes(&before.catalog, Kind::Service) {
            let (was, is) = (was.and_then(service), is.and_then(service));
            // Deleted and put again alike: calls that follow go on where they were.
            if was == is {
                continue;
            }
            let former = match (was, is) {
                (_, Some(is)) => {
                    let entry = ServiceEntry::new(is, catalog, carried, clients);
                    *patience.entry(entry.rules.patience()).or_default() += 1;
                    entries.insert(is.name.as_str().into(), entry)
                }
                (Some(was), None) => entries.remove(was.name.as_str()),
                (None, None) => None,
            };
            if let Some(former) = former {
                let former = former.rules.patience();
                let left = patience.get(&former).map_or(0, |count| count - 1);
                match left {
                    0 => patience.remove(&former),
                    left => patience.insert(former, left),
                };
            }
        }
        // Services whose signatures are made by another key now. A key changes rarely.
        let keys = catalog.changes(&before.catalog, Kind::ApiKey);
        let keys: BTreeSet<&str> = keys
            .filter_map(|(was, is)| Some(is.or(was)?.resource.name()))
            .collect();
        if !keys.is_empty() {
            for (is, _) in catalog.services() {
                let signed = is.signing_key().is_some_and(|key| keys.contains(key));
                if signed && entries.contains_key(is.name.as_str()) {
                    let entry = ServiceEntry::new(is, catalog, carried, clients);
                    entries.insert(is.name.as_str().into(), entry);
                }
            }
        }
        ServiceTable {
            catalog: catalog.clone(),
            entries,
            patience,
        }
    }

    /// Returns the longest time that a call of any service takes, all tries together.
    pub(super) fn longest_patience(&self) -> Duration {
        let longest = self.patience.get_max().map(|(patience, _)| *patience);
        longest.unwrap_or_default()
    }
}

impl ServiceEntry {
    fn new(
        resource: &resource::Service,
        catalog: &Catalog,
        carried: &BTreeMap<String, Arc<dyn Service>>,
        clients: &UpstreamClients,
    ) -> ServiceEntry {
        let code = resource.builtin.as_deref();
        let target = match (&resource.upstream, code) {
            (Some(_), _) => Some(ServiceTarget::Upstream(Arc::new(HttpUpstream::new(
                resource, catalog, clients,
            )))),
            (None, Some(code)) => carried.get(code).cloned().map(ServiceTarget::Code),
            (None, None) => None,
        };
        let carrier = match (&resource.upstream, code) {
            (None, Some(code)) => ServiceHost::with_code(code),
            _ => ServiceHost::EveryMember,
        };
        let rules = CallRules {
            timeout: Duration::from_millis(resource.timeout_ms),
            retries: resource.retries,
        };
        ServiceEntry {
            rules,
            carrier,
            target,
        }
    }
}

fn service(stored: &StoredResource) -> Option<&Arc<resource::Service>> {
    match &*stored.resource {
        Resource::Service(it) => Some(it),
        _ => None,
    }
}
