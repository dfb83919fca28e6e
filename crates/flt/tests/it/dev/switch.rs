//! `flt dev switch`: it says where it is, and is there.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start(args: &[&str]) -> (Running, serde_json::Value) {
    let mut child = Command::new(testkit::flt_binary())
        .args(["dev", "switch", "--json"])
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let running = Running(child);
    let mut text = String::new();
    for line in BufReader::new(stdout).lines() {
        text.push_str(&line.unwrap());
        if let Ok(view) = serde_json::from_str(&text) {
            return (running, view);
        }
    }
    panic!("it ended and said {text:?}");
}

#[test]
fn a_switch_runs_and_keeps_its_key() {
    let (running, view) = start(&["--os", "fastiron-8030"]);
    assert_eq!(view["schema"], "flt.dev-switch/1");
    assert_eq!(view["os"], "fastiron-8030");
    let mut stream = TcpStream::connect(view["addr"].as_str().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut hello = [0; 8];
    stream.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"SSH-2.0-");
    drop(running);
    let (_again, second) = start(&["--os", "fastiron-8030", "--nasty"]);
    assert_eq!(second["fingerprint"], view["fingerprint"], "who pinned it need not pin it again");
    let (_other, other) = start(&["--os", "nos", "--hostname", "leaf"]);
    assert_ne!(other["fingerprint"], view["fingerprint"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for args in [&["--os", "ios"][..], &["--split", "0"], &["--units", "9"], &["--algorithms", "quantum"]] {
        let output = testkit::Program::flt().args(["dev", "switch"]).args(args).run();
        assert_eq!(output.code, Some(2), "{args:?}: {}", output.stderr);
    }
}
