//! The one client of OpenAI-compatible language model services
//! (`annotation.md` section 12).
//!
//! [`LlmClient::chat`] asks one [`ChatRequest`] and returns a [`ChatAnswer`].
//! Any number of threads may call it: it keeps to the limits of concurrency,
//! rate and budget, waits as the service says, tries again what may succeed,
//! and leaves out parameters that the service does not know. The key comes from
//! the environment and goes nowhere but into the header of requests. Knows
//! nothing of what is asked. [`LlmClient::create_batch`] and its neighbours are for
//! questions that may wait, [`Crew`] for several threads that ask.

mod adaptation;
mod answer;
mod backoff;
mod batch;
mod budget;
mod client;
mod crew;
mod error;
mod exchange;
mod failure;
mod gate;
mod key;
mod multipart;
mod patience;
mod request;
mod service;
mod transport;

pub use adaptation::{AnswerChoice, AnswerForm, LimitName, Written};
pub use answer::{ChatAnswer, Finish, Usage};
pub use backoff::Backoff;
pub use batch::{BatchLine, BatchState, RemoteBatch};
pub use budget::{Limits, Price, Spent, known_price};
pub use client::{LlmClient, Pace};
pub use crew::{BadRequests, Crew, Halt, Shared};
pub use error::LlmError;
pub use exchange::Exchange;
pub use failure::{Failure, FailureClass};
pub use key::ApiKey;
pub use request::{AnswerShape, ChatRequest, Content, Message, Part, Role, estimated_tokens};
pub use service::Service;
