//! Contract of a nemesis: to begin, to prove that it took effect, and to heal.

use std::sync::Arc;

use async_trait::async_trait;
use rand::rngs::StdRng;

use super::error::NemesisError;
use crate::run_context::RunContext;

/// Whom a fault meets.
#[derive(Clone, Debug, Default)]
pub struct FaultTarget {
    /// In words.
    pub told: String,
    /// The members that it is done to.
    pub members: Vec<u64>,
}

impl FaultTarget {
    /// These members, after a word or two.
    pub fn new(what: &str, members: Vec<u64>) -> FaultTarget {
        let names: Vec<String> = members.iter().map(u64::to_string).collect();
        FaultTarget {
            told: format!("{what} {}", names.join(", ")),
            members,
        }
    }
}

/// A kind of fault.
#[async_trait]
pub trait Nemesis: Send {
    /// Does it.
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError>;

    /// Whether it has taken effect, by what can be seen from outside; asked again for a
    /// while when it has not yet.
    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError>;

    /// Takes it back.
    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError>;
}
