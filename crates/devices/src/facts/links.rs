//! A host's network interfaces: hardware first, because cables lead there.

use std::collections::BTreeMap;
use std::path::Path;

use protocols::facts::Interface;

use super::{read_text, some};

/// Its interfaces, at most [`INTERFACES_MAX`] of them and as many as fit, and how many more there are. `root` stands for
/// `/`.
pub(super) fn interfaces(root: &Path) -> (BTreeMap<String, Interface>, u32) {
    let found = netdev::get_interfaces().into_iter().filter(|interface| !interface.is_loopback());
    let fact = |interface: netdev::Interface| {
        let v4 = interface.ipv4.iter().map(ToString::to_string);
        let mut addresses: Vec<String> = v4.chain(interface.ipv6.iter().map(ToString::to_string)).collect();
        addresses.sort_unstable();
        addresses.truncate(ADDRESSES_MAX);
        let mac = interface.mac_addr.map(|mac| mac.to_string());
        let up = interface.is_up();
        let plain = Interface { mac, addresses, up, ..Interface::default() };
        let fact = wired(root, &interface.name, plain);
        (interface.name, fact)
    };
    bounded(found.map(fact).collect())
}

/// The same with what the kernel tells of its hardware.
fn wired(root: &Path, name: &str, plain: Interface) -> Interface {
    let folder = root.join("sys/class/net").join(name);
    let text = |file: &str| read_text(&folder.join(file)).and_then(|text| some(&text));
    let permanent = text("bonding_slave/perm_hwaddr").filter(|permanent| Some(permanent) != plain.mac.as_ref());
    let bond = std::fs::read_link(folder.join("master")).ok().filter(|_| folder.join("master/bonding").is_dir());
    Interface {
        // What is down says so by an error.
        link: text("carrier").map(|carrier| carrier == "1"),
        megabits: text("speed").and_then(|speed| speed.parse().ok()).filter(|speed| *speed > 0 && *speed < u32::MAX),
        physical: folder.join("device").exists(),
        bond: bond.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
        permanent,
        ..plain
    }
}

/// Those that are kept: hardware before what the kernel made, and then by name.
fn bounded(all: Vec<(String, Interface)>) -> (BTreeMap<String, Interface>, u32) {
    let mut all = all;
    all.sort_by(|(one, first), (two, second)| (!first.physical, one).cmp(&(!second.physical, two)));
    let (mut kept, mut left, mut room) = (BTreeMap::new(), 0_u32, INTERFACES_BYTES_MAX);
    for (name, interface) in all {
        let bytes = name.len() + 4 + serde_json::to_vec(&interface).map_or(usize::MAX / 2, |bytes| bytes.len());
        if kept.len() == INTERFACES_MAX || bytes > room {
            left = left.saturating_add(1);
            continue;
        }
        room -= bytes;
        kept.insert(name, interface);
    }
    (kept, left)
}

/// The most interfaces that are reported.
const INTERFACES_MAX: usize = 64;
/// The most that they may take in the record of facts, in bytes: it holds other things, too.
const INTERFACES_BYTES_MAX: usize = protocols::record::RECORD_BYTES_MAX / 3 * 2;
/// The most addresses of an interface that are reported.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn reads_what_the_kernel_says_of_a_member_of_a_bond() {
        let root = tempfile::tempdir().unwrap();
        let net = root.path().join("sys/class/net");
        let put = |path: &str, text: &str| {
            let path = net.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("bond0/bonding/mode", "802.3ad 4\n");
        put("eth1/bonding_slave/perm_hwaddr", "02:00:00:00:00:01\n");
        put("eth1/speed", "10000\n");
        put("eth1/carrier", "1\n");
        put("eth1/device/vendor", "0x8086\n");
        std::os::unix::fs::symlink("../bond0", net.join("eth1/master")).unwrap();
        put("eth2/speed", "-1\n");
        put("br0/bridge/x", "");
        std::os::unix::fs::symlink("../br0", net.join("eth2/master")).unwrap();
        let mac = Some("02:00:00:00:00:09".to_owned());
        let member = wired(root.path(), "eth1", Interface { mac, up: true, ..Interface::default() });
        assert_eq!((member.megabits, member.link, member.physical), (Some(10_000), Some(true), true));
        assert_eq!((member.bond.as_deref(), member.permanent.as_deref()), (Some("bond0"), Some("02:00:00:00:00:01")));
        let macs: Vec<String> = member.macs().map(|mac| mac.to_string()).collect();
        assert_eq!(macs, ["02:00:00:00:00:09", "02:00:00:00:00:01"]);
        // A bridge is no bond, and there is no speed without a link.
        let port = wired(root.path(), "eth2", Interface::default());
        assert_eq!(port, Interface::default());
    }

    #[test]
    fn hardware_is_kept_and_the_rest_is_counted() {
        let one = |n: usize| {
            let addresses = vec!["2001:db8:0000:0000:0000:0000:0000:0001/64".to_owned(); ADDRESSES_MAX];
            (format!("veth{n:03}"), Interface { addresses, ..Interface::default() })
        };
        let mut all: Vec<(String, Interface)> = (0..200).map(one).collect();
        all.push(("wan".into(), Interface { physical: true, ..Interface::default() }));
        let (kept, left) = bounded(all);
        assert!(kept.contains_key("wan") && kept.contains_key("veth000"), "{kept:?}");
        assert_eq!(kept.len() + left as usize, 201);
        assert!(serde_json::to_vec(&kept).unwrap().len() <= INTERFACES_BYTES_MAX + 2);
        let (kept, left) = bounded((0..200).map(|n| (n.to_string(), Interface::default())).collect());
        assert_eq!((kept.len(), left), (INTERFACES_MAX, 136));
    }
}
