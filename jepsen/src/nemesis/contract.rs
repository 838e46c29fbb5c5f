//! Contract of a nemesis: to inject a fault, to prove that it took effect, and to heal.

use std::sync::Arc;

use async_trait::async_trait;
use rand::rngs::StdRng;

use super::error::NemesisError;
use crate::run_context::RunContext;

/// Target of a fault.
#[derive(Clone, Debug, Default)]
pub struct FaultTarget {
    /// The target in words.
    pub description: String,
    /// The members that the fault is done to.
    pub members: Vec<u64>,
}

impl FaultTarget {
    /// Describes these members, after a word or two.
    pub fn new(what: &str, members: Vec<u64>) -> FaultTarget {
        let names: Vec<String> = members.iter().map(u64::to_string).collect();
        FaultTarget {
            description: format!("{what} {}", names.join(", ")),
            members,
        }
    }
}

/// A kind of fault.
#[async_trait]
pub trait Nemesis: Send {
    /// Injects the fault.
    async fn inject(
        &mut self,
        context: &Arc<RunContext>,
        rng: &mut StdRng,
    ) -> Result<FaultTarget, NemesisError>;

    /// Proves that the fault has taken effect, by what can be seen from outside; asked again for a
    /// while when it has not yet.
    async fn probe(&mut self, context: &Arc<RunContext>) -> Result<String, NemesisError>;

    /// Takes the fault back.
    async fn heal(&mut self, context: &Arc<RunContext>) -> Result<(), NemesisError>;
}
