//! A service with a secret: it is there while the service runs, for the service alone, and nowhere else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use testkit::{DEADLINE, until};

use super::stage::{RECOVERY, Stage};

#[test]
fn a_service_has_its_secret_while_it_runs() {
    let stage = Stage::set();
    let first = stage.writes().unwrap();
    let (told, hooked) = (stage.bed.path().join("told"), stage.bed.path().join("hooked"));
    let apply = |value: &str| {
        let more = format!(
            "start = {{ command = [\"bash\", \"-c\", \"cat $FLT_SECRETS/token > {}\"] }}\n\
             check = {{ command = [\"bash\", \"-c\", \"echo $FLT_SECRETS > {}\"], every_ms = 200 }}\n\
             secrets.token = {{ secret = \"ledger-token\" }}\n",
            hooked.display(),
            told.display()
        );
        stage.write_file(&super::stage::NAMES, "", &more);
        let file = stage.bed.path().join("value");
        fs::write(&file, value).unwrap();
        let given = format!("ledger-token={}", file.display());
        stage.bed.admin(["apply", "fleet.toml", "--secret-file", &given]).ok();
        fs::remove_file(file).unwrap();
    };
    apply("swordfish-1");
    // What is declared of the start is so at the next one.
    let to = super::stage::NAMES.into_iter().find(|name| *name != first.node).unwrap();
    until("a switchover", RECOVERY, || {
        let moved = stage.bed.admin(["failover", "switchover", "service/ledger", "--to", to]).run();
        if moved.code == Some(0) { Ok(()) } else { Err(moved.stderr) }
    });
    let second = stage.writer_after(first.epoch);
    assert_eq!(fs::read_to_string(&hooked).unwrap(), "swordfish-1");
    until("the folder of the secrets", DEADLINE, || fs::metadata(&told).map(drop));
    let folder = fs::read_to_string(&told).unwrap();
    let token = std::path::Path::new(folder.trim()).join("token");
    assert_eq!(fs::read_to_string(&token).unwrap(), "swordfish-1");
    assert_eq!(fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);

    // Another value is there without a new start.
    apply("swordfish-2");
    until("the other value", RECOVERY, || match fs::read_to_string(&token) {
        Ok(value) if value == "swordfish-2" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(stage.writes().map(|line| line.epoch), Ok(second.epoch));

    stage.withdraw();
    stage.wait_until_over();
    assert!(!token.parent().unwrap().exists(), "it is left behind");
    for name in super::stage::NAMES {
        for file in ["driven", "durable.json", "flight.json"] {
            let kept = fs::read(stage.folder(name).join(file)).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&kept).contains("swordfish"), "{file} of {name}");
        }
    }
    stage.strike();
}
