//! `basic_auth` and `api_key`: what an HTTP channel can ask for.

use crate::{
    declaration::declare,
    field_rules::{required, secret, text_or},
    text_rules,
};

declare! {
    /// `basic_auth`
    pub struct BasicAuth {
        /// The name of the object.
        name: String = required(text_rules::name);
        /// The user name asked for.
        username: String = required(text_rules::basic_auth_username);
        /// Never shown again; left out of a PUT or apply it means unchanged.
        password: Option<String> = secret(text_rules::password);
    }
}

declare! {
    /// `api_key`
    pub struct ApiKey {
        /// The name of the object.
        name: String = required(text_rules::name);
        /// The request header that carries the key.
        header: String = text_or("X-API-Key", text_rules::header_name);
        /// Never shown again; left out of a PUT or apply it means unchanged.
        key: Option<String> = secret(text_rules::header_value);
    }
}
