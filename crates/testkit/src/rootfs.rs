//! The root file system that machines boot from, built once and kept.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::Program;

/// The folder with the root file system of a minimal Debian with systemd, Nix and python3, for
/// [`crate::Machine::boot`]. Nobody may write to it.
///
/// `scripts/rootfs.sh` builds it when it is not in the cache (`FLT_TEST_CACHE`, default
/// `/var/cache/flotilla-testbed`), which takes half a minute and needs root and a Debian mirror. Processes that ask
/// for it at the same time wait for one build.
#[track_caller]
pub fn rootfs() -> PathBuf {
    ROOTFS
        .get_or_init(|| {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/rootfs.sh");
            PathBuf::from(Program::new("sh").arg(script).named("rootfs.sh").limit(LIMIT).ok().trim())
        })
        .clone()
}

static ROOTFS: OnceLock<PathBuf> = OnceLock::new();
/// Longer than the script's own limits together.
const LIMIT: Duration = Duration::from_secs(2000);
