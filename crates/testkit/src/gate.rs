//! The gate of system tests: what they need is there, or they fail and say how to get it, or they were told to skip.

use std::path::{Path, PathBuf};

/// What tests with network namespaces need.
pub const NETWORK: &[&str] = &["ip", "tc", "nft", "flock"];

/// What tests with machines need, beside [`NETWORK`].
pub const MACHINES: &[&str] = &["ip", "tc", "nft", "flock", "unshare", "nsenter", "debootstrap"];

/// Whether a system test may go on. `false` means: return, the person who runs the tests asked to skip it.
///
/// With `FLT_SKIP_SYSTEM_TESTS=1` in the environment it prints that the test is skipped and gives `false`. In every
/// other case it makes sure that the test runs as root and has the tools, and **panics** where not: a test that
/// skips by itself proves nothing on the one machine that matters.
#[must_use = "a test that is to be skipped must return"]
#[track_caller]
pub fn require(test: &str, tools: &[&str]) -> bool {
    if std::env::var_os(SKIP).is_some_and(|value| value == "1") {
        println!("skipped: {test} ({SKIP}=1)");
        return false;
    }
    let missing = lacks(rustix::process::geteuid().is_root(), tools, |tool| find(tool).is_some());
    assert!(
        missing.is_empty(),
        "{test} cannot run here: {}\n(or set {SKIP}=1 to skip system tests)",
        missing.join("; ")
    );
    true
}

/// Where a tool is: the search path, and where root's tools are for those who do not have that in theirs.
pub(crate) fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(tool))
        .find(|file| Path::is_file(file))
}

/// Everything that is missing, each with how to get it.
fn lacks(root: bool, tools: &[&str], has: impl Fn(&str) -> bool) -> Vec<String> {
    let mut missing = Vec::new();
    if !root {
        missing.push("it needs root (namespaces, mounts): run it with sudo -E".to_owned());
    }
    for tool in tools.iter().filter(|tool| !has(tool)) {
        missing.push(format!("`{tool}` is not installed: apt-get install -y {}", package(tool)));
    }
    missing
}

/// The Debian package that has a tool.
fn package(tool: &str) -> &str {
    match tool {
        "ip" | "tc" | "bridge" | "ss" => "iproute2",
        "nft" => "nftables",
        "unshare" | "nsenter" | "flock" | "setpriv" | "mount" => "util-linux",
        "systemd" | "systemctl" | "systemd-run" => "systemd",
        "nix" | "nix-store" | "nix-env" | "nix-build" | "nix-instantiate" => "nix-bin",
        "ping" => "iputils-ping",
        "postgres" | "psql" => "postgresql",
        "sshd" => "openssh-server",
        "ssh" | "ssh-keygen" => "openssh-client",
        other => other,
    }
}

const SKIP: &str = "FLT_SKIP_SYSTEM_TESTS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_missing_and_how_to_get_it() {
        assert_eq!(lacks(true, &["ip", "nft"], |_| true), Vec::<String>::new());
        let missing = lacks(false, &["ip", "nft", "python3"], |tool| tool == "ip");
        assert_eq!(missing.len(), 3);
        assert!(missing[0].contains("root"));
        assert_eq!(missing[1], "`nft` is not installed: apt-get install -y nftables");
        assert!(missing[2].ends_with("install -y python3"));
    }

    #[test]
    fn finds_tools() {
        assert!(find("sh").is_some());
        assert!(find("no-such-tool-anywhere").is_none());
    }
}
