//! Independent clients: netmiko and ncclient, which know real switches and not this one.

use std::process::Stdio;

use switchsim::{Nasty, NastyNetconf, Profile, Sim};
use tokio::process::Command;

/// What netmiko saw, as JSON.
async fn netmiko(kind: &str, sim: &Sim) -> Option<serde_json::Value> {
    driven(&format!("netmiko_drives_{kind}"), sim, "drive.py", &[kind, &sim.addr().port().to_string(), "enable"]).await
}

/// What ncclient saw, as JSON.
async fn ncclient(sim: &Sim) -> Option<serde_json::Value> {
    driven("ncclient_asks", sim, "drive_netconf.py", &[&sim.addr().port().to_string()]).await
}

async fn driven(test: &str, sim: &Sim, script: &str, words: &[&str]) -> Option<serde_json::Value> {
    if std::env::var("FLT_SKIP_SYSTEM_TESTS").is_ok_and(|value| value == "1") {
        println!("skipped: system::{test} (FLT_SKIP_SYSTEM_TESTS=1)");
        return None;
    }
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = Command::new(tests.join("netmiko")).stderr(Stdio::inherit()).output().await.unwrap();
    assert!(python.status.success(), "netmiko is missing: apt-get install -y python3-venv");
    let python = String::from_utf8(python.stdout).unwrap();
    let driven = Command::new(python.trim()).arg(tests.join(script)).args(words).output().await.unwrap();
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

/// What ncclient sees of a switch with VLANs and a port-channel, however it speaks.
async fn asked_by_netconf(netconf: NastyNetconf) -> Option<serde_json::Value> {
    let base = if netconf.base_1_0 { vec!["1.0"] } else { vec!["1.0", "1.1"] };
    let (page, extra) = (netconf.page.unwrap_or(128), if netconf.extra { 3 } else { 0 });
    let sim = Sim::start(Profile::nos().nasty(Nasty { netconf, ..Nasty::default() })).await.unwrap();
    let told = sim.configure(&[
        "interface vlan 10",
        "name servers",
        "interface vlan 20",
        "interface port-channel 7",
        "no shutdown",
        "interface te 1/0/1",
        "channel-group 7 mode active type standard",
        "no shutdown",
        "interface te 2/0/41",
        "channel-group 7 mode active type standard",
        "no shutdown",
    ]);
    assert_eq!(told, "");
    let seen = ncclient(&sim).await?;
    let bases: Vec<String> = base.iter().map(|base| format!("urn:ietf:params:netconf:base:{base}")).collect();
    assert_eq!(seen["base"], serde_json::json!(bases));
    // 96 ports, the port-channel, and what nobody asked for.
    assert_eq!(seen["interfaces"].as_array().map(Vec::len), Some(97 + extra), "{seen:#}");
    assert_eq!(seen["interfaces"][0], serde_json::json!(["TenGigabitEthernet 1/0/1", "up"]));
    assert_eq!(seen["interface pages"], (97 + extra).div_ceil(page));
    assert_eq!(seen["vlan pages"], 3_usize.div_ceil(page));
    assert_eq!(seen["vlans"], serde_json::json!({ "1": "default", "10": "servers", "20": "VLAN0020" }));
    assert_eq!(seen["lags"], serde_json::json!({ "7": [["1/0/1", "1"], ["2/0/41", "0"]] }));
    assert_eq!(seen["links"], serde_json::json!(["1/0/42", "2/0/41"]));
    assert_eq!(seen["groups"], serde_json::json!(["7", "7"]));
    assert_eq!(seen["refused"], serde_json::json!(["operation-not-supported", "error", "unknown: get-nonsense"]));
    Some(seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn ncclient_asks_network_os() {
    asked_by_netconf(NastyNetconf::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ncclient_asks_network_os_that_knows_no_chunks() {
    asked_by_netconf(NastyNetconf { base_1_0: true, ..NastyNetconf::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ncclient_asks_network_os_that_is_cut_into_bytes() {
    let netconf = NastyNetconf { page: Some(5), chunk: Some(7), extra: true, ..NastyNetconf::default() };
    asked_by_netconf(NastyNetconf { split_bytes: Some(1), ..netconf }).await;
}
