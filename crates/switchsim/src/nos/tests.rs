//! What Network OS takes and refuses.

use crate::device::Device;
use crate::profile::Profile;
use crate::shell::{Question, Then};

/// Types lines after `configure terminal` and gives the last answer and the running configuration.
fn configure(device: &mut Device, lines: &[&str]) -> (String, String) {
    let mut shell = device.login();
    device.execute(&mut shell, "conf t");
    let mut answer = String::new();
    for line in lines {
        answer = device.execute(&mut shell, line).text;
    }
    (answer, device.render(&device.running))
}

#[test]
fn modes_prompts_and_refusals() {
    let mut device = Device::new(&Profile::nos());
    let mut shell = device.login();
    assert_eq!(device.prompt(&shell), "\u{1b}[?7hsw0# ");
    assert_eq!(device.execute(&mut shell, "show nonsense").text, "-----^\nsyntax error: unknown argument.\n");
    assert_eq!(device.execute(&mut shell, "show running | nomore").text, device.render(&device.running));
    for (line, prompt) in [
        ("configure terminal", "(config)"),
        ("interface Port-channel 5", "(config-Port-channel-5)"),
        ("int te 1/0/3", "(conf-if-te-1/0/3)"),
        ("interface Vlan 10", "(config-Vlan-10)"),
        ("switch-attributes 1 host-name leaf4", "(config-Vlan-10)"),
        ("end", ""),
    ] {
        device.execute(&mut shell, line);
        let host = if line == "end" || line.starts_with("switch") { "leaf4" } else { "sw0" };
        assert_eq!(device.prompt(&shell), format!("\u{1b}[?7h{host}{prompt}# "), "{line}");
    }
    let (answer, _) = configure(&mut device, &["interface Vlan 4091"]);
    assert_eq!(answer, "%Error: \"4091\" is out of range: 1..4090\n");
    assert!(configure(&mut device, &["do show version"]).0.contains("7.2.0"));
}

#[test]
fn a_port_channel_is_formed_and_undone() {
    let mut device = Device::new(&Profile::nos());
    let before = device.render(&device.running);
    let member = "channel-group 5 mode active type standard";
    let refused = configure(&mut device, &["interface te 1/0/1", "channel-group 5 mode active"]).0;
    assert!(refused.contains("incomplete"), "the type is a part of it: {refused}");
    configure(&mut device, &["interface te 1/0/1", member, "interface te 1/0/2", member]);
    let (answer, _) = configure(&mut device, &["interface te 1/0/2", "channel-group 6 mode active type standard"]);
    assert_eq!(answer, "%Error: Interface is already a member of Port-channel 5\n");
    let (answer, _) = configure(&mut device, &["interface te 1/0/3", "channel-group 5 mode on type standard"]);
    assert!(answer.contains("does not match member 1/0/1"), "{answer}");
    let (answer, _) = configure(&mut device, &["interface te 1/0/1", "switchport"]);
    assert_eq!(answer, "%Error: Interface is a member of Port-channel 5\n");
    let trunk = [
        "interface Vlan 10",
        "interface po 5",
        "switchport",
        "switchport mode trunk",
        "switchport trunk allowed vlan add 10",
    ];
    let (answer, running) = configure(&mut device, &trunk);
    assert_eq!(answer, "");
    assert!(
        running.contains(
            "interface Port-channel 5\n switchport\n switchport mode trunk\n switchport trunk allowed vlan add 10\n"
        ),
        "{running}"
    );
    assert!(
        running.contains("interface TenGigabitEthernet 1/0/1\n channel-group 5 mode active type standard\n"),
        "{running}"
    );
    let (answer, _) = configure(&mut device, &["interface po 5", "switchport trunk allowed vlan add 11"]);
    assert_eq!(answer, "%Error: VLAN 11 does not exist\n");
    let (_, after) = configure(&mut device, &["no interface Port-channel 5", "no interface Vlan 10"]);
    assert_eq!(after, before);
}

#[test]
fn saving_asks_first() {
    let mut device = Device::new(&Profile::nos());
    configure(&mut device, &["interface Vlan 10"]);
    let mut shell = device.login();
    let save = "copy running-config startup-config";
    assert!(matches!(device.execute(&mut shell, save).then, Then::Ask(Question::SaveConfiguration)));
    device.answer(&mut shell, Question::SaveConfiguration, "n");
    assert!(!device.render(&device.startup).contains("Vlan 10"));
    device.execute(&mut shell, save);
    device.answer(&mut shell, Question::SaveConfiguration, "y");
    assert!(device.render(&device.startup).contains("Vlan 10"));
}
