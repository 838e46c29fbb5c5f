//! Router from method and path to an HTTP channel.
//!
//! The channels stand in a tree of the segments of their paths. At each segment a text goes before
//! a parameter, and both before the rest of the path; where a way ends at no channel that takes the
//! method, the next one is tried. A view is made of the one before it and of what the catalog has
//! changed since, with which it shares all other branches: a change among a hundred thousand
//! channels costs as much as among a few. Looking something up locks nothing.

mod path_branch;

use std::{collections::BTreeSet, sync::Arc};

use http::{Method, StatusCode, request::Parts};
use path_branch::PathBranch;
use quorate_resources::{HttpChannel, Kind, PathSegment, PathTemplate, Resource};
use quorate_state::{Catalog, StoredResource};

use super::{
    channel_guard::ChannelGuard,
    error_envelope::HttpRefusal,
    path_decoding::{self, BadPath},
};
use crate::Params;

/// Router over the active HTTP channels.
#[derive(Default)]
pub(super) struct ChannelRouter {
    /// Catalog that it was built from.
    catalog: Catalog,
    root: PathBranch,
}

/// Match of a method and a path.
pub(super) enum RouteMatch {
    Route {
        channel: Arc<HttpChannel>,
        params: Params,
    },
    /// The path exists for these methods.
    WrongMethod(String),
    Nothing,
}

impl ChannelRouter {
    /// Builds the router for the channels of `catalog`, from `before` where there is one.
    pub(super) fn from_catalog(catalog: &Catalog, before: Option<&ChannelRouter>) -> ChannelRouter {
        let none = ChannelRouter::default();
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
        ChannelRouter {
            catalog: catalog.clone(),
            root,
        }
    }

    /// Returns the guard of a channel.
    pub(super) fn guard<'c>(&'c self, channel: &'c HttpChannel) -> ChannelGuard<'c> {
        ChannelGuard::from_channel(channel, &self.catalog)
    }

    /// Returns the channel that a request is for, or what is wrong with it.
    pub(super) fn route(&self, parts: &Parts) -> Result<(Arc<HttpChannel>, Params), HttpRefusal> {
        let path = parts.uri.path();
        match self.find(&parts.method, path) {
            Ok(RouteMatch::Route { channel, params }) => Ok((channel, params)),
            Ok(RouteMatch::WrongMethod(allow)) => {
                Err(HttpRefusal::wrong_method(&parts.method, &allow))
            }
            Ok(RouteMatch::Nothing) => Err(HttpRefusal::new(
                StatusCode::NOT_FOUND,
                format!("there is no HTTP channel for {path}"),
            )),
            Err(bad) => Err(HttpRefusal::new(StatusCode::BAD_REQUEST, bad.to_string())),
        }
    }

    /// Finds the channel. A HEAD that no channel takes goes where the GET would go.
    pub(super) fn find(&self, method: &Method, raw_path: &str) -> Result<RouteMatch, BadPath> {
        let path = path_decoding::normalize_path(raw_path)?;
        let found = self.find_exactly(method, &path).or_else(|| match *method {
            Method::HEAD => self.find_exactly(&Method::GET, &path),
            _ => None,
        });
        if let Some(found) = found {
            return Ok(found);
        }
        let allowed = self.allowed(&path);
        Ok(if allowed.is_empty() {
            RouteMatch::Nothing
        } else {
            RouteMatch::WrongMethod(allowed)
        })
    }

    fn find_exactly(&self, method: &Method, path: &str) -> Option<RouteMatch> {
        let mut found = None;
        self.root.walk(path, &mut |channels, pieces| {
            let taker = channels.iter().find(|it| takes(it, method));
            found = taker.map(|channel| RouteMatch::Route {
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

fn active(stored: &StoredResource) -> Option<&Arc<HttpChannel>> {
    match &*stored.resource {
        Resource::HttpChannel(it) if it.active => Some(it),
        _ => None,
    }
}

fn takes(channel: &HttpChannel, method: &Method) -> bool {
    channel.methods.iter().any(|it| it == method.as_str())
}

fn params(channel: &HttpChannel, pieces: &[&str]) -> Params {
    let template = PathTemplate::new(&channel.path);
    let mut params = Params::default();
    let mut pieces = pieces.iter();
    for segment in template.segments() {
        match segment {
            PathSegment::Text(_) => {}
            PathSegment::Parameter(name) => {
                let piece = pieces.next().unwrap_or(&"");
                params.insert((*name).to_owned(), path_decoding::value(piece));
            }
            PathSegment::Rest(name) => {
                let piece = pieces.next().unwrap_or(&"");
                let segments = piece.split('/').map(path_decoding::value).collect();
                params.insert_rest((*name).to_owned(), segments);
            }
        }
    }
    params
}

#[cfg(test)]
mod tests;
