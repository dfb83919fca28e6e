//! What FastIron takes and refuses, in both syntaxes.

use crate::device::Device;
use crate::profile::{EnableDialog, Nasty, Profile};
use crate::shell::{Mode, Question, Shell, Then};

struct Console {
    device: Device,
    shell: Shell,
}

impl Console {
    fn new(profile: &Profile) -> Self {
        let device = Device::new(profile);
        let shell = device.login();
        Self { device, shell }
    }

    fn configuring(profile: &Profile) -> Self {
        let mut console = Self::new(profile);
        console.shell.mode = Mode::Config;
        console
    }

    /// Types lines and gives what the last one answered.
    fn say(&mut self, lines: &[&str]) -> String {
        let mut answer = String::new();
        for line in lines {
            answer = self.device.execute(&mut self.shell, line).text;
        }
        answer
    }

    fn prompt(&self) -> String {
        self.device.prompt(&self.shell)
    }

    fn running(&self) -> String {
        self.device.render(&self.device.running)
    }
}

#[test]
fn modes_and_prompts() {
    let mut console = Console::new(&Profile::fastiron_8030().hostname("a/b"));
    assert_eq!(console.prompt(), "SSH@a/b>");
    assert_eq!(console.say(&["skip-page-display"]), "Invalid input -> skip-page-display\nType ? for a list\n");
    assert!(matches!(console.device.execute(&mut console.shell, "en").then, Then::Ask(Question::EnablePassword)));
    let wrong = console.device.answer(&mut console.shell, Question::EnablePassword, "nonsense");
    assert_eq!(
        (wrong.text.as_str(), console.prompt().as_str()),
        ("Error - Incorrect username or password.\n", "SSH@a/b>")
    );
    console.device.answer(&mut console.shell, Question::EnablePassword, "enable");
    assert_eq!(console.prompt(), "SSH@a/b#");
    for (line, prompt) in [
        ("conf t", "SSH@a/b(config)#"),
        ("vlan 10", "SSH@a/b(config-vlan-10)#"),
        ("int e 1/1/3", "SSH@a/b(config-if-e1000-1/1/3)#"),
        ("int e 1/2/3", "SSH@a/b(config-if-e10000-1/2/3)#"),
        ("int e 1/1/3 to 1/1/5", "SSH@a/b(config-mif-1/1/3-1/1/5)#"),
        ("lag up dynamic id 3", "SSH@a/b(config-lag-up)#"),
        ("exit", "SSH@a/b(config)#"),
        ("hostname c#", "SSH@c#(config)#"),
        ("vlan 11", "SSH@c#(config-vlan-11)#"),
        ("end", "SSH@c##"),
    ] {
        assert_eq!(console.say(&[line]), "", "{line}");
        assert_eq!(console.prompt(), prompt);
    }
    assert_eq!(console.say(&["skip"]), "Disable page display mode\n");
    assert!(matches!(console.device.execute(&mut console.shell, "exit").then, Then::Close));
}

#[test]
fn enable_asks_as_it_is_told_to() {
    let mut console = Console::new(&Profile::fastiron_8095().enable(EnableDialog::UserName));
    assert!(matches!(console.device.execute(&mut console.shell, "enable").then, Then::Ask(Question::EnableUser)));
    let next = console.device.answer(&mut console.shell, Question::EnableUser, "admin");
    assert!(matches!(next.then, Then::Ask(Question::EnablePassword)));
    console.device.answer(&mut console.shell, Question::EnablePassword, "enable");
    assert_eq!(console.prompt(), "SSH@icx-new#");
    let mut open = Console::new(&Profile::fastiron_8095().enable(EnableDialog::Open));
    assert_eq!(open.say(&["enable"]), "No password has been assigned yet...\n");
    assert_eq!(open.prompt(), "SSH@icx-new#");
    assert_eq!(Console::new(&Profile::fastiron_8095().privileged()).prompt(), "SSH@icx-new#");
}

