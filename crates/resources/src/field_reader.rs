//! Reader of the fields of a JSON object, which collects the errors of all of them.
//!
//! A value that breaks a rule is read all the same: members whose rules are others read the same
//! log. A field, a type of value or a choice that this program does not know is no matter of
//! rules, and kept apart ([`ParseOutcome`]).

use std::{borrow::Cow, fmt::Display, sync::LazyLock};

use quorate_proto::command::FieldError;
use serde_json::{Map, Value};

use crate::declaration::TextChoice;

/// Rule of a text; the error says what would be right.
pub(super) type TextRule<E> = fn(&str) -> Result<(), E>;

/// The longest value that is quoted in an error, in characters.
const QUOTED_MAX: usize = 80;

/// Value that was read, and what is wrong with it.
pub(super) struct ParseOutcome<T> {
    /// The same for every member that finds nothing unknown, whatever its rules.
    pub value: T,
    /// All that is wrong, for the one that proposes it.
    pub errors: Vec<FieldError>,
    /// What this program does not know: where it stands in the log, another version wrote it.
    pub unknown: Vec<FieldError>,
}

impl<T> ParseOutcome<T> {
    pub(crate) fn map<U>(self, make: impl FnOnce(T) -> U) -> ParseOutcome<U> {
        ParseOutcome {
            value: make(self.value),
            errors: self.errors,
            unknown: self.unknown,
        }
    }
}

/// Object that is read in place of a value that is none.
static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

pub(super) struct FieldReader<'a> {
    /// Stands before the names of fields in errors: `on_failure.`
    prefix: String,
    map: &'a Map<String, Value>,
    known: Vec<&'static str>,
    /// Those that were refused by name, with their reason.
    barred: Vec<&'static str>,
    errors: Vec<FieldError>,
    unknown: Vec<FieldError>,
}

impl<'a> FieldReader<'a> {
    pub(crate) fn new(spec: &'a Value) -> Self {
        let mut fields = FieldReader::over(String::new(), &NOTHING);
        match spec.as_object() {
            Some(map) => fields.map = map,
            None => {
                let problem = "must be an object with the resource's fields";
                fields.refuse_unreadable("", &quoted(spec), problem);
            }
        }
        fields
    }

