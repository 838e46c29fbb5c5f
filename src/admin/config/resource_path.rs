//! The resource of a call: its kind and name in the URL, its fields in the body of a put.

use axum::{
    body::Bytes,
    extract::{Path, rejection::PathRejection},
};
use quorate_resources::{Kind, Resource, UnknownKind, json::parse as parse_json};
use quorate_state::check_parsed_resource;

use crate::admin::problem::{ApiProblem, FieldProblem};

/// The kind and name in a URL.
pub(super) struct ResourcePath {
    pub kind: Kind,
    pub name: String,
}

/// A checked resource from the body of a put: its JSON as it is proposed, and parsed.
#[derive(Debug)]
pub(super) struct PutBody {
    pub spec: Bytes,
    pub resource: Resource,
}

impl std::fmt::Display for ResourcePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl ResourcePath {
    pub(super) fn from_path(
        path: Result<Path<(String, String)>, PathRejection>,
    ) -> Result<ResourcePath, ApiProblem> {
        let Path((kind, name)) = path?;
        Ok(ResourcePath {
            kind: parse_kind(&kind)?,
            name,
        })
    }

    /// Reads the body of a put, and checks it as far as that is possible without the state.
    pub(super) fn read_body(&self, body: &[u8]) -> Result<PutBody, ApiProblem> {
        let mut spec = parse_json(body)
            .map_err(|error| ApiProblem::bad_request(format!("the body must be JSON: {error}")))?;
        if let Some(fields) = spec.as_object_mut() {
            if let Some(kind) = fields
                .remove("kind")
                .filter(|kind| *kind != self.kind.as_str())
            {
                let problem = format!(
                    "must be {:?}, the kind in the URL, or left out",
                    self.kind.as_str()
                );
                let shown = kind.as_str().unwrap_or_default();
                let errors = [FieldProblem::new("kind", shown, problem)];
                return Err(ApiProblem::invalid(
                    format!("{self} can't be like this"),
                    errors,
                ));
            }
            if !fields.contains_key("name") {
                fields.insert("name".into(), self.name.as_str().into());
            }
        }
        let resource = check_parsed_resource(self.kind, &self.name, &spec)
            .and_then(|()| Resource::parse(self.kind, &spec))
            .map_err(|errors| ApiProblem::invalid(format!("{self} can't be like this"), errors))?;
        Ok(PutBody {
            spec: spec.to_string().into(),
            resource,
        })
    }
}

/// Parses a kind; an unknown one is a path that does not exist.
pub(in crate::admin) fn parse_kind(kind: &str) -> Result<Kind, ApiProblem> {
    kind.parse()
        .map_err(|unknown: UnknownKind| ApiProblem::not_found(unknown.to_string()))
}
