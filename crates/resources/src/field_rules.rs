//! Rules of single fields, from which kinds are declared.

use std::{
    fmt::{self, Debug},
    marker::PhantomData,
    ops::RangeInclusive,
};

use serde_json::Value;

use crate::{
    Kind, ResourceReference,
    declaration::{Choice, Declared, FieldDescription, FieldRule},
    field_reader::{FieldReader, TextRule, quoted},
    text_rules,
};

const TEXT: &str = "text";
const NUMBER: &str = "whole number";

/// The sentence by which a rule refuses a text that is wrong in every way.
fn in_words(rule: TextRule) -> String {
    rule(&"\0".repeat(5000)).err().unwrap_or_default()
}

/// A text that must be there; empty where it is not.
pub(crate) struct Required {
    rule: TextRule,
    /// Said when it is missing, instead of what the rule says of an empty text.
    missing: Option<&'static str>,
}

pub(crate) const fn required(rule: TextRule) -> Required {
    Required {
        rule,
        missing: None,
    }
}

/// A text that must be there, and may be empty.
pub(crate) const fn required_or_empty(rule: TextRule, missing: &'static str) -> Required {
    Required {
        rule,
        missing: Some(missing),
    }
}

impl FieldRule for Required {
    type Value = String;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> String {
        let Some(value) = fields.take(field) else {
            let problem = match (self.missing, (self.rule)("")) {
                (Some(missing), _) => missing.to_owned(),
                (None, Err(wants)) => format!("is required; it {wants}"),
                (None, Ok(())) => "is required".to_owned(),
            };
            fields.refuse_unreadable(field, "", problem);
            return String::new();
        };
        let text = fields.read_text(field, value, self.rule, quoted);
        text.unwrap_or_default()
    }

    fn describe(&self) -> FieldDescription {
        FieldDescription {
            is_required: true,
            ..FieldDescription::new(TEXT, in_words(self.rule))
        }
    }
}

/// A text that is this one where it is left out.
pub(crate) struct WithDefault(TextRule, &'static str);

pub(crate) const fn text_or(default: &'static str, rule: TextRule) -> WithDefault {
    WithDefault(rule, default)
}

impl FieldRule for WithDefault {
    type Value = String;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> String {
        let text = optional(self.0).read(fields, field);
        text.unwrap_or_else(|| self.1.to_owned())
    }

    fn describe(&self) -> FieldDescription {
        FieldDescription {
            default: Some(self.1.into()),
            ..optional(self.0).describe()
        }
    }
}

/// How far a text that may be left out is shown.
#[derive(Clone, Copy, PartialEq)]
enum Secrecy {
    Shown,
    /// Shown, but never quoted in an error: what was put there by mistake may be a secret.
    NotQuoted,
    Secret,
}

/// A text that may be left out.
pub(crate) struct Optional {
    rule: TextRule,
    secrecy: Secrecy,
    /// What of the text may be shown.
    shown: Option<fn(&str) -> String>,
}

pub(crate) const fn optional(rule: TextRule) -> Optional {
    Optional {
        rule,
        secrecy: Secrecy::Shown,
        shown: None,
    }
}

pub(crate) const fn optional_not_quoted(rule: TextRule) -> Optional {
    Optional {
        secrecy: Secrecy::NotQuoted,
        ..optional(rule)
    }
}

/// A text of which only a part may be shown.
pub(crate) const fn optional_in_part(rule: TextRule, shown: fn(&str) -> String) -> Optional {
    Optional {
        shown: Some(shown),
        ..optional_not_quoted(rule)
    }
}

/// A text that is never shown again and never quoted.
pub(crate) const fn secret(rule: TextRule) -> Optional {
    Optional {
        secrecy: Secrecy::Secret,
        ..optional(rule)
    }
}

impl FieldRule for Optional {
    type Value = Option<String>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Option<String> {
        let value = fields.take(field)?;
        let quoting = match self.secrecy {
            Secrecy::Shown => quoted,
            Secrecy::NotQuoted | Secrecy::Secret => |_: &Value| "(hidden)".to_owned(),
        };
        fields.read_text(field, value, self.rule, quoting)
    }

    fn describe(&self) -> FieldDescription {
        FieldDescription::new(TEXT, in_words(self.rule))
    }

    fn is_left_out(&self, value: &Option<String>) -> bool {
        value.is_none()
    }

    fn is_secret(&self) -> bool {
        self.secrecy == Secrecy::Secret
    }

    fn secret<'a>(&self, value: &'a Option<String>) -> Option<&'a str> {
        value.as_deref().filter(|_| self.is_secret())
    }

    fn debug<'a>(&self, value: &'a Option<String>) -> Box<dyn Debug + 'a> {
        match (self.secrecy, self.shown) {
            (Secrecy::Secret, _) => Box::new(HiddenSecret(value.is_some())),
            (_, Some(shown)) => Box::new(value.as_deref().map(shown)),
            _ => Box::new(value),
        }
    }
}

