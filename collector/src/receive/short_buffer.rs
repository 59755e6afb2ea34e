//! What is said where the kernel gave sockets a smaller receive buffer than was asked for: bursts are lost there, and nothing else
//! tells why.

use crate::config::Size;

/// The most that the kernel takes for a receive buffer.
const MOST: u64 = (libc::c_int::MAX / 2) as u64;

/// What to say of sockets that were given `granted` bytes each, as the kernel tells them, where `wanted` were asked for. `None`
/// if all got that.
pub(crate) fn told(granted: impl Iterator<Item = u64>, wanted: u64) -> Option<String> {
    // The kernel tells twice of what can be set.
    let least = granted.map(|bytes| bytes / 2).min()?;
    let wanted = wanted.min(MOST);
    (least < wanted).then(|| {
        format!(
            "sockets have receive buffers of {} instead of {}, and bursts beyond that are dropped: CAP_NET_ADMIN goes past the system's \
             limit, and so does sysctl -w net.core.rmem_max={wanted}; --receive-buffer asks for less",
            Size(least),
            Size(wanted)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_buffer_than_was_asked_for_is_told_with_what_mends_it() {
        let asked = 64 << 20;
        let said = told([2 * asked, 2 * 212_992].into_iter(), asked).unwrap();
        assert!(said.starts_with("sockets have receive buffers of 208KiB instead of 64MiB"), "{said}");
        assert!(said.contains("sysctl -w net.core.rmem_max=67108864"), "{said}");
    }

    #[test]
    fn nothing_is_said_where_every_socket_has_what_was_asked_for_or_the_kernel_has_no_more() {
        assert_eq!(told([2 * 4096, 2 * 8192].into_iter(), 4096), None);
        assert_eq!(told([2 * MOST].into_iter(), 4 << 30), None);
        assert_eq!(told(std::iter::empty(), 4096), None);
    }
}
