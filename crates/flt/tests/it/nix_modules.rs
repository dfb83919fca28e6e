//! Evaluates the NixOS modules and tests with the real Nix and a small library of our own, because there is no nixpkgs
//! here, and compares what comes out with `nix/tests/golden/`.
//!
//! `FLT_UPDATE_GOLDEN=1` writes the golden files anew; read the difference before you commit it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Map, Value};

#[test]
fn modules_evaluate_to_the_golden_files() {
    let Some(machines) = evaluate("modules_evaluate_to_the_golden_files", "modules.nix") else { return };
    compare("modules", &machines);
}

/// What the module writes of devices is what `flt` reads.
#[test]
fn devices_are_written_as_the_agent_reads_them() {
    let Some(machines) = evaluate("devices_are_written_as_the_agent_reads_them", "modules.nix") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("agent.toml");
    let check = |devices: &Value| {
        let devices: toml::Table = serde_json::from_value(devices.clone()).expect("a table");
        let text = toml::to_string(&toml::Table::from_iter([("devices".to_owned(), toml::Value::Table(devices))]))
            .expect("TOML");
        std::fs::write(&file, text).expect("a file");
        testkit::Program::flt().args(["agent", "check-config", "--config"]).arg(&file).run()
    };
    let devices = &machines["agent-with-devices"]["settings"]["agent"]["devices"];
    assert_eq!(devices.as_object().map(Map::len), Some(2));
    check(devices).expect(0);
    // It is read, and not passed over.
    let mut wrong = devices.clone();
    wrong["core"]["exclusif"] = Value::Bool(true);
    let refused = check(&wrong);
    assert!(refused.stderr.contains("exclusif"), "{refused:?}");
}

#[test]
fn nixos_tests_evaluate_to_the_golden_files() {
    let Some(tests) = evaluate("nixos_tests_evaluate_to_the_golden_files", "nixos-tests.nix") else { return };
    compare("nixos-tests", &tests);
    for (file, test) in &tests {
        for (node, machine) in test["nodes"].as_object().expect("nodes is a set") {
            assert_eq!(machine["assertions"], Value::Array(vec![]), "{file}: machine {node} fails assertions");
        }
    }
}

/// A driver for containers knows these methods and no others.
#[test]
fn test_scripts_keep_to_what_a_container_driver_can_do() {
    let name = "test_scripts_keep_to_what_a_container_driver_can_do";
    let Some(tests) = evaluate(name, "nixos-tests.nix") else { return };
    for (file, test) in &tests {
        let mut machines: Vec<&str> =
            test["nodes"].as_object().expect("nodes is a set").keys().map(String::as_str).collect();
        machines.push("machine");
        let script = test["testScript"].as_str().expect("testScript is a string");
        let called = methods_called(script, &machines);
        assert!(called.len() > 3, "{file}: the script asks nothing of its machines: {called:?}");
        for method in called {
            assert!(DRIVER_METHODS.contains(&method.as_str()), "{file}: the script calls {method}");
        }
    }
}

#[test]
fn methods_are_found_in_a_script() {
    let script = "start_all()\nedge.crash()\nx = f(edge.succeed(\"machine.txt a.b()\"))\nledge.fail()\n";
    assert_eq!(methods_called(script, &["edge"]), ["crash", "succeed"]);
}

