//! Configuration from the outside: `config show`, `check-config`, and what a daemon says to a bad one.

use std::path::Path;

use testkit::Program;

/// `flt` with a home of its own and nothing of ours in the environment.
fn flt(home: &Path) -> Program {
    let home = home.to_str().unwrap();
    Program::flt()
        .env("HOME", home)
        .without_env("XDG_CONFIG_HOME")
        .without_env("XDG_DATA_HOME")
        .without_env("FLT_CONFIG")
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn config_show_names_the_origin_of_each_value() {
    let home = tempfile::tempdir().unwrap();
    let user = home.path().join(".config/flotilla/config.toml");
    write(&user, "[agent]\nname = \"edge-1\"\n");
    let output = flt(home.path()).env("FLT_AGENT_MDNS", "true").args(["config", "show", "agent", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(json["schema"], "flt.config/1");
    let values = json["values"].as_array().unwrap();
    let find = |key: &str| values.iter().find(|value| value["key"] == key).unwrap();
    assert_eq!(find("agent.name")["origin"], format!("{}:2", user.display()));
    assert_eq!(find("agent.mdns")["origin"], "FLT_AGENT_MDNS");
    assert_eq!(find("agent.mdns")["value"], true);
    assert_eq!(find("agent.metrics")["origin"], "default");
    let text = flt(home.path()).args(["config", "show"]).ok();
    assert!(text.starts_with("NAME "), "{text}");
    assert!(text.contains("\nadmin.data ") && text.contains("\ncoordinator.listen "), "{text}");
}

#[test]
fn check_config_lists_everything_and_ends_with_sixty_four() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("agent.toml");
    write(&file, "listn = []\nmdns = 1\n");
    let name = file.to_str().unwrap();
    let output = flt(home.path()).args(["agent", "check-config", "--config", name]).run();
    assert_eq!(output.code, Some(64), "{}", output.stderr);
    assert!(output.stderr.contains("has 2 problems"), "{}", output.stderr);
    assert!(
        output.stderr.contains("agent.toml:1:1: the agent has no key `listn`; did you mean `listen`?"),
        "{}",
        output.stderr
    );
    assert!(output.stderr.contains("agent.toml:2:8: `mdns` should be true or false"), "{}", output.stderr);
    // A daemon that is started with it says the same.
    let run = flt(home.path()).args(["agent", "run", "--config", name]).run();
    assert_eq!((run.code, run.stderr), (Some(64), output.stderr));

    write(&file, "key-file = \"/nonexistent/key\"\n");
    let sound = flt(home.path()).args(["agent", "check-config", "--config", name]).run();
    assert_eq!((sound.code, sound.stdout.as_str()), (Some(0), "the configuration of the agent is sound\n"));
    let looked = flt(home.path()).args(["agent", "check-config", "--files", "--config", name]).run();
    assert_eq!(looked.code, Some(64));
    assert!(looked.stderr.contains("key-file: cannot read /nonexistent/key"), "{}", looked.stderr);
}

#[test]
fn coordinators_are_checked_with_their_relay() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("c.toml");
    write(&file, "data = \"state\"\n[relay]\ntls = \"none\"\n");
    let check = || flt(home.path()).args(["coordinator", "check-config", "--config", file.to_str().unwrap()]).run();
    let output = check();
    assert_eq!(output.code, Some(64));
    assert!(output.stderr.contains("relay.listen: tls = \"none\" is for loopback"), "{}", output.stderr);
    write(&file, "data = \"state\"\n[relay]\ntls = \"none\"\nlisten = \"127.0.0.1:0\"\n");
    assert_eq!(check().code, Some(0), "{}", check().stderr);
}

#[test]
fn a_daemon_without_what_it_needs_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("agent");
    let data = data.to_str().unwrap();
    let args = ["agent", "run", "--data", data, "--name", "a", "--metrics", "off", "--listen", "127.0.0.1:0"];
    let output = flt(home.path()).args(args).run();
    assert_eq!(output.code, Some(64), "{}", output.stderr);
    assert!(
        output.stderr.contains("hint: ") && output.stderr.contains("flt agent run --join TICKET"),
        "{}",
        output.stderr
    );
    let output = flt(home.path()).args(args).args(["--join", "flt1oops"]).run();
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert!(output.stderr.contains("the ticket is damaged or incomplete"), "{}", output.stderr);
    let output = flt(home.path()).args(args).args(["--log", "=,="]).run();
    assert_eq!(output.code, Some(64), "{}", output.stderr);
    assert!(output.stderr.contains("--log: should be a log filter"), "{}", output.stderr);
}

#[test]
fn doctor_begins_with_what_is_on_this_machine() {
    let home = tempfile::tempdir().unwrap();
    let output = flt(home.path()).args(["doctor"]).run();
    assert_eq!(output.code, Some(1));
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert!(lines[0].starts_with("configuration ok"), "{}", output.stdout);
    assert!(
        output.stdout.contains("key           FAILED") && output.stdout.contains("flt key new"),
        "{}",
        output.stdout
    );
    assert!(output.stdout.contains("ticket        FAILED"), "{}", output.stdout);
    let json = flt(home.path()).args(["doctor", "--json"]).run();
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["schema"], "flt.doctor/1");
}