    fn over(prefix: String, map: &'a Map<String, Value>) -> Self {
        FieldReader {
            prefix,
            map,
            known: Vec::new(),
            barred: Vec::new(),
            errors: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Whether the field is there. `null` counts as left out.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.value(field).is_some()
    }

    fn value(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    /// Takes the value of a field, which is known from then on.
    pub(crate) fn take(&mut self, field: &'static str) -> Option<GivenValue<'_, 'a>> {
        self.known.push(field);
        let value = self.value(field)?;
        Some(GivenValue {
            place: field.into(),
            value,
            quote: quoted,
            fields: self,
        })
    }

    fn error(&self, field: &str, value: &str, problem: impl Display) -> FieldError {
        FieldError {
            field: format!("{}{field}", self.prefix),
            value: shortened(value),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn refuse(&mut self, field: &str, value: &str, problem: impl Display) {
        self.errors.push(self.error(field, value, problem));
    }

    /// Refuses what this program can't read, whatever its rules.
    pub(crate) fn refuse_unreadable(&mut self, field: &str, value: &str, problem: impl Display) {
        self.not_known(field, value, &problem);
        self.refuse(field, value, problem);
    }

    /// Marks a value that a rule refuses as one that this program can't read either.
    pub(crate) fn not_known(&mut self, field: &str, value: &str, problem: impl Display) {
        self.unknown.push(self.error(field, value, problem));
    }

    /// Refuses a field that users may expect and that is not to be had. Its value may be
    /// a secret and is not shown.
    pub(crate) fn refuse_unsupported(&mut self, field: &'static str, why: &str) {
        if self.has(field) {
            self.barred.push(field);
            self.refuse_unreadable(field, "", why);
        }
    }

    /// Reads an object within this one; of one that is missing or none, its defaults.
    pub(crate) fn nested<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut FieldReader<'a>) -> T,
    ) -> T {
        let map = self.take(field).and_then(|mut given| {
            let map = given.value.as_object();
            if map.is_none() {
                given.refuse_unreadable("must be an object with fields of its own");
            }
            map
        });
        let prefix = format!("{}{field}.", self.prefix);
        let mut inner = FieldReader::over(prefix, map.unwrap_or(&NOTHING));
        let it = read(&mut inner);
        inner.refuse_unknown();
        self.errors.append(&mut inner.errors);
        self.unknown.append(&mut inner.unknown);
        it
    }

    /// Reads a list of objects, at least one, each with fields of its own.
    pub(crate) fn nested_list<T>(
        &mut self,
        field: &'static str,
        most: usize,
        read: impl Fn(&mut FieldReader<'a>) -> T,
    ) -> Vec<T> {
        let Some(mut given) = self.take(field) else {
            self.refuse_unreadable(field, "", "is required; it must be a list of objects");
            return Vec::new();
        };
        let Some(list) = given.value.as_array() else {
            given.refuse_unreadable("must be a list of objects");
            return Vec::new();
        };
        if list.is_empty() || list.len() > most {
            let count = format!("{} of them", list.len());
            self.refuse(field, &count, format!("must list 1 to {most} objects"));
        }
        let mut items = Vec::with_capacity(list.len());
        for (position, value) in list.iter().enumerate() {
            let place = format!("{field}[{position}]");
            let map = value.as_object();
            if map.is_none() {
                let problem = "must be an object with fields of its own";
                self.refuse_unreadable(&place, &quoted(value), problem);
            }
            let prefix = format!("{}{place}.", self.prefix);
            let mut inner = FieldReader::over(prefix, map.unwrap_or(&NOTHING));
            items.push(read(&mut inner));
            inner.refuse_unknown();
            self.errors.append(&mut inner.errors);
            self.unknown.append(&mut inner.unknown);
        }
        items
    }

    fn refuse_unknown(&mut self) {
        let map = self.map;
        for field in map.keys().map(String::as_str) {
            if self.known.contains(&field) || self.barred.contains(&field) {
                continue;
            }
            let known = self.known.join(", ");
            let problem = format!("there is no such field; the fields are {known}");
            // The value is not shown: it may be a secret under a misspelt name.
            self.refuse_unreadable(&shortened(field), "", problem);
        }
    }

    /// Returns the value that was read, with all errors.
    pub(crate) fn finish<T>(mut self, it: T) -> ParseOutcome<T> {
        self.refuse_unknown();
        ParseOutcome {
            value: it,
            errors: self.errors,
            unknown: self.unknown,
        }
    }
}

/// Value that is there, at its place among the fields.
pub(super) struct GivenValue<'r, 'a> {
    fields: &'r mut FieldReader<'a>,
    place: Cow<'static, str>,
    pub value: &'a Value,
    quote: fn(&Value) -> String,
}

impl<'a> GivenValue<'_, 'a> {
    /// Keeps the value out of errors.
    pub(crate) fn hide(&mut self) {
        self.quote = |_| "(hidden)".to_owned();
    }

    pub(crate) fn refuse(&mut self, problem: impl Display) {
        self.fields
            .refuse(&self.place, &(self.quote)(self.value), problem);
    }

    /// Refuses what this program can't read, whatever its rules.
    pub(crate) fn refuse_unreadable(&mut self, problem: impl Display) {
        self.fields
            .refuse_unreadable(&self.place, &(self.quote)(self.value), problem);
    }

    /// Marks a value that a rule refuses as one that this program can't read either.
    pub(crate) fn not_known(&mut self, problem: impl Display) {
        self.fields
            .not_known(&self.place, &(self.quote)(self.value), problem);
    }

    /// Reads a text.
    pub(crate) fn text<E: Display>(
        &mut self,
        rule: impl Fn(&str) -> Result<(), E>,
    ) -> Option<String> {
        let Some(text) = self.value.as_str() else {
            self.refuse_unreadable(must_be_text(self.value));
            return None;
        };
        if let Err(problem) = rule(text) {
            self.refuse(problem);
        }
        Some(text.to_owned())
    }

    /// Reads a list of different choices, at least one.
    pub(crate) fn choices<T: TextChoice + PartialEq>(&mut self) -> Option<Vec<T>> {
        let list = self.value.as_array().map_or(&[][..], Vec::as_slice);
        let choice = |it: &Value| {
            let is_it = |(text, _): &&(&str, T)| it.as_str() == Some(text);
            T::CHOICES.iter().find(is_it).map(|(_, choice)| *choice)
        };
        let chosen: Option<Vec<T>> = list.iter().map(choice).collect();
        let Some(chosen) = chosen.filter(|it| !it.is_empty()) else {
            self.refuse_unreadable(format!("must be a list; each of it {}", T::in_words()));
            return None;
        };
        if (1..chosen.len()).any(|at| chosen[..at].contains(&chosen[at])) {
            self.refuse("has one of them twice");
        }
        Some(chosen)
    }

    /// Reads what must be a list of different texts, at least one.
    pub(crate) fn texts<E: Display>(
        &mut self,
        most: usize,
        rule: TextRule<E>,
    ) -> Option<Vec<String>> {
        let Some(list) = self.value.as_array() else {
            self.refuse_unreadable("must be a list of texts");
            return None;
        };
        Some(self.list(list, most, rule))
    }

    /// Reads a list of different texts, at least one.
    pub(crate) fn list<E: Display>(
        &mut self,
        list: &'a [Value],
        most: usize,
        rule: TextRule<E>,
    ) -> Vec<String> {
        if list.is_empty() || list.len() > most {
            let count = format!("{} of them", list.len());
            let problem = format!("must list 1 to {most} values");
            self.fields.refuse(&self.place, &count, problem);
        }
        let mut texts: Vec<String> = Vec::with_capacity(list.len());
        for (position, value) in list.iter().enumerate() {
            let mut element = GivenValue {
                place: format!("{}[{position}]", self.place).into(),
                value,
                quote: self.quote,
                fields: self.fields,
            };
            match value.as_str() {
                Some(text) if texts.iter().any(|seen| seen == text) => {
                    element.refuse("stands in the list twice");
                    texts.push(text.to_owned());
                }
                _ => texts.extend(element.text(rule)),
            }
        }
        texts
    }
}

fn must_be_text(value: &Value) -> String {
    match value {
        Value::Number(_) | Value::Bool(_) => "must be a text: put it in quotes".into(),
        _ => "must be a text".into(),
    }
}

/// A value as an error shows it: short, and without the credentials of a URL.
pub(super) fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains("://") && text.contains('@') => "(hidden)".into(),
        Value::String(text) => shortened(text),
        // What stands inside could be secret, and where it should not be it says nothing.
        Value::Object(_) => "an object".into(),
        Value::Array(_) => "a list".into(),
        other => shortened(&other.to_string()),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
