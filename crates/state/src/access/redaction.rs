//! Answers without what they tell of resources that the asker may not read.

use quorate_proto::command::FieldError;
use quorate_resources::{AccessVerb, Kind};

use super::{AccessRequirement, AccessScope, Permissions};
use crate::Answer;

/// Stands for the resources that depend on one and may not be read.
const OTHERS: &str = "others that you may not read";

impl Answer {
    /// Returns the answer for someone with these permissions: without the names of dependents, and
    /// of resources that are in the way of a put, which he may not read.
    ///
    /// For the answers of the state alone: what a put gets to hear by the rules of its fields tells
    /// of nothing else.
    pub fn redacted(self, permissions: &Permissions) -> Answer {
        match self {
            Answer::Referenced(by) => Answer::Referenced(readable(by, permissions)),
            Answer::Invalid(errors) if !reads_all(permissions) => {
                Answer::Invalid(errors.into_iter().map(without_names).collect())
            }
            other => other,
        }
    }
}

fn reads_all(permissions: &Permissions) -> bool {
    let all = AccessRequirement::new(AccessVerb::Read, AccessScope::AllKinds);
    permissions.allow(&all)
}

fn readable(by: Vec<String>, permissions: &Permissions) -> Vec<String> {
    let may_read = |it: &String| {
        let named = it.split_once('/');
        let named = named.and_then(|(kind, name)| Some((kind.parse::<Kind>().ok()?, name)));
        named.is_some_and(|(kind, name)| {
            permissions.allow(&AccessRequirement::on_resource(
                AccessVerb::Read,
                kind,
                name,
            ))
        })
    };
    let (mut shown, hidden): (Vec<_>, Vec<_>) = by.into_iter().partition(may_read);
    if !hidden.is_empty() {
        shown.push(OTHERS.to_owned());
    }
    shown
}

fn without_names(error: FieldError) -> FieldError {
    FieldError {
        problem: "can't be this beside the other resources; whoever may read all of them is told which and why".into(),
        ..error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Catalog;

    // guarantee: ACCESS-4
    #[test]
    fn refusal_names_no_unreadable_resource() {
        let error = FieldError {
            field: "path".into(),
            value: "/a".into(),
            problem: "http_channel/secret takes GET on /a already".into(),
        };
        let answers = || {
            [
                Answer::Referenced(vec!["http_channel/secret".into()]),
                Answer::Invalid(vec![error.clone()]),
            ]
        };
        let reader = Permissions::of_roles(&["reader".into()], &Catalog::default());
        for answer in answers() {
            assert_eq!(answer.clone().redacted(&reader), answer);
            let told = answer.redacted(&Permissions::default());
            assert!(!format!("{told:?}").contains("secret"), "{told:?}");
        }
    }
}
