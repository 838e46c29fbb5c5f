//! Tree of path segments that shares unchanged branches with the tree it was made from.

use std::sync::Arc;

use imbl::OrdMap;
use quorate_resources::{HttpChannel, PathSegment, PathTemplate};

use crate::http::path_decoding;

/// Channels whose paths begin alike, by what follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PathBranch {
    texts: OrdMap<Arc<str>, Arc<PathBranch>>,
    parameter: Option<Arc<PathBranch>>,
    /// Channels whose paths end here, by name: others for other methods.
    ends: Vec<Arc<HttpChannel>>,
    /// Channels that take the rest of the path, whatever it is.
    rests: Vec<Arc<HttpChannel>>,
}

/// Visitor of the channels at the end of a way, with the pieces that parameters have taken on it;
/// `true` ends the walk.
pub(super) type BranchVisitor<'v> = dyn FnMut(&[Arc<HttpChannel>], &[&str]) -> bool + 'v;

impl PathBranch {
    pub(super) fn add(&mut self, channel: &Arc<HttpChannel>) {
        let template = PathTemplate::new(&channel.path);
        self.change(template.segments(), &mut |channels| {
            warn_shared(channel, channels);
            let place = channels.partition_point(|it| it.name < channel.name);
            channels.insert(place, channel.clone());
        });
    }

    pub(super) fn remove(&mut self, channel: &Arc<HttpChannel>) {
        let template = PathTemplate::new(&channel.path);
        self.change(template.segments(), &mut |channels| {
            channels.retain(|it| it.name != channel.name);
        });
    }

    /// Edits the channels of a template; no branch is left empty.
    fn change(
        &mut self,
        segments: &[PathSegment<'_>],
        edit: &mut dyn FnMut(&mut Vec<Arc<HttpChannel>>),
    ) {
        match segments.split_first() {
            None => edit(&mut self.ends),
            Some((PathSegment::Rest(_), _)) => edit(&mut self.rests),
            Some((PathSegment::Parameter(_), after)) => {
                let branch = self.parameter.get_or_insert_default();
                Arc::make_mut(branch).change(after, edit);
                self.parameter.take_if(|branch| branch.is_empty());
            }
            Some((PathSegment::Text(text), after)) => {
                // A template that can't be decoded is refused at the edge; it may still come from
                // the log.
                let decoded = path_decoding::normalize_path(text);
                let text: Arc<str> = decoded.as_deref().unwrap_or(text).into();
                let branch = self.texts.entry(text.clone()).or_default();
                Arc::make_mut(branch).change(after, edit);
                if branch.is_empty() {
                    self.texts.remove(&text);
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.texts.is_empty()
            && self.parameter.is_none()
            && self.ends.is_empty()
            && self.rests.is_empty()
    }

    /// Visits the channels whose templates match the path, the most specific first.
    pub(super) fn walk(&self, path: &str, visit: &mut BranchVisitor<'_>) {
        if let Some(path) = path.strip_prefix('/') {
            self.walk_below(path, &mut Vec::new(), visit);
        }
    }

    fn walk_below<'p>(
        &self,
        path: &'p str,
        taken: &mut Vec<&'p str>,
        visit: &mut BranchVisitor<'_>,
    ) -> bool {
        let (piece, after) = match path.split_once('/') {
            Some((piece, after)) => (piece, Some(after)),
            None => (path, None),
        };
        let mut go_on = |branch: &PathBranch, taken: &mut Vec<&'p str>| match after {
            Some(after) => branch.walk_below(after, taken, visit),
            None => visit(&branch.ends, taken),
        };
        if self.texts.get(piece).is_some_and(|it| go_on(it, taken)) {
            return true;
        }
        if let Some(branch) = self.parameter.as_ref().filter(|_| !piece.is_empty()) {
            taken.push(piece);
            if go_on(branch, taken) {
                return true;
            }
            taken.pop();
        }
        // The rest may be empty: `/files/` is `/files/{*rest}` with an empty rest.
        taken.push(path);
        let ended = visit(&self.rests, taken);
        taken.pop();
        ended
    }
}

/// Warns of channels that take the same requests, which the catalog refuses; the first by name goes
/// before.
fn warn_shared(channel: &HttpChannel, others: &[Arc<HttpChannel>]) {
    let shares = |other: &HttpChannel| other.methods.iter().any(|it| channel.methods.contains(it));
    for other in others.iter().filter(|other| shares(other)) {
        tracing::error!(
            channel = channel.name,
            path = channel.path,
            other = other.name,
            "two HTTP channels take the same requests; the first by name has them"
        );
    }
}
