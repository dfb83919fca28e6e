//! Secrets on a node whose network half is not root: opened and written by the other one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::bed::{Split, TOOLS};

#[test]
fn a_secret_is_written_by_the_half_that_is_root_for_root_alone() {
    if !testkit::require("a_secret_is_written_by_the_half_that_is_root_for_root_alone", TOOLS) {
        return;
    }
    let split = Split::found();
    let (_hands, _half) = split.join();
    let bed = &split.bed;
    let declaration = r#"
[group.edge]
on = "role=edge"
score.db.kind = "files/1"
score.db.spec.root = "/etc/db"
score.db.spec.entries.password = { secret = "db-password" }
"#;
    fs::write(bed.path().join("fleet.toml"), declaration).unwrap();
    let words = ["apply", "fleet.toml", "--secret-file", "db-password=-"];
    bed.admin(words).input("correct-horse-battery-staple").run().expect(0);
    let file = bed.root("edge-1").join("etc/db/password");
    assert_eq!(fs::read_to_string(&file).unwrap(), "correct-horse-battery-staple");
    let meta = fs::metadata(&file).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o600));
}
