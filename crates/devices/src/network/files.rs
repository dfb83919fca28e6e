//! The files by which systemd-networkd makes a bond, and what was in their place.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use scores::bond::HostBond;

use super::{read, under};

/// How long what is in a folder lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasts {
    /// Until the next boot.
    Now,
    /// For ever.
    Always,
}

impl Lasts {
    const BOTH: [Self; 2] = [Self::Now, Self::Always];

    fn folder(self, root: &Path) -> PathBuf {
        under(
            root,
            match self {
                Self::Now => "run/systemd/network",
                Self::Always => "etc/systemd/network",
            },
        )
    }

    /// What the names of files begin with. The first one that fits an interface counts, in the order of the names: what
    /// is only for now is before what is for ever.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Now => "04-flotilla-",
            Self::Always => "05-flotilla-",
        }
    }
}

/// The names, without their prefix, and contents of the files of a bond.
pub(super) fn render(bond: &HostBond) -> io::Result<BTreeMap<String, String>> {
    let name = &bond.name;
    let head = mark(name);
    let json = serde_json::to_string(bond).map_err(io::Error::other)?;
    let mac = bond.mac.map_or_else(String::new, |mac| format!("MACAddress={mac}\n"));
    let mut files = BTreeMap::new();
    files.insert(
        format!("bond-{name}.netdev"),
        format!(
            "{head}{DECLARED}{json}\n\n[NetDev]\nName={name}\nKind=bond\n{mac}\n[Bond]\nMode=802.3ad\n\
             TransmitHashPolicy=layer3+4\nMIIMonitorSec=100ms\nLACPTransmitRate=fast\n"
        ),
    );
    for nic in &bond.nics {
        let text = format!("{head}\n[Match]\nName={nic}\n\n[Network]\nBond={name}\n");
        files.insert(format!("port-{nic}.network"), text);
    }
    let dhcp = if bond.dhcp { "yes" } else { "no" };
    let mut network = format!("{head}\n[Match]\nName={name}\n\n[Network]\nDHCP={dhcp}\n");
    bond.addresses.iter().for_each(|address| network.push_str(&format!("Address={address}\n")));
    bond.gateways.iter().for_each(|gateway| network.push_str(&format!("Gateway={gateway}\n")));
    files.insert(format!("bond-{name}.network"), network);
    Ok(files)
}

/// The same with those that keep interfaces out which what lasts has for members of the bond: until that is another, too,
/// they are members of nothing.
pub(super) fn render_for_now(
    bond: &HostBond,
    always: &BTreeMap<String, String>,
) -> io::Result<BTreeMap<String, String>> {
    let mut files = render(bond)?;
    let members = always.keys().filter_map(|name| name.strip_prefix("port-")?.strip_suffix(".network"));
    for nic in members.filter(|nic| !bond.nics.contains(*nic)) {
        files.insert(format!("{LEFT}{nic}.network"), leaves(&bond.name, nic));
    }
    Ok(files)
}

/// What makes an interface a member of nothing.
fn leaves(bond: &str, nic: &str) -> String {
    let head = mark(bond);
    format!("{head}\n[Match]\nName={nic}\n\n[Network]\nLinkLocalAddressing=no\n")
}

/// The files of a bond in a folder as they are, by their names without the prefix.
pub(super) fn found(root: &Path, lasts: Lasts, bond: &str) -> io::Result<BTreeMap<String, String>> {
    let (folder, mut files) = (lasts.folder(root), BTreeMap::new());
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(plain) = name.strip_prefix(lasts.prefix()) else { continue };
        if !plain.ends_with(".netdev") && !plain.ends_with(".network") {
            continue;
        }
        if let Some(text) = read(&entry.path())?.filter(|text| text.starts_with(&mark(bond))) {
            files.insert(plain.to_owned(), text);
        }
    }
    Ok(files)
}

/// The bond that a folder declares, if its files are as they were written.
pub(super) fn declared(files: &BTreeMap<String, String>, bond: &str) -> Option<HostBond> {
    let netdev = files.get(&format!("bond-{bond}.netdev"))?;
    let json = netdev.lines().find_map(|line| line.strip_prefix(DECLARED))?;
    let bond: HostBond = serde_json::from_str(json).ok()?;
    let mut rest = files.clone();
    rest.retain(|name, text| {
        let nic = name.strip_prefix(LEFT).and_then(|name| name.strip_suffix(".network"));
        nic.is_none_or(|nic| *text != leaves(&bond.name, nic))
    });
    (render(&bond).ok()? == rest).then_some(bond)
}

/// Makes the files of a bond in a folder these, and no others.
pub(super) fn replace(root: &Path, lasts: Lasts, bond: &str, files: &BTreeMap<String, String>) -> io::Result<()> {
    let folder = lasts.folder(root);
    let before = found(root, lasts, bond)?;
    if *files == before {
        return Ok(());
    }
    make_folders(&folder)?;
    for (name, text) in files.iter().filter(|(name, text)| before.get(*name) != Some(text)) {
        write(&folder.join(format!("{}{name}", lasts.prefix())), text)?;
    }
    for name in before.keys().filter(|name| !files.contains_key(*name)) {
        fs::remove_file(folder.join(format!("{}{name}", lasts.prefix())))?;
    }
    fs::File::open(&folder)?.sync_all()
}

/// Makes a folder and those above it, which systemd-networkd can read: it runs as a user of its own, and the umask of an
/// agent's unit leaves nothing to others.
fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    folder.parent().map_or(Ok(()), make_folders)?;
    match fs::create_dir(folder) {
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o755)),
        // Somebody was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// A file of somebody else's that makes an interface of this name.
pub(super) fn foreign(root: &Path, bond: &str) -> io::Result<Option<PathBuf>> {
    for folder in ["etc/systemd/network", "run/systemd/network", "usr/lib/systemd/network"] {
        let entries = match fs::read_dir(under(root, folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let ours = Lasts::BOTH.iter().any(|lasts| name.starts_with(lasts.prefix()));
            if ours || path.extension().is_none_or(|kind| kind != "netdev") {
                continue;
            }
            let text = read(&path)?.unwrap_or_default();
            let names =
                |line: &str| line.trim().split_once('=').is_some_and(|(k, v)| k.trim() == "Name" && v.trim() == bond);
            if text.lines().any(names) {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

/// Replaces a file in one piece. systemd-networkd, which is not root, must be able to read it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&aside)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

/// The first line of every file.
fn mark(bond: &str) -> String {
    format!("# net.bond/1 {bond}\n")
}

/// What the name of a file begins with that keeps an interface out of the bond.
const LEFT: &str = "left-";
/// What the line with the declaration begins with.
const DECLARED: &str = "# declared: ";
