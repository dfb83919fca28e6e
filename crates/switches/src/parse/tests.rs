#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use proptest::prelude::*;
use scores::switch::LagMode;

use super::*;

fn port(text: &str) -> Port {
    text.parse().unwrap()
}

fn ports(text: &[&str]) -> std::collections::BTreeSet<Port> {
    text.iter().map(|text| port(text)).collect()
}

const VERSION: &str = "\
  Copyright (c) All rights reserved.
    UNIT 1: compiled on Feb 12 2016 at 01:02:03 labeled as ICX64S08030h
      (7786516 bytes) from Primary ICX64S08030h.bin
        SW: Version 08.0.30hT311
    UNIT 2: compiled on Feb 12 2016 at 01:02:03 labeled as ICX64S08030h
        SW: Version 08.0.30hT311
  HW: Stackable ICX6450-48-HPOE
==========================================================================
UNIT 1: SL 1: ICX6450-48p POE 48-port Management Module
         Serial  #:BZT0000A0AA
UNIT 1: SL 2: ICX6450-SFP-PLUS 4port 40G Module
==========================================================================
UNIT 2: SL 1: ICX6450-48 48-port Management Module
         Serial  #:BZT0000A0BB
STACKID 1  system uptime is 40 day(s) 2 hour(s)
STACKID 3  system uptime is 1 day(s)";

#[test]
fn versions() {
    let found = version(&lines(VERSION)).unwrap();
    assert_eq!((found.system, found.version.as_str()), (System::FastIron, "08.0.30hT311"));
    assert_eq!(found.model.as_deref(), Some("ICX6450-48-HPOE"));
    let serials: Vec<_> = found.units.iter().map(|unit| (unit.id, unit.serial.as_deref())).collect();
    assert_eq!(serials, [(1, Some("BZT0000A0AA")), (2, Some("BZT0000A0BB")), (3, None)]);
    assert_eq!(found.units[0].model.as_deref(), Some("ICX6450-48p"));
    // One that is no ICX at all is FastIron nevertheless.
    let fcx = version(&lines("  SW: Version 07.3.00cT7f1 Copyright (c)\n  HW: Stackable FCX648S-HPOE")).unwrap();
    assert_eq!((fcx.system, fcx.model.as_deref()), (System::FastIron, Some("FCX648S-HPOE")));
    let nos =
        "\nNetwork Operating System Software\nNetwork Operating System Version: 7.2.0\nSW/0    NOS     7.2.0   ACTIVE*";
    let found = version(&lines(nos)).unwrap();
    assert_eq!((found.system, found.version.as_str(), found.units.len()), (System::NetworkOs, "7.2.0", 1));
    assert!(version(&lines("Cisco IOS Software")).is_err());
    assert!(version(&lines("SW: Version unknown")).is_err());
}

const BRIEF: &str = "

Port       Link    State   Dupl Speed Trunk Tag Pvid Pri MAC             Name
1/1/1      Up      Forward Full 1G    None  No  1    0   cc4e.2439.2a40  10G to XI #1
1/1/2      Down    None    None None  None  No  1    0   cc4e.2439.2a41  failed to boot
1/1/3      Disable None    None None  6     Yes N/A  0   cc4e.2439.2a42
1/1/4      ERR-DIS None    None None  None  No  None 0   cc4e.2439.2a43  > \"x\" --More--
2/1        Up      LACP-BLOCKEDFull 10G   2     Yes 10   0   cc4e.2439.2a44
3          Up      Forward Full 100M  None  No  1    0   cc4e.2439.2a45
lg6        Up      Forward Full 2G    6     Yes N/A  0   cc4e.2439.2a42  core

Port       Link    State   Dupl Speed Trunk Tag Pvid Pri MAC             Name
mgmt1      Up      None    Full 1G    None  No  None 0   cc4e.2439.2a3f
ve10       Up      N/A     N/A  N/A   None  N/A N/A  N/A cc4e.2439.2a3f  gateway
lb1        Up      N/A     N/A  N/A   None  N/A N/A  N/A N/A";

