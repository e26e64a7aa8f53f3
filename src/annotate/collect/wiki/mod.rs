//! Lead pictures of the pages of an encyclopaedia, for nouns.
//!
//! [`collect`] searches a page for every noun, asks for the lead picture of
//! every page with its licence, and stores it as a JPEG of moderate size. All
//! it learns goes to a journal first, so that a stopped collection goes on
//! where it was; `manifest.jsonl` has a line for every picture. The service is
//! asked one thing at a time, with pauses, and is left alone for as long as it
//! says.

mod collect;
mod journal;
mod manifest;
mod name;
mod pages;
mod picture;
mod service;

pub use collect::{Outlook, Progress, WikiOptions, WikiReport, collect};
pub use manifest::{Found, MANIFEST};
pub use service::{Clock, WallClock};