#[test]
fn what_is_not_a_command_is_told_apart() {
    let mut console = Console::configuring(&Profile::fastiron_8030());
    assert_eq!(console.say(&["vlan"]), "Incomplete command.\n");
    assert_eq!(console.say(&["vlan 0"]), "Error: vlan ID value 0 not allowed.\n");
    assert_eq!(console.say(&["vlan 4092"]), "Error: vlan id 4092 is outside of allowed max of 4090\n");
    assert_eq!(console.say(&["l"]), "Ambiguous input -> l\nType ? for a list\n");
    assert_eq!(console.say(&["show nonsense"]), "Invalid input -> nonsense\nType ? for a list\n");
    assert_eq!(console.say(&["interface ethernet 1/1"]), "Error - invalid interface 1/1\n");
    assert_eq!(console.say(&["interface ethernet 1/1/99"]), "Error - invalid interface 1/1/99\n");
    assert_eq!(
        console.say(&["vlan 123", "no tagged ethe 1/1/1"]),
        "Error: ports ethe 1/1/1 are not tagged members of vlan 123\n"
    );
    assert_eq!(
        console.say(&["vlan 5", "router-interface ve 6", "router-interface ve 7"]),
        "Error: VLAN: 5  already has router-interface 6\n"
    );
}

#[test]
fn an_old_lag_is_formed_followed_and_undone() {
    let mut console = Console::configuring(&Profile::fastiron_8030());
    let before = console.running();
    console.say(&["vlan 20", "tagged ethe 1/1/1", "exit", "vlan 20", "tagged ethe 1/1/2", "exit"]);
    console.say(&["lag up dynamic id 3", "ports ethe 1/1/1 to 1/1/2"]);
    assert_eq!(console.say(&["deploy"]), "Error: LAG up has no primary port\n");
    assert_eq!(console.say(&["primary-port 1/1/9"]), "Error: port 1/1/9 is not in LAG up\n");
    assert_eq!(console.say(&["primary-port 1/1/1", "deploy"]), "LAG up deployed successfully!\n");
    assert!(
        console.running().contains("lag up dynamic id 3\n ports ethe 1/1/1 to 1/1/2\n primary-port 1/1/1\n deploy\n!")
    );
    // Secondary ports cannot be spoken to, and follow the primary one.
    assert!(console.say(&["interface ethe 1/1/2", "disable"]).starts_with("Error - port 1/1/2 is a secondary port"));
    assert!(console.say(&["vlan 30", "tagged ethe 1/1/2"]).starts_with("Error - port 1/1/2 is a secondary port"));
    assert_eq!(console.say(&["tagged ethe 1/1/1"]), "Added tagged port(s) ethe 1/1/1 to 1/1/2 to port-vlan 30.\n");
    assert_eq!(console.say(&["no lag up"]), "Error: LAG up is deployed, please undeploy it first\n");
    assert!(console.say(&["lag two dynamic id 3"]).contains("already used by LAG up"));
    assert!(console.say(&["lag up static id 3"]).contains("already configured as dynamic"));
    assert!(console.say(&["lag up dynamic id 4"]).contains("already has id 3"));
    assert!(console.say(&["lag two dynamic id 257"]).starts_with("Error: LAG id 257"));
    assert!(console.say(&["lag two static id 4", "ports ethe 1/1/2"]).contains("already a member of LAG up"));
    console.say(&["no lag two", "lag up dynamic id 3", "no deploy", "no lag up"]);
    console.say(&["no vlan 20", "no vlan 30"]);
    assert_eq!(console.running(), before);
}

#[test]
fn an_old_lag_needs_ports_that_are_alike() {
    let mut console = Console::configuring(&Profile::fastiron_8030());
    console.say(&["vlan 20", "untagged ethe 1/1/2", "interface ethe 1/1/4", "ip address 10.0.0.1/24", "exit"]);
    for (ports, why) in [
        ("ethe 1/1/1 to 1/1/2", "different tag type"),
        ("ethe 1/1/1 ethe 1/2/1", "different speeds"),
        ("ethe 1/1/1 ethe 1/1/4", "layer 3"),
    ] {
        console.say(&["lag up static id 3", &format!("ports {ports}"), "primary-port 1/1/1"]);
        let refused = console.say(&["deploy"]);
        assert!(refused.contains(why), "{ports}: {refused}");
        console.say(&["no lag up static id 3"]);
        assert!(!console.running().contains("lag up"));
    }
}

