//! Where the host has its second version of control groups, which systemd in a machine needs.

use std::path::PathBuf;

/// The mount point of the cgroup2 file system: /sys/fs/cgroup, or /sys/fs/cgroup/unified where the first version
/// is in use beside it.
pub(crate) fn mount_point() -> Option<PathBuf> {
    find(&std::fs::read_to_string("/proc/self/mounts").ok()?)
}

fn find(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_device, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_both_layouts() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(find(hybrid), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(find("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"), Some(PathBuf::from("/sys/fs/cgroup")));
        assert_eq!(find("proc /proc proc rw 0 0\n"), None);
    }
}
