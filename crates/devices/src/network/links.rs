//! The host's interfaces, as a bond has to know them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use protocols::Mac;
use scores::bond::{AdState, HostLink};

use super::{bonding, read, under};

/// The interfaces that the kernel tells of below `root`, which stands for `/`. Their IP addresses are those that the
/// running system has for interfaces of these names.
pub(super) fn links(root: &Path) -> std::io::Result<BTreeMap<String, HostLink>> {
    let mut addresses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for interface in netdev::get_interfaces() {
        let v4 = interface.ipv4.iter().map(ToString::to_string);
        let all = v4.chain(interface.ipv6.iter().map(ToString::to_string)).collect();
        addresses.insert(interface.name, all);
    }
    let mut links = BTreeMap::new();
    for entry in std::fs::read_dir(under(root, "sys/class/net"))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let folder = entry.path();
        // Files that are no interface: `bonding_masters`.
        if name == "lo" || !folder.is_dir() {
            continue;
        }
        // A link that is down has no carrier to read.
        let text = |file: &str| read(&folder.join(file)).ok().flatten().map(|text| text.trim().to_owned());
        let mac = text("bonding_slave/perm_hwaddr").or_else(|| text("address"));
        let master = std::fs::read_link(folder.join("master")).ok();
        let master = master.and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
        let link = HostLink {
            mac: mac.and_then(|mac| mac.parse().ok()).filter(|mac: &Mac| mac.bytes() != [0; 6]),
            addresses: addresses.remove(&name).unwrap_or_default(),
            above: above(&folder, master.as_deref())?,
            master,
            up: text("carrier").as_deref() == Some("1"),
        };
        links.insert(name, link);
    }
    Ok(links)
}

/// What is made of an interface, beside its master.
fn above(folder: &Path, master: Option<&str>) -> std::io::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let upper = name.strip_prefix("upper_").filter(|upper| Some(*upper) != master);
        all.extend(upper.map(str::to_owned));
    }
    Ok(all)
}

/// How a bond fares, where there is one.
pub(super) fn state(root: &Path, bond: &str) -> std::io::Result<Option<AdState>> {
    Ok(read(&under(root, "proc/net/bonding").join(bond))?.map(|text| bonding::state(&text)))
}

/// Whether there is an interface of this name.
pub(super) fn exists(root: &Path, name: &str) -> bool {
    std::fs::symlink_metadata(under(root, "sys/class/net").join(name)).is_ok()
}
