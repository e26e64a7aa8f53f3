//! Decoder: model, loss, gradients, initialisation, noise and decoding against
//! the reference data (`decoder.md`).

mod dud;
mod forward;
mod gencfg;
mod generate;
mod initialisation;
mod models;
mod noise;
mod parameters;
mod tensors;
mod threads;
mod tokenizer;
