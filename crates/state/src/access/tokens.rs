//! Tokens: by id, the hash of each one's secret, whose it is, and until when it counts.
//!
//! The secret itself is never here: the member that made it has shown it, and nobody can again. It
//! has 256 random bits, so one round of SHA-256 hides it as well as many would.

use std::{fmt, sync::Arc};

use imbl::OrdMap;

use crate::{Answer, field_errors::error};

/// Most tokens of one identity that have not expired: an old one, and the one that replaces it.
pub const TOKENS_OF_ONE_MAX: usize = 2;

/// Token that is to be created.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Id, which stands in the token in plain text.
    pub id: String,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// Name of the identity.
    pub identity: String,
    /// Wall clock of the proposer, in milliseconds since 1970.
    pub now_ms: u64,
    /// Last moment at which it counts; `None`: it does not expire.
    pub not_after_ms: Option<u64>,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken")
            .field("id", &self.id)
            .field("identity", &self.identity)
            .field("now_ms", &self.now_ms)
            .field("not_after_ms", &self.not_after_ms)
            .finish_non_exhaustive()
    }
}

/// Token that was created.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// Name of the identity.
    pub identity: Arc<str>,
    /// Wall clock of the member that made it, in milliseconds since 1970.
    pub created_ms: u64,
    /// Last moment at which it counts; `None`: it does not expire.
    pub not_after_ms: Option<u64>,
    /// Log index that created it.
    pub revision: u64,
}

impl StoredToken {
    /// Returns true if it counts at this moment.
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.not_after_ms.is_none_or(|it| now_ms <= it)
    }
}

impl fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredToken")
            .field("identity", &self.identity)
            .field("created_ms", &self.created_ms)
            .field("not_after_ms", &self.not_after_ms)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// All tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenTable {
    by_id: OrdMap<Arc<str>, Arc<StoredToken>>,
}

impl TokenTable {
    /// Returns one token.
    pub fn get(&self, id: &str) -> Option<&Arc<StoredToken>> {
        self.by_id.get(id)
    }

    /// Lists all tokens by id.
    pub fn all(&self) -> impl Iterator<Item = (&str, &StoredToken)> {
        self.by_id.iter().map(|(id, token)| (&**id, &**token))
    }

    /// Lists the tokens of an identity by id.
    pub fn of<'a>(&'a self, identity: &'a str) -> impl Iterator<Item = (&'a str, &'a StoredToken)> {
        self.all().filter(move |(_, it)| *it.identity == *identity)
    }

    /// Creates a token. The same one again, after an unknown outcome, changes nothing.
    pub(super) fn create(&mut self, index: u64, new: &NewToken) -> Answer {
        if let Some(known) = self.get(&new.id) {
            if known.hash == new.hash && *known.identity == *new.identity {
                return Answer::Done {
                    revision: known.revision,
                    changed: false,
                    created: false,
                };
            }
            let problem = "is the id of another token: ask again";
            return Answer::Invalid(vec![error("id", &new.id, problem)]);
        }
        let (live, expired): (Vec<_>, Vec<_>) = self
            .of(&new.identity)
            .map(|(id, it)| (id.to_owned(), it.is_live(new.now_ms)))
            .partition(|(_, is_live)| *is_live);
        if live.len() >= TOKENS_OF_ONE_MAX {
            let ids: Vec<String> = live.into_iter().map(|(id, _)| id).collect();
            let problem = format!(
                "has {TOKENS_OF_ONE_MAX} tokens already, {}: revoke one first (quorate token revoke ID)",
                ids.join(" and ")
            );
            return Answer::Invalid(vec![error("identity", &new.identity, problem)]);
        }
        for (id, _) in expired {
            self.by_id.remove(&*id);
        }
        let stored = StoredToken {
            hash: new.hash,
            identity: new.identity.as_str().into(),
            created_ms: new.now_ms,
            not_after_ms: new.not_after_ms,
            revision: index,
        };
        self.keep(&new.id, stored);
        Answer::done(index, true)
    }

    pub(super) fn revoke(&mut self, index: u64, id: &str) -> Answer {
        match self.by_id.remove(id) {
            Some(_) => Answer::done(index, false),
            None => Answer::NotFound,
        }
    }

    pub(super) fn forget_identity(&mut self, identity: &str) {
        let ids: Vec<String> = self.of(identity).map(|(id, _)| id.to_owned()).collect();
        for id in ids {
            self.by_id.remove(&*id);
        }
    }

    pub(crate) fn keep(&mut self, id: &str, token: StoredToken) {
        self.by_id.insert(id.into(), Arc::new(token));
    }
}
