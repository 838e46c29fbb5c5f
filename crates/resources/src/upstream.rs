//! How the upstream of a service is called: its TLS, and by what it knows its caller.

use crate::{
    declaration::{choices, declare},
    field_reader::FieldReader,
    field_rules::{optional, required_one_of},
    text_rules,
};

declare! {
    /// The TLS of an upstream.
    pub struct UpstreamTls {
        /// The authorities that are trusted, in PEM, instead of the system's.
        ca: Option<String> = optional(text_rules::certificates);
        /// The name that its certificate must have, instead of the host of the URL.
        server_name: Option<String> = optional(text_rules::host);
    }
}

declare! {
    /// By what an upstream knows its caller; the secret of it stands beside, as `auth_secret`.
    pub struct UpstreamAuth {
        /// How it is shown.
        scheme: AuthScheme = required_one_of();
        /// The user name of `basic`.
        username: Option<String> = optional(text_rules::basic_auth_username);
        /// The header of `header`.
        header: Option<String> = optional(text_rules::header_name);
        /// The certificate of `certificate` and those between it and its authority, in PEM.
        certificate: Option<String> = optional(text_rules::certificates), then
            fields_fit_scheme(scheme, username, header, certificate);
    }
}

choices! {
    /// How an upstream is shown who calls.
    pub enum AuthScheme {
        /// `Authorization: Bearer SECRET`.
        Bearer = "bearer",
        /// `Authorization: Basic`, with the secret as the password.
        Basic = "basic",
        /// A header of any name, with the secret as its value.
        Header = "header",
        /// A certificate of TLS, with the secret as its private key in PEM.
        Certificate = "certificate",
    }
}

/// Refuses a field of another scheme, and misses those of its own.
fn fields_fit_scheme(
    fields: &mut FieldReader<'_>,
    scheme: &AuthScheme,
    username: &Option<String>,
    header: &Option<String>,
    certificate: &Option<String>,
) {
    for (field, given, of, name) in [
        ("username", username, AuthScheme::Basic, "basic"),
        ("header", header, AuthScheme::Header, "header"),
        (
            "certificate",
            certificate,
            AuthScheme::Certificate,
            "certificate",
        ),
    ] {
        if *scheme == of && given.is_none() {
            fields.refuse(field, "", format!("is required for the scheme {name}"));
        } else if *scheme != of && given.is_some() {
            fields.refuse(field, "", format!("is for the scheme {name} alone"));
        }
    }
}

/// Refuses a secret that its scheme can't send; what it is isn't said.
pub(crate) fn secret_fits_scheme(
    fields: &mut FieldReader<'_>,
    auth: &Option<UpstreamAuth>,
    secret: &Option<String>,
) {
    let Some(auth) = auth else {
        if secret.is_some() {
            fields.refuse(
                "auth_secret",
                "",
                "is the secret of `auth`, which is not there",
            );
        }
        return;
    };
    let Some(secret) = secret else {
        return;
    };
    let fits = match auth.scheme {
        AuthScheme::Bearer | AuthScheme::Header => text_rules::header_value(secret),
        AuthScheme::Basic => text_rules::password(secret),
        AuthScheme::Certificate => text_rules::private_key(secret),
    };
    if let Err(problem) = fits {
        fields.refuse("auth_secret", "", problem);
    }
}
