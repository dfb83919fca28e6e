//! Every check, when it passes, when it fails and when it hangs.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use devices::HostChecks;
use protocols::Check;
use scores::{Checks, Stage};

use crate::node::Quiet;

async fn run(check: &str) -> Result<(), String> {
    run_on(&HostChecks::default(), check).await
}

async fn run_on(checks: &HostChecks, check: &str) -> Result<(), String> {
    let check: Check = serde_json::from_str(check).unwrap();
    checks.run(&check, &Quiet::default()).await.map_err(|failed| failed.to_string())
}

fn exec(command: &[&str], seconds: u32) -> String {
    serde_json::json!({ "type": "exec", "command": command, "seconds": seconds }).to_string()
}

#[tokio::test]
async fn exec_passes_with_status_zero_and_else_says_what_it_heard() {
    assert_eq!(run(&exec(&["true"], 10)).await, Ok(()));
    let failed = run(&exec(&["sh", "-c", "echo out; echo err one >&2; echo err two >&2; exit 3"], 10)).await;
    assert!(failed.unwrap_err().ends_with("failed: exit status: 3: err one | err two"));
    let failed = run(&exec(&["sh", "-c", "echo only out; kill -9 $$"], 10)).await.unwrap_err();
    assert!(failed.contains("signal: 9") && failed.ends_with(": only out"), "{failed}");
    let missing = run(&exec(&["no-such-program-anywhere"], 10)).await.unwrap_err();
    assert!(missing.contains("`no-such-program-anywhere` does not start"), "{missing}");
}

#[tokio::test]
async fn exec_has_no_shell_no_input_and_a_plain_environment() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("made");
    assert_eq!(run(&exec(&["test", "$(touch /nowhere)", "=", "$(touch /nowhere)"], 10)).await, Ok(()));
    assert_eq!(
        run(&exec(&["sh", "-c", &format!("cat > {}; pwd >> {0}; env >> {0}", file.display())], 10)).await,
        Ok(())
    );
    let text = fs::read_to_string(file).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.remove(0), "/");
    lines.retain(|line| !["PATH=", "LC_ALL=C", "PWD=/", "SHLVL=", "_="].iter().any(|known| line.starts_with(known)));
    assert!(lines.is_empty(), "{lines:?}");
}

