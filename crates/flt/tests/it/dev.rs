//! `flt dev`, as a person runs it: the binary, its output, its processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod demo;
mod local;
mod switch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testkit::Program;

/// `flt` without anything that this machine or its user have configured.
fn flt(home: &Path) -> Program {
    let clean = ["FLT_CONFIG", "FLT_LOG", "FLT_LOG_FORMAT", "XDG_DATA_HOME", "TERM"];
    let program = clean.into_iter().fold(Program::flt(), Program::without_env);
    program.env("HOME", home).env("XDG_CONFIG_HOME", home.join("config")).folder(home).limit(LIMIT)
}

/// A value at a path of keys, which must be there.
#[track_caller]
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or_else(|| panic!("there is no {pointer} in {value:#}"))
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(170);

/// A folder that a test works in.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn flt(&self) -> Program {
        flt(self.dir.path())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path(path)).ok()
    }
}
