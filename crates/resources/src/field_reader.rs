//! Reads the fields of a JSON object one by one and collects what is wrong with
//! them, so that a user learns of every bad field at once.
//!
//! A value that breaks a rule is read all the same: what stands in the log is read by members
//! whose rules may be others. What this program can't read at all (a field, a type of value
//! or a choice that it does not know) is no matter of rules, and told apart ([`ParseOutcome`]).

use std::{ops::RangeInclusive, sync::LazyLock};

use quorate_proto::command::FieldError;
use serde_json::{Map, Value};

/// What a text must be; the error says what would be right.
pub(super) type TextRule = fn(&str) -> Result<(), String>;

/// The longest value that is quoted in an error, in characters.
const QUOTED_MAX: usize = 80;

/// What was read, and what is wrong with it.
pub(super) struct ParseOutcome<T> {
    /// The same for every member that finds nothing unknown, whatever its rules.
    pub value: T,
    /// All that is wrong, for the one that proposes it.
    pub errors: Vec<FieldError>,
    /// What this program does not know: where it stands in the log, another version wrote it.
    pub unknown: Vec<FieldError>,
}

/// What is read of something that is no object.
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
    pub fn new(spec: &'a Value) -> Self {
        let mut fields = FieldReader {
            prefix: String::new(),
            map: &NOTHING,
            known: Vec::new(),
            barred: Vec::new(),
            errors: Vec::new(),
            unknown: Vec::new(),
        };
        match spec.as_object() {
            Some(map) => fields.map = map,
            None => fields.refuse_unreadable(
                "",
                quoted(spec),
                "must be an object with the resource's fields",
            ),
        }
        fields
    }

    /// Whether the field is there. `null` counts as left out.
    pub fn has(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(|value| !value.is_null())
    }

    fn take(&mut self, field: &'static str) -> Option<&'a Value> {
        self.known.push(field);
        self.map.get(field).filter(|value| !value.is_null())
    }

    pub fn refuse(&mut self, field: &str, value: impl Into<String>, problem: impl Into<String>) {
        self.errors.push(FieldError {
            field: format!("{}{field}", self.prefix),
            value: shortened(&value.into()),
            problem: problem.into(),
        });
    }

    /// Refuses what this program can't read, whatever its rules.
    pub fn refuse_unreadable(
        &mut self,
        field: &str,
        value: impl Into<String>,
        problem: impl Into<String>,
    ) {
        self.refuse(field, value, problem);
        self.unknown.extend(self.errors.last().cloned());
    }

    /// Says of a value that a rule refuses that this program can't read it either.
    pub fn not_known(&mut self, field: &str, value: &str, problem: &str) {
        self.unknown.push(FieldError {
            field: format!("{}{field}", self.prefix),
            value: shortened(value),
            problem: problem.to_owned(),
        });
    }

    /// A text that may be left out.
    pub fn text(&mut self, field: &'static str, rule: TextRule) -> Option<String> {
        let value = self.take(field)?;
        self.read_text(field, value, rule, quoted)
    }

    fn read_text(
        &mut self,
        field: &str,
        value: &Value,
        rule: TextRule,
        shown: fn(&Value) -> String,
    ) -> Option<String> {
        let Some(text) = value.as_str() else {
            self.refuse_unreadable(field, shown(value), must_be_text(value));
            return None;
        };
        if let Err(problem) = rule(text) {
            self.refuse(field, shown(value), problem);
        }
        Some(text.to_owned())
    }

    /// A text that must be there; empty where it is not.
    pub fn required(&mut self, field: &'static str, rule: TextRule) -> String {
        if !self.has(field) {
            self.known.push(field);
            let wants = rule("")
                .err()
                .map(|wants| format!("; it {wants}"))
                .unwrap_or_default();
            self.refuse_unreadable(field, "", format!("is required{wants}"));
            return String::new();
        }
        self.text(field, rule).unwrap_or_default()
    }

    /// A text that is never quoted in an error.
    pub fn secret(&mut self, field: &'static str, rule: TextRule) -> Option<String> {
        let value = self.take(field)?;
        self.read_text(field, value, rule, |_| "(hidden)".into())
    }

    pub fn number<T: TryFrom<u64> + Copy>(
        &mut self,
        field: &'static str,
        default: T,
        range: RangeInclusive<u64>,
    ) -> T {
        let Some(value) = self.take(field) else {
            return default;
        };
        let (low, high) = (range.start(), range.end());
        let problem = || format!("must be a whole number from {low} to {high}");
        let number = value.as_u64();
        let Some(held) = number.and_then(|number| T::try_from(number).ok()) else {
            self.refuse_unreadable(field, quoted(value), problem());
            return default;
        };
        if !number.is_some_and(|number| range.contains(&number)) {
            self.refuse(field, quoted(value), problem());
        }
        held
    }

    pub fn flag(&mut self, field: &'static str, default: bool) -> bool {
        let Some(value) = self.take(field) else {
            return default;
        };
        value.as_bool().unwrap_or_else(|| {
            self.refuse_unreadable(field, quoted(value), "must be true or false");
            default
        })
    }

    pub fn one_of<T: Copy>(
        &mut self,
        field: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let value = self.take(field)?;
        let chosen = choices
            .iter()
            .find(|(text, _)| value.as_str() == Some(text));
        if chosen.is_none() {
            let texts: Vec<&str> = choices.iter().map(|(text, _)| *text).collect();
            self.refuse_unreadable(
                field,
                quoted(value),
                format!("must be {}", texts.join(" or ")),
            );
        }
        chosen.map(|(_, chosen)| *chosen)
    }

    /// One of several texts; the first of them where it is missing or bad.
    pub fn required_one_of<T: Copy>(
        &mut self,
        field: &'static str,
        choices: &[(&'static str, T)],
    ) -> T {
        if !self.has(field) {
            let texts: Vec<&str> = choices.iter().map(|(text, _)| *text).collect();
            self.refuse_unreadable(
                field,
                "",
                format!("is required; it must be {}", texts.join(" or ")),
            );
        }
        self.one_of(field, choices).unwrap_or(choices[0].1)
    }

    /// One of several numbers, each with what it means.
    pub fn one_of_numbers(&mut self, field: &'static str, choices: &[(u8, &str)]) -> Option<u8> {
        let value = self.take(field)?;
        let chosen = choices
            .iter()
            .find(|(number, _)| value.as_u64() == Some(u64::from(*number)));
        if chosen.is_none() {
            let texts: Vec<String> = choices
                .iter()
                .map(|(number, meaning)| format!("{number} ({meaning})"))
                .collect();
            self.refuse_unreadable(
                field,
                quoted(value),
                format!("must be {}", texts.join(" or ")),
            );
        }
        chosen.map(|(number, _)| *number)
    }

    /// Refuses a field that users may expect and that is not to be had. Its value may be
    /// a secret and is not shown.
    pub fn refuse_unsupported(&mut self, field: &'static str, why: &str) {
        if self.has(field) {
            self.barred.push(field);
            self.refuse_unreadable(field, "", why);
        }
    }

    /// A list of different texts, at least one.
    pub fn many(
        &mut self,
        field: &'static str,
        most: usize,
        rule: TextRule,
    ) -> Option<Vec<String>> {
        let value = self.take(field)?;
        let Some(list) = value.as_array() else {
            self.refuse_unreadable(field, quoted(value), "must be a list of texts");
            return None;
        };
        self.list(field, list, most, rule)
    }

    /// One text, or a list of different ones. Tells whether it stood alone.
    pub fn one_or_many(
        &mut self,
        field: &'static str,
        most: usize,
        rule: TextRule,
    ) -> Option<(Vec<String>, bool)> {
        match self.map.get(field) {
            Some(Value::Array(list)) => {
                self.known.push(field);
                Some((self.list(field, list, most, rule)?, false))
            }
            _ => Some((vec![self.text(field, rule)?], true)),
        }
    }

    fn list(
        &mut self,
        field: &'static str,
        list: &'a [Value],
        most: usize,
        rule: TextRule,
    ) -> Option<Vec<String>> {
        if list.is_empty() || list.len() > most {
            self.refuse(
                field,
                format!("{} of them", list.len()),
                format!("must list 1 to {most} values"),
            );
        }
        let mut texts: Vec<String> = Vec::with_capacity(list.len());
        for (position, value) in list.iter().enumerate() {
            let place = format!("{field}[{position}]");
            match value.as_str() {
                Some(text) if texts.iter().any(|seen| seen == text) => {
                    self.refuse(&place, quoted(value), "stands in the list twice");
                    texts.push(text.to_owned());
                }
                _ => texts.extend(self.read_text(&place, value, rule, quoted)),
            }
        }
        Some(texts)
    }

    /// The fields of an object within this one; give them back with [`FieldReader::absorb`].
    pub fn nested(&mut self, field: &'static str) -> Option<FieldReader<'a>> {
        let value = self.take(field)?;
        match value.as_object() {
            Some(map) => Some(FieldReader {
                prefix: format!("{}{field}.", self.prefix),
                map,
                known: Vec::new(),
                barred: Vec::new(),
                errors: Vec::new(),
                unknown: Vec::new(),
            }),
            None => {
                self.refuse_unreadable(
                    field,
                    quoted(value),
                    "must be an object with fields of its own",
                );
                None
            }
        }
    }

    pub fn absorb(&mut self, mut inner: FieldReader<'a>) {
        inner.refuse_unknown();
        self.errors.append(&mut inner.errors);
        self.unknown.append(&mut inner.unknown);
    }

    fn refuse_unknown(&mut self) {
        let map = self.map;
        for field in map
            .keys()
            .filter(|field| !self.known.contains(&field.as_str()))
            .filter(|field| !self.barred.contains(&field.as_str()))
        {
            // The value is not shown: it may be a secret under a misspelt name.
            let problem = format!(
                "there is no such field; the fields are {}",
                self.known.join(", ")
            );
            let error = FieldError {
                field: format!("{}{}", self.prefix, shortened(field)),
                value: String::new(),
                problem,
            };
            self.unknown.push(error.clone());
            self.errors.push(error);
        }
    }

    /// What was read, with all that is wrong.
    pub fn finish<T>(mut self, it: T) -> ParseOutcome<T> {
        self.refuse_unknown();
        let FieldReader {
            errors, unknown, ..
        } = self;
        ParseOutcome {
            value: it,
            errors,
            unknown,
        }
    }
}

fn must_be_text(value: &Value) -> String {
    match value {
        Value::Number(_) | Value::Bool(_) => "must be a text: put it in quotes".into(),
        _ => "must be a text".into(),
    }
}

/// A value as an error shows it: short, and without the credentials of a URL.
fn quoted(value: &Value) -> String {
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
