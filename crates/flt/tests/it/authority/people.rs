//! Several people and machines of one fleet, each with a home of its own.

use std::path::PathBuf;

use serde_json::Value;
use testkit::{Output, Program};

use crate::processes::bed::Bed;

/// Somebody with a machine of their own.
pub(crate) struct Person<'a> {
    bed: &'a Bed,
    name: &'static str,
}

impl<'a> Person<'a> {
    pub(crate) fn new(bed: &'a Bed, name: &'static str) -> Self {
        std::fs::create_dir_all(bed.path().join(name)).unwrap();
        Self { bed, name }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.bed.path().join(self.name)
    }

    /// Their admin's folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.home().join("admin")
    }

    pub(crate) fn flt(&self) -> Program {
        self.bed.flt().env("HOME", self.home()).env("USER", self.name).env("FLT_ADMIN_DATA", self.data())
    }

    pub(crate) fn admin(&self, words: &[&str]) -> Program {
        let data = self.data();
        let flt = self.flt().arg("admin").args(words).args(["--data", data.to_str().unwrap()]);
        flt.named(format!("{}: flt admin {}", self.name, words.join(" ")))
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.admin(words).arg("--json").ok()).unwrap()
    }

    pub(crate) fn request(&self) -> String {
        self.admin(&["request", "--name", self.name]).ok().trim().to_owned()
    }

    /// Asks, is let in with some rights by the founder, and joins.
    pub(crate) fn joins(&self, rights: &[&str]) {
        let request = self.request();
        let words: Vec<&str> = ["grant", "--request", &request].into_iter().chain(rights.iter().copied()).collect();
        let granted: Value = serde_json::from_str(&founder(self.bed, &words).arg("--json").ok()).unwrap();
        self.admin(&["join", granted["ticket"].as_str().unwrap()]).ok();
    }
}

/// `flt admin …` of whoever founded the fleet.
pub(crate) fn founder(bed: &Bed, words: &[&str]) -> Program {
    bed.flt().arg("admin").args(words).named(format!("founder: flt admin {}", words.join(" ")))
}

/// That it ended with a code and said all of this on stderr.
#[track_caller]
pub(crate) fn says(output: Output, code: i32, all: &[&str]) -> Output {
    let output = output.expect(code);
    for text in all {
        assert!(output.stderr.contains(text), "{text:?} is missing in:\n{}", output.stderr);
    }
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    output
}
