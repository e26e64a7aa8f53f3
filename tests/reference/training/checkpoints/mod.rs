//! Checkpoint files of the original: what is in them, and that reading,
//! converting and writing them loses nothing (`training.md` 3.2, 3.3).

mod contents;
mod conversion;
mod damage;
mod files;
mod fix;
mod paths;
mod scan;
mod values;
