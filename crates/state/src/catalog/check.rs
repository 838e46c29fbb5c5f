//! Checks of a put by itself: by the rules of its fields, and as an entry of the log.

use quorate_proto::command::FieldError;
use quorate_resources::{Kind, Resource, StoredSecrets, check_name, json};
use serde_json::Value;

use crate::field_errors::error;

/// Longest JSON of one resource.
pub const SPEC_BYTES_MAX: usize = 64 << 10;

/// Checks a put without knowing what is there: every bad field.
pub fn check(kind: Kind, name: &str, spec: &[u8]) -> Result<(), Vec<FieldError>> {
    check_length(spec.len())?;
    check_fields(kind, name, &parsed(spec)?)
}

/// As [`check`], for JSON that has been parsed already.
pub fn check_parsed(kind: Kind, name: &str, spec: &Value) -> Result<(), Vec<FieldError>> {
    check_length(json::json_bytes(spec))?;
    check_fields(kind, name, spec)
}

fn check_length(bytes: usize) -> Result<(), Vec<FieldError>> {
    if bytes <= SPEC_BYTES_MAX {
        return Ok(());
    }
    let problem = format!("a resource must have at most {SPEC_BYTES_MAX} bytes of JSON");
    Err(vec![error("", format!("{bytes} bytes"), problem)])
}

fn check_fields(kind: Kind, name: &str, spec: &Value) -> Result<(), Vec<FieldError>> {
    check_name(name).map_err(|problem| vec![error("name", name, problem.to_string())])?;
    let resource = Resource::parse(kind, spec)?;
    under_its_name(name, resource.name())
}

/// Resource as it was read, with its secrets that are not in clear.
pub(super) struct ReadResource {
    pub resource: Resource,
    pub secrets: StoredSecrets,
}

impl ReadResource {
    pub(super) fn from_spec(kind: Kind, spec: &Value) -> Result<ReadResource, Vec<FieldError>> {
        let (resource, secrets) = Resource::read_stored(kind, spec)?;
        Ok(ReadResource { resource, secrets })
    }
}

/// Reads an entry of the log or of a snapshot as a resource that this program knows, by no rule of
/// its values.
pub(super) fn read(
    kind: Kind,
    name: &str,
    spec: &[u8],
) -> Result<(Value, ReadResource), Vec<FieldError>> {
    let spec = parsed(spec)?;
    let resource = read_parsed(kind, name, &spec)?;
    Ok((spec, resource))
}

/// Checks that an entry can be read.
pub(crate) fn check_readable(kind: Kind, name: &str, spec: &[u8]) -> Result<(), Vec<FieldError>> {
    read(kind, name, spec).map(drop)
}

/// As [`read`], for JSON that has been parsed already.
pub(super) fn read_parsed(
    kind: Kind,
    name: &str,
    spec: &Value,
) -> Result<ReadResource, Vec<FieldError>> {
    let read = ReadResource::from_spec(kind, spec)?;
    under_its_name(name, read.resource.name())?;
    Ok(read)
}

fn parsed(spec: &[u8]) -> Result<Value, Vec<FieldError>> {
    json::parse(spec).map_err(|problem| vec![error("", "", format!("must be JSON: {problem}"))])
}

fn under_its_name(name: &str, written: &str) -> Result<(), Vec<FieldError>> {
    if written == name {
        return Ok(());
    }
    let problem = format!("must be {name:?}, the name that it is put under");
    Err(vec![error("name", written, problem)])
}