#[tokio::test]
async fn exec_that_hangs_dies_with_all_it_started() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("pid");
    let script = format!("sleep 300 & echo $! > {}; echo waiting; wait", file.display());
    let started = Instant::now();
    let failed = run(&exec(&["sh", "-c", &script], 1)).await.unwrap_err();
    assert!(failed.ends_with("not done within 1 seconds: waiting"), "{failed}");
    assert!(started.elapsed() < Duration::from_secs(30));
    let pid = fs::read_to_string(&file).unwrap().trim().to_owned();
    let gone = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    let end = Instant::now() + Duration::from_secs(30);
    while !gone() {
        assert!(Instant::now() < end, "what it started lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // What is left behind by a program that has ended goes with it too.
    let script = format!("sleep 300 & echo $! > {}", file.display());
    assert_eq!(run(&exec(&["sh", "-c", &script], 20)).await, Ok(()));
    let pid = fs::read_to_string(&file).unwrap().trim().to_owned();
    let gone = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    let end = Instant::now() + Duration::from_secs(30);
    while !gone() {
        assert!(Instant::now() < end, "what it started lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn exec_that_talks_without_end_is_heard_only_in_part() {
    let failed = run(&exec(&["sh", "-c", "yes loud | head -c 5000000; exit 1"], 60)).await.unwrap_err();
    assert!(failed.contains("exit status: 1: loud | loud") && failed.len() < 1000, "{}", failed.len());
}

#[tokio::test]
async fn tcp_needs_a_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let check = format!(r#"{{"type":"tcp","address":"{address}"}}"#);
    assert_eq!(run(&check).await, Ok(()));
    drop(listener);
    let failed = run(&check).await.unwrap_err();
    assert!(failed.contains("refused"), "{failed}");
    assert!(run(r#"{"type":"tcp","address":"no.such.host.invalid:80"}"#).await.is_err());
}

/// Answers every connection with these bytes, slowly if told so, and then closes or holds it.
fn serve(answer: Vec<u8>, hold: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 1024];
            if stream.read(&mut request).is_err() {
                continue;
            }
            // The one who asks may hang up before the end.
            stream.write_all(&answer).ok();
            if hold {
                held.push(stream);
            }
        }
    });
    address
}

fn http(address: SocketAddr, more: &str) -> String {
    format!(r#"{{"type":"http","url":"http://{address}/health?x=1"{more}}}"#)
}

#[tokio::test]
async fn http_compares_status_and_body() {
    let fine = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall is up".to_vec(), true);
    assert_eq!(run(&http(fine, "")).await, Ok(()));
    assert_eq!(run(&http(fine, r#","contains":"is up""#)).await, Ok(()));
    let failed = run(&http(fine, r#","contains":"down""#)).await.unwrap_err();
    assert!(failed.ends_with("the body does not hold `down`; it starts with `all is up`"), "{failed}");
    let failed = run(&http(fine, r#","status":204"#)).await.unwrap_err();
    assert!(failed.ends_with("status 200 instead of 204, with `all is up`"), "{failed}");
    let sick = serve(b"HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nbad".to_vec(), false);
    assert!(run(&http(sick, "")).await.unwrap_err().contains("status 503 instead of 200"));
    assert_eq!(run(&http(sick, r#","status":503"#)).await, Ok(()));
}

#[tokio::test]
async fn http_bounds_what_it_reads() {
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.extend(std::iter::repeat_n(b'x', 3_000_000));
    endless.extend(b"needle");
    let failed = run(&http(serve(endless, true), r#","contains":"needle""#)).await.unwrap_err();
    assert!(failed.contains("the body does not hold `needle`") && failed.len() < 600, "{failed}");
    let short = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec(), false);
    assert!(run(&http(short, r#","contains":"x""#)).await.unwrap_err().contains("the answer ends early"));
    let garbage = serve(b"SSH-2.0-x\r\n\r\n".to_vec(), false);
    assert!(run(&http(garbage, "")).await.unwrap_err().contains("no answer"));
}

#[tokio::test]
async fn http_does_not_wait_for_ever() {
    let silent = serve(Vec::new(), true);
    let started = Instant::now();
    let failed = run(&http(silent, "")).await.unwrap_err();
    assert!(failed.ends_with("no answer within 10 seconds"), "{failed}");
    assert!(started.elapsed() < Duration::from_secs(40));
}

#[tokio::test]
async fn a_unit_is_judged_by_its_properties() {
    let temp = tempfile::tempdir().unwrap();
    let program = temp.path().join("systemctl");
    let unit = r#"{"type":"unit","name":"web.service","stable_seconds":1}"#;
    let checks = HostChecks::default().with_systemctl(&program);
    let say = |text: &str| {
        let aside = temp.path().join("new");
        fs::write(&aside, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(aside, &program).unwrap();
    };
    let active = "printf 'LoadState=loaded\\nActiveState=active\\nActiveEnterTimestampMonotonic=1\\n'";
    say(&format!(
        "[ \"$*\" = \"show --property=LoadState,ActiveState,SubState,Result,NRestarts,ActiveEnterTimestampMonotonic \
                  -- web.service\" ] && {active}"
    ));
    assert_eq!(run_on(&checks, unit).await, Ok(()));
    say(
        "printf 'LoadState=loaded\\nActiveState=activating\\nSubState=auto-restart\\nResult=exit-code\\nNRestarts=7\\n'",
    );
    let failed = run_on(&checks, unit).await.unwrap_err();
    assert!(failed.ends_with("the unit is activating (auto-restart), result exit-code, 7 restarts"), "{failed}");
    say("echo 'System has not been booted with systemd' >&2; exit 1");
    assert!(run_on(&checks, unit).await.unwrap_err().contains("not been booted with systemd"));
    let none = HostChecks::default().with_systemctl(temp.path().join("none"));
    assert!(run_on(&none, unit).await.unwrap_err().contains("does not start"));
}

#[tokio::test]
async fn contact_is_what_the_stage_says() {
    assert_eq!(run(r#"{"type":"contact"}"#).await, Ok(()));
    let stage = Quiet::default();
    *stage.contact.lock().unwrap() = Some("no coordinator answers".into());
    assert!(stage.contact().await.is_err());
    let failed = HostChecks::default().run(&Check::Contact, &stage).await.unwrap_err();
    assert_eq!(failed.to_string(), "check `contact` failed: no coordinator answers");
}
