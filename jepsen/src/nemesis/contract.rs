//! Contract of a nemesis: to begin, to prove that it took effect, and to heal.

use std::sync::Arc;

use async_trait::async_trait;
use rand::rngs::StdRng;

use super::error::NemesisError;
use crate::run_context::Bed;

/// Whom a fault meets.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// In words.
    pub told: String,
    /// The members that it is done to.
    pub members: Vec<u64>,
}

impl Target {
    /// These members, after a word or two.
    #[must_use]
    pub fn of(what: &str, members: Vec<u64>) -> Target {
        let names: Vec<String> = members.iter().map(u64::to_string).collect();
        Target {
            told: format!("{what} {}", names.join(", ")),
            members,
        }
    }
}

/// A kind of fault.
#[async_trait]
pub trait Nemesis: Send {
    /// Does it.
    async fn begin(&mut self, bed: &Arc<Bed>, dice: &mut StdRng) -> Result<Target, NemesisError>;

    /// Whether it has taken effect, by what can be seen from outside; asked again for a
    /// while when it has not yet.
    async fn probe(&mut self, bed: &Arc<Bed>) -> Result<String, NemesisError>;

    /// Takes it back.
    async fn heal(&mut self, bed: &Arc<Bed>) -> Result<(), NemesisError>;
}
