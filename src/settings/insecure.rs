//! The setting `insecure`: listeners that may be open to the network without TLS.

use super::{layers::SettingValue, reader::SettingsReader};

const WHAT: &str = "must be true, false, or a list of what may listen beyond loopback without TLS: \"http\", \"admin\", \"peer\", \"zmq\"";

/// A name in the list that is none of the four.
#[derive(Debug, thiserror::Error)]
#[error("{}", WHAT)]
struct UnknownFace;

/// Listeners that may be reached beyond loopback without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsecureFaces {
    /// The port of the services.
    pub http: bool,
    /// The port of REST, health and metrics: whoever reaches it commands the cluster.
    pub admin: bool,
    /// The port for members, with the same power.
    pub peer: bool,
    /// Sockets of ZeroMQ that bind.
    pub zmq: bool,
}

impl InsecureFaces {
    /// All listeners.
    pub const ALL: InsecureFaces = InsecureFaces {
        http: true,
        admin: true,
        peer: true,
        zmq: true,
    };

    /// Returns true if any listener may.
    pub fn any(self) -> bool {
        self != InsecureFaces::default()
    }

    /// Returns the names, in the settings, of those that may.
    pub fn names(self) -> Vec<&'static str> {
        let InsecureFaces {
            http,
            admin,
            peer,
            zmq,
        } = self;
        let faces = [
            (http, "http"),
            (admin, "admin"),
            (peer, "peer"),
            (zmq, "zmq"),
        ];
        faces
            .into_iter()
            .filter_map(|(may, name)| may.then_some(name))
            .collect()
    }

    fn add(&mut self, name: &str) -> Result<(), UnknownFace> {
        match name {
            "http" => self.http = true,
            "admin" => self.admin = true,
            "peer" => self.peer = true,
            "zmq" => self.zmq = true,
            _ => return Err(UnknownFace),
        }
        Ok(())
    }
}

/// Reads `insecure`: a boolean or a list.
pub(super) fn read(r: &mut SettingsReader) -> InsecureFaces {
    let Some(given) = r.take("insecure") else {
        return InsecureFaces::default();
    };
    let names: Vec<&str> = match &given.value {
        SettingValue::Boolean(false) => return InsecureFaces::default(),
        SettingValue::Boolean(true) => return all(r),
        SettingValue::Untyped(text) if text == "true" => return all(r),
        SettingValue::Untyped(text) if text == "false" => return InsecureFaces::default(),
        SettingValue::Untyped(text) => text.split(',').map(str::trim).collect(),
        SettingValue::List(names) => names.iter().map(String::as_str).collect(),
        _ => {
            r.bad("insecure", Some(&given), WHAT);
            return InsecureFaces::default();
        }
    };
    let mut faces = InsecureFaces::default();
    for name in names {
        if let Err(problem) = faces.add(name) {
            r.bad("insecure", Some(&given), problem.to_string());
            return InsecureFaces::default();
        }
    }
    faces
}

fn all(r: &mut SettingsReader) -> InsecureFaces {
    r.warn("insecure = true lets every face listen beyond loopback without TLS, also those that a later change binds there: name those that should, for example insecure = [\"http\"]");
    InsecureFaces::ALL
}
