//! The reader of typed values in the layers, which collects errors and warnings.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, time::Duration};

use quorate_platform::ip_network::IpNetwork;

use super::{
    LogFormat,
    error::BadSetting,
    layers::{GivenSetting, SettingValue, SettingsLayers, variable},
};

/// The text for a log level in errors.
pub const LOG_LEVEL: &str = "a level (off, error, warn, info, debug, trace), or levels by module: \"info,quorate_raft=debug\"";

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Returns true if a text is a [log level](LOG_LEVEL).
pub fn is_log_level(text: &str) -> bool {
    text.split(',').all(|part| {
        let (target, level) = part.split_once('=').unwrap_or(("all", part));
        !target.trim().is_empty() && LEVELS.contains(&level.trim())
    })
}

/// The reader of settings, one by one. After a bad value it goes on with the default, so that the
/// next one is checked too.
pub(super) struct SettingsReader {
    layers: SettingsLayers,
    known: Vec<String>,
    errors: Vec<BadSetting>,
    warnings: Vec<String>,
}

impl SettingsReader {
    pub(super) fn new(layers: SettingsLayers) -> Self {
        SettingsReader {
            layers,
            known: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Returns errors and warnings, once every setting has been read: the keys that are left mean
    /// nothing.
    pub(super) fn finish(mut self) -> (Vec<BadSetting>, Vec<String>) {
        for (key, given) in std::mem::take(&mut self.layers.given) {
            let problem = match nearest(&key, &self.known) {
                Some(near) => format!("there is no such setting; did you mean {near}?"),
                None => format!(
                    "there is no such setting; the settings are {}",
                    self.known.join(", ")
                ),
            };
            self.bad(&key, Some(&given), problem);
        }
        // A warning and no refusal: platforms invent variables, for example Kubernetes
        // QUORATE_PORT for a service that is called quorate.
        let variables: Vec<String> = self.known.iter().map(|key| variable(key)).collect();
        for name in self.layers.environment.keys() {
            let hint = nearest(name, &variables).map(|near| format!("; did you mean {near}?"));
            let hint = hint.unwrap_or_default();
            self.warnings.push(format!(
                "the environment variable {name} sets nothing{hint}"
            ));
        }
        (self.errors, self.warnings)
    }

    /// Returns the number of errors so far.
    pub(super) fn errors(&self) -> usize {
        self.errors.len()
    }

    /// Records an error.
    pub(super) fn bad(
        &mut self,
        key: &str,
        given: Option<&GivenSetting>,
        problem: impl Into<String>,
    ) {
        self.errors.push(BadSetting {
            key: key.to_owned(),
            value: given.map(|given| given.value.shown()),
            origin: given.map(|given| given.origin.clone()),
            problem: problem.into(),
        });
    }

    /// Records a warning.
    pub(super) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Returns true if a value was given for a key that has not been taken yet.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.layers.has(key)
    }

    /// Takes the value that was given for a key, if any.
    pub(super) fn take(&mut self, key: &str) -> Option<GivenSetting> {
        self.known.push(key.to_owned());
        self.layers.take(key)
    }

    /// Takes a setting of an earlier version, which sets nothing any more: a warning, so that an
    /// upgrade needs no edit of the file first.
    pub(super) fn retired(&mut self, key: &str, instead: &str) {
        if let Some(given) = self.layers.take(key) {
            let origin = given.origin;
            self.warnings
                .push(format!("{key} ({origin}) sets nothing any more: {instead}"));
        }
    }

    /// Reads a string and what it was given as; a bad one counts as not given.
    pub(super) fn text(&mut self, key: &str, what: &str) -> Option<(String, GivenSetting)> {
        let given = self.take(key)?;
        match &given.value {
            SettingValue::Text(text) | SettingValue::Untyped(text) if !text.trim().is_empty() => {
                Some((text.clone(), given))
            }
            _ => {
                self.bad(key, Some(&given), format!("must be {what}, as a string"));
                None
            }
        }
    }

    pub(super) fn name(&mut self, key: &str) -> Option<String> {
        let what = "1 to 63 letters, digits, dots, underscores or hyphens, beginning with a letter or digit";
        if !self.layers.given.contains_key(key)
            && !self.layers.environment.contains_key(&variable(key))
        {
            self.known.push(key.to_owned());
            self.bad(
                key,
                None,
                format!("is missing; every member needs a name of its own: {what}"),
            );
            return None;
        }
        let (text, given) = self.text(key, what)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if text.len() > 63
            || !text.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !text.chars().all(allowed)
        {
            self.bad(key, Some(&given), format!("must be {what}"));
            return None;
        }
        Some(text)
    }

    pub(super) fn path(&mut self, key: &str, default: &str) -> PathBuf {
        self.optional_path(key).unwrap_or_else(|| default.into())
    }

    pub(super) fn optional_path(&mut self, key: &str) -> Option<PathBuf> {
        self.text(key, "a path").map(|(text, _)| text.into())
    }

    pub(super) fn integer(&mut self, key: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.integer_since(key, default, range, "")
    }

    /// Reads an integer as [`SettingsReader::integer`] does, with the reason for the range.
    pub(super) fn integer_since(
        &mut self,
        key: &str,
        default: u64,
        range: RangeInclusive<u64>,
        since: &str,
    ) -> u64 {
        let Some(given) = self.take(key) else {
            return default;
        };
        let number = match &given.value {
            SettingValue::Integer(number) => u64::try_from(*number).ok(),
            SettingValue::Untyped(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if range.contains(&number) => number,
            _ => {
                let problem = format!(
                    "must be a whole number from {} to {}{since}",
                    range.start(),
                    range.end()
                );
                self.bad(key, Some(&given), problem);
                default
            }
        }
    }

    pub(super) fn boolean(&mut self, key: &str, default: bool) -> bool {
        let Some(given) = self.take(key) else {
            return default;
        };
        match &given.value {
            SettingValue::Boolean(truth) => *truth,
            SettingValue::Untyped(text) if text == "true" => true,
            SettingValue::Untyped(text) if text == "false" => false,
            _ => {
                self.bad(key, Some(&given), "must be true or false");
                default
            }
        }
    }

    pub(super) fn millis(
        &mut self,
        key: &str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> Duration {
        Duration::from_millis(self.integer(key, default, range))
    }

    /// Reads strings, as an array or with commas between them. `check` refuses a bad one. After a
    /// bad value the list counts as not given.
    pub(super) fn list<E: Display>(
        &mut self,
        key: &str,
        check: impl Fn(&str) -> Result<(), E>,
    ) -> Option<Vec<String>> {
        let given = self.take(key)?;
        let Some(texts) = several(&given.value) else {
            let problem = "must be strings, for example [\"a\", \"b\"] or \"a, b\"";
            self.bad(key, Some(&given), problem);
            return None;
        };
        let wrong = texts.iter().find_map(|it| Some((it, check(it).err()?)));
        if let Some((text, problem)) = wrong {
            self.bad(key, Some(&given), format!("{text:?} {problem}"));
            return None;
        }
        Some(texts)
    }

    /// Reads addresses and networks, in the same two forms.
    pub(super) fn networks(&mut self, key: &str, default: &str) -> Vec<IpNetwork> {
        let given = self.take(key);
        let texts = match &given {
            None => Some(parts(default)),
            Some(given) => several(&given.value),
        };
        let Some(texts) = texts else {
            let problem = "must be addresses or networks, for example [\"10.0.0.5\", \"fd00::/8\"] or \"10.0.0.5, fd00::/8\"";
            self.bad(key, given.as_ref(), problem);
            return Vec::new();
        };
        let networks = texts.iter().map(|it| it.parse::<IpNetwork>());
        let networks: Result<Vec<IpNetwork>, _> = networks.collect();
        networks.unwrap_or_else(|problem| {
            self.bad(key, given.as_ref(), problem.to_string());
            Vec::new()
        })
    }

    /// Reads one of these words. After a bad value the setting counts as not given.
    pub(super) fn choice<T: Copy + Default>(
        &mut self,
        key: &str,
        what: &str,
        words: &[(&str, T)],
    ) -> T {
        let Some((text, given)) = self.text(key, what) else {
            return T::default();
        };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => *value,
            None => {
                self.bad(key, Some(&given), format!("must be {what}"));
                T::default()
            }
        }
    }

    pub(super) fn log_level(&mut self, key: &str, default: &str) -> String {
        let Some((text, given)) = self.text(key, LOG_LEVEL) else {
            return default.to_owned();
        };
        if is_log_level(&text) {
            return text;
        }
        self.bad(key, Some(&given), format!("must be {LOG_LEVEL}"));
        default.to_owned()
    }

    pub(super) fn log_format(&mut self, key: &str) -> LogFormat {
        let what = "\"text\" or \"json\"";
        match self.text(key, what) {
            None => LogFormat::Text,
            Some((text, _)) if text == "text" => LogFormat::Text,
            Some((text, _)) if text == "json" => LogFormat::Json,
            Some((_, given)) => {
                self.bad(key, Some(&given), format!("must be {what}"));
                LogFormat::Text
            }
        }
    }
}

/// Returns strings of either form; `None` if the value is neither.
fn several(value: &SettingValue) -> Option<Vec<String>> {
    match value {
        SettingValue::List(texts) => Some(texts.clone()),
        SettingValue::Text(text) | SettingValue::Untyped(text) => Some(parts(text)),
        _ => None,
    }
}

/// Splits a text at commas; an empty text has no parts.
fn parts(text: &str) -> Vec<String> {
    let parts = text.split(',').map(str::trim).filter(|it| !it.is_empty());
    parts.map(str::to_owned).collect()
}

/// Returns the known word that was probably meant.
fn nearest<'a>(word: &str, known: &'a [String]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .map(|(_, candidate)| candidate.as_str())
}
