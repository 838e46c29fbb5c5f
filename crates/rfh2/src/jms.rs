//! JMS's fields in the folders `mcd`, `jms` and `usr`.

use crate::{FolderElement, PropertyValue, Rfh2Error, Rfh2Header};

/// Class of a message's body (`mcd.Msd`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JmsMessageClass {
    /// TextMessage.
    Text,
    /// BytesMessage.
    #[default]
    Bytes,
    /// Message without a body.
    None,
    /// Another class: jms_map, jms_stream, jms_object, or one of IBM's integration products.
    Other(String),
}

impl JmsMessageClass {
    /// Returns the name in `mcd`.
    pub fn name(&self) -> &str {
        match self {
            JmsMessageClass::Text => "jms_text",
            JmsMessageClass::Bytes => "jms_bytes",
            JmsMessageClass::None => "jms_none",
            JmsMessageClass::Other(name) => name,
        }
    }

    /// Returns the class of this name in `mcd`.
    pub fn named(name: &str) -> Self {
        match name {
            "jms_text" => JmsMessageClass::Text,
            "jms_bytes" => JmsMessageClass::Bytes,
            "jms_none" => JmsMessageClass::None,
            other => JmsMessageClass::Other(other.to_owned()),
        }
    }
}

/// Content of the folders `mcd`, `jms` and `usr`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JmsFolders {
    /// `mcd.Msd`; `None` where it is missing.
    pub class: Option<JmsMessageClass>,
    /// `mcd.Type`: JMSType.
    pub kind: Option<String>,
    /// `jms.Dst`: JMSDestination.
    pub destination: Option<String>,
    /// `jms.Rto`: JMSReplyTo.
    pub reply_to: Option<String>,
    /// `jms.Cid`: JMSCorrelationID, where it is not the descriptor's.
    pub correlation_id: Option<String>,
    /// `jms.Pri`: JMSPriority.
    pub priority: Option<i32>,
    /// `jms.Dlv`: JMSDeliveryMode: 1 non-persistent, 2 persistent.
    pub delivery_mode: Option<i32>,
    /// `jms.Exp`: JMSExpiration, in milliseconds since 1970.
    pub expiration_ms: Option<i64>,
    /// `jms.Tms`: JMSTimestamp, in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// `jms.Gid`: JMSXGroupID.
    pub group_id: Option<String>,
    /// `jms.Seq`: JMSXGroupSeq.
    pub group_sequence: Option<i32>,
    /// `jms.Uci`: value from which another JMS client made the message's id, in hexadecimal digits.
    pub client_id: Option<String>,
    /// `usr`: the sender's properties.
    pub properties: Vec<(String, PropertyValue)>,
}

impl JmsFolders {
    /// Collects the fields from a message's headers; a later header adds to those before.
    pub fn read(headers: &[Rfh2Header]) -> Result<Self, Rfh2Error> {
        let mut jms = JmsFolders::default();
        for folder in headers.iter().flat_map(|header| &header.folders) {
            match folder.name.as_str() {
                "mcd" => {
                    jms.class = folder.get("Msd").map(JmsMessageClass::named).or(jms.class);
                    jms.kind = owned(folder, "Type").or(jms.kind);
                }
                "jms" => jms.read_jms(folder)?,
                "usr" => collect(folder, "", &mut jms.properties)?,
                _ => {}
            }
        }
        Ok(jms)
    }

    fn read_jms(&mut self, folder: &FolderElement) -> Result<(), Rfh2Error> {
        for (name, to) in [
            ("Dst", &mut self.destination),
            ("Rto", &mut self.reply_to),
            ("Cid", &mut self.correlation_id),
            ("Gid", &mut self.group_id),
            ("Uci", &mut self.client_id),
        ] {
            *to = owned(folder, name).or(to.take());
        }
        self.priority = number(folder, "Pri")?.or(self.priority);
        self.delivery_mode = number(folder, "Dlv")?.or(self.delivery_mode);
        self.expiration_ms = number(folder, "Exp")?.or(self.expiration_ms);
        self.timestamp_ms = number(folder, "Tms")?.or(self.timestamp_ms);
        self.group_sequence = number(folder, "Seq")?.or(self.group_sequence);
        Ok(())
    }

    /// Returns the fields as folders of a header.
    pub fn write(&self) -> Result<Vec<FolderElement>, Rfh2Error> {
        let mut mcd = Vec::new();
        if let Some(class) = &self.class {
            mcd.push(FolderElement::text("Msd", class.name()));
        }
        mcd.extend(
            self.kind
                .as_ref()
                .map(|kind| FolderElement::text("Type", kind)),
        );
        let mut jms = Vec::new();
        let mut say = |name: &str, text: Option<String>| {
            jms.extend(text.map(|text| FolderElement::text(name, text)));
        };
        say("Dst", self.destination.clone());
        say("Rto", self.reply_to.clone());
        say("Tms", self.timestamp_ms.map(|it| it.to_string()));
        say("Exp", self.expiration_ms.map(|it| it.to_string()));
        say("Cid", self.correlation_id.clone());
        say("Pri", self.priority.map(|it| it.to_string()));
        say("Dlv", self.delivery_mode.map(|it| it.to_string()));
        say("Gid", self.group_id.clone());
        say("Seq", self.group_sequence.map(|it| it.to_string()));
        say("Uci", self.client_id.clone());
        let mut folders = vec![
            FolderElement::folder("mcd", mcd),
            FolderElement::folder("jms", jms),
        ];
        if !self.properties.is_empty() {
            let mut usr = Vec::new();
            for (name, value) in &self.properties {
                if !identifier(name) {
                    return Err(Rfh2Error::Name(name.clone()));
                }
                usr.push(value.write(name));
            }
            folders.push(FolderElement::folder("usr", usr));
        }
        folders.retain(|folder| !folder.children.is_empty());
        Ok(folders)
    }
}

/// Collects properties; those in a group get the names of both, with a dot between.
fn collect(
    folder: &FolderElement,
    prefix: &str,
    to: &mut Vec<(String, PropertyValue)>,
) -> Result<(), Rfh2Error> {
    for child in &folder.children {
        let name = format!("{prefix}{}", child.name);
        if child.children.is_empty() {
            to.push((name, PropertyValue::read(child)?));
        } else {
            collect(child, &format!("{name}."), to)?;
        }
    }
    Ok(())
}

fn owned(folder: &FolderElement, name: &str) -> Option<String> {
    folder.get(name).map(str::to_owned)
}

fn number<N: std::str::FromStr>(
    folder: &FolderElement,
    name: &str,
) -> Result<Option<N>, Rfh2Error> {
    let Some(text) = folder.get(name) else {
        return Ok(None);
    };
    text.trim().parse().map(Some).map_err(|_| Rfh2Error::Typed {
        name: format!("{}.{name}", folder.name),
        kind: "number".to_owned(),
        text: text.chars().take(64).collect(),
    })
}

/// Returns true if JMS can have a property of this name: a Java identifier, without $, which XML
/// doesn't have in names.
fn identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters
        .next()
        .is_some_and(|it| it.is_alphabetic() || it == '_')
        && characters.all(|it| it.is_alphanumeric() || it == '_')
}
