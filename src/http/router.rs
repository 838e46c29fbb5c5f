//! From method and path to the HTTP channel that is meant.
//!
//! One tree for each method: the catalog keeps channels apart that share a method, and those
//! that share none may have any paths. The view is built once for each change of the catalog;
//! looking something up locks nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use http::Method;

use super::{
    path::{self, BadPath},
    security::Guard,
};
use crate::state::{Catalog, resource::HttpChannel};

/// The active HTTP channels.
#[derive(Default)]
pub(super) struct Router {
    trees: HashMap<Method, matchit::Router<Arc<Route>>>,
}

/// One channel, ready for use.
#[derive(Debug)]
pub(super) struct Route {
    pub channel: Arc<HttpChannel>,
    pub guard: Guard,
}

/// What was found for a method and a path.
pub(super) enum Found {
    Route {
        route: Arc<Route>,
        params: BTreeMap<String, String>,
    },
    /// The path exists for these methods.
    WrongMethod(String),
    Nothing,
}

impl Router {
    pub(super) fn of(catalog: &Catalog) -> Router {
        let mut router = Router::default();
        for (channel, _revision) in catalog.http_channels() {
            if channel.active {
                router.add(channel.clone(), Guard::of(channel, catalog));
            }
        }
        router
    }

    pub(super) fn add(&mut self, channel: Arc<HttpChannel>, guard: Guard) {
        let template = path::comparable(&channel.path)
            .map(String::from)
            .unwrap_or(channel.path.clone());
        let route = Arc::new(Route {
            channel: channel.clone(),
            guard,
        });
        for method in &channel.methods {
            let added = Method::try_from(method.as_str())
                .map_err(|error| error.to_string())
                .and_then(|method| {
                    self.trees
                        .entry(method)
                        .or_default()
                        .insert(&template, route.clone())
                        .map_err(|error| error.to_string())
                });
            if let Err(why) = added {
                // The catalog refuses such channels; the others must work all the same.
                tracing::error!(
                    channel = channel.name,
                    path = channel.path,
                    method,
                    why,
                    "HTTP channel left out"
                );
            }
        }
    }

    /// A HEAD that no channel takes goes where the GET would go.
    pub(super) fn find(&self, method: &Method, raw_path: &str) -> Result<Found, BadPath> {
        let path = path::comparable(raw_path)?;
        let found = self.find_exactly(method, &path).or_else(|| match *method {
            Method::HEAD => self.find_exactly(&Method::GET, &path),
            _ => None,
        });
        if let Some(found) = found {
            return Ok(found);
        }
        let allowed = self.allowed(&path);
        Ok(if allowed.is_empty() {
            Found::Nothing
        } else {
            Found::WrongMethod(allowed)
        })
    }

    fn find_exactly(&self, method: &Method, path: &str) -> Option<Found> {
        let found = self.trees.get(method)?.at(path).ok()?;
        let params = found
            .params
            .iter()
            .map(|(name, piece)| (name.to_owned(), path::value(piece)))
            .collect();
        Some(Found::Route {
            route: found.value.clone(),
            params,
        })
    }

    fn allowed(&self, path: &str) -> String {
        let mut allowed: Vec<&str> = self
            .trees
            .iter()
            .filter(|(_, tree)| tree.at(path).is_ok())
            .map(|(method, _)| method.as_str())
            .collect();
        if allowed.contains(&"GET") && !allowed.contains(&"HEAD") {
            allowed.push("HEAD");
        }
        allowed.sort_unstable();
        allowed.join(", ")
    }
}

#[cfg(test)]
mod tests;
