//! What a host is and how it fares, read from the kernel's files; nothing that is secret, and nothing that can hang.

mod links;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use protocols::facts::{StableFacts, VolatileFacts};
use protocols::{Kind, Millis};
use tokio::process::Command;
use tokio::time::timeout;

/// Facts that change when the host is changed. Whatever cannot be read is left out.
///
/// `root` stands for `/`; kernel and processors are those of the running system, and so is which interfaces there are.
pub async fn stable(root: &Path, flt_version: &str, kinds: Vec<Kind>) -> StableFacts {
    let nix_version = nix_version().await;
    let root = root.to_owned();
    let flt_version = flt_version.to_owned();
    let read = move || {
        let os = read_text(&root.join("etc/os-release")).or_else(|| read_text(&root.join("usr/lib/os-release")));
        let os = os.as_deref().map(os_release).unwrap_or_default();
        let uname = rustix::system::uname();
        let (interfaces, interfaces_left_out) = links::interfaces(&root);
        let link = |path: &str| Some(std::fs::read_link(root.join(path)).ok()?.to_string_lossy().into_owned());
        StableFacts {
            flt_version,
            kinds,
            hostname: some(&uname.nodename().to_string_lossy()),
            machine_id: read_text(&root.join("etc/machine-id")).as_deref().and_then(machine_id),
            os_id: os.get("ID").cloned(),
            os_version: os.get("VERSION_ID").cloned(),
            os_name: os.get("PRETTY_NAME").cloned(),
            kernel: some(&uname.release().to_string_lossy()),
            arch: some(&uname.machine().to_string_lossy()),
            cpus: std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok()),
            memory_bytes: read_text(&root.join("proc/meminfo")).and_then(|text| meminfo(&text, "MemTotal")),
            boot_id: read_text(&root.join("proc/sys/kernel/random/boot_id")).and_then(|text| some(&text)),
            nix_version,
            nixos_current: link("run/current-system"),
            nixos_booted: link("run/booted-system"),
            interfaces,
            interfaces_left_out,
        }
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

/// Facts that change all the time. `data` is where the agent keeps its data; `clock` is the node's clock.
pub async fn volatile(root: &Path, data: &Path, clock: Millis) -> VolatileFacts {
    let (root, data) = (root.to_owned(), data.to_owned());
    let read = move || VolatileFacts {
        clock,
        uptime_seconds: read_text(&root.join("proc/uptime")).as_deref().and_then(uptime),
        load_hundredths: read_text(&root.join("proc/loadavg")).as_deref().and_then(load),
        memory_available_bytes: read_text(&root.join("proc/meminfo")).and_then(|text| meminfo(&text, "MemAvailable")),
        data_free_bytes: free(&data),
        store_free_bytes: free(&root.join("nix/store")),
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| VolatileFacts { clock, ..VolatileFacts::default() })
}

/// Free bytes of the file system that holds a path, as far as an ordinary user can have them.
pub fn free(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

async fn nix_version() -> Option<String> {
    let mut command = Command::new("nix");
    command.arg("--version").kill_on_drop(true).stdin(std::process::Stdio::null());
    let output = timeout(NIX_DEADLINE, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text.lines().next()?.split_whitespace().last()?;
    let plain = output.status.success() && last.starts_with(|c: char| c.is_ascii_digit());
    if plain { some(last) } else { None }
}

/// `/etc/machine-id` is confidential, so what is published only tells machines apart.
fn machine_id(text: &str) -> Option<String> {
    let id = text.trim();
    let valid =
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && id.bytes().any(|byte| byte != b'0');
    valid
        .then(|| blake3::derive_key("flotilla machine-id 1", id.to_ascii_lowercase().as_bytes()))
        .map(|digest| data_encoding::HEXLOWER.encode(&digest[..16]))
}

/// `NAME=value` lines with shell quotes, as os-release(5) has them.
fn os_release(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (name, value) = line.trim().split_once('=')?;
        let value = value.trim();
        let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        let mut plain = String::new();
        let mut escaped = false;
        for c in quoted.unwrap_or(value).chars() {
            if c == '\\' && !escaped {
                escaped = true;
            } else {
                escaped = false;
                plain.push(c);
            }
        }
        Some((name.to_owned(), some(&plain)?))
    };
    text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(pair).collect()
}

fn meminfo(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

fn uptime(text: &str) -> Option<u64> {
    text.split(['.', ' ']).next()?.parse().ok()
}

fn load(text: &str) -> Option<u32> {
    let (whole, part) = text.split_whitespace().next()?.split_once('.')?;
    let part: u32 = format!("{part:0<2}").get(..2)?.parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part)
}

fn read_text(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// A text without the space around it, at most [`TEXT_BYTES_MAX`] long; none when nothing is left.
fn some(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() { None } else { Some(protocols::outcome::shorten(text, TEXT_BYTES_MAX)) }
}

/// The most that is read of any file, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// The longest text of a fact, in bytes.
const TEXT_BYTES_MAX: usize = 256;
/// How long `nix --version` may take.
const NIX_DEADLINE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_formats() {
        assert_eq!(uptime("1234.56 99.0\n"), Some(1234));
        assert_eq!(load("0.07 0.1 0.2 1/2 3"), Some(7));
        assert_eq!(load("12.5 0.1"), Some(1250));
        assert_eq!(meminfo("MemFree: 1 kB\nMemTotal:       2048 kB\n", "MemTotal"), Some(2_097_152));
        for garbage in ["", "\0", "x", "-1", "MemTotal: 99999999999999999999 kB"] {
            assert_eq!(
                (uptime(garbage), load(garbage), meminfo(garbage, "MemTotal")),
                (None, None, None),
                "{garbage:?}"
            );
        }
    }

    #[test]
    fn reads_os_release_with_quotes() {
        let os = os_release("# x\nID=nixos\nPRETTY_NAME=\"A \\\"big\\\" one\"\nVERSION_ID='25.05'\nEMPTY=\nbad\n");
        assert_eq!(os["ID"], "nixos");
        assert_eq!(os["PRETTY_NAME"], "A \"big\" one");
        assert_eq!(os["VERSION_ID"], "25.05");
        assert!(!os.contains_key("EMPTY"));
    }

    #[test]
    fn a_machine_id_is_published_as_a_digest() {
        let id = "0123456789abcdef0123456789abcdef";
        let digest = machine_id(&format!("{id}\n")).unwrap();
        assert_eq!(digest.len(), 32);
        assert_ne!(digest, id);
        assert_eq!(machine_id("uninitialized"), None);
        assert_eq!(machine_id(&"0".repeat(32)), None);
    }
}
