//! Secrets that are typed.

use testkit::{DEADLINE, Output, Program, require};

use super::{FILE, SECRETS};
use crate::processes::bed::Bed;

/// `flt admin …` on a terminal of its own, with what is typed there.
fn on_a_terminal(bed: &Bed, words: &str, typed: &str) -> Output {
    let command = format!("{} admin {words}", testkit::flt_binary().display());
    let script = ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "RUST_LOG", "FLT_LOG", "NO_COLOR"]
        .into_iter()
        .fold(Program::new("script"), Program::without_env);
    script
        .args(["--quiet", "--return", "--flush", "--echo", "never", "--command", &command, "/dev/null"])
        .folder(bed.path())
        .env("HOME", bed.path().join("home"))
        .env("USER", "alice")
        .input(typed)
        .limit(DEADLINE)
        .run()
}

#[test]
fn a_secret_is_typed_twice_and_never_shown() {
    if !require("a_secret_is_typed_twice_and_never_shown", &["script"]) {
        return;
    }
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let _agent = bed.join("edge-1");
    std::fs::write(bed.path().join("fleet.toml"), FILE).unwrap();
    let [first, second, _] = SECRETS;
    let file = bed.root("edge-1").join("etc/db/password");

    let differ = on_a_terminal(&bed, "apply fleet.toml", &format!("{first}\n{second}\n")).expect(1);
    assert!(differ.stdout.contains("two different values"), "{differ:?}");
    assert!(!file.exists());
    let empty = on_a_terminal(&bed, "apply fleet.toml", "\n\n").expect(1);
    assert!(empty.stdout.contains("is empty"), "{empty:?}");

    let applied = on_a_terminal(&bed, "apply fleet.toml", &format!("{first}\n{first}\n")).expect(0);
    assert!(applied.stdout.contains("Value of the secret `db-password`: "), "{applied:?}");
    assert!(applied.stdout.contains("The same again: "), "{applied:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first, "without a newline");
    // What is published needs no typing.
    on_a_terminal(&bed, "apply fleet.toml", "").expect(0);
    let set = on_a_terminal(&bed, "secret set db-password", &format!("{second}\n{second}\n")).expect(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), second);
    for output in [differ, empty, applied, set] {
        assert!(SECRETS.iter().all(|secret| !output.stdout.contains(secret)), "{output:?}");
    }
}
