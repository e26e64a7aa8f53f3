//! Search: which point to try next, and which to end early; in process and
//! without a server.
//!
//! [`Tpe`] suggests trials of a space of [`Parameter`]s, [`Study`] keeps them in
//! a file, [`Halving`] ends the hopeless ones. What a trial is, is not known here.

mod halving;
mod space;
mod study;
mod tpe;

pub use halving::{Halving, Verdict};
pub use space::Parameter;
pub use study::Study;
pub(crate) use study::suggestion;
pub use tpe::{Tpe, Trial};