#[test]
fn interfaces_in_brief() {
    let found = fastiron::interfaces(&lines(BRIEF)).unwrap();
    let names: Vec<String> = found.iter().map(|one| one.port.to_string()).collect();
    assert_eq!(names, ["1/1/1", "1/1/2", "1/1/3", "1/1/4", "2/1", "3", "lg6"]);
    assert_eq!(found[0].name.as_deref(), Some("10G to XI #1"));
    assert_eq!((found[0].up, found[0].megabits), (true, Some(1000)));
    assert!(found[2].disabled && found[3].disabled && !found[1].disabled);
    assert_eq!((found[4].megabits, found[5].megabits), (Some(10_000), Some(100)));
    for odd in ["1/1/9      Sideways None None None None No 1 0 cc4e.2439.2a40", "garbage", "1/1/9 Up Forward Full 1G"]
    {
        let error = fastiron::interfaces(&lines(&format!("{BRIEF}\n{odd}"))).unwrap_err();
        assert!(error.to_string().contains(odd.split(' ').next().unwrap()), "{error}");
    }
    assert!(fastiron::interfaces(&[]).is_err(), "nothing is not an empty list");
}

#[test]
fn addresses_in_every_order_of_columns() {
    let newer = "Total active entries from all ports = 93\nMAC-Address     Port           Type          VLAN\n\
        cc4e.2439.2a40  lg61           Dynamic       123\ncc4e.2439.2a41  2/1            Static        7";
    let index = "\nTotal active entries from all ports = 236\nMAC-Address     Port   Type     Index  VLAN\n\
        cc4e.2439.2a40  1/1/2  Dynamic  33492  4000";
    let older = "MAC Address     Port Age VLAN Type\ncc4e.2439.2a40  3    120 55   Dynamic";
    let of = |text: &str| {
        let found = fastiron::addresses(&lines(text)).unwrap();
        found.iter().map(|entry| (entry.port.to_string(), entry.vlan, entry.learnt)).collect::<Vec<_>>()
    };
    assert_eq!(of(newer), [("lg61".into(), 123, true), ("2/1".into(), 7, false)]);
    assert_eq!(of(index), [("1/1/2".into(), 4000, true)]);
    assert_eq!(of(older), [("3".into(), 55, true)]);
    for odd in ["cc4e.2439.2a40 1/1/2 Dynamic", "cc4e.2439.2a40 1/1/2 Dynamic x", "nonsense 1/1/2 Dynamic 1"] {
        assert!(fastiron::addresses(&lines(&format!("{newer}\n{odd}"))).unwrap_err().to_string().contains(odd));
    }
    assert!(fastiron::addresses(&lines("cc4e.2439.2a40 1/1/2 Dynamic 1")).is_err(), "no table");
    let nos = "VlanId   Mac-address       Type     State        Ports\n10       cc4e.2439.2a40    Dynamic  Active       Te 1/0/3\n\
        20       cc4e.2439.2a41    Dynamic  Active       Po 10\nTotal MAC addresses    : 2";
    let found = nos::addresses(&lines(nos)).unwrap();
    assert_eq!((found[0].port, found[1].port), (port("te1/0/3"), port("lg10")));
    assert!(nos::addresses(&lines("Te 1/0/3")).is_err());
}

const LAG_OLD: &str = "\
Total number of LAGs:          2
LACP System Priority / ID:     1 / cc4e.2439.2a40
LACP Long timeout:             120, default: 120

=== LAG \"Akamai Uplink\" ID 6 (dynamic Deployed) ===
LAG Configuration:
   Ports:         e 1/1/23 to 1/1/24
   Port Count:    2
   Primary Port:  1/1/23
   LACP Key:      20006
Deployment: HW Trunk ID 1
Port       Link    State   Dupl Speed Trunk Tag Pvid Pri MAC             Name
1/1/23     Up      Forward Full 1G    6     Yes N/A  0   cc4e.2439.2a40  a
1/1/24     Up      Forward Full 1G    6     Yes N/A  0   cc4e.2439.2a40

Port       [Sys P] [Port P] [Key] [Act][Tio][Agg][Syn][Col][Dis][Def][Exp][Ope]
1/1/23           1        1   20006   Yes   L   Agg  Syn  Col  Dis  No   No   Ope
1/1/24           1        1   20006   Yes   L   Agg  No   No   No   Def  Exp  Ina

 Partner Info and PDU Statistics
Port       Partner         Partner     LACP      LACP
           System ID         Key     Rx Count  Tx Count
1/1/23     65535-0025.9087.0bf8       9       120       118
1/1/24     0-0000.0000.0000           0         0       118

=== LAG \"b\" ID 7 (static Not Deployed) ===
LAG Configuration:
   Ports:         ethe 2/1/1
   Primary Port:  none
Deployment: Not Deployed
";

