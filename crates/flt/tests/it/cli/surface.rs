//! Help, versions, completions, man pages, pipes and exit codes.

use testkit::Program;

#[test]
fn mistakes_on_the_command_line_end_with_two() {
    for args in [&["frobnicate"][..], &["key"], &["key", "show"], &["agent", "run", "--nonsense"], &[]] {
        let output = Program::flt().args(args).run();
        assert_eq!(output.code, Some(2), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}: {}", output.stdout);
        assert!(output.stderr.contains("Usage: flt"), "{args:?}: {}", output.stderr);
    }
}

#[test]
fn help_and_versions_are_answers() {
    let help = Program::flt().arg("--help").run();
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("flt dev demo") && help.stderr.is_empty());
    let version = Program::flt().arg("version").ok();
    assert_eq!(version, Program::flt().arg("--version").ok());
    let json = Program::flt().args(["version", "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], "flt.version/1");
    assert_eq!(format!("flt {}\n", json["version"].as_str().unwrap()), version);
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Program::flt().args(["completions", shell]).ok();
        assert!(script.contains("check-config") && script.contains("convert"), "{shell}");
    }
    assert_eq!(Program::flt().args(["completions", "cobol"]).run().code, Some(2));
}

#[test]
fn man_pages_cover_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let into = dir.path().join("deep/man1");
    let output = Program::flt().arg("man").arg(into.to_str().unwrap()).run();
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(output.stdout.is_empty());
    for page in ["flt.1", "flt-agent-run.1", "flt-coordinator-check-config.1", "flt-key-new.1", "flt-doctor.1"] {
        let text = std::fs::read_to_string(into.join(page)).unwrap();
        assert!(text.contains(".TH"), "{page}");
    }
    let text = std::fs::read_to_string(into.join("flt-key-new.1")).unwrap();
    assert!(text.contains("flt key new"), "{text}");
    let text = std::fs::read_to_string(into.join("flt-agent-check-config.1")).unwrap();
    assert!(text.contains("flt agent check\\-config"), "{text}");
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = Program::flt().arg("man").arg(file.to_str().unwrap()).run();
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.starts_with("error: cannot make the folder"), "{}", output.stderr);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let flt = testkit::flt_binary();
    // The reader is gone before the first byte is written: `true` has ended when the pause is over.
    let script = format!("set -o pipefail; {{ sleep 0.2; {} completions bash; }} | true", flt.display());
    let output = Program::new("bash").args(["-c", &script]).run();
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""));
    let script = format!("{} completions bash > /dev/full", flt.display());
    let output = Program::new("bash").args(["-c", &script]).run();
    assert_eq!(output.code, Some(1), "a full disk is an error");
    assert!(output.stderr.starts_with("error: cannot write the output\ncaused by: "), "{}", output.stderr);
}

#[test]
fn errors_are_json_when_asked() {
    let output = Program::flt().args(["key", "show", "/nonexistent", "--json"]).run();
    assert_eq!(output.code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&output.stderr).unwrap();
    assert_eq!(json["schema"], "flt.error/1");
    assert_eq!(json["code"], 1);
}
