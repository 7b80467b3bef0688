//! The memory limit that a container or a service manager set for this process (Linux control groups, versions 1 and 2).
//!
//! Not through sysinfo: its figure looks at the topmost group alone, and takes cached files for used memory. A container
//! that has read a large model once would look full for good, although the kernel gives that memory back when asked.

use super::{Bytes, DeviceMemory};
use std::path::{Path, PathBuf};

/// How one version of control groups calls things.
struct Names {
    /// Where its groups are mounted, below the root.
    mount: &'static str,
    /// What the line in `/proc/self/cgroup` has between its colons.
    controller: fn(&str) -> bool,
    limit: &'static str,
    usage: &'static str,
    /// In `memory.stat`: what is only cached.
    cached: [&'static str; 2],
}

const VERSIONS: [Names; 2] = [
    Names {
        mount: "sys/fs/cgroup",
        controller: str::is_empty,
        limit: "memory.max",
        usage: "memory.current",
        cached: ["inactive_file", "active_file"],
    },
    Names {
        mount: "sys/fs/cgroup/memory",
        controller: |names| names.split(',').any(|name| name == "memory"),
        limit: "memory.limit_in_bytes",
        usage: "memory.usage_in_bytes",
        cached: ["total_inactive_file", "total_active_file"],
    },
];

/// `host`, or less where a control group of this process or one above it allows less. `root` is `/`, but for tests.
pub(super) fn limited(host: DeviceMemory, root: &Path) -> DeviceMemory {
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = VERSIONS.iter().flat_map(|names| {
        let group = group(&groups, names).unwrap_or("/");
        folders(&root.join(names.mount), group).into_iter().filter_map(|folder| limit(&folder, names))
    });
    limits.filter(|limit| limit.total < host.total).fold(host, |least, limit| DeviceMemory {
        total: least.total.min(limit.total),
        free: least.free.min(limit.free),
    })
}

/// This process's group, out of lines like `4:memory:/docker/4f1d` or `0::/`.
fn group<'a>(groups: &'a str, names: &Names) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        parts.next().filter(|_| (names.controller)(controllers))
    })
}

/// The group's folder and all above it. Inside a container only the topmost may be there: it is the container's own.
fn folders(mount: &Path, group: &str) -> Vec<PathBuf> {
    let group = Path::new(group.trim_start_matches('/'));
    group.ancestors().map(|group| mount.join(group)).collect()
}

/// The limit of one group, if it has one.
fn limit(folder: &Path, names: &Names) -> Option<DeviceMemory> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    // Version 2 says `max` for no limit; version 1 says a number near 2^63, more than any host has.
    let total: u64 = read(names.limit)?.trim().parse().ok()?;
    let usage: u64 = read(names.usage)?.trim().parse().ok()?;
    let held = usage.saturating_sub(cached(&read("memory.stat").unwrap_or_default(), names));
    Some(DeviceMemory { total: Bytes(total), free: Bytes(total.saturating_sub(held)) })
}

/// How much of the usage the kernel would give back when asked.
fn cached(stat: &str, names: &Names) -> u64 {
    let value = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        names.cached.contains(&name).then(|| value.parse::<u64>().ok()).flatten()
    };
    stat.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Total and free of a host with 1000 and 900 bytes whose files say this.
    fn limited_by(files: &[(&str, &str)]) -> (u64, u64) {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = root.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let host = DeviceMemory { total: Bytes(1000), free: Bytes(900) };
        let memory = limited(host, root.path());
        (memory.total.0, memory.free.0)
    }

    const STAT_2: &str = "anon 100\nfile 80\ninactive_file 50\nactive_file 20\nslab 7\n";
    const STAT_1: &str =
        "cache 80\ntotal_cache 80\ntotal_inactive_file 50\ntotal_active_file 20\ninactive_file 1\n";

    #[test]
    fn without_groups_the_host_is_the_limit() {
        assert_eq!(limited_by(&[]), (1000, 900));
    }

    #[test]
    fn a_container_has_what_its_limit_leaves_and_cached_files_are_free() {
        let seen = limited_by(&[
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "400\n"),
            ("sys/fs/cgroup/memory.current", "300\n"),
            ("sys/fs/cgroup/memory.stat", STAT_2),
        ]);
        assert_eq!(seen, (400, 400 - (300 - 70)));
    }

    #[test]
    fn the_older_version_of_groups_is_read_as_well() {
        // As a container sees it that does not know the path of its own group.
        let seen = limited_by(&[
            ("proc/self/cgroup", "9:name=systemd:/docker/4f\n4:cpu,memory:/docker/4f\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "400\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "300\n"),
            ("sys/fs/cgroup/memory/memory.stat", STAT_1),
        ]);
        assert_eq!(seen, (400, 400 - (300 - 70)));
    }

    #[test]
    fn no_limit_is_none() {
        let unlimited = [
            ("sys/fs/cgroup/memory.max", "max\n"),
            ("sys/fs/cgroup/memory.current", "999\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "999\n"),
        ];
        assert_eq!(limited_by(&unlimited), (1000, 900));
    }

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        let seen = limited_by(&[
            ("proc/self/cgroup", "0::/system.slice/stenopool.service\n"),
            ("sys/fs/cgroup/system.slice/stenopool.service/memory.max", "500"),
            ("sys/fs/cgroup/system.slice/stenopool.service/memory.current", "100"),
            ("sys/fs/cgroup/system.slice/memory.max", "800"),
            ("sys/fs/cgroup/system.slice/memory.current", "700"),
        ]);
        assert_eq!(seen, (500, 100));
    }

    #[test]
    fn a_limit_that_the_host_cannot_honour_does_not_add_memory() {
        let seen = limited_by(&[("sys/fs/cgroup/memory.max", "950"), ("sys/fs/cgroup/memory.current", "0")]);
        assert_eq!(seen, (950, 900));
    }
}
