//! `basic_auth` and `api_key`: what an HTTP channel can ask for.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Hidden,
    fields::{Fields, Reading},
    rules,
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
    pub(super) fn read(spec: &Value) -> Reading<Self> {
        let mut fields = Fields::of(spec);
        let it = BasicAuth {
            name: fields.required("name", rules::name),
            username: fields.required("username", rules::basic_auth_username),
            password: fields.secret("password", rules::password),
        };
        fields.finish(it)
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth")
            .field("name", &self.name)
            .field("username", &self.username)
            .field("password", &Hidden::of(&self.password))
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
    pub(super) fn read(spec: &Value) -> Reading<Self> {
        let mut fields = Fields::of(spec);
        let it = ApiKey {
            name: fields.required("name", rules::name),
            header: fields
                .text("header", rules::header_name)
                .unwrap_or_else(api_key_header),
            key: fields.secret("key", rules::header_value),
        };
        fields.finish(it)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("name", &self.name)
            .field("header", &self.header)
            .field("key", &Hidden::of(&self.key))
            .finish()
    }
}
