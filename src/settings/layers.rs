//! The layers that settings come from, flattened to `key -> value and origin`.
//!
//! A later layer replaces the value of an earlier one.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A value as it was given.
#[derive(Clone, Debug)]
pub(super) enum SettingValue {
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array of strings.
    List(Vec<String>),
    /// Text from the environment or a flag, whatever type the setting has.
    Untyped(String),
    /// A value that no setting takes, as it is written.
    Other(String),
}

impl SettingValue {
    /// Shows the value as in errors.
    pub(super) fn shown(&self) -> String {
        match self {
            SettingValue::Text(text) | SettingValue::Untyped(text) => format!("{text:?}"),
            SettingValue::Integer(number) => number.to_string(),
            SettingValue::Boolean(truth) => truth.to_string(),
            SettingValue::List(texts) => format!("{texts:?}"),
            SettingValue::Other(text) => text.clone(),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct GivenSetting {
    pub(super) value: SettingValue,
    pub(super) origin: String,
}

/// The file's sections.
const SECTIONS: [&str; 11] = [
    "http",
    "admin",
    "peer",
    "tls",
    "log",
    "snapshot",
    "ibm_mq",
    "zmq",
    "egress",
    "security",
    "connectors",
    "audit",
];

/// The prefix of every environment variable that sets something.
const PREFIX: &str = "QUORATE_";

/// Variables that are read elsewhere.
const OTHER_VARIABLES: [&str; 8] = [
    "QUORATE_ADMIN",
    "QUORATE_CONFIG",
    "QUORATE_SOCKET",
    "QUORATE_TOKEN",
    "QUORATE_TOKEN_FILE",
    "QUORATE_CA",
    "QUORATE_CERT",
    "QUORATE_KEY",
];

fn is_read_elsewhere(name: &str) -> bool {
    #[cfg(feature = "mutants")]
    if name == quorate_planted::VARIABLE {
        return true;
    }
    OTHER_VARIABLES.contains(&name)
}

/// The settings that were given.
#[derive(Debug, Default)]
pub(super) struct SettingsLayers {
    /// Values by key.
    pub(super) given: BTreeMap<String, GivenSetting>,
    /// Values by variable; the key of each is known when the keys are read.
    pub(super) environment: BTreeMap<String, String>,
}

impl SettingsLayers {
    pub(super) fn from_file(text: &str) -> Result<SettingsLayers, toml::de::Error> {
        let table = DeTable::parse(text)?;
        let mut layers = SettingsLayers::default();
        flatten(text, "", table.get_ref(), &mut layers.given);
        Ok(layers)
    }

    pub(super) fn add_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) {
        self.environment.extend(
            variables
                .into_iter()
                .filter(|(name, _)| name.starts_with(PREFIX) && !is_read_elsewhere(name)),
        );
    }

    pub(super) fn add_flags(&mut self, flags: &[(String, String)]) {
        for (key, value) in flags {
            // A flag outranks the environment's variable for the same key.
            self.environment.remove(&variable(key));
            let value = SettingValue::Untyped(value.clone());
            self.given.insert(
                key.clone(),
                GivenSetting {
                    value,
                    origin: "given as a flag".into(),
                },
            );
        }
    }

    /// Returns true if a value was given for a key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.given.contains_key(key) || self.environment.contains_key(&variable(key))
    }

    /// Takes the value of a key out of the layers.
    pub(super) fn take(&mut self, key: &str) -> Option<GivenSetting> {
        let below = self.given.remove(key);
        let name = variable(key);
        match self.environment.remove(&name) {
            Some(value) => Some(GivenSetting {
                value: SettingValue::Untyped(value),
                origin: name,
            }),
            None => below,
        }
    }
}

/// Returns the variable that stands for a key.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

fn flatten(
    text: &str,
    prefix: &str,
    table: &DeTable<'_>,
    into: &mut BTreeMap<String, GivenSetting>,
) {
    for (name, value) in table.iter() {
        let key = format!("{prefix}{}", name.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            // An empty section says nothing; an unknown one should still be noticed.
            if inner.is_empty() && !SECTIONS.contains(&key.as_str()) {
                insert(
                    text,
                    key,
                    SettingValue::Other("{}".into()),
                    name.span(),
                    into,
                );
            } else {
                flatten(text, &format!("{key}."), inner, into);
            }
            continue;
        }
        let parsed = match value.get_ref() {
            DeValue::String(string) => SettingValue::Text(string.to_string()),
            DeValue::Boolean(truth) => SettingValue::Boolean(*truth),
            DeValue::Array(items) => {
                strings(items).map_or_else(|| as_written(text, value.span()), SettingValue::List)
            }
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .map_or_else(|_| as_written(text, value.span()), SettingValue::Integer),
            _ => as_written(text, value.span()),
        };
        insert(text, key, parsed, name.span(), into);
    }
}

/// Returns the strings of an array that has nothing else.
fn strings(items: &[Spanned<DeValue<'_>>]) -> Option<Vec<String>> {
    let string = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::String(string) => Some(string.to_string()),
        _ => None,
    };
    items.iter().map(string).collect()
}

fn as_written(text: &str, span: Range<usize>) -> SettingValue {
    SettingValue::Other(text.get(span).unwrap_or("?").to_owned())
}

fn insert(
    text: &str,
    key: String,
    value: SettingValue,
    at: Range<usize>,
    into: &mut BTreeMap<String, GivenSetting>,
) {
    let line = text
        .get(..at.start)
        .map_or(1, |before| before.matches('\n').count() + 1);
    into.insert(
        key,
        GivenSetting {
            value,
            origin: format!("line {line}"),
        },
    );
}