#[test]
fn a_new_lag_is_an_interface() {
    let mut console = Console::configuring(&Profile::fastiron_8095());
    let before = console.running();
    assert_eq!(console.say(&["lag up dynamic id auto", "ports ethe 1/1/1 to 1/1/3"]), "");
    assert_eq!(console.say(&["primary-port 1/1/1"]), "Invalid input -> primary-port 1/1/1\nType ? for a list\n");
    assert_eq!(console.say(&["deploy"]), "Invalid input -> deploy\nType ? for a list\n");
    // A second line of ports replaces the first.
    console.say(&["ports ethe 1/1/1 to 1/1/2"]);
    assert!(console.running().contains("lag up dynamic id 1\n ports ethe 1/1/1 to 1/1/2\n!"), "{}", console.running());
    assert!(console.say(&["vlan 20", "tagged ethe 1/1/1"]).contains("is a member of LAG lg1"));
    assert_eq!(console.say(&["tagged lag 1"]), "Added tagged port(s) lag 1 to port-vlan 20.\n");
    console.say(&["interface lag 1", "port-name to the host"]);
    assert!(console.running().contains("interface lag 1\n port-name to the host\n!"));
    assert!(
        console.say(&["vlan 21", "untagged ethe 1/1/9", "lag up", "ports ethe 1/1/1 ethe 1/1/9"]).contains("tag type")
    );
    console.say(&["lag up", "disable ethe 1/1/2"]);
    assert!(console.running().contains(" disable ethe 1/1/2\n"));
    console.say(&["enable ethe 1/1/2", "no lag up", "no vlan 20", "no vlan 21"]);
    assert_eq!(console.running(), before);
}

#[test]
fn vlans_in_both_syntaxes() {
    let mut old = Console::configuring(&Profile::fastiron_8030());
    old.say(&["vlan 10 name \"two words\"", "tagged ethe 1/1/1", "exit", "vlan 11"]);
    assert!(old.say(&["untagged ethe 1/1/1"]).contains("are tagged members of vlan 10"), "only by dual-mode");
    old.say(&["interface ethe 1/1/1"]);
    assert!(old.say(&["dual-mode 12"]).contains("are not tagged members of vlan 12"));
    assert_eq!(old.say(&["dual-mode 10"]), "");
    assert!(old.running().contains("vlan 10 name \"two words\" by port\n tagged ethe 1/1/1\n"), "{}", old.running());
    assert!(old.running().contains("interface ethernet 1/1/1\n dual-mode  10\n"), "{}", old.running());
    let mut new = Console::configuring(&Profile::fastiron_8095());
    new.say(&["vlan 10", "tagged ethe 1/1/1", "vlan 11"]);
    assert!(new.say(&["untagged ethe 1/1/1"]).starts_with("Added untagged"));
    assert!(new.say(&["vlan 12", "untagged ethe 1/1/1"]).contains("are untagged members of vlan 11"));
    assert!(new.say(&["interface ethe 1/1/1", "dual-mode"]).starts_with("Invalid input"));
}

#[test]
fn saving_takes_what_runs_unless_the_flash_is_busy() {
    let mut console =
        Console::configuring(&Profile::fastiron_8030().nasty(Nasty { busy_flash: 1, ..Nasty::default() }));
    console.say(&["vlan 10", "end"]);
    assert_eq!(console.say(&["write memory"]), "Flash access in progress. Please try later\n");
    assert!(!console.say(&["show configuration"]).contains("vlan 10"));
    assert!(console.say(&["wr mem"]).contains("Write startup-config done."));
    assert!(console.say(&["show configuration | include vlan 10"]).contains("vlan 10 by port"));
}

#[test]
fn secrets_are_not_shown() {
    let mut console = Console::configuring(&Profile::fastiron_8030());
    assert_eq!(console.say(&["snmp-server group ops v3 priv read all"]), "");
    assert_eq!(console.say(&["snmp-server user mon ops v3 auth sha hunter2 priv aes hunter3"]), "");
    let refused = console.say(&["snmp-server user mon groupname public auth md5 auth-password x"]);
    assert!(refused.starts_with("Invalid input -> "), "{refused}");
    assert!(
        console.running().contains("snmp-server user mon ops v3 auth sha ..... priv aes .....\n"),
        "{}",
        console.running()
    );
    console.say(&["no snmp-server user mon ops v3"]);
    assert!(!console.running().contains("user mon"));
}