/// How a secret is written where it must not be seen.
struct HiddenSecret(bool);

impl Debug for HiddenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "(hidden)" } else { "(none)" })
    }
}

/// The name of a resource of this kind.
pub(crate) struct Reference(pub Kind);

impl FieldRule for Reference {
    type Value = String;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> String {
        required(text_rules::name).read(fields, field)
    }

    fn describe(&self) -> FieldDescription {
        FieldDescription {
            rule_in_words: format!("must be the name of a resource of the kind {}", self.0),
            ..required(text_rules::name).describe()
        }
    }

    fn reference<'a>(
        &self,
        field: &'static str,
        name: &'a String,
    ) -> Option<ResourceReference<'a>> {
        Some(ResourceReference {
            field,
            text: name,
            kind: self.0,
            name,
        })
    }
}

/// A resource of one of these kinds, as `KIND/NAME`; it may be left out.
pub(crate) struct QualifiedReference {
    pub kinds: &'static [Kind],
    /// The sentence by which others are refused.
    pub wants: &'static str,
}

impl QualifiedReference {
    pub fn split<'a>(&self, text: &'a str) -> Option<(Kind, &'a str)> {
        let (kind, name) = text.split_once('/')?;
        let kind = kind.parse().ok()?;
        self.kinds.contains(&kind).then_some((kind, name))
    }
}

impl FieldRule for QualifiedReference {
    type Value = Option<String>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Option<String> {
        let value = fields.take(field)?;
        let rule = |text: &str| match self.split(text) {
            Some((_, name)) => text_rules::name(name),
            None => Err(self.wants.to_owned()),
        };
        let text = fields.read_text(field, value, rule, quoted)?;
        // What it names all members must read alike.
        if self.split(&text).is_none() {
            fields.not_known(field, &text, self.wants);
        }
        Some(text)
    }

    fn describe(&self) -> FieldDescription {
        FieldDescription::new(TEXT, self.wants.to_owned())
    }

    fn is_left_out(&self, value: &Option<String>) -> bool {
        value.is_none()
    }

    fn reference<'a>(
        &self,
        field: &'static str,
        value: &'a Option<String>,
    ) -> Option<ResourceReference<'a>> {
        let text = value.as_deref()?;
        let (kind, name) = self.split(text)?;
        Some(ResourceReference {
            field,
            text,
            kind,
            name,
        })
    }
}

/// A whole number.
pub(crate) struct Number<T>(T, RangeInclusive<u64>);

pub(crate) const fn number<T>(default: T, range: RangeInclusive<u64>) -> Number<T> {
    Number(default, range)
}

impl<T: TryFrom<u64> + Copy + Debug + Into<Value>> FieldRule for Number<T> {
    type Value = T;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> T {
        let Number(default, range) = self;
        let Some(value) = fields.take(field) else {
            return *default;
        };
        let number = value.as_u64();
        let Some(held) = number.and_then(|number| T::try_from(number).ok()) else {
            fields.refuse_unreadable(field, quoted(value), range_in_words(range));
            return *default;
        };
        if !number.is_some_and(|number| range.contains(&number)) {
            fields.refuse(field, quoted(value), range_in_words(range));
        }
        held
    }

    fn describe(&self) -> FieldDescription {
        FieldDescription {
            default: Some(self.0.into()),
            ..FieldDescription::new(NUMBER, range_in_words(&self.1))
        }
    }
}

fn range_in_words(range: &RangeInclusive<u64>) -> String {
    let (low, high) = (range.start(), range.end());
    format!("must be a whole number from {low} to {high}")
}

/// A whole number from 1 on that may be left out.
pub(crate) struct OptionalNumber<T>(u64, PhantomData<T>);

pub(crate) const fn optional_number<T>(most: u64) -> OptionalNumber<T> {
    OptionalNumber(most, PhantomData)
}

impl<T: TryFrom<u64> + Copy + Debug + Into<Value> + From<u8>> FieldRule for OptionalNumber<T> {
    type Value = Option<T>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Option<T> {
        let given = fields.has(field);
        let held = number(T::from(1), 1..=self.0).read(fields, field);
        given.then_some(held)
    }

    fn describe(&self) -> FieldDescription {
        FieldDescription {
            default: None,
            ..number(T::from(1), 1..=self.0).describe()
        }
    }

    fn is_left_out(&self, value: &Option<T>) -> bool {
        value.is_none()
    }
}

/// One of several numbers, each with what it means; the last is the default.
pub(crate) struct OneOfNumbers(pub &'static [(u8, &'static str)]);

