//! Dropout as multiplication by a mask.

use candle_core::{Result, Tensor};

use crate::ops::tape::Dropout;

/// `x` with elements dropped, the others scaled up; unchanged without a site.
/// On the CPU the mask is that of the fused kernels, on other devices it comes
/// from the device's own generator.
pub(super) fn dropped(x: &Tensor, site: Option<Dropout>) -> Result<Tensor> {
    let Some(site) = site else {
        return Ok(x.clone());
    };
    let device = x.device();
    let mask = if device.is_cpu() {
        Tensor::from_vec(site.factors(x.elem_count()), x.shape(), device)?
    } else {
        let uniform = Tensor::rand(0f32, 1f32, x.shape(), device)?;
        // At least 1 with the probability of being kept, below 2 always.
        let kept = (uniform + f64::from(site.keep()))?.floor()?;
        (kept * f64::from(site.scale()))?
    };
    x * mask
}
