//! Gives the memory of large bodies back to the system as soon as they are dropped.

/// From this size on, in bytes, an allocation is a mapping of its own, which ends with it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const OWN_MAPPING: libc::c_int = 256 << 10;

/// Switches off what glibc does by itself: it raises the size from which an allocation is a mapping
/// of its own to that of the largest one freed so far (up to 32 MiB), so that after one large answer
/// all further ones come from heaps, which hold on to them (mallopt(3), `M_MMAP_THRESHOLD`).
///
/// Does nothing on other systems.
pub fn give_large_bodies_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: takes two integers, keeps no pointer, and no other thread runs yet.
        #[expect(unsafe_code, reason = "the allocator's parameters have no safe interface")]
        let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAPPING) };
    }
}
