use super::*;

/// Two folders with configuration files, and an environment that names them.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn user(&self, text: &str) {
        self.write("user/flotilla/config.toml", text);
    }

    fn machine(&self, text: &str) {
        self.write("etc/config.toml", text);
    }

    fn env(&self, vars: &[(&str, &str)]) -> Env {
        let user = self.dir.path().join("user");
        let mut all = vec![("XDG_CONFIG_HOME", user.to_str().unwrap()), ("HOME", "/home/ada")];
        all.extend(vars);
        let mut env = Env::of(&all);
        env.machine_file = self.dir.path().join("etc/config.toml");
        env
    }

    /// The problems of a file, without the folder's name.
    fn problems(&self, role: Role, text: &str) -> Vec<String> {
        let path = self.write("c.toml", text);
        let error = load(role, Some(&path), Vec::new(), &self.env(&[])).unwrap_err();
        let dir = format!("{}/", self.dir.path().display());
        error.problems().iter().map(|problem| problem.to_string().replace(&dir, "")).collect()
    }
}

fn origin(layered: &Layered, key: &str) -> (String, Origin) {
    let setting = layered.settings().find(|setting| setting.key == key).unwrap();
    (setting.value.to_string(), setting.origin.clone())
}

fn agent(place: &Place, text: &str) -> Result<AgentConfig, ConfigError> {
    let path = place.write("agent.toml", text);
    typed(Some(&path), Vec::new(), &place.env(&[]))
}

fn coordinator(place: &Place, text: &str) -> Result<CoordinatorConfig, ConfigError> {
    let path = place.write("coordinator.toml", text);
    typed(Some(&path), Vec::new(), &place.env(&[]))
}

#[test]
fn each_layer_gives_way_to_the_one_before() {
    let place = Place::new();
    let key = "heartbeat-seconds";
    let machine = place.dir.path().join("etc/config.toml");
    let user = place.dir.path().join("user/flotilla/config.toml");
    let mut explicit = None;
    let mut vars: Vec<(&str, &str)> = Vec::new();
    let mut flags: Vec<Flag> = Vec::new();
    let look = |explicit: &Option<PathBuf>, vars: &[(&str, &str)], flags: &[Flag]| {
        origin(&load(Role::Agent, explicit.as_deref(), flags.to_vec(), &place.env(vars)).unwrap(), key)
    };

    assert_eq!(look(&explicit, &vars, &flags), ("10".into(), Origin::Default));
    place.machine("[agent]\nheartbeat-seconds = 21\n");
    assert_eq!(look(&explicit, &vars, &flags), ("21".into(), Origin::File(machine, 2)));
    place.user("# mine\n\n[agent]\nheartbeat-seconds = 22\n");
    assert_eq!(look(&explicit, &vars, &flags), ("22".into(), Origin::File(user, 4)));
    let file = place.write("mine.toml", "heartbeat-seconds = 23\n");
    explicit = Some(file.clone());
    assert_eq!(look(&explicit, &vars, &flags), ("23".into(), Origin::File(file, 1)));
    vars.push(("FLT_AGENT_HEARTBEAT_SECONDS", "24"));
    let variable = Origin::Variable("FLT_AGENT_HEARTBEAT_SECONDS".into());
    assert_eq!(look(&explicit, &vars, &flags), ("24".into(), variable));
    flags.push(("--heartbeat-seconds", "heartbeat-seconds", toml::Value::Integer(25)));
    assert_eq!(look(&explicit, &vars, &flags), ("25".into(), Origin::Flag("--heartbeat-seconds".into())));
}

#[test]
fn layers_complete_each_other() {
    let place = Place::new();
    place.machine("[agent]\nname = \"edge-1\"\n[coordinator]\nmdns = true\n");
    place.user("[agent]\nmdns = true\n");
    let config: AgentConfig = typed(None, Vec::new(), &place.env(&[("FLT_AGENT_METRICS", "off")])).unwrap();
    assert_eq!(config.name.unwrap().as_str(), "edge-1");
    assert!(config.mdns);
    assert_eq!(config.metrics, None);
    assert_eq!(config.data, Path::new("/home/ada/.local/share/flotilla/agent"));
    let config: CoordinatorConfig = typed(None, Vec::new(), &place.env(&[])).unwrap();
    assert!(config.mdns && config.relay.is_none());
}

#[test]
fn roots_daemons_keep_their_data_below_var_lib() {
    let place = Place::new();
    let mut env = place.env(&[]);
    env.root = true;
    let agent: AgentConfig = typed(None, Vec::new(), &env).unwrap();
    assert_eq!(agent.data, Path::new("/var/lib/flotilla/agent"));
    assert_eq!(agent.key_path(), Path::new("/var/lib/flotilla/agent/key"));
    let admin: AdminConfig = typed(None, Vec::new(), &env).unwrap();
    assert_eq!(admin.data, Path::new("/home/ada/.local/share/flotilla/admin"));
    assert_eq!(admin.ticket_path(), Path::new("/home/ada/.local/share/flotilla/admin/ticket"));
    let error = typed::<AdminConfig>(None, Vec::new(), &Env::of(&[])).unwrap_err();
    assert!(error.to_string().contains("no folder is known"), "{error}");
}

