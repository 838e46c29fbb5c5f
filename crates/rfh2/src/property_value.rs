//! Typed values of properties: the `dt` attribute.

use std::fmt;

use crate::{FolderElement, Rfh2Error};

/// Value of a property.
#[derive(Clone, Debug, PartialEq)]
pub enum PropertyValue {
    /// No value (a JMS null).
    Null,
    /// String: no `dt`, or `string`, or `char`.
    Text(String),
    /// `boolean`: 0 or 1.
    Boolean(bool),
    /// `i1`.
    Byte(i8),
    /// `i2`.
    Short(i16),
    /// `i4`.
    Int(i32),
    /// `i8`, or `int`.
    Long(i64),
    /// `r4`.
    Float(f32),
    /// `r8`.
    Double(f64),
    /// `bin.hex`.
    Bytes(Vec<u8>),
}

impl PropertyValue {
    /// Reads the value of an element.
    pub fn read(element: &FolderElement) -> Result<Self, Rfh2Error> {
        let text = element.text.as_str();
        if element.nil {
            return Ok(PropertyValue::Null);
        }
        let Some(kind) = element.kind.as_deref() else {
            return Ok(PropertyValue::Text(text.to_owned()));
        };
        let number = text.trim();
        let value = match kind {
            "string" | "char" => Some(PropertyValue::Text(text.to_owned())),
            "boolean" => match number {
                "1" | "true" | "TRUE" => Some(PropertyValue::Boolean(true)),
                "0" | "false" | "FALSE" => Some(PropertyValue::Boolean(false)),
                _ => None,
            },
            "i1" => number.parse().ok().map(PropertyValue::Byte),
            "i2" => number.parse().ok().map(PropertyValue::Short),
            "i4" => number.parse().ok().map(PropertyValue::Int),
            "i8" | "int" => number.parse().ok().map(PropertyValue::Long),
            "r4" => number.parse().ok().map(PropertyValue::Float),
            "r8" => number.parse().ok().map(PropertyValue::Double),
            "bin.hex" => unhex(number).map(PropertyValue::Bytes),
            _ => None,
        };
        value.ok_or_else(|| Rfh2Error::Typed {
            name: element.name.clone(),
            kind: kind.to_owned(),
            text: text.chars().take(64).collect(),
        })
    }

    /// Returns the value as an element of this name.
    pub fn write(&self, name: &str) -> FolderElement {
        let kind = match self {
            PropertyValue::Null | PropertyValue::Text(_) => None,
            PropertyValue::Boolean(_) => Some("boolean"),
            PropertyValue::Byte(_) => Some("i1"),
            PropertyValue::Short(_) => Some("i2"),
            PropertyValue::Int(_) => Some("i4"),
            PropertyValue::Long(_) => Some("i8"),
            PropertyValue::Float(_) => Some("r4"),
            PropertyValue::Double(_) => Some("r8"),
            PropertyValue::Bytes(_) => Some("bin.hex"),
        };
        let text = match self {
            PropertyValue::Boolean(it) => u8::from(*it).to_string(),
            other => other.to_string(),
        };
        FolderElement {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            nil: *self == PropertyValue::Null,
            text,
            children: Vec::new(),
        }
    }
}

impl fmt::Display for PropertyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PropertyValue::Null => Ok(()),
            PropertyValue::Text(it) => f.write_str(it),
            PropertyValue::Boolean(it) => it.fmt(f),
            PropertyValue::Byte(it) => it.fmt(f),
            PropertyValue::Short(it) => it.fmt(f),
            PropertyValue::Int(it) => it.fmt(f),
            PropertyValue::Long(it) => it.fmt(f),
            PropertyValue::Float(it) => it.fmt(f),
            PropertyValue::Double(it) => it.fmt(f),
            PropertyValue::Bytes(it) => it.iter().try_for_each(|byte| write!(f, "{byte:02X}")),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |it: u8| char::from(it).to_digit(16);
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok())
        .collect()
}
