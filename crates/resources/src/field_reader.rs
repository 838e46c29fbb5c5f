//! Reader of the fields of a JSON object, which collects the errors of all of them.
//!
//! A value that breaks a rule is read all the same: members whose rules are others read the same
//! log. A field, a type of value or a choice that this program does not know is no matter of
//! rules, and kept apart ([`ParseOutcome`]).

use std::sync::LazyLock;

use quorate_proto::command::FieldError;
use serde_json::{Map, Value};

/// Rule of a text; the error says what would be right.
pub(super) type TextRule = fn(&str) -> Result<(), String>;

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
    pub fn new(spec: &'a Value) -> Self {
        let mut fields = FieldReader::over(String::new(), &NOTHING);
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
    pub fn has(&self, field: &str) -> bool {
        self.value(field).is_some()
    }

    pub fn value(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    /// Takes the value of a field, which is known from then on.
    pub fn take(&mut self, field: &'static str) -> Option<&'a Value> {
        self.known.push(field);
        self.value(field)
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

    /// Marks a value that a rule refuses as one that this program can't read either.
    pub fn not_known(&mut self, field: &str, value: &str, problem: &str) {
        self.unknown.push(FieldError {
            field: format!("{}{field}", self.prefix),
            value: shortened(value),
            problem: problem.to_owned(),
        });
    }

    /// Reads a text that must be there; errors quote it as `shown` says.
    pub fn read_text(
        &mut self,
        field: &str,
        value: &Value,
        rule: impl Fn(&str) -> Result<(), String>,
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

    /// Refuses a field that users may expect and that is not to be had. Its value may be
    /// a secret and is not shown.
    pub fn refuse_unsupported(&mut self, field: &'static str, why: &str) {
        if self.has(field) {
            self.barred.push(field);
            self.refuse_unreadable(field, "", why);
        }
    }

    /// Reads a list of different texts, at least one.
    pub fn list(
        &mut self,
        field: &'static str,
        list: &[Value],
        most: usize,
        rule: TextRule,
    ) -> Vec<String> {
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
        texts
    }

    /// Reads an object within this one; of one that is missing or none, its defaults.
    pub fn nested<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut FieldReader<'a>) -> T,
    ) -> T {
        let value = self.take(field);
        let map = value.and_then(Value::as_object);
        if let (Some(value), None) = (value, map) {
            let problem = "must be an object with fields of its own";
            self.refuse_unreadable(field, quoted(value), problem);
        }
        let prefix = format!("{}{field}.", self.prefix);
        let mut inner = FieldReader::over(prefix, map.unwrap_or(&NOTHING));
        let it = read(&mut inner);
        inner.refuse_unknown();
        self.errors.append(&mut inner.errors);
        self.unknown.append(&mut inner.unknown);
        it
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

    /// Returns the value that was read, with all errors.
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
