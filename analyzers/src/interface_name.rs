//! The name of a network interface.

use std::fmt;
use std::str::FromStr;

/// The longest that the kernel takes, in bytes (`IFNAMSIZ` without the zero at its end).
const MAX_LEN: usize = 15;

/// The name of a network interface: 1 to 15 printable ASCII characters without space, slash and colon.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InterfaceName {
    /// Zeros behind the name.
    bytes: [u8; MAX_LEN],
}

impl InterfaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        let len = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(MAX_LEN);
        // Only ASCII comes in.
        str::from_utf8(&self.bytes[..len]).unwrap_or_default()
    }
}

impl FromStr for InterfaceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = (1..=MAX_LEN).contains(&text.len());
        // What the kernel refuses, and what would be hard to read in a log. It takes other bytes, which nobody uses.
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
        if !fits || !plain || text == "." || text == ".." {
            return Err(format!(
                "'{}' is not the name of a network interface (expected for example eth0)",
                text.escape_debug()
            ));
        }
        let mut bytes = [0; MAX_LEN];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes })
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_the_kernel_has_them_are_taken_and_others_are_not() {
        for name in ["e", "eth0", "eth0.100", "wlp3s0", "fifteen-letters"] {
            assert_eq!(name.parse::<InterfaceName>().unwrap().to_string(), name);
        }
        for name in ["", ".", "..", "a b", "a/b", "a:b", "sixteen-letters-", "\u{1b}[2J", "é", "a\0"] {
            let error = name.parse::<InterfaceName>().unwrap_err();
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
}
