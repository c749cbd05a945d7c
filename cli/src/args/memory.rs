//! `--memory`: how much a command may take.

use crate::size::parse_bytes;

/// What `--memory` says. Without it, a command may take what the system would give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryArgument {
    /// At most this many bytes.
    Bytes(u64),
    /// Whatever it takes.
    None,
}

/// Reads a number of bytes, or `none`.
pub fn parse_memory(text: &str) -> Result<MemoryArgument, String> {
    match text {
        "none" | "unlimited" => Ok(MemoryArgument::None),
        text => parse_bytes(text)
            .map(MemoryArgument::Bytes)
            .map_err(|error| format!("{error}, or none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_number_or_none() {
        assert_eq!(parse_memory("64MiB"), Ok(MemoryArgument::Bytes(64 << 20)));
        assert_eq!(parse_memory("none"), Ok(MemoryArgument::None));
        assert!(parse_memory("much").unwrap_err().ends_with(", or none"));
    }
}
