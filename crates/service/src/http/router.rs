//! From method and path to the HTTP channel that is meant.
//!
//! The channels stand in a tree of the segments of their paths. At each segment a text goes
//! before a parameter, and both before the rest of the path; where a way ends at no channel
//! that takes the method, the next one is tried. A view is made of the one before it and of
//! what the catalog has changed since, with which it shares all other branches: a change among
//! a hundred thousand channels costs what it costs among a few. Looking something up locks
//! nothing.

mod branch;

use std::{collections::BTreeSet, sync::Arc};

use branch::Branch;
use http::Method;
use quorate_resources::{HttpChannel, Kind, Resource, Segment, Template};
use quorate_state::{Catalog, Stored};

use super::{
    path::{self, BadPath},
    security::Guard,
};
use crate::Params;

/// The active HTTP channels.
#[derive(Default)]
pub(super) struct Router {
    /// What it was made of.
    catalog: Catalog,
    root: Branch,
}

/// What was found for a method and a path.
pub(super) enum Found {
    Route {
        channel: Arc<HttpChannel>,
        params: Params,
    },
    /// The path exists for these methods.
    WrongMethod(String),
    Nothing,
}

impl Router {
    /// The channels of `catalog`, made of `before` where there is one.
    pub(super) fn of(catalog: &Catalog, before: Option<&Router>) -> Router {
        let none = Router::default();
        let before = before.unwrap_or(&none);
        let mut root = before.root.clone();
        for (was, is) in catalog.changes(&before.catalog, Kind::HttpChannel) {
            if let Some(channel) = was.and_then(active) {
                root.remove(channel);
            }
            if let Some(channel) = is.and_then(active) {
                root.add(channel);
            }
        }
        Router {
            catalog: catalog.clone(),
            root,
        }
    }

    /// What the channel asks of its callers.
    pub(super) fn guard<'c>(&'c self, channel: &'c HttpChannel) -> Guard<'c> {
        Guard::of(channel, &self.catalog)
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
        let mut found = None;
        self.root.walk(path, &mut |channels, pieces| {
            let taker = channels.iter().find(|it| takes(it, method));
            found = taker.map(|channel| Found::Route {
                params: params(channel, pieces),
                channel: channel.clone(),
            });
            found.is_some()
        });
        found
    }

    fn allowed(&self, path: &str) -> String {
        let mut allowed = BTreeSet::new();
        self.root.walk(path, &mut |channels, _| {
            let methods = channels.iter().flat_map(|it| &it.methods);
            allowed.extend(methods.cloned());
            false
        });
        if allowed.contains("GET") {
            allowed.insert("HEAD".to_owned());
        }
        Vec::from_iter(allowed).join(", ")
    }
}

fn active(stored: &Stored) -> Option<&Arc<HttpChannel>> {
    match &*stored.resource {
        Resource::HttpChannel(it) if it.active => Some(it),
        _ => None,
    }
}

fn takes(channel: &HttpChannel, method: &Method) -> bool {
    channel.methods.iter().any(|it| it == method.as_str())
}

fn params(channel: &HttpChannel, pieces: &[&str]) -> Params {
    let template = Template::of(&channel.path);
    let mut params = Params::default();
    let mut pieces = pieces.iter();
    for segment in template.segments() {
        match segment {
            Segment::Text(_) => {}
            Segment::Parameter(name) => {
                let piece = pieces.next().unwrap_or(&"");
                params.insert((*name).to_owned(), path::value(piece));
            }
            Segment::Rest(name) => {
                let piece = pieces.next().unwrap_or(&"");
                let segments = piece.split('/').map(path::value).collect();
                params.insert_rest((*name).to_owned(), segments);
            }
        }
    }
    params
}

#[cfg(test)]
mod tests;
