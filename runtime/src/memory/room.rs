//! How much memory a process may still take.

use std::fmt;
use std::fs;
use std::path::Path;

use super::control_group;

/// What the system would still give this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes, besides those that the process has.
    pub bytes: u64,
    /// What has no more.
    pub bound: Bound,
}

/// What there is no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// The machine's memory.
    Machine,
    /// The limit of a control group, as a container has one.
    ControlGroup,
}

impl fmt::Display for Bound {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Machine => "the machine",
            Self::ControlGroup => "the control group",
        })
    }
}

/// How much memory this process may still take, by the machine's free memory and by the limits of
/// its control groups, versions 1 and 2, whichever is less. Cached files count as free: the system
/// takes them back. So a mapped blob needs no room but for what must stay in memory.
///
/// `None` where the system does not say: on systems other than Linux and Android, where an app's
/// limit is the system's secret.
pub fn available() -> Option<Room> {
    if cfg!(any(target_os = "linux", target_os = "android")) {
        of_system(Path::new("/"))
    } else {
        None
    }
}

fn of_system(root: &Path) -> Option<Room> {
    let machine = field(&root.join("proc/meminfo"), "MemAvailable:")
        .map(|bytes| Room { bytes, bound: Bound::Machine });
    let group = control_group::left(root).map(|bytes| Room { bytes, bound: Bound::ControlGroup });
    machine.into_iter().chain(group).min_by_key(|room| room.bytes)
}

/// Bytes of this process that are in memory and not a file's; 0 where the system does not say.
pub(crate) fn anonymous_bytes() -> u64 {
    field(Path::new("/proc/self/status"), "RssAnon:").unwrap_or(0)
}

/// A line `name    number kB`, in bytes.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn this_system_has_some() {
        let room = available().expect("MemAvailable has been there since Linux 3.14");
        assert!(room.bytes > 0, "{room:?}");
        let before = anonymous_bytes();
        let touched = std::hint::black_box(vec![1u8; 8 << 20]);
        assert!(anonymous_bytes() >= before + (7 << 20), "of {} bytes", touched.len());
    }

    #[test]
    fn a_field_is_read_in_bytes() {
        let file = std::env::temp_dir().join(format!("hardtack-{}-meminfo", std::process::id()));
        fs::write(&file, "MemTotal:  9 kB\nMemAvailable:     24105 kB\nOdd: many kB\n").unwrap();
        assert_eq!(field(&file, "MemAvailable:"), Some(24_105 << 10));
        assert_eq!([field(&file, "Odd:"), field(&file, "MemFree:")], [None; 2]);
        fs::remove_file(&file).unwrap();
        assert_eq!(field(&file, "MemTotal:"), None);
    }
}
