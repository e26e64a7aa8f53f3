//! The device on which composed operations are compared with the reference
//! data.

use candle_core::Device;

/// The device that `NOVIC_TEST_DEVICE` names (`cpu`, `cuda`, `cuda:N`); the CPU
/// unless it is set.
///
/// # Panics
/// If that device is not here: a named device is never replaced by another.
pub fn device() -> Device {
    let Ok(name) = std::env::var("NOVIC_TEST_DEVICE") else {
        return Device::Cpu;
    };
    let (device, warning) = novic::device::open(&name);
    assert_eq!(
        device.is_cuda(),
        name.starts_with("cuda"),
        "NOVIC_TEST_DEVICE={name}: {}",
        warning.as_deref().unwrap_or("built without CUDA")
    );
    device
}
