//! What the machine that runs the tests can do.

use std::fmt::Write as _;

use crate::command::{tool, tool_with};
use crate::machine::cgroup2;
use crate::{Lan, Namespace, Quality};

/// Tries everything that the test bed needs of the kernel and of this process's rights, one thing after another, and
/// gives a line for each; panics at the end if something cannot be done. Run it first on a new kind of machine.
#[track_caller]
pub fn probe() -> String {
    let mut report = String::new();
    let mut failed = Vec::new();
    for (what, needed_for, attempt) in ATTEMPTS {
        let outcome = std::panic::catch_unwind(attempt);
        let word = if outcome.is_ok() { "yes" } else { "NO" };
        // Writing to a String cannot fail.
        let _ok = writeln!(report, "{word:>4}  {what} ({needed_for})");
        if outcome.is_err() {
            failed.push(*what);
        }
    }
    assert!(failed.is_empty(), "this machine cannot be a test bed, it lacks {failed:?}:\n{report}");
    report
}

type Attempt = (&'static str, &'static str, fn());

const ATTEMPTS: &[Attempt] = &[
    ("root", "everything", || assert!(rustix::process::geteuid().is_root(), "not root")),
    ("network namespaces", "networks", || drop(Namespace::new("probe"))),
    ("bridges and veth pairs", "networks", || drop(Lan::new(2))),
    ("nft address translation", "NATs", || {
        Namespace::new("probe")
            .nft("table ip nat { chain c { type nat hook postrouting priority 100; masquerade fully-random; }; }");
    }),
    ("nft at a port, in both directions", "faults", || {
        let lan = Lan::new(1);
        lan.port(0).block();
        lan.port(0).lose_to(50);
    }),
    ("token buckets", "rate limits", || Lan::new(1).port(0).rate(Some(1000))),
    ("TAP interfaces", "delay and loss", || {
        Lan::new(0).attach_by(&Namespace::new("probe"), Quality::default());
    }),
    ("own mount, process, host name, IPC and control group namespaces", "machines", || {
        tool("unshare", &["--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child", "true"]);
    }),
    ("overlay mounts", "machines", || {
        in_mounts(
            "d=$(mktemp -d -p /var/tmp); mkdir $d/l $d/u $d/w $d/r; \
             mount -t overlay overlay -o lowerdir=$d/l,upperdir=$d/u,workdir=$d/w $d/r && echo x > $d/r/x; code=$?; \
             umount $d/r; rm -rf $d; exit $code",
        );
    }),
    ("control groups, version 2", "machines", || {
        assert!(cgroup2().is_some(), "no cgroup2 file system is mounted");
        in_mounts("mount -t cgroup2 cgroup2 /mnt && [ -e /mnt/cgroup.procs ]");
    }),
];

/// Runs a script in a mount namespace of its own.
#[track_caller]
fn in_mounts(script: &str) {
    tool_with("unshare", &["--mount", "--propagation", "private", "sh", "-e"], script);
}