#[test]
fn port_channels_with_what_lacp_says() {
    let found = fastiron::lags(&lines(LAG_OLD)).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].id, found[0].name.as_deref(), found[0].lacp), (6, Some("Akamai Uplink"), true));
    assert_eq!(found[0].members.iter().map(|one| one.operational).collect::<Vec<_>>(), [Some(true), Some(false)]);
    assert_eq!(found[0].members[0].partner.unwrap().to_string(), "00:25:90:87:0b:f8");
    assert_eq!(found[0].members[1].partner, None);
    assert!(!found[1].deployed && !found[1].lacp);
    for odd in ["what is this", "=== LAG x ==="] {
        let error = fastiron::lags(&lines(&format!("{LAG_OLD}{odd}"))).unwrap_err();
        assert!(!error.to_string().is_empty());
    }
    let nos = " LACP Aggregator: Po 10 (vLAG)\n Aggregator type: Standard\n Partner System ID: 0x8000,00-25-90-87-0b-f8\n\
        \x20 Member ports:\n   Link: Te 1/0/3 (0x18820001) sync: 1\n   Link: Te 2/0/3 sync: 0\n Static Aggregator: Po 11\n";
    let found = nos::lags(&lines(nos)).unwrap();
    assert_eq!((found.len(), found[0].members.len(), found[1].lacp), (2, 2, false));
    assert!(found[0].members[0].partner.is_some() && found[0].members[1].partner.is_none());
    assert!(nos::lags(&lines(" LACP Aggregator: Po 10\n Link: Te 1/0/3 sync: maybe")).is_err());
}

const OLD: &str = "\
Current configuration:
!
ver 08.0.30hT311
!
lag \"up link\" dynamic id 100
 ports ethe 1/2/5 to 1/2/6 ethe 2/2/5
 primary-port 1/2/5
 deploy
 disable ethe 2/2/5
 port-name \"to the core\" ethernet 1/2/5
!
vlan 1 name DEFAULT-VLAN by port
 spanning-tree
!
vlan 10 name servers by port
 tagged ethe 1/1/1 to 1/1/2 ethe 1/2/5 to 1/2/6 ethe 2/2/5
 untagged ethe 1/1/9
 router-interface ve 10
!
vlan 20 by port
 tagged ethe 1/1/1
!
hostname sw # 1
snmp-server group readers v3 priv read all
snmp-server user watch readers v3 auth sha ..... priv aes .....
interface ethernet 1/1/1
 dual-mode  10
 port-name failed to boot >
 spanning-tree 802-1w admin-edge-port
!
interface ethernet 1/1/20
 disable
 ip address 10.0.0.1 255.255.255.0
!
end
";

#[test]
fn a_configuration_of_fastiron() {
    let found = fastiron::configuration(&lines(OLD)).unwrap();
    let config = &found.config;
    let lag = &config.lags[&100];
    assert_eq!((lag.name.as_deref(), lag.mode, lag.deployed), (Some("up link"), LagMode::Lacp, true));
    assert_eq!(lag.members, ports(&["1/2/5", "1/2/6", "2/2/5"]));
    assert!(!config.port(port("2/2/5")).enabled);
    assert_eq!(config.port(port("1/2/5")).description.as_deref(), Some("to the core"));
    let one = config.port(port("1/1/1"));
    assert_eq!((one.vlans.untagged, one.vlans.tagged.len(), one.edge), (Some(10), 1, true));
    assert_eq!(one.description.as_deref(), Some("failed to boot >"));
    assert_eq!(config.port(port("1/1/9")).vlans.untagged, Some(10));
    let routed = config.port(port("1/1/20"));
    assert!(!routed.enabled && routed.layer3.as_deref() == Some("ip address 10.0.0.1 255.255.255.0"));
    assert_eq!(config.vlans[&20].name, None);
    assert_eq!(config.users["watch"].group, "readers");
    assert!(found.others.contains(&" router-interface ve 10".to_owned()));
    for (good, bad) in [
        (" tagged ethe 1/1/1\n", " tagged ethe 1/1/1 to 2/1/1\n"),
        ("lag \"up link\" dynamic id 100", "lag \"up link\" quantum id 100"),
        (" primary-port 1/2/5", " primary-port one"),
        ("vlan 20 by port", "vlan 20 of smoke"),
    ] {
        let error = fastiron::configuration(&lines(&OLD.replace(good, bad))).unwrap_err().to_string();
        assert!(error.contains(bad.trim().split(' ').next().unwrap()), "{error}");
    }
    let cut = OLD.replace("end\n", "");
    assert!(fastiron::configuration(&lines(&cut)).unwrap_err().to_string().contains("its end is missing"));
}