#[test]
fn a_file_may_have_the_roles_keys_or_sections() {
    let place = Place::new();
    assert_eq!(agent(&place, "name = \"a\"\n").unwrap().name.unwrap().as_str(), "a");
    assert_eq!(agent(&place, "[agent]\nname = \"b\"\n[admin]\n").unwrap().name.unwrap().as_str(), "b");
    let problems = place.problems(Role::Agent, "name = \"a\"\n[agent]\n");
    assert_eq!(problems, ["c.toml:1:1: `name` is not in a section: this file has [agent], [coordinator] and [admin]"]);
}

#[test]
fn paths_in_a_file_are_meant_from_its_folder() {
    let place = Place::new();
    let config =
        coordinator(&place, "data = \"state\"\nkey-file = \"/abs/key\"\ngenesis = \"genesis.json\"\n").unwrap();
    assert_eq!(config.data, place.dir.path().join("state"));
    assert_eq!(config.key_path(), Path::new("/abs/key"));
    assert_eq!(config.genesis.unwrap(), place.dir.path().join("genesis.json"));
}

#[test]
fn all_problems_are_named_with_their_place() {
    let place = Place::new();
    let text = "lisen = []\nmdns = \"yes\"\n  heartbeat-seconds = 0\nname = \"Edge 1\"\nlisten = [\"0.0.0.0\"]\n\
                metrics = 9478\nlog = \"info,=,\"\nfrobnicate = 1\n";
    let problems = place.problems(Role::Agent, text);
    let expected = [
        "c.toml:1:1: the agent has no key `lisen`; did you mean `listen`?",
        "c.toml:2:8: `mdns` should be true or false, and is \"yes\"",
        "c.toml:3:23: `heartbeat-seconds` should be a number from 1 to 3600, and is 0",
        "c.toml:4:8: `name` `Edge 1` is not a name: `E` is not one of a-z 0-9 - _ .",
        "c.toml:5:10: `listen` should be an address with a port, such as \"0.0.0.0:4433\" or \"[::]:4433\", and is \
         \"0.0.0.0\"",
        "c.toml:6:11: `metrics` should be an address with a port, such as \"127.0.0.1:9478\", or \"off\", and is 9478",
        "c.toml:7:7: `log` should be a log filter, such as \"info\" or \"info,mesh=debug\", and is \"info,=,\"",
        "c.toml:8:1: the agent has no key `frobnicate`; it has data, key-file, ticket-file, name, listen, mdns, \
         metrics, log, heartbeat-seconds, files-root, hands, hands-data, hands-user, devices, \
         device-groups, device-facts-seconds",
    ];
    for line in expected {
        assert!(problems.iter().any(|problem| problem == line), "{line}\nis not in\n{problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

#[test]
fn problems_in_other_roles_sections_and_files_are_found_too() {
    let place = Place::new();
    place.user("[coordinator]\nrelay = 1\n[coordinator.relay]\n");
    assert!(load(Role::Agent, None, Vec::new(), &place.env(&[])).is_err(), "a key twice is no TOML");
    place.user("[coordinator.relay]\ntsl = \"none\"\n[agnet]\n");
    let error = load(Role::Agent, None, Vec::new(), &place.env(&[])).unwrap_err().to_string();
    assert!(error.contains("2:1: the coordinator has no key `relay.tsl`; did you mean `relay.tls`?"), "{error}");
    assert!(error.contains("there is no section `agnet`; did you mean `agent`?"), "{error}");
}

#[test]
fn broken_files_say_where() {
    let place = Place::new();
    let problems = place.problems(Role::Agent, "name = \"a\"\nmdns = tru\n");
    assert!(problems[0].starts_with("c.toml:2:8: "), "{problems:?}");
    let missing = place.dir.path().join("missing.toml");
    let error = load(Role::Agent, Some(&missing), Vec::new(), &place.env(&[])).unwrap_err().to_string();
    assert!(error.contains("missing.toml: cannot read the file"), "{error}");
    let huge = place.write("huge.toml", &"#".repeat(1024 * 1024 + 1));
    let error = load(Role::Agent, Some(&huge), Vec::new(), &place.env(&[])).unwrap_err().to_string();
    assert!(error.contains("is larger than 1048576 bytes"), "{error}");
}

#[test]
fn variables_are_checked() {
    let place = Place::new();
    let vars = [("FLT_AGENT_LISTN", "x"), ("FLT_AGENT_MDNS", "maybe"), ("FLT_COORDINATOR_NONSENSE", "1")];
    let error = load(Role::Agent, None, Vec::new(), &place.env(&vars)).unwrap_err().to_string();
    assert!(
        error.contains("FLT_AGENT_LISTN: the agent knows no such variable; did you mean FLT_AGENT_LISTEN?"),
        "{error}"
    );
    assert!(error.contains("FLT_AGENT_MDNS: should be true or false, and is \"maybe\""), "{error}");
    assert!(!error.contains("NONSENSE"), "another role's variables are its own: {error}");
    let vars = [
        ("FLT_COORDINATOR_LISTEN", "0.0.0.0:1, [::]:2"),
        ("FLT_COORDINATOR_RELAY_TLS", "none"),
        ("FLT_COORDINATOR_RELAY_LISTEN", "127.0.0.1:3"),
    ];
    let config: CoordinatorConfig = typed(None, Vec::new(), &place.env(&vars)).unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.relay.unwrap().tls, RelayTls::None);
}

#[test]
fn what_makes_no_sense_together_is_found() {
    let place = Place::new();
    let error = agent(&place, "listen = []\nmetrics = \"0.0.0.0:9478\"\n").unwrap_err().to_string();
    assert!(error.starts_with("the configuration of the agent has 2 problems\n"), "{error}");
    assert!(error.contains("agent.toml:1: listen: is empty"), "{error}");
    assert!(error.contains("agent.toml:2: metrics: 0.0.0.0:9478 is not on loopback"), "{error}");
    let cases = [
        ("advertise = [\"0.0.0.0:4433\"]", "nobody can reach 0.0.0.0:4433"),
        ("listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]", "127.0.0.1:1 stands there twice"),
        ("[relay]\ntls = \"files\"\ncert-file = \"c\"", "relay.key-file: is needed with tls = \"files\""),
        ("[relay]\ncert-file = \"c\"", "relay.cert-file: is read only with tls = \"files\""),
        ("[relay]\ntls = \"none\"", "tls = \"none\" is for loopback"),
        ("[relay]\nurl = \"http://r.example\"", "should begin with https://"),
        ("[relay]\nurl = \"r.example\"", "should be a URL"),
        ("[relay]\ntls = \"none\"\nlisten = \"127.0.0.1:1\"\nquic-listen = \"127.0.0.1:2\"", "needs a certificate"),
    ];
    for (text, expected) in cases {
        let error = coordinator(&place, text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let relay = coordinator(&place, "[relay]\n").unwrap().relay.unwrap();
    assert_eq!((relay.listen.port(), relay.tls), (4443, RelayTls::SelfSigned));
}

#[test]
fn files_are_looked_at_only_when_asked() {
    let place = Place::new();
    let config = agent(&place, "key-file = \"/nonexistent/key\"\n").unwrap();
    assert!(config.check().is_empty());
    let problems = config.check_files();
    assert!(problems.iter().any(|p| p.to_string().contains("cannot read /nonexistent/key")), "{problems:?}");
}

#[test]
fn every_key_has_a_sound_default() {
    let place = Place::new();
    place.machine("[coordinator.relay]\n");
    let env = place.env(&[]);
    for role in Role::ALL {
        let layered = load(role, None, Vec::new(), &env).unwrap();
        for setting in layered.settings() {
            let key = role.keys().iter().find(|key| key.name == setting.key).unwrap();
            assert_eq!(key.kind.check(&setting.value), Ok(()), "{role} {}", setting.key);
        }
    }
    typed::<AgentConfig>(None, Vec::new(), &env).unwrap();
    typed::<CoordinatorConfig>(None, Vec::new(), &env).unwrap();
    typed::<AdminConfig>(None, Vec::new(), &env).unwrap();
}

#[test]
fn devices_are_declared_with_what_is_needed_to_reach_them() {
    let place = Place::new();
    let print = format!("SHA256:{}", "A".repeat(43));
    let device = format!(
        "[devices.rack-3]\nkind = \"switch\"\naddress = \"10.0.0.7\"\nuser = \"flotilla\"\nhost-key = \"{print}\"\n\
         password-file = \"rack.password\"\nlegacy = [\"ssh-rsa\"]\n"
    );
    let config = agent(&place, &device).unwrap();
    let devices = config.devices();
    assert_eq!((devices[0].name.as_str(), devices[0].address().as_str()), ("rack-3", "10.0.0.7:22"));
    assert_eq!(devices[0].password_file, Some(place.dir.path().join("rack.password")), "meant from the file's folder");
    let missing = config.check_files();
    assert!(missing[0].to_string().contains("rack.password"), "{missing:?}");
    assert!(!devices[0].exclusive);
    // The half with the network has them; the hands read the same file.
    let own = agent(&place, &format!("hands = \"/run/hands\"\n{device}exclusive = true\n")).unwrap().devices();
    assert!(own[0].exclusive);
    let refused = |text: &str| match agent(&place, text) {
        Ok(config) => panic!("{config:?}"),
        Err(error) => error.problems().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    };
    for (wrong, why) in [
        (device.replace("host-key", "hostkey"), "a device has no key `hostkey`; did you mean `host-key`?"),
        (device.replace("\"switch\"", "\"toaster\""), "toaster"),
        (device.replace(&print, "SHA256:short"), "`rack-3`: `host-key` is not like"),
        (device.replace("host-key", "known-hosts").replace(&print, "known"), ""),
        (device.replace("10.0.0.7", "10.0.0.7:ssh"), "`address` should be"),
        (device.replace("ssh-rsa", "rot13"), "rot13"),
        (device.replace("password-file = \"rack.password\"\n", ""), "`password-file` or `key-file` is needed"),
        (device.replace("devices.rack-3", "devices"), "should be a table: [devices."),
        (
            device.lines().filter(|line| !line.starts_with("host-key")).collect::<Vec<_>>().join("\n"),
            "flt admin device probe 10.0.0.7",
        ),
    ] {
        if why.is_empty() {
            agent(&place, &wrong).unwrap();
            continue;
        }
        let problems = refused(&wrong);
        assert!(problems.contains(why), "{wrong}\n{problems}");
    }
}

#[test]
fn groups_of_devices_are_declared_by_the_names_of_their_members() {
    let place = Place::new();
    let device = |name: &str, letter: &str| {
        format!(
            "[devices.{name}]\nkind = \"switch\"\naddress = \"10.0.0.7\"\nuser = \"flotilla\"\nhost-key = \"SHA256:{}\"\n\
             password-file = \"password\"\n",
            letter.repeat(43)
        )
    };
    let devices = format!("{}{}{}", device("core-1", "A"), device("core-2", "E"), device("twin", "A"));
    let good = "[device-groups.core]\nmembers = [\"core-2\", \"core-1\"]\n";
    let groups = agent(&place, &format!("{devices}{good}")).unwrap().device_groups();
    let members: Vec<&str> = groups[0].members.iter().map(|name| name.as_str()).collect();
    assert_eq!((groups[0].name.as_str(), members), ("core", vec!["core-2", "core-1"]));
    assert!(agent(&place, &devices).unwrap().device_groups().is_empty());
    for (wrong, why) in [
        ("[device-groups]\ncore = [\"core-1\"]\n", "should be a table: [device-groups.core]"),
        ("[device-groups.core]\n", "`core`: missing field `members`"),
        ("[device-groups.core]\nmembers = []\n", "`core`: `members` is empty"),
        ("[device-groups.core]\nmembers = [\"core-1\"]\n", "`core`: it has one member"),
        ("[device-groups.core]\nmembers = \"core-1\"\n", "`core`: invalid type"),
        ("[device-groups.core]\nmember = [\"core-1\"]\n", "`core`: a group has no key `member`; it has members alone"),
        ("[device-groups.core]\nmembers = [\"core-1\", \"core-1\"]\n", "`core-1` stands there twice"),
        (
            "[device-groups.core]\nmembers = [\"core-1\", \"core-9\"]\n",
            "there is no device `core-9`; did you mean `core-",
        ),
        (
            "[device-groups.core]\nmembers = [\"core-1\", \"zebra\"]\n",
            "no device `zebra`; declare it as [devices.zebra]",
        ),
        (
            "[device-groups.core]\nmembers = [\"core-1\", \"twin\"]\n",
            "`core-1` and `twin` are one device, by their host",
        ),
        ("[device-groups.twin]\nmembers = [\"core-1\", \"core-2\"]\n", "`twin`: a device is called so"),
        ("[device-groups.core]\nmembers = [\"core-1\", \"core\"]\n", "`core` is a group: members are devices"),
        (
            "[device-groups.core]\nmembers = [\"core-1\", \"edge\"]\n[device-groups.edge]\nmembers = [\"core\", \"core-2\"]\n",
            "`edge` is a group: members are devices",
        ),
    ] {
        match agent(&place, &format!("{devices}{wrong}")) {
            Ok(config) => panic!("{config:?}"),
            Err(error) => {
                let problems: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
                assert!(problems.join("\n").contains(why), "{wrong}\n{problems:#?}");
            }
        }
    }
    // Without the devices it is not asked who is a member: what is wrong with them comes first.
    let problems = agent(&place, &format!("{}{good}", devices.replace("10.0.0.7", "a:b"))).unwrap_err();
    assert!(problems.problems().iter().all(|problem| problem.to_string().contains("address")), "{problems:?}");
}
