//! Declaration of a kind: each field once, with its doc, type, default, rule and secrecy.
//!
//! [`declare!`] makes of one block the struct, its JSON form both ways, its `Debug` without
//! secrets, the references in it and the list of its fields. What a field takes is a
//! [`FieldRule`]; a rule that spans fields is a plain function, named with `then` behind the
//! last field that it needs.

use std::fmt::Debug;

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Value;

use crate::{
    ResourceReference,
    field_reader::{FieldReader, ParseOutcome},
};

/// One field of a kind, as it was declared.
pub struct FieldDeclaration {
    /// The name in JSON.
    pub name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) describe: fn() -> FieldDescription,
    pub(crate) is_secret: fn() -> bool,
}

impl FieldDeclaration {
    /// Returns what the field means, in one line.
    pub fn doc(&self) -> String {
        let lines: Vec<&str> = self.doc.lines().map(str::trim).collect();
        lines.join(" ")
    }

    /// Whether the field is never shown again.
    pub fn is_secret(&self) -> bool {
        (self.is_secret)()
    }

    /// Returns what the field takes.
    pub fn description(&self) -> FieldDescription {
        (self.describe)()
    }
}

/// What a field takes, for people and for forms.
#[derive(Default)]
pub struct FieldDescription {
    /// The type of its value.
    pub type_in_words: &'static str,
    /// What the value must be beyond its type; empty where there is nothing.
    pub rule_in_words: String,
    /// What the field is when it is left out.
    pub default: Option<Value>,
    /// Whether it must be given.
    pub is_required: bool,
    /// The fields within it.
    pub fields: &'static [FieldDeclaration],
}

impl FieldDescription {
    pub(crate) fn new(type_in_words: &'static str, rule_in_words: String) -> Self {
        FieldDescription {
            type_in_words,
            rule_in_words,
            ..FieldDescription::default()
        }
    }
}

/// What one field takes: reads its value, or says what would be right.
pub(crate) trait FieldRule {
    type Value: Debug;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Self::Value;

    fn describe(&self) -> FieldDescription;

    /// Whether the JSON form does without the field.
    fn is_left_out(&self, _value: &Self::Value) -> bool {
        false
    }

    fn is_secret(&self) -> bool {
        false
    }

    fn secret<'a>(&self, _value: &'a Self::Value) -> Option<&'a str> {
        None
    }

    /// Returns the resource that the value names.
    fn reference<'a>(
        &self,
        _field: &'static str,
        _value: &'a Self::Value,
    ) -> Option<ResourceReference<'a>> {
        None
    }

    /// Returns the value as it may stand in a log.
    fn debug<'a>(&self, value: &'a Self::Value) -> Box<dyn Debug + 'a> {
        Box::new(value)
    }
}

/// Ties a rule to the type of its field.
pub(crate) fn typed<T, R: FieldRule<Value = T>>(rule: R) -> R {
    rule
}

/// What [`declare!`] makes beside the struct.
pub(crate) trait Declared: Sized {
    const FIELDS: &'static [FieldDeclaration];

    fn read_fields(fields: &mut FieldReader<'_>) -> Self;

    fn references(&self) -> Vec<ResourceReference<'_>>;

    fn secret(&self) -> Option<&str>;

    fn read(spec: &Value) -> ParseOutcome<Self> {
        let mut fields = FieldReader::new(spec);
        let it = Self::read_fields(&mut fields);
        fields.finish(it)
    }

    /// Reads what [`crate::Resource::read`] reads.
    fn deserialized<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let outcome = Self::read(&Value::deserialize(deserializer)?);
        match outcome.unknown.first() {
            Some(error) => Err(Error::custom(format!("{}: {}", error.field, error.problem))),
            None => Ok(outcome.value),
        }
    }
}

/// Declares a kind. The fields are read in the order in which they stand, which is that of
/// the errors too.
macro_rules! declare {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $rule:expr
                $(, then $check:ident($($argument:ident),*))?;
            )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl $crate::declaration::Declared for $name {
            const FIELDS: &'static [$crate::FieldDeclaration] = &[$($crate::FieldDeclaration {
                name: stringify!($field),
                doc: concat!($($doc, "\n"),+),
                describe: || {
                    use $crate::declaration::{FieldRule, typed};
                    typed::<$type, _>($rule).describe()
                },
                is_secret: || {
                    use $crate::declaration::{FieldRule, typed};
                    typed::<$type, _>($rule).is_secret()
                },
            }),+];

            fn read_fields(reader: &mut $crate::field_reader::FieldReader<'_>) -> Self {
                use $crate::declaration::FieldRule;
                $(
                    let $field: $type = $rule.read(reader, stringify!($field));
                    $($check(reader, $(&$argument),*);)?
                )+
                $name { $($field),+ }
            }

            fn references(&self) -> Vec<$crate::ResourceReference<'_>> {
                use $crate::declaration::FieldRule;
                [$($rule.reference(stringify!($field), &self.$field)),+]
                    .into_iter()
                    .flatten()
                    .collect()
            }

            fn secret(&self) -> Option<&str> {
                use $crate::declaration::FieldRule;
                [$($rule.secret(&self.$field)),+].into_iter().flatten().next()
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                use $crate::declaration::FieldRule;
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($field), &$rule.debug(&self.$field)))+
                    .finish()
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use {serde::ser::SerializeMap, $crate::declaration::FieldRule};
                let mut map = serializer.serialize_map(None)?;
                $(if !$rule.is_left_out(&self.$field) {
                    map.serialize_entry(stringify!($field), &self.$field)?;
                })+
                map.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $crate::declaration::Declared::deserialized(from)
            }
        }
    };
}
pub(crate) use declare;

/// A type that is one of a few texts. The first is the default, where there may be one.
pub(crate) trait Choice: Copy + Debug + PartialEq + 'static {
    const CHOICES: &'static [(&'static str, Self)];

    fn in_words() -> String {
        let texts: Vec<&str> = Self::CHOICES.iter().map(|(text, _)| *text).collect();
        format!("must be {}", texts.join(" or "))
    }
}

/// Declares a [`Choice`], each variant with its text.
macro_rules! choices {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $variant,)+
        }

        impl $crate::declaration::Choice for $name {
            const CHOICES: &'static [(&'static str, Self)] = &[$(($text, $name::$variant)),+];
        }
    };
}
pub(crate) use choices;
