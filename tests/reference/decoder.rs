//! Decoder: model, loss, gradients, initialisation, noise and decoding against
//! the reference data (`decoder.md`).

mod forward;
mod initialisation;
mod models;
mod noise;
mod parameters;
mod tensors;
