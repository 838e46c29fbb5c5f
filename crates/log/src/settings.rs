//! How a log is written, and how a process hands that on to those that it starts.

/// How the log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or several with targets: `info,quorate_raft=debug`.
    pub level: String,
    /// For people or for programs.
    pub format: LogFormat,
}

/// The form of a line of log.
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
    /// The variables by which a process that is started has the same log: those that stand
    /// for `log.level` and `log.format` anyway.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let format = match self.format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        [(LEVEL, self.level.clone()), (FORMAT, format.to_owned())]
    }

    /// What the process that has started this one has said.
    pub fn from_environment() -> LogSettings {
        let said = |name| std::env::var(name).ok();
        LogSettings {
            level: said(LEVEL).unwrap_or_else(|| LogSettings::default().level),
            format: match said(FORMAT).as_deref() {
                Some("json") => LogFormat::Json,
                _ => LogFormat::Text,
            },
        }
    }
}
