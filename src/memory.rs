//! How the program's memory is managed.

/// Memory that is free stays with the program, up to this many bytes at the
/// end of each of the allocator's heaps.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: i32 = 256 << 20;
/// Larger arrays get memory of their own: the allocator's largest such limit.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGEST: i32 = 32 << 20;

/// Has the allocator keep what pictures and batches free for the next ones,
/// instead of giving it back to the system and asking for it page by page each
/// time. For programs to call when they start; does nothing where the
/// allocator is another than glibc's.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` takes numbers only, and refuses what it does not know.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}
