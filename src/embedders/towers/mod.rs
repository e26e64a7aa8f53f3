//! Text and image towers, one file per family.

pub mod clip_text;
pub mod clip_vit;
pub mod eva02;
pub mod resnet;
mod timm_head;
pub mod timm_vit;
pub mod transformer;
