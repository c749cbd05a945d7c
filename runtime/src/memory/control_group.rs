//! What the control groups that a process is in leave it, of version 1 and of version 2, its own
//! group and all above it.
//!
//! Linux names a process's groups in `/proc/self/cgroup` and where they are mounted in
//! `/proc/self/mountinfo` (cgroups(7), proc_pid_mountinfo(5)). A container may see its group as the
//! root of the mount, or by a path whose first part is the mount's own root, as Docker does without
//! a namespace.

use std::fs;
use std::path::{Path, PathBuf};

/// Limits from here on are none: version 1 writes the largest multiple of a page.
const UNLIMITED: u64 = 1 << 62;

/// Bytes that the tightest of the groups still allows; `None` where none has a limit. `root` is
/// where the system's files are: `/`, but for tests.
pub fn left(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let version_1 =
        group(&groups, |controllers| controllers.split(',').any(|name| name == "memory"));
    let version_2 = group(&groups, str::is_empty);
    let mounted =
        |kind: &str, option: &str| mounts.lines().find_map(|line| Mount::of(line, kind, option));
    let version_1 = version_1.zip(mounted("cgroup", "memory")).and_then(|(group, mount)| {
        mount.folders(root, group).filter_map(|folder| of_folder(&folder, &VERSION_1)).min()
    });
    let version_2 = version_2.zip(mounted("cgroup2", "")).and_then(|(group, mount)| {
        mount.folders(root, group).filter_map(|folder| of_folder(&folder, &VERSION_2)).min()
    });
    version_1.into_iter().chain(version_2).min()
}

/// The path of a process's group: `hierarchy:controllers:path`.
fn group(groups: &str, is_asked: impl Fn(&str) -> bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        is_asked(controllers).then_some(path)
    })
}

/// Where a hierarchy is mounted, and which of its groups is the mount's root.
struct Mount<'a> {
    root: &'a str,
    point: String,
}

