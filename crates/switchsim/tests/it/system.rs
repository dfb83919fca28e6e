//! An independent client: netmiko, which knows real switches and not this one.

use std::process::Stdio;

use switchsim::{Nasty, Profile, Sim};
use tokio::process::Command;

/// What netmiko saw, as JSON.
async fn netmiko(kind: &str, sim: &Sim) -> Option<serde_json::Value> {
    if std::env::var("FLT_SKIP_SYSTEM_TESTS").is_ok_and(|value| value == "1") {
        println!("skipped: system::netmiko_drives_{kind} (FLT_SKIP_SYSTEM_TESTS=1)");
        return None;
    }
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = Command::new(tests.join("netmiko")).stderr(Stdio::inherit()).output().await.unwrap();
    assert!(python.status.success(), "netmiko is missing: apt-get install -y python3-venv");
    let python = String::from_utf8(python.stdout).unwrap();
    let port = sim.addr().port().to_string();
    let driven =
        Command::new(python.trim()).arg(tests.join("drive.py")).args([kind, &port, "enable"]).output().await.unwrap();
    let told = String::from_utf8_lossy(&driven.stderr);
    assert!(driven.status.success(), "{told}\n{:?}", sim.commands());
    Some(serde_json::from_slice(&driven.stdout).unwrap())
}

async fn fastiron(kind: &str, profile: Profile, has_primary: bool, ups: usize) {
    let sim = Sim::start(profile).await.unwrap();
    let Some(seen) = netmiko(kind, &sim).await else {
        return;
    };
    let text = |key: &str| seen[key].as_str().unwrap_or_default().to_owned();
    assert!(text("prompt").starts_with("SSH@icx-"), "{seen:#}");
    assert!(text("enabled").ends_with('#'), "{seen:#}");
    assert!(text("version").contains("SW: Version 08.0."), "{seen:#}");
    assert!(text("version").contains("STACKID 2  system uptime is"), "it is read to its end: {seen:#}");
    assert!(text("refused").contains("Invalid input -> nonsense"), "{seen:#}");
    assert_eq!(seen["config mode left"], true);
    assert!(text("lag").contains("=== LAG \"uplink\" ID 7 (dynamic Deployed) ==="), "{seen:#}");
    assert_eq!(text("running").contains(" primary-port 1/1/1"), has_primary, "{seen:#}");
    assert!(text("running").contains("lag uplink dynamic id 7"), "{seen:#}");
    assert!(text("saved").contains("Write startup-config done."), "{seen:#}");
    // The templates of others read the tables.
    let table = |key: &str| seen[key].as_array().unwrap_or_else(|| panic!("{key}: {seen:#}")).clone();
    assert_eq!(
        table("interfaces").iter().filter(|row| row["link"] == "Up" || row["linkstate"] == "Up").count(),
        ups,
        "{seen:#}"
    );
    let version = &table("parts")[0];
    let versions = if has_primary { &version["sw_version"] } else { &version["version"] };
    assert_eq!(versions.as_array().map(Vec::len), Some(2), "{version:#}");
    assert_eq!(version["serial"].as_array().map(Vec::len), Some(2), "{version:#}");
    if has_primary {
        let vlan = table("show running-config vlan").into_iter().find(|vlan| vlan["vlan_id"] == "20");
        let vlan = vlan.unwrap_or_else(|| panic!("{seen:#}"));
        assert!(vlan["taggedports"].as_str().is_some_and(|ports| ports.contains("ethe 1/1/1 to 1/1/2")), "{vlan:#}");
        let lag = &table("show lag brief")[0];
        assert_eq!((&lag["primaryinterface"], &lag["deployed"]), (&"1/1/1".into(), &"Y".into()), "{lag:#}");
    } else {
        assert_eq!(table("macs").len(), 24, "{seen:#}");
        assert!(table("macs").iter().any(|row| row["port"] == "lg7" && row["vlan_id"] == "20"), "{seen:#}");
        let tagged = |row: &&serde_json::Value| row["vlan_id"] == "20" && row["status"] == "Tagged";
        let row = table("show vlan").iter().find(tagged).cloned().unwrap_or_else(|| panic!("{seen:#}"));
        assert_eq!(row["port"], "7", "{row:#}");
    }
    assert!(sim.startup_config().contains("lag uplink dynamic id 7"));
    assert_eq!(sim.running_config(), sim.startup_config());
}

#[tokio::test(flavor = "multi_thread")]
async fn netmiko_drives_the_old_fastiron() {
    fastiron("old", Profile::fastiron_8030(), true, 25).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn netmiko_drives_the_new_fastiron() {
    fastiron("new", Profile::fastiron_8095(), false, 26).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn netmiko_drives_a_fastiron_that_is_cut_into_bytes() {
    let nasty = Nasty { split_bytes: Some(1), ..Nasty::default() };
    fastiron("old", Profile::fastiron_8030().nasty(nasty), true, 25).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn netmiko_drives_network_os() {
    let sim = Sim::start(Profile::nos()).await.unwrap();
    let Some(seen) = netmiko("nos", &sim).await else {
        return;
    };
    let text = |key: &str| seen[key].as_str().unwrap_or_default().to_owned();
    assert!(text("prompt").ends_with("sw0#"), "{:?}", text("prompt"));
    assert!(text("version").contains("Network Operating System Version: 7.2.0"), "{seen:#}");
    assert!(text("refused").contains("syntax error: unknown argument."), "{seen:#}");
    assert_eq!(seen["config mode left"], true);
    assert!(text("lag").contains("LACP Aggregator: Po 7 (vLAG)"), "{seen:#}");
    assert!(text("macs").contains("Po 7"), "{seen:#}");
    assert!(text("running").contains(" channel-group 7 mode active type standard"), "{seen:#}");
    assert!(sim.startup_config().contains(" channel-group 7 mode active type standard"), "{seen:#}");
    assert_eq!(sim.running_config(), sim.startup_config());
}
