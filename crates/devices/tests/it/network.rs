//! Bonds on a host: the files of systemd-networkd and the states of nmstate, against stand-ins that do with them what the
//! real ones do; what the real systemd-networkd makes of the files is in `network/system.rs`.

mod system;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use devices::network::{HostNet, NetworkdHost, NmstateHost};
use scores::Topology as _;
use scores::bond::{HostBond, HostNetwork};

/// Makes what is declared below a folder that stands for `/`, as systemd-networkd does: an interface for a bond, which
/// stays until it is deleted, with those members whose first file says so. Fails while there is a file `fail`.
const NETWORKCTL: &str = r#"#!/bin/sh
root=ROOT
echo "$*" >> $root/calls
[ -e $root/fail ] && { echo 'Failed to reload network settings: Connection refused' >&2; exit 1; }
case $1 in
--no-pager) [ -e $root/stopped ] && echo 'WARNING: systemd-networkd is not running, output will be incomplete.' >&2 ;;
delete) rm -r $root/sys/class/net/$2; rm -f $root/proc/net/bonding/$2 ;;
reload)
    files=$(ls $root/run/systemd/network/*.net* $root/etc/systemd/network/*.net* 2>/dev/null | sed 's|\(.*\)/\([^/]*\)$|\2 \1/\2|' | sort | cut -d' ' -f2)
    for netdev in $(printf '%s\n' $files | grep 'netdev$'); do
        name=$(sed -n 's/^Name=//p' $netdev)
        mkdir -p $root/sys/class/net/$name $root/proc/net/bonding
    done
    for bond in $(cd $root/sys/class/net; ls -d bond* 2>/dev/null); do
        out=$root/proc/net/bonding/$bond
        printf 'Bonding Mode: IEEE 802.3ad Dynamic link aggregation\nMII Status: up\n\n802.3ad info\nActive Aggregator Info:\n\tAggregator ID: 1\n\tPartner Mac Address: cc:4e:24:39:2a:40\n' > $out
        for nic in t1 t2; do
            for network in $(printf '%s\n' $files | grep 'network$'); do
                grep -q "^Name=$nic\$" $network || continue
                grep -q "^Bond=$bond\$" $network && printf '\nSlave Interface: %s\nMII Status: up\nAggregator ID: 1\n' $nic >> $out
                break
            done
        done
    done ;;
esac
exit 0
"#;

/// Keeps a state, and what was made for good, as nmstate does; fails while there is a file `fail`.
const NMSTATECTL: &str = r#"#!/usr/bin/env python3
import json, os, sys
root = 'ROOT'
open(root + '/calls', 'a').write(' '.join(sys.argv[1:]) + '\n')
if os.path.exists(root + '/fail'):
    sys.exit('NmstateError: PluginFailure: no NetworkManager')
path = root + '/state.json'
state = json.load(open(path))
if sys.argv[1] == 'show':
    print(json.dumps(state))
    sys.exit(0)
assert sys.argv[1] == 'apply' and sys.argv[-1] == '-', sys.argv
for wanted in json.load(sys.stdin)['interfaces']:
    state['interfaces'] = [i for i in state['interfaces'] if i['name'] != wanted['name']]
    proc, net = root + '/proc/net/bonding/' + wanted['name'], root + '/sys/class/net/' + wanted['name']
    if wanted['state'] == 'absent':
        if os.path.exists(proc): os.remove(proc)
        if os.path.exists(net): os.rmdir(net)
        continue
    wanted.pop('copy-mac-from', None)
    state['interfaces'].append(wanted)
    if wanted['type'] == 'bond':
        os.makedirs(net, exist_ok=True)
        os.makedirs(os.path.dirname(proc), exist_ok=True)
        with open(proc, 'w') as out:
            out.write('Bonding Mode: IEEE 802.3ad Dynamic link aggregation\n\tAggregator ID: 1\n')
            for nic in wanted['link-aggregation']['port']:
                out.write('\nSlave Interface: %s\nMII Status: up\nAggregator ID: 1\n' % nic)
json.dump(state, open(path, 'w'))
"#;

struct Bed {
    dir: tempfile::TempDir,
    program: PathBuf,
}

impl Bed {
    fn new(name: &str, script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display().to_string();
        for (n, nic) in ["t1", "t2"].into_iter().enumerate() {
            let folder = dir.path().join("sys/class/net").join(nic);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("address"), format!("02:00:00:00:00:0{n}\n")).unwrap();
            fs::write(folder.join("carrier"), "1\n").unwrap();
        }
        fs::create_dir_all(dir.path().join("proc/sys/kernel/random")).unwrap();
        fs::write(dir.path().join("proc/sys/kernel/random/boot_id"), "boot-1\n").unwrap();
        let nic = |nic: &str| serde_json::json!({ "name": nic, "type": "ethernet", "state": "up", "mac-address": "x" });
        let state = serde_json::json!({ "interfaces": [nic("t1"), nic("t2")], "routes": { "config": [] } });
        fs::write(dir.path().join("state.json"), state.to_string()).unwrap();
        let program = dir.path().join(name);
        fs::write(&program, script.replace("ROOT", &root)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir, program }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn networkd() -> (Self, HostNet) {
        let bed = Self::new("networkctl", NETWORKCTL);
        let host = NetworkdHost::new(bed.path(), &bed.program);
        (bed, HostNet::Networkd(host))
    }

    fn nmstate() -> (Self, HostNet) {
        let bed = Self::new("nmstatectl", NMSTATECTL);
        let host = NmstateHost::new(bed.path(), &bed.program, &bed.path().join("data"));
        (bed, HostNet::Nmstate(host))
    }

    /// All files of systemd-networkd, and what nmstate has.
    fn all(&self) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        for folder in ["run/systemd/network", "etc/systemd/network", "data/bonds", "proc/net/bonding"] {
            let entries = fs::read_dir(self.path().join(folder)).into_iter().flatten();
            found.extend(entries.map(|entry| {
                let path = entry.unwrap().path();
                let text = fs::read_to_string(&path).unwrap();
                (path, text)
            }));
        }
        found.sort();
        found
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.path().join("calls")).unwrap_or_default()
    }
}

fn bond(nics: &[&str]) -> HostBond {
    HostBond {
        name: "bond0".into(),
        nics: nics.iter().map(|nic| (*nic).to_owned()).collect(),
        mac: Some("02:00:00:00:00:00".parse().unwrap()),
        addresses: BTreeSet::from(["10.0.0.5/24".to_owned(), "2001:db8::5/64".to_owned()]),
        gateways: BTreeSet::from(["10.0.0.1".parse().unwrap()]),
        dhcp: false,
        device: "rack-3".parse().unwrap(),
        ports: BTreeSet::from(["1/1/1".parse().unwrap(), "1/1/2".parse().unwrap()]),
    }
}

#[tokio::test]
async fn a_bond_is_made_kept_and_put_back_by_either_way() {
    for (bed, host) in [Bed::networkd(), Bed::nmstate()] {
        host.ensure_ready().await.unwrap();
        let found = host.look("bond0").await.unwrap();
        assert_eq!((found.links.len(), &found.running, &found.startup, &found.state), (2, &None, &None, &None));
        assert_eq!(found.links["t1"].mac, Some("02:00:00:00:00:00".parse().unwrap()));
        let before = bed.all();
        let record = host.record("bond0").await.unwrap();
        assert_eq!(bed.all(), before, "looking changes nothing");
        let wanted = bond(&["t1", "t2"]);
        for _twice in 0..2 {
            host.set(&wanted).await.unwrap();
            let found = host.look("bond0").await.unwrap();
            assert_eq!((found.running.as_ref(), &found.startup), (Some(&wanted), &None), "{}", bed.calls());
            assert_eq!(found.state.unwrap().members.keys().collect::<Vec<_>>(), ["t1", "t2"]);
        }
        for _twice in 0..2 {
            host.keep(&wanted).await.unwrap();
            let found = host.look("bond0").await.unwrap();
            assert_eq!((found.running.as_ref(), found.startup.as_ref()), (Some(&wanted), Some(&wanted)));
        }
        // Another shape, and back to this one.
        let kept = bed.all();
        let again = host.record("bond0").await.unwrap();
        host.set(&bond(&["t1"])).await.unwrap();
        let found = host.look("bond0").await.unwrap();
        assert_eq!(found.state.unwrap().members.keys().collect::<Vec<_>>(), ["t1"], "{}", bed.calls());
        assert_eq!((found.running.as_ref(), found.startup.as_ref()), (Some(&bond(&["t1"])), Some(&wanted)));
        for _twice in 0..2 {
            host.put_back("bond0", &again).await.unwrap();
            assert_eq!(bed.all(), kept);
        }
        // Back to nothing.
        for _twice in 0..2 {
            host.put_back("bond0", &record).await.unwrap();
            assert_eq!(bed.all(), before, "{}", bed.calls());
        }
        assert!(!bed.path().join("sys/class/net/bond0").exists());
        assert!(host.put_back("bond0", "{}").await.is_err());
    }
}

#[tokio::test]
async fn what_is_on_probation_is_gone_after_a_boot() {
    for (bed, host) in [Bed::networkd(), Bed::nmstate()] {
        host.set(&bond(&["t1", "t2"])).await.unwrap();
        drop(fs::remove_dir_all(bed.path().join("run")));
        fs::write(bed.path().join("proc/sys/kernel/random/boot_id"), "boot-2\n").unwrap();
        let found = host.look("bond0").await.unwrap();
        assert_eq!((found.running, found.startup), (None, None));
    }
    let (bed, host) = Bed::nmstate();
    host.set(&bond(&["t1", "t2"])).await.unwrap();
    host.keep(&bond(&["t1", "t2"])).await.unwrap();
    let calls = bed.calls();
    let applied: Vec<&str> = calls.lines().filter(|line| line.starts_with("apply")).collect();
    assert_eq!(applied, ["apply --memory-only -", "apply -"]);
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_is_told_and_what_was_written_is_undone_later() {
    for (bed, host) in [Bed::networkd(), Bed::nmstate()] {
        let before = bed.all();
        let record = host.record("bond0").await.unwrap();
        fs::write(bed.path().join("fail"), "").unwrap();
        assert!(host.ensure_ready().await.unwrap_err().is_transient());
        let error = host.set(&bond(&["t1", "t2"])).await.unwrap_err();
        assert!(error.to_string().contains("ctl "), "{error}");
        assert!(host.put_back("bond0", &record).await.is_err());
        fs::remove_file(bed.path().join("fail")).unwrap();
        host.put_back("bond0", &record).await.unwrap();
        assert_eq!(bed.all(), before);
    }
}

#[tokio::test]
async fn files_that_somebody_changed_count_no_more_and_those_of_others_are_told() {
    let (bed, host) = Bed::networkd();
    host.set(&bond(&["t1", "t2"])).await.unwrap();
    host.keep(&bond(&["t1", "t2"])).await.unwrap();
    let file = bed.path().join("etc/systemd/network/05-flotilla-bond-bond0.network");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("Address=10.0.0.5/24\nAddress=2001:db8::5/64\nGateway=10.0.0.1\n"), "{text}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644, "networkd is not root");
    fs::write(&file, text.replace("10.0.0.5", "10.0.0.6")).unwrap();
    let found = host.look("bond0").await.unwrap();
    assert_eq!((found.running, found.startup, found.foreign), (None, None, None));
    host.set(&bond(&["t1", "t2"])).await.unwrap();
    host.keep(&bond(&["t1", "t2"])).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let other = bed.path().join("etc/systemd/network/10-mine.netdev");
    fs::write(&other, "[NetDev]\nName = bond0\nKind=bond\n").unwrap();
    let foreign = host.look("bond0").await.unwrap().foreign.unwrap();
    assert!(foreign.contains("10-mine.netdev"), "{foreign}");
    // Another bond is another matter.
    assert_eq!(host.look("bond1").await.unwrap().foreign, None);
    assert_eq!(host.look("bond1").await.unwrap().startup, None);
}

#[tokio::test]
async fn a_host_whose_networkd_does_not_run_is_not_ready() {
    let (bed, host) = Bed::networkd();
    host.ensure_ready().await.unwrap();
    fs::write(bed.path().join("stopped"), "").unwrap();
    let error = host.ensure_ready().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("does not run here"), "{error}");
}

#[tokio::test]
async fn what_is_made_of_an_interface_is_seen() {
    let (bed, host) = Bed::networkd();
    let nic = bed.path().join("sys/class/net/t1");
    for upper in ["upper_t1.20", "upper_bond0"] {
        fs::create_dir(nic.join(upper)).unwrap();
    }
    let links = host.look("bond0").await.unwrap().links;
    assert_eq!(links["t1"].above, BTreeSet::from(["bond0".to_owned(), "t1.20".to_owned()]));
    std::os::unix::fs::symlink("../bond0", nic.join("master")).unwrap();
    let links = host.look("bond0").await.unwrap().links;
    assert_eq!((links["t1"].above.len(), links["t1"].master.as_deref()), (1, Some("bond0")));
    assert!(links["t2"].above.is_empty());
}

#[test]
fn nmstate_is_chosen_where_it_is() {
    let bed = Bed::new("networkctl", NETWORKCTL);
    let data = bed.path().join("data");
    let find = |path: &Path| HostNet::find(bed.path(), path.as_os_str(), &data);
    assert!(matches!(find(bed.path()), Some(HostNet::Networkd(_))));
    fs::write(bed.path().join("nmstatectl"), "").unwrap();
    assert!(matches!(find(bed.path()), Some(HostNet::Nmstate(_))));
    assert!(find(&bed.path().join("sys")).is_none());
}

#[tokio::test]
async fn a_program_is_run_by_another_one_where_that_is_asked_for() {
    let (bed, host) = Bed::networkd();
    let words = ["sh", "-c", "echo by >> $0; exec \"$@\""].map(str::to_owned);
    let noted = bed.path().join("by");
    let words: Vec<String> = words.into_iter().chain([noted.display().to_string()]).collect();
    let host = host.run_by(&words);
    host.set(&bond(&["t1", "t2"])).await.unwrap();
    assert_eq!(fs::read_to_string(noted).unwrap(), "by\n");
    assert_eq!(bed.calls(), "reload\n");
    assert!(host.look("bond0").await.unwrap().running.is_some());
    let none = HostNet::Not("this process has no network");
    let error = none.ensure_ready().await.unwrap_err();
    assert_eq!(error.to_string(), "set the network: this process has no network");
}
