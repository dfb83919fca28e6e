//! The supervisor by itself: what it holds ends at its instant, however it hides, and nothing begins that may not.

use std::path::Path;
use std::time::Duration;

use devices::hold::{HoldClient, HoldClientParts, now};
use failover::{LocalTime, Span};
use scores::workload::{Hold as _, Program};
use testkit::{DEADLINE, flt_binary, until};

/// A hold in a folder of its own.
struct Held {
    client: HoldClient,
    folder: tempfile::TempDir,
}

impl Held {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("flt-hold-").tempdir().unwrap();
        let parts =
            HoldClientParts { socket: folder.path().join("hold"), unit: None, program: flt_binary(), detached: false };
        Self { client: HoldClient::new(parts), folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until a process has, or nobody has, the lock of that name.
    fn wait_for_lock(&self, name: &str, taken: bool) {
        let path = self.path().join(name);
        until(&format!("{name} to be taken: {taken}"), DEADLINE, || {
            let free = std::process::Command::new("flock").arg("--nonblock").arg(&path).arg("true").status().unwrap();
            if free.success() == taken { Err(format!("it is not, at {:?}", now())) } else { Ok(()) }
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Ok(pid) = std::fs::read_to_string(self.path().join("hold.lock")) {
            super::stage::signal_to("KILL", pid.trim());
        }
    }
}

fn bash(script: String) -> Program {
    Program { command: vec!["bash".into(), "-c".into(), script], ..Program::default() }
}

#[tokio::test]
async fn at_its_instant_everything_ends_however_it_hides() {
    let held = Held::new();
    let at = held.path().display();
    // One that left its session, its parents and its environment behind, and one in the foreground that heeds no signal.
    let script = format!(
        "(setsid env -i PATH=$PATH flock {at}/hidden sleep 1000 &) ; trap '' TERM INT QUIT HUP; exec flock {at}/open sleep 1000"
    );
    held.client.arm(now() + Span::from_secs(600)).await.unwrap();
    held.client.run(&bash(script), now() + Span::from_secs(600)).await.unwrap();
    held.wait_for_lock("hidden", true);
    held.wait_for_lock("open", true);
    assert!(held.client.is_running().await.unwrap());
    held.client.arm(now() + Span::from_millis(300)).await.unwrap();
    tokio::time::timeout(DEADLINE, held.client.bitten()).await.unwrap();
    // It says so only when it is so.
    held.wait_for_lock("hidden", false);
    held.wait_for_lock("open", false);
    assert!(!held.client.is_running().await.unwrap());
    held.client.quit().await.unwrap();
}

#[tokio::test]
async fn nothing_begins_too_late_or_without_an_end() {
    let held = Held::new();
    let sleeps = bash("exec sleep 1000".into());
    let unarmed = held.client.run(&sleeps, now() + Span::from_secs(600)).await.unwrap_err();
    assert!(unarmed.to_string().contains("no end is armed"), "{unarmed}");
    held.client.arm(now() + Span::from_secs(600)).await.unwrap();
    let late = held.client.run(&sleeps, LocalTime::from_micros(1)).await.unwrap_err();
    assert!(late.to_string().contains("too late"), "{late}");
    held.client.run(&sleeps, now() + Span::from_secs(600)).await.unwrap();
    let twice = held.client.run(&sleeps, now() + Span::from_secs(600)).await.unwrap_err();
    assert!(twice.to_string().contains("runs already"), "{twice}");
    held.client.kill().await.unwrap();
    assert!(!held.client.is_running().await.unwrap());
    held.client.quit().await.unwrap();
}

#[tokio::test]
async fn a_hook_ends_with_who_waits_for_it() {
    let held = Held::new();
    let at = held.path().display().to_string();
    let said = held.client.hook(&bash("echo hello; exit 3".into()), Duration::from_secs(60)).await.unwrap();
    assert_eq!((said.status, said.output.as_str()), (Some(3), "hello\n"));
    let long = bash(format!("flock {at}/hook sleep 1000"));
    let waits = async {
        held.client.hook(&long, Duration::from_secs(600)).await.unwrap();
    };
    let path = held.path().join("hook");
    tokio::select! {
        () = waits => panic!("it sleeps"),
        () = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let free = std::process::Command::new("flock").arg("--nonblock").arg(&path).arg("true").status().unwrap();
                if !free.success() { break }
            }
        } => {}
    }
    held.wait_for_lock("hook", false);
    held.client.quit().await.unwrap();
}
