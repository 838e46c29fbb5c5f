//! Caller of a channel, as its guard knows it, and why a check lets nobody through.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quorate_resources::Kind;

/// Header that tells a service who calls. A client's own is taken out before.
const CALLER: HeaderName = HeaderName::from_static("quorate-caller");

/// What stands in a caller's name as it is: nothing that would make one name look like two, or
/// like another.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'@')
    .remove(b':')
    .remove(b'|');

/// Who calls, by the security objects that it satisfied.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct Caller {
    name: String,
    /// What the service gets beside the name.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Caller {
    /// Returns one that is known by an object alone: `KIND/NAME`.
    pub(super) fn of_object(kind: Kind, name: &str) -> Caller {
        Caller {
            name: format!("{kind}/{name}"),
            headers: Vec::new(),
        }
    }

    /// Returns one that the object tells from others: `KIND/NAME/SUBJECT`.
    pub(super) fn with_subject(kind: Kind, name: &str, subject: &str) -> Caller {
        let subject = utf8_percent_encode(subject, PLAIN);
        Caller {
            name: format!("{kind}/{name}/{subject}"),
            headers: Vec::new(),
        }
    }

    /// Adds a header that the service gets.
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Caller {
        self.headers.push((name, value));
        self
    }

    /// Returns one that is both.
    pub(super) fn and(mut self, other: Caller) -> Caller {
        self.name = format!("{}, {}", self.name, other.name);
        self.headers.extend(other.headers);
        self
    }

    pub(in crate::http) fn name(&self) -> &str {
        &self.name
    }

    /// Tells the service.
    pub(in crate::http) fn describe(&self, headers: &mut HeaderMap) {
        headers.insert(CALLER, crate::headers::to_header_value(&self.name));
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}

/// Why a check lets nobody through.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CheckFailure {
    /// The request brings no credentials of this sort.
    Missing,
    /// It brings wrong ones. The reason is for a metric: never made of what was brought.
    Wrong(&'static str),
    /// What is needed for the check is not there now.
    Unavailable(String),
    /// The object can't be used as it is configured.
    Broken(String),
}

impl CheckFailure {
    /// Returns how much it says where another object would have done too.
    pub(super) fn weight(&self) -> u8 {
        match self {
            CheckFailure::Broken(_) => 0,
            CheckFailure::Missing => 1,
            CheckFailure::Wrong(_) => 2,
            CheckFailure::Unavailable(_) => 3,
        }
    }
}