#[test]
fn wrong_configurations_are_refused_with_a_reason() {
    if skipped("wrong_configurations_are_refused_with_a_reason") {
        return;
    }
    for (attribute, reason) in REFUSED {
        let output = instantiate("refused.nix", &["--attr", attribute]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{attribute} evaluates, and must not");
        assert!(error.contains(reason), "{attribute} must be refused for `{reason}`, and was for:\n{error}");
    }
    let names = instantiate("refused-names.nix", &[]);
    let names: Vec<String> = serde_json::from_slice(&names.stdout).expect("the names in refused.nix");
    let asked: Vec<&str> = REFUSED.iter().map(|(attribute, _)| *attribute).collect();
    for name in names {
        assert!(asked.contains(&name.as_str()), "refused.nix holds {name}, and no error is expected of it here");
    }
}

/// `nix flake` would fetch what the lock does not hold; offline it fails instead.
#[test]
fn flake_lock_fits_the_flake() {
    if skipped("flake_lock_fits_the_flake") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    for file in ["flake.nix", "flake.lock"] {
        std::fs::copy(root().join(file), folder.path().join(file))
            .unwrap_or_else(|error| panic!("copying {file}: {error}"));
    }
    let output = Command::new("nix")
        .args(["--extra-experimental-features", "nix-command flakes", "flake", "metadata", "--offline"])
        .args(["--no-update-lock-file", "--json"])
        .arg(format!("path:{}", folder.path().display()))
        .env("HOME", folder.path())
        .output()
        .unwrap_or_else(|error| panic!("nix flake metadata: {error}; {INSTALL}"));
    assert!(output.status.success(), "flake.lock does not fit flake.nix:\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Compares each attribute with its golden file, and the set of attributes with the set of files.
fn compare(folder: &str, found: &Map<String, Value>) {
    let folder = root().join("nix/tests/golden").join(folder);
    let update = std::env::var_os("FLT_UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let mut wrong = Vec::new();
    for (name, value) in found {
        let path = folder.join(format!("{name}.json"));
        let text = format!("{}\n", serde_json::to_string_pretty(value).expect("JSON of JSON"));
        if update {
            std::fs::create_dir_all(&folder).expect("the folder of golden files");
            std::fs::write(&path, text).unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
            continue;
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        if golden != text {
            wrong.push(format!("{}:\n{}", path.display(), difference(&golden, &text)));
        }
    }
    for file in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("listing {}: {error}", folder.display())) {
        let path = file.expect("an entry of the golden folder").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !found.contains_key(&name) {
            wrong.push(format!("{} is of no evaluation", path.display()));
        }
    }
    let how = "FLT_UPDATE_GOLDEN=1 cargo nextest run -p flt nix_modules writes them anew";
    assert!(wrong.is_empty(), "{}\n{how}", wrong.join("\n"));
}

/// The lines that are in one of the texts only, in order.
fn difference(golden: &str, found: &str) -> String {
    let only = |mark: char, left: &str, right: &str| -> Vec<String> {
        let other: Vec<&str> = right.lines().collect();
        left.lines().filter(|line| !other.contains(line)).map(|line| format!("{mark}{line}")).collect()
    };
    let mut lines = only('-', golden, found);
    lines.extend(only('+', found, golden));
    lines.join("\n")
}

/// The methods that a script calls on its machines, in order and once each; texts in quotes are skipped.
fn methods_called(script: &str, machines: &[&str]) -> Vec<String> {
    let mut found = Vec::<String>::new();
    for line in script.lines() {
        let code: String = line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        for (at, _) in code.match_indices('.') {
            let object = code[..at].rsplit(|character| !is_word(character)).next().unwrap_or_default();
            let method = code[at + 1..].split(|character| !is_word(character)).next().unwrap_or_default();
            if machines.contains(&object) && !found.iter().any(|known| known == method) {
                found.push(method.to_owned());
            }
        }
    }
    found
}

/// A file of `nix/tests` as JSON, or `None` where system tests are switched off.
fn evaluate(test: &str, file: &str) -> Option<Map<String, Value>> {
    if skipped(test) {
        return None;
    }
    let output = instantiate(file, &[]);
    assert!(output.status.success(), "{file} does not evaluate:\n{}", String::from_utf8_lossy(&output.stderr));
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{file} gives no JSON: {error}"));
    match value {
        Value::Object(map) if !map.is_empty() => Some(map),
        other => panic!("{file} gives {other} instead of a set"),
    }
}

fn instantiate(file: &str, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a temporary folder");
    Command::new("nix-instantiate")
        .args(["--eval", "--strict", "--json", "--readonly-mode"])
        .args(arguments)
        .arg(root().join("nix/tests").join(file))
        .env("HOME", home.path())
        .env_remove("NIX_PATH")
        .output()
        .unwrap_or_else(|error| panic!("nix-instantiate: {error}; {INSTALL}"))
}

fn skipped(test: &str) -> bool {
    let skip = std::env::var_os("FLT_SKIP_SYSTEM_TESTS").is_some_and(|value| value == "1");
    if skip {
        println!("skipped: {test} (FLT_SKIP_SYSTEM_TESTS=1)");
    }
    skip
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

const INSTALL: &str = "install it with `apt-get install nix-bin`, or set FLT_SKIP_SYSTEM_TESTS=1";

const DRIVER_METHODS: &[&str] = &["wait_for_unit", "succeed", "fail", "wait_until_succeeds", "systemctl"];

/// Attributes of `nix/tests/refused.nix`, and what their error must say.
const REFUSED: &[(&str, &str)] = &[
    ("unknown-option", "the option `services.flotilla.agent.enabel' does not exist"),
    ("unknown-role", "the option `services.flotilla.captain' does not exist"),
    ("wrong-type", "services.flotilla.agent.settings.mdns' is not of type `null or boolean'"),
    ("port-too-big", "services.flotilla.agent.settings.listen.[item]' is not of type `socket address"),
    ("address-without-port", "services.flotilla.coordinator.settings.listen.[item]' is not of type `socket address"),
    ("unknown-relay-tls", "services.flotilla.coordinator.settings.relay.tls' is not of type `one of"),
    ("relay-url-without-scheme", "services.flotilla.coordinator.settings.relay.url' is not of type"),
    ("device-without-address", "the option `services.flotilla.agent.devices.core.address' is used but not defined"),
    ("device-of-unknown-kind", "services.flotilla.agent.devices.core.kind' is not of type `one of"),
    ("device-with-md5-fingerprint", "services.flotilla.agent.devices.core.hostKey' is not of type"),
    ("workload-of-unknown-kind", "the option `services.flotilla.agent.workloads.mysql' does not exist"),
    ("conflicting-names", "services.flotilla.agent.settings.name' has conflicting definitions"),
    ("secret-by-relative-path", "services.flotilla.agent.ticketFile' is not of type `null or absolute path'"),
];
