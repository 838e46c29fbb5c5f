//! The resource of a call: its kind and name in the URL, its fields in the body of a put.

use axum::{
    body::Bytes,
    extract::{Path, rejection::PathRejection},
};
use quorate_resources::{Kind, UnknownKind, json::parse as parse_json};
use quorate_state::check_resource;

use crate::admin::problem::{ApiProblem, FieldProblem};

/// The kind and name in a URL.
pub(super) struct ResourcePath {
    pub kind: Kind,
    pub name: String,
}

impl std::fmt::Display for ResourcePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl ResourcePath {
    pub fn from_path(
        path: Result<Path<(String, String)>, PathRejection>,
    ) -> Result<ResourcePath, ApiProblem> {
        let Path((kind, name)) = path?;
        Ok(ResourcePath {
            kind: parse_kind(&kind)?,
            name,
        })
    }

    /// The resource in the body of a put, checked as far as it can be without the state.
    pub fn spec(&self, body: &[u8]) -> Result<Bytes, ApiProblem> {
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
        let spec = spec.to_string();
        check_resource(self.kind, &self.name, spec.as_bytes())
            .map_err(|errors| ApiProblem::invalid(format!("{self} can't be like this"), errors))?;
        Ok(spec.into())
    }
}

/// Parses a kind; an unknown one is a path that does not exist.
pub(super) fn parse_kind(kind: &str) -> Result<Kind, ApiProblem> {
    kind.parse()
        .map_err(|unknown: UnknownKind| ApiProblem::not_found(unknown.to_string()))
}
