//! People judge predictions on a page (`annotation.md` sections 2 and 3).
//!
//! [`ImageSet`] is what there is to judge, [`Session`] the judgements with
//! their journal, undo and files, [`Desk`] where a person is and what a key
//! does, [`serve_session`] the page with its HTTP interface. Every judgement is
//! on the disk before the page hears that it is saved.

mod api;
mod backup;
mod compare;
mod desk;
mod display;
mod effort;
mod error;
mod events;
mod filter;
mod history;
mod journal;
mod keys;
mod lookups;
mod order;
mod page;
mod picture;
mod server;
mod session;
mod set;
mod set_state;
mod sets_file;

pub use compare::Other;
pub use desk::{Desk, Place, Step, View};
pub use display::display_size;
pub use effort::{Effort, efforts};
pub use error::HumanError;
pub use filter::{Filter, Status};
pub use history::Action;
pub use keys::{Command, KEYS, command_of_key};
pub use lookups::Lookups;
pub use order::{NounOrder, Order};
pub use server::{ServerOptions, serve_session};
pub use session::{Moved, Progress, Session, SessionOptions};
pub use set::{ImageSet, Item, Pair, SetOptions};
pub use set_state::Stopped;
pub use sets_file::read_sets;
