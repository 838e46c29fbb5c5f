//! `basic_auth` and `api_key`: what an HTTP channel can ask for.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    HiddenSecret,
    field_reader::{FieldReader, ParseOutcome},
    text_rules,
};

/// `basic_auth`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// Its name.
    pub name: String,
    /// The user name asked for.
    pub username: String,
    /// Never shown again; left out of a PUT or apply it means unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl BasicAuth {
    pub(super) fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let it = BasicAuth {
            name: fields.required("name", text_rules::name),
            username: fields.required("username", text_rules::basic_auth_username),
            password: fields.secret("password", text_rules::password),
        };
        fields.finish(it)
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth")
            .field("name", &self.name)
            .field("username", &self.username)
            .field("password", &HiddenSecret::new(&self.password))
            .finish()
    }
}

/// `api_key`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Its name.
    pub name: String,
    /// The request header that carries the key.
    #[serde(default = "api_key_header")]
    pub header: String,
    /// Never shown again; left out of a PUT or apply it means unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

fn api_key_header() -> String {
    "X-API-Key".into()
}

impl ApiKey {
    pub(super) fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let it = ApiKey {
            name: fields.required("name", text_rules::name),
            header: fields
                .text("header", text_rules::header_name)
                .unwrap_or_else(api_key_header),
            key: fields.secret("key", text_rules::header_value),
        };
        fields.finish(it)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("name", &self.name)
            .field("header", &self.header)
            .field("key", &HiddenSecret::new(&self.key))
            .finish()
    }
}