impl OneOfNumbers {
    fn in_words(&self) -> String {
        let texts: Vec<String> = (self.0.iter())
            .map(|(number, meaning)| format!("{number} ({meaning})"))
            .collect();
        format!("must be {}", texts.join(" or "))
    }

    fn default(&self) -> u8 {
        self.0.last().map_or(0, |(number, _)| *number)
    }
}

impl FieldRule for OneOfNumbers {
    type Value = u8;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> u8 {
        let Some(value) = fields.take(field) else {
            return self.default();
        };
        let is_it = |(number, _): &&(u8, &str)| value.as_u64() == Some(u64::from(*number));
        match self.0.iter().find(is_it) {
            Some((number, _)) => *number,
            None => {
                fields.refuse_unreadable(field, quoted(value), self.in_words());
                self.default()
            }
        }
    }

    fn describe(&self) -> FieldDescription {
        FieldDescription {
            default: Some(self.default().into()),
            ..FieldDescription::new(NUMBER, self.in_words())
        }
    }
}

/// `true` or `false`; this where it is left out.
pub(crate) struct Flag(pub bool);

impl FieldRule for Flag {
    type Value = bool;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> bool {
        let Some(value) = fields.take(field) else {
            return self.0;
        };
        value.as_bool().unwrap_or_else(|| {
            fields.refuse_unreadable(field, quoted(value), "must be true or false");
            self.0
        })
    }

    fn describe(&self) -> FieldDescription {
        FieldDescription {
            default: Some(self.0.into()),
            ..FieldDescription::new("true or false", String::new())
        }
    }
}

/// One of several texts; the first of them where it is left out or bad.
pub(crate) struct OneOf<T> {
    is_required: bool,
    /// Whether the JSON form does without the default.
    leaves_default_out: bool,
    of: PhantomData<T>,
}

pub(crate) const fn one_of<T>() -> OneOf<T> {
    OneOf {
        is_required: false,
        leaves_default_out: false,
        of: PhantomData,
    }
}

pub(crate) const fn required_one_of<T>() -> OneOf<T> {
    OneOf {
        is_required: true,
        ..one_of()
    }
}

pub(crate) const fn one_of_left_out_by_default<T>() -> OneOf<T> {
    OneOf {
        leaves_default_out: true,
        ..one_of()
    }
}

impl<T: Choice> FieldRule for OneOf<T> {
    type Value = T;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> T {
        let default = T::CHOICES[0].1;
        let Some(value) = fields.take(field) else {
            if self.is_required {
                let problem = format!("is required; it {}", T::in_words());
                fields.refuse_unreadable(field, "", problem);
            }
            return default;
        };
        let is_it = |(text, _): &&(&str, T)| value.as_str() == Some(text);
        match T::CHOICES.iter().find(is_it) {
            Some((_, chosen)) => *chosen,
            None => {
                fields.refuse_unreadable(field, quoted(value), T::in_words());
                default
            }
        }
    }

    fn describe(&self) -> FieldDescription {
        FieldDescription {
            default: (!self.is_required).then(|| T::CHOICES[0].0.into()),
            is_required: self.is_required,
            ..FieldDescription::new(TEXT, T::in_words())
        }
    }

    fn is_left_out(&self, value: &T) -> bool {
        self.leaves_default_out && *value == T::CHOICES[0].1
    }
}

/// A list of different texts, at least one.
pub(crate) struct List {
    pub most: usize,
    pub rule: TextRule,
    pub default: &'static [&'static str],
}

impl FieldRule for List {
    type Value = Vec<String>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Vec<String> {
        let default = || self.default.iter().map(|it| (*it).to_owned()).collect();
        let Some(value) = fields.take(field) else {
            return default();
        };
        let Some(list) = value.as_array() else {
            fields.refuse_unreadable(field, quoted(value), "must be a list of texts");
            return default();
        };
        fields.list(field, list, self.most, self.rule)
    }

    fn describe(&self) -> FieldDescription {
        FieldDescription {
            default: Some(self.default.into()),
            ..FieldDescription::new(
                "list of texts",
                format!(
                    "must list 1 to {} values, of which each {}",
                    self.most,
                    in_words(self.rule)
                ),
            )
        }
    }
}

/// An object with fields of its own, each with a default.
pub(crate) struct Nested<T>(PhantomData<T>);

pub(crate) const fn nested<T>() -> Nested<T> {
    Nested(PhantomData)
}

impl<T: Declared + Debug> FieldRule for Nested<T> {
    type Value = T;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> T {
        fields.nested(field, T::read_fields)
    }

    fn describe(&self) -> FieldDescription {
        FieldDescription {
            fields: T::FIELDS,
            ..FieldDescription::new("object", String::new())
        }
    }
}
