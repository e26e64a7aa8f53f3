//! Why a question got no answer.

use thiserror::Error;

use super::failure::Failure;

/// An error of the client.
#[derive(Clone, Debug, Error)]
pub enum LlmError {
    /// The address cannot be used.
    #[error("{address} cannot be the address of a service: {reason}")]
    Address {
        /// The address.
        address: String,
        /// Why.
        reason: String,
    },
    /// The variable that should hold the key does not.
    #[error(
        "the environment variable {variable} holds no key; set it, name another one with \
         --api-key-env, or --api-key-env none for a service without keys"
    )]
    NoKey {
        /// The variable.
        variable: String,
    },
    /// A limit of cost for a model whose prices are unknown.
    #[error("the prices of {model} are not known; give them with --price INPUT,OUTPUT")]
    NoPrice {
        /// The model.
        model: String,
    },
    /// No client could be made.
    #[error("failed to prepare connections: {0}")]
    Client(String),
    /// The service does not accept the key.
    #[error("the service does not accept the key: {0}")]
    Auth(Failure),
    /// The account has nothing left.
    #[error("the account has no quota left: {0}")]
    Quota(Failure),
    /// A limit that the user set is reached.
    #[error("the limit of {0} is reached")]
    Budget(String),
    /// Somebody wants the program to stop.
    #[error("interrupted")]
    Interrupted,
    /// The service has answered nobody for a long time.
    #[error("the service does not answer: {0}")]
    Unavailable(Failure),
    /// This question cannot be answered; others may.
    #[error("{0}")]
    Failed(Failure),
}

impl LlmError {
    /// Whether the service knows nothing of what was asked for.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.status == Some(404))
    }

    /// Whether no other question can be answered either.
    pub fn ends_everything(&self) -> bool {
        match self {
            // No such address or model.
            Self::Failed(failure) => failure.status == Some(404),
            _ => true,
        }
    }
}
