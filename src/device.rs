//! Where and how a run computes, as `[run]` says: on the CPU, or on a GPU where
//! the program was built with CUDA (feature `cuda`) and the machine has one.
//! Knows nothing of models.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use candle_core::Device;

use crate::config::schema::Config;

/// Whether this program was built with CUDA.
pub const BUILT_WITH_CUDA: bool = cfg!(feature = "cuda");

/// The version of the program, with what it was built for.
pub const VERSION: &str = if BUILT_WITH_CUDA {
    concat!(env!("CARGO_PKG_VERSION"), " with CUDA")
} else {
    env!("CARGO_PKG_VERSION")
};

/// How a stage computes. Results are the same but for rounding, so that no key
/// depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputeSettings {
    /// `run.device`: `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// `run.tf32`: f32 matrix products of a GPU may round their factors to TF32.
    pub tf32: bool,
    /// `run.deterministic`: decoders are not trained in mixed precision.
    pub deterministic: bool,
    /// `embedder.amp`: embedders compute in half precision on a GPU.
    pub embedder_amp: bool,
    /// `embedder.amp_bf16`: in bf16, else in f16.
    pub embedder_amp_bf16: bool,
    /// `embedder.compile` and `embedder.optimum`, which have no effect here.
    pub embedder_ignored: [(&'static str, bool); 2],
    /// `embedder.batch_token`: texts per call of the tokenizer.
    pub embedder_batch_token: usize,
    /// `embedder.batch_text`: most texts that are embedded together.
    pub embedder_batch_text: usize,
    /// `embedder.batch_image`: most pictures that are embedded together.
    pub embedder_batch_image: usize,
}

impl From<&Config> for ComputeSettings {
    fn from(config: &Config) -> Self {
        Self {
            device: config.run.device.clone(),
            tf32: config.run.tf32,
            deterministic: config.run.deterministic,
            embedder_amp: config.embedder.amp,
            embedder_amp_bf16: config.embedder.amp_bf16,
            embedder_ignored: [
                ("embedder.compile", config.embedder.compile),
                ("embedder.optimum", config.embedder.optimum),
            ],
            embedder_batch_token: config.embedder.batch_token,
            embedder_batch_text: config.embedder.batch_text,
            embedder_batch_image: config.embedder.batch_image,
        }
    }
}

impl ComputeSettings {
    /// The device, ready for use, and a warning where everything runs on the
    /// CPU although a GPU was to be expected: one was named by its number, the
    /// program was built for one, or the machine has one. The default alone
    /// expects none.
    pub fn open(&self) -> (Device, Option<String>) {
        let (device, warning) = open(&self.device);
        if device.is_cuda() {
            // A setting of the whole process.
            candle_core::cuda::set_gemm_reduced_precision_f32(self.tf32);
        }
        let expected = self.device != "cuda" || BUILT_WITH_CUDA || has_driver();
        (device, warning.filter(|_| expected))
    }
}

/// The device of a name (`cpu`, `cuda`, `cuda:N`), or the CPU and a warning why.
pub fn open(name: &str) -> (Device, Option<String>) {
    if name == "cpu" {
        return (Device::Cpu, None);
    }
    match ordinal(name).and_then(cuda) {
        Ok(device) => (device, None),
        Err(reason) => {
            let warning = format!("device {name} is not here ({reason}): cpu is used");
            (Device::Cpu, Some(warning))
        }
    }
}

/// Number of a GPU, from 0.
fn ordinal(name: &str) -> Result<usize, String> {
    let number = match name {
        "cuda" => Some(0),
        _ => (name.strip_prefix("cuda:")).and_then(|number| number.parse().ok()),
    };
    number.ok_or_else(|| "devices are cpu, cuda and cuda:N".to_owned())
}

/// What the original calls devices of this kind.
pub fn kind(device: &Device) -> &'static str {
    match device.is_cpu() {
        true => "cpu",
        false => "cuda",
    }
}

/// Whether the machine has a driver for NVIDIA's GPUs.
pub fn has_driver() -> bool {
    // The second is that of Linux inside Windows.
    ["/proc/driver/nvidia/version", "/dev/dxg"]
        .iter()
        .any(|path| Path::new(path).exists())
}

/// Devices that are open: tensors of two openings of one GPU do not mix.
static OPEN: Mutex<BTreeMap<usize, Device>> = Mutex::new(BTreeMap::new());

fn cuda(ordinal: usize) -> Result<Device, String> {
    if !BUILT_WITH_CUDA {
        return Err("this program was built without CUDA".to_owned());
    }
    if !has_driver() {
        return Err("this machine has no driver for NVIDIA GPUs".to_owned());
    }
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = open.get(&ordinal) {
        return Ok(device.clone());
    }
    // One stream for all threads, so that work is done in the order in which it
    // is asked for.
    let device = Device::new_cuda_with_stream(ordinal).map_err(|error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    })?;
    open.insert(ordinal, device.clone());
    Ok(device)
}

/// Whether something failed because the device has no memory left. Drivers say
/// it in words only.
pub fn is_out_of_memory(error: &candle_core::Error) -> bool {
    let text = error.to_string().to_lowercase();
    ["out of memory", "out_of_memory", "failed to allocate"]
        .iter()
        .any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_used_where_there_is_no_gpu_and_it_is_said_where_one_was_expected() {
        assert!(open("cpu").0.is_cpu());
        assert_eq!(open("cpu").1, None);
        let (device, warning) = open("cuda:77");
        assert!(device.is_cpu());
        let warning = warning.unwrap();
        assert!(
            warning.starts_with("device cuda:77 is not here (")
                && warning.ends_with("): cpu is used"),
            "{warning}"
        );
        let (device, warning) = open("tpu");
        assert!(device.is_cpu() && warning.unwrap().contains("cpu, cuda and cuda:N"));
        if !BUILT_WITH_CUDA && !has_driver() {
            // The default of `run.device` expects no GPU, who names one does.
            assert_eq!(ComputeSettings::from(&Config::default()).open().1, None);
            assert!(open("cuda").1.is_some());
        }
    }

    #[test]
    fn drivers_say_in_words_that_memory_is_short() {
        let of = |text: &str| candle_core::Error::Cuda(text.into());
        assert!(is_out_of_memory(&of("CUDA_ERROR_OUT_OF_MEMORY")));
        assert!(is_out_of_memory(&of("out of memory")));
        assert!(!is_out_of_memory(&of("CUDA_ERROR_ILLEGAL_ADDRESS")));
    }
}
