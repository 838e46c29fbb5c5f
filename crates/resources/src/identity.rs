//! `role` and `identity`: who may do what at the admin port.
//!
//! What a grant means is decided by the state (`quorate_state::Permissions`); here is only how it
//! is written.

use crate::{
    Kind,
    declaration::{DeclaredKind, FieldNature, FieldRule, TextChoice, choices, declare},
    field_reader::{FieldReader, TextRule},
    field_rules::{LeftOutByDefault, flag, required},
    text_rules::{self, InvalidText, when},
};

/// The roles that every cluster has; no resource can have such a name.
pub const BUILT_IN_ROLES: [&str; 7] = [
    "admin", "operator", "editor", "reader", "caller", "sender", "metrics",
];

/// The roles of programs, which no identity can be given.
const MACHINE_ROLES: [&str; 2] = ["member", "balancer"];

/// The most grants of one role.
const GRANTS_MAX: usize = 64;
/// The most values in each list of a grant, and the most roles of one identity.
const LIST_MAX: usize = 64;
/// The longest prefix of keys, in bytes: as long as a key can be.
const PREFIX_BYTES_MAX: usize = 1024;

choices! {
    /// What a grant allows.
    pub enum AccessVerb {
        /// To see a thing, in lists, watches and refusals too.
        Read = "read",
        /// To create or change a thing, and to try that (`dry_run`).
        Write = "write",
        /// To delete a thing.
        Delete = "delete",
        /// To pause, resume and restart a connector.
        Operate = "operate",
        /// To call a service.
        Invoke = "invoke",
        /// To send a message by an outgoing.
        Send = "send",
        /// To name a thing in another one. Whoever may write it may use it.
        Use = "use",
        /// To write roles, identities and tokens, none with more than one has oneself.
        Grant = "grant",
        /// To change the cluster: its settings and members.
        Cluster = "cluster",
        /// To hand leadership over. Part of `cluster`.
        Transfer = "cluster:transfer",
        /// To read the metrics.
        Metrics = "metrics",
    }
}

impl AccessVerb {
    /// Returns the word used in files.
    pub fn as_str(self) -> &'static str {
        let known = AccessVerb::CHOICES.iter().find(|(_, it)| *it == self);
        known.map_or("", |(text, _)| text)
    }
}

declare! {
    /// One grant of a role. Without any scope it is for the cluster as a whole.
    pub struct AccessGrant {
        /// What is allowed.
        verbs: Vec<AccessVerb> = VerbsValue;
        /// The kinds of resources; `*` is all but `role` and `identity`, and to read `secret` alone.
        kinds: Vec<String> = texts(kind_or_all);
        /// The names of these resources, `*` for any characters; all of them without.
        names: Vec<String> = texts(name_pattern), then names_need_kinds(kinds);
        /// The keys that begin with one of these; an empty one is all keys.
        prefixes: Vec<String> = texts(key_prefix);
        /// The names of services that may be invoked, `*` for any characters.
        services: Vec<String> = texts(name_pattern);
    }
}

declare! {
    /// `role`
    pub struct AccessRole {
        /// The name of the role.
        name: String = required(role_name);
        /// What those may do who have it.
        grants: Vec<AccessGrant> = GrantsValue;
    }
}

declare! {
    /// `identity`
    pub struct Identity {
        /// The name of the identity.
        name: String = required(text_rules::name);
        /// Its roles: built in ones, and resources of the kind `role`.
        roles: Vec<String> = RolesValue;
        /// It is let in nowhere while this is true.
        disabled: bool = flag(false);
    }
}

/// A list of different texts that may be left out.
struct TextsValue(TextRule<InvalidText>);

const fn texts(rule: TextRule<InvalidText>) -> LeftOutByDefault<TextsValue> {
    LeftOutByDefault(TextsValue(rule))
}