#[test]
fn a_configuration_of_network_os() {
    let text = "interface Vlan 10\n name servers\n!\ninterface Management 1/0\n no ip address dhcp\n!\n\
        interface Port-channel 10\n description core\n switchport\n switchport mode trunk\n\
        \x20switchport trunk allowed vlan add 10,20-22\n switchport trunk tag native-vlan\n no shutdown\n!\n\
        interface TenGigabitEthernet 1/0/1\n channel-group 10 mode active type standard\n fabric isl enable\n no shutdown\n!\n\
        interface TenGigabitEthernet 1/0/2\n switchport\n switchport mode access\n switchport access vlan 10\n shutdown\n!\n";
    let config = nos::configuration(&lines(text)).unwrap().config;
    assert_eq!(config.lags[&10].members, ports(&["te1/0/1"]));
    let lag = config.port(port("lg10"));
    assert!(lag.enabled && lag.vlans.trunk);
    assert_eq!(lag.vlans.tagged.iter().copied().collect::<Vec<_>>(), [10, 20, 21, 22]);
    let access = config.port(port("te1/0/2"));
    assert!(!access.enabled && access.vlans.untagged == Some(10) && !access.vlans.trunk);
    let bad = text.replace("switchport access vlan 10", "switchport access vlan ten");
    assert!(nos::configuration(&lines(&bad)).unwrap_err().to_string().contains("vlan ten"));
    let unknown = text.replace("switchport trunk tag native-vlan", "switchport port-security");
    assert!(nos::configuration(&lines(&unknown)).is_err());
    assert!(nos::configuration(&[]).is_err());
}

#[test]
fn lists_that_say_how_long_they_are_are_believed() {
    let vlans = "Total PORT-VLAN entries: 2\nPORT-VLAN 1, Name DEFAULT-VLAN, Priority level0, On\nPORT-VLAN 10, Name [None], Priority level0";
    assert_eq!(fastiron::vlans(&lines(vlans)).unwrap().len(), 2);
    assert!(fastiron::vlans(&lines(&vlans.replace("entries: 2", "entries: 3"))).is_err());
    let fabric = "Rbridge-id: 1     #ISLs: 1\n\nIndex\n------\n42  Te 1/0/42   41  Te 2/0/41  10:00:00:27:F8:70:00:02 10G Yes \"sw0-2\"";
    assert_eq!(nos::fabric(&lines(fabric)).unwrap()[0].far_port, port("te2/0/41"));
    assert!(nos::fabric(&lines(&fabric.replace("ISLs: 1", "ISLs: 2"))).is_err());
}

/// Every reader, for what must hold of all of them.
fn read_all(lines: &[String]) {
    let _read = (version(lines), fastiron::interfaces(lines), fastiron::addresses(lines), fastiron::lags(lines));
    let _read = (fastiron::configuration(lines), fastiron::stack(lines), fastiron::vlans(lines));
    let _read = (fastiron::neighbours(lines), nos::neighbours(lines), nos::interfaces(lines), nos::addresses(lines));
    let _read = (nos::lags(lines), nos::fabric(lines), nos::configuration(lines));
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC{0,200}") {
        read_all(&lines(&text));
    }

    #[test]
    fn no_damage_makes_a_reader_panic(which in 0..5usize, at in 0..2000usize, with in "\\PC{0,8}") {
        let text = [VERSION, BRIEF, LAG_OLD, OLD, "Port  Status Mode Speed Type Description\nTe 1/0/1 \u{e9}"][which];
        let mut text: Vec<char> = text.chars().collect();
        let at = at % text.len();
        text.splice(at..(at + 1), with.chars());
        read_all(&lines(&text.into_iter().collect::<String>()));
    }

    /// A line that is taken away, or changed in its first word, is missed: the table is never just shorter.
    #[test]
    fn no_row_is_passed_over(row in 3..10usize, word in "[a-z]{3,8}") {
        let mut all = lines(BRIEF);
        let before = fastiron::interfaces(&all).unwrap().len();
        let line = all[row].clone();
        if line.is_empty() || line.starts_with("Port") {
            return Ok(());
        }
        let rest = line.split_once(' ').unwrap().1.to_owned();
        all[row] = format!("{word} {rest}");
        match fastiron::interfaces(&all) {
            Ok(found) => prop_assert_eq!(found.len(), before, "{}", word),
            Err(error) => prop_assert!(error.to_string().contains(&word)),
        }
    }

    #[test]
    fn addresses_are_read_as_they_are_written(bytes: [u8; 6]) {
        let mac = Mac::new(bytes);
        prop_assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
    }
}
