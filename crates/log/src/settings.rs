//! Settings of a log, and their way to child processes.

/// Settings of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Level, or several with targets: `info,quorate_raft=debug`.
    pub level: String,
    /// Format: for people or for programs.
    pub format: LogFormat,
}

/// Format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

const LEVEL: &str = "QUORATE_LOG_LEVEL";
const FORMAT: &str = "QUORATE_LOG_FORMAT";

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl LogSettings {
    /// Returns the environment variables by which a child process has the same log: those that
    /// stand for `log.level` and `log.format` anyway.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let format = match self.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        [(LEVEL, self.level.clone()), (FORMAT, format.to_owned())]
    }

    /// Returns the settings that the parent process has passed on.
    pub fn from_environment() -> LogSettings {
        let variable = |name| std::env::var(name).ok();
        LogSettings {
            level: variable(LEVEL).unwrap_or_else(|| LogSettings::default().level),
            format: match variable(FORMAT).as_deref() {
                Some("json") => LogFormat::Json,
                _ => LogFormat::Text,
            },
        }
    }
}
