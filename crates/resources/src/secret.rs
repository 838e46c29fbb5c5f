//! `secret`: a password or key under a name of its own, which others use by that name.

use serde_json::Value;

use crate::{
    declaration::declare,
    field_reader::GivenValue,
    field_rules::{OptionalField, ValueRule, optional, required, secret},
    text_rules,
};

/// The most targets of one secret.
const TARGETS_MAX: usize = 32;

declare! {
    /// `secret`
    pub struct Secret {
        /// The name by which others use it: `{"secret": NAME}` in place of a password or key.
        name: String = required(text_rules::name);
        /// Never shown again; left out of a PUT or apply it means unchanged.
        value: Option<String> = secret(text_rules::secret_value);
        /// What it is for, for people.
        description: Option<String> = optional(text_rules::description);
        /// Where it may be sent to, such as `amqp://rabbit.example.com:5672`; without it,
        /// wherever a connection or service that names it goes.
        allowed_targets: Option<Vec<String>> = OptionalField(TargetsValue);
    }
}

/// A list of targets.
struct TargetsValue;

impl ValueRule for TargetsValue {
    type Value = Vec<String>;

    fn parse(&self, given: &mut GivenValue<'_, '_>) -> Option<Vec<String>> {
        match given.value {
            Value::Array(list) => Some(given.list(list, TARGETS_MAX, text_rules::secret_target)),
            _ => {
                given.refuse_unreadable("must be a list of targets such as amqp://host:5672");
                None
            }
        }
    }
}

impl Secret {
    /// Returns true if it may be used where it is sent to these targets; none: where it is sent
    /// nowhere.
    pub fn allows(&self, targets: &[String]) -> bool {
        match &self.allowed_targets {
            None => true,
            Some(allowed) => !targets.is_empty() && targets.iter().all(|it| allowed.contains(it)),
        }
    }

    /// Returns true if it may be sent somewhere where the one before may not.
    pub(crate) fn allows_more_than(&self, before: &Secret) -> bool {
        match (&self.allowed_targets, &before.allowed_targets) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(now), Some(before)) => now.iter().any(|it| !before.contains(it)),
        }
    }
}