impl FieldRule for TextsValue {
    type Value = Vec<String>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Vec<String> {
        let Some(mut given) = fields.take(field) else {
            return Vec::new();
        };
        let Some(list) = given.value.as_array() else {
            given.refuse_unreadable("must be a list of texts");
            return Vec::new();
        };
        given.list(list, LIST_MAX, self.0)
    }
}

/// A list of verbs, at least one. All members must know each.
struct VerbsValue;

impl FieldRule for VerbsValue {
    type Value = Vec<AccessVerb>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Vec<AccessVerb> {
        let Some(mut given) = fields.take(field) else {
            fields.refuse_unreadable(field, "", "is required; it must be a list of verbs");
            return Vec::new();
        };
        let Some(list) = given.value.as_array() else {
            given.refuse_unreadable("must be a list of verbs");
            return Vec::new();
        };
        let texts = given.list(list, AccessVerb::CHOICES.len(), verb);
        let verbs: Vec<AccessVerb> = texts.iter().filter_map(|text| known_verb(text)).collect();
        if verbs.len() < texts.len() {
            given.not_known(VERBS);
        }
        verbs
    }
}

/// The grants of a role.
struct GrantsValue;

impl FieldRule for GrantsValue {
    type Value = Vec<AccessGrant>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Vec<AccessGrant> {
        fields.nested_list(field, GRANTS_MAX, AccessGrant::read_fields)
    }
}

/// The names of roles.
struct RolesValue;

impl FieldRule for RolesValue {
    type Value = Vec<String>;

    fn read(&self, fields: &mut FieldReader<'_>, field: &'static str) -> Vec<String> {
        TextsValue(assignable_role).read(fields, field)
    }

    fn nature<'a>(&self, roles: &'a Vec<String>) -> FieldNature<'a> {
        let declared = roles
            .iter()
            .filter(|it| !BUILT_IN_ROLES.contains(&it.as_str()));
        FieldNature::References(
            declared
                .map(|it| (it.as_str(), Kind::AccessRole, it.as_str()))
                .collect(),
        )
    }
}

const VERBS: &str = "must be read, write, delete, operate, invoke, send, use, grant, cluster, cluster:transfer or metrics";

fn known_verb(text: &str) -> Option<AccessVerb> {
    let known = AccessVerb::CHOICES.iter().find(|(it, _)| *it == text);
    known.map(|(_, verb)| *verb)
}

fn verb(text: &str) -> Result<(), InvalidText> {
    when(known_verb(text).is_some(), VERBS)
}

fn role_name(text: &str) -> Result<(), InvalidText> {
    text_rules::name(text)?;
    when(
        !BUILT_IN_ROLES.contains(&text) && !MACHINE_ROLES.contains(&text),
        "must be none of the roles that are built in: admin, operator, editor, reader, caller, sender, metrics, member, balancer",
    )
}

fn assignable_role(text: &str) -> Result<(), InvalidText> {
    text_rules::name(text)?;
    when(
        !MACHINE_ROLES.contains(&text),
        "must be no role of programs: member and balancer are",
    )
}

fn kind_or_all(text: &str) -> Result<(), InvalidText> {
    when(
        text == "*" || text.parse::<Kind>().is_ok(),
        "must be a kind of resource, or * for all but role and identity",
    )
}

fn name_pattern(text: &str) -> Result<(), InvalidText> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '*');
    when(
        (1..=128).contains(&text.len()) && text.chars().all(allowed),
        "must be 1 to 128 letters, digits, `_`, `.` or `-`, or `*` for any of them",
    )
}

fn key_prefix(text: &str) -> Result<(), InvalidText> {
    when(
        text.len() <= PREFIX_BYTES_MAX,
        "must have at most 1024 bytes; an empty one is all keys",
    )
}

fn names_need_kinds(fields: &mut FieldReader<'_>, kinds: &[String]) {
    if fields.has("names") && kinds.is_empty() {
        fields.refuse(
            "names",
            "",
            "needs `kinds`: it says which of their resources",
        );
    }
}