impl<'a> Mount<'a> {
    /// `id parent device root point options ... - kind source super-options`, of this kind and with
    /// this super-option.
    fn of(line: &'a str, kind: &str, option: &str) -> Option<Self> {
        let (own, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        if system.next() != Some(kind)
            || !option.is_empty() && !system.nth(1)?.split(',').any(|own| own == option)
        {
            return None;
        }
        let mut own = own.split(' ').skip(3);
        // The system writes a space as `\040`.
        Some(Self { root: own.next()?, point: own.next()?.replace("\\040", " ") })
    }

    /// The folders of a group and of all above it.
    fn folders(&self, root: &Path, group: &str) -> impl Iterator<Item = PathBuf> {
        let top = root.join(self.point.trim_start_matches('/'));
        // A group outside the mount is one that this process cannot see: what is mounted stands for
        // it.
        let own = group.strip_prefix(self.root.trim_end_matches('/')).unwrap_or("");
        let own: Vec<&str> =
            own.split('/').filter(|part| !part.is_empty() && *part != "..").collect();
        (0..=own.len()).rev().map(move |count| {
            let mut folder = top.clone();
            folder.extend(&own[..count]);
            folder
        })
    }
}

/// The files of a version.
struct Files {
    limits: &'static [&'static str],
    used: &'static str,
    /// Bytes of cached files, which are given back under pressure, the groups below counted.
    cached: [&'static str; 2],
}

const VERSION_1: Files = Files {
    limits: &["memory.limit_in_bytes"],
    used: "memory.usage_in_bytes",
    cached: ["total_inactive_file", "total_active_file"],
};
/// Above `memory.high` a group is held up until it is of no use.
const VERSION_2: Files = Files {
    limits: &["memory.max", "memory.high"],
    used: "memory.current",
    cached: ["inactive_file", "active_file"],
};

/// What a group leaves. Cached files are no use of it.
fn of_folder(folder: &Path, files: &Files) -> Option<u64> {
    let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
    let limit = files
        .limits
        .iter()
        .filter_map(|name| number(name))
        .filter(|&limit| limit < UNLIMITED)
        .min()?;
    let stat = text("memory.stat").unwrap_or_default();
    let cached: u64 = stat
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| files.cached.contains(name))
        .filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok())
        .sum();
    let used = number(files.used)?.saturating_sub(cached);
    Some(limit.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system's files in a folder of their own.
    struct System(PathBuf);

    impl System {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("hardtack-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            Self(folder)
        }

        fn with(self, path: &str, text: &str) -> Self {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn group_1(self, folder: &str, [limit, used, cached]: [u64; 3]) -> Self {
            let at = |name: &str| format!("sys/fs/cgroup/memory/{folder}/{name}");
            self.with(&at("memory.limit_in_bytes"), &format!("{limit}\n"))
                .with(&at("memory.usage_in_bytes"), &format!("{used}\n"))
                .with(
                    &at("memory.stat"),
                    &format!("cache 1\nactive_file 7\ntotal_inactive_file {cached}\n"),
                )
        }

        fn group_2(self, folder: &str, limit: &str, [used, cached]: [u64; 2]) -> Self {
            let at = |name: &str| format!("sys/fs/cgroup/{folder}/{name}");
            self.with(&at("memory.max"), &format!("{limit}\n"))
                .with(&at("memory.current"), &format!("{used}\n"))
                .with(
                    &at("memory.stat"),
                    &format!("anon 5\ninactive_file {cached}\nactive_file 1\n"),
                )
        }

        fn left(&self) -> Option<u64> {
            left(&self.0)
        }
    }

    impl Drop for System {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const MOUNT_1: &str =
        "26 25 0:23 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n";
    const MOUNT_2: &str = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_tightest_group_of_version_1_counts() {
        let groups = "5:devices:/a\n4:memory:/a/b\n0::/\n";
        let system =
            System::new("v1").with("proc/self/cgroup", groups).with("proc/self/mountinfo", MOUNT_1);
        let system = system.group_1("a/b", [1000, 600, 500]).group_1("a", [2000, 1950, 30]);
        let system = system.group_1("", [9_223_372_036_854_771_712, 5000, 0]);
        assert_eq!(system.left(), Some(80));
        assert_eq!(system.group_1("a", [9_223_372_036_854_771_712, 1950, 30]).left(), Some(900));
    }

    #[test]
    fn groups_of_version_2_and_max() {
        let system = System::new("v2")
            .with("proc/self/cgroup", "0::/a/b c\n")
            .with("proc/self/mountinfo", MOUNT_2);
        let system = system.group_2("a/b c", "max", [70, 1]).group_2("a", "max", [100, 1]);
        assert_eq!(system.left(), None);
        let system = system.group_2("a", "500", [400, 99]);
        assert_eq!(system.left(), Some(200));
        let system = system.with("sys/fs/cgroup/a/b c/memory.high", "90\n");
        assert_eq!(system.left(), Some(22));
        // More is used than there may be.
        assert_eq!(system.group_2("a", "50", [400, 0]).left(), Some(0));
    }

    #[test]
    fn a_container_that_sees_its_group_as_the_root() {
        // Without a namespace of its own the path begins with the root of the mount.
        let mount = "1 2 0:3 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,cpu,memory\n";
        let system = System::new("docker").with("proc/self/mountinfo", mount);
        let system = system.with("proc/self/cgroup", "4:cpu,memory:/docker/x/y\n");
        let system = system.group_1("y", [1 << 30, 0, 0]).group_1("", [300, 100, 0]);
        assert_eq!(system.left(), Some(200));
        // With one, it may lead out of what is mounted.
        let system = system.with("proc/self/cgroup", "4:memory:/../elsewhere\n");
        assert_eq!(system.left(), Some(200));
    }

    #[test]
    fn a_system_that_says_nothing() {
        assert_eq!(System::new("none").left(), None);
        let system = System::new("odd")
            .with("proc/self/cgroup", "what\n4:memory\n")
            .with("proc/self/mountinfo", "-\n");
        assert_eq!(system.left(), None);
        let system =
            system.with("proc/self/cgroup", "4:memory:/a\n").with("proc/self/mountinfo", MOUNT_1);
        assert_eq!(system.left(), None);
        let system = system.with("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "many\n");
        assert_eq!(system.left(), None);
    }
}
