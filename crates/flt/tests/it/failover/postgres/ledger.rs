//! What clients were told: each acknowledged row, when, and in which timeline.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Not Debian's `psql`, a Perl program that looks for this one: while nobody is writable it would take all of a small machine.
pub(super) const PSQL: &str = "/usr/lib/postgresql/15/bin/psql";
/// Where a client is, and what it knows.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) conninfo: String,
    /// How long it waits when it was thrown out.
    pub(super) again: Duration,
}

/// A row that a client was told is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ack {
    pub(super) row: (u32, u64),
    /// The timeline of the node that wrote it.
    pub(super) timeline: u32,
    /// When the client asked.
    pub(super) asked: Instant,
    /// When it was told.
    pub(super) told: Instant,
}

/// Clients that write numbered rows, one after the other each, and come back when they are thrown out.
pub(super) struct Clients {
    acks: Arc<Mutex<Vec<Ack>>>,
    stop: Arc<AtomicBool>,
    children: Vec<Arc<Mutex<Option<Child>>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// One client for each of these.
    pub(super) fn start(places: &[Place]) -> Self {
        let mut clients =
            Self { acks: Arc::default(), stop: Arc::default(), children: Vec::new(), threads: Vec::new() };
        for (writer, place) in (0..).zip(places.iter().cloned()) {
            let (acks, stop) = (Arc::clone(&clients.acks), Arc::clone(&clients.stop));
            let child = Arc::new(Mutex::new(None));
            clients.children.push(Arc::clone(&child));
            clients.threads.push(std::thread::spawn(move || {
                let mut next = 0;
                while !stop.load(Ordering::SeqCst) {
                    let (started, stdin, stdout) = psql(&place);
                    *child.lock().unwrap() = Some(started);
                    write(writer, &mut next, stdin, BufReader::new(stdout), &acks, &stop);
                    end(&child);
                    std::thread::sleep(place.again);
                }
            }));
        }
        clients
    }

    pub(super) fn acks(&self) -> Vec<Ack> {
        self.acks.lock().unwrap().clone()
    }

    /// Ends all clients, and gives what they were told.
    pub(super) fn finish(mut self) -> Vec<Ack> {
        self.end();
        self.acks()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            self.children.iter().for_each(end);
            std::thread::sleep(Duration::from_millis(20));
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.end();
    }
}

fn end(child: &Arc<Mutex<Option<Child>>>) {
    if let Some(mut child) = child.lock().unwrap().take() {
        drop(child.kill());
        drop(child.wait());
    }
}

fn psql(Place { namespace, conninfo, .. }: &Place) -> (Child, ChildStdin, std::process::ChildStdout) {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, PSQL, "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", conninfo]);
    command.env("PGPASSWORD", super::stage::PASSWORD);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, stdin, stdout)
}

/// Writes until it is thrown out. A row that nothing was heard of is never tried again.
fn write(
    writer: u32,
    next: &mut u64,
    mut stdin: ChildStdin,
    mut stdout: impl BufRead,
    acks: &Mutex<Vec<Ack>>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::SeqCst) {
        *next += 1;
        let row = (writer, *next);
        // What psql prints it prints when the commit has returned.
        let sql = format!(
            "INSERT INTO rows VALUES ({writer}, {next}) RETURNING substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8);\n"
        );
        let asked = Instant::now();
        if stdin.write_all(sql.as_bytes()).and_then(|()| stdin.flush()).is_err() {
            return;
        }
        let mut line = String::new();
        if !matches!(stdout.read_line(&mut line), Ok(1..)) {
            return;
        }
        let Ok(timeline) = u32::from_str_radix(line.trim(), 16) else { return };
        acks.lock().unwrap().push(Ack { row, timeline, asked, told: Instant::now() });
        // As many as matter, not as many as there can be: the machine has other things to do.
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// Rows that were asked for after another node, in a later timeline, had acknowledged one already, and were acknowledged.
pub(super) fn overlaps(acks: &[Ack]) -> Vec<Ack> {
    let first_told = |later_than: u32| acks.iter().filter(|ack| ack.timeline > later_than).map(|ack| ack.told).min();
    let timelines: BTreeSet<u32> = acks.iter().map(|ack| ack.timeline).collect();
    let mut found = Vec::new();
    for timeline in timelines {
        if let Some(over) = first_told(timeline) {
            found.extend(acks.iter().filter(|ack| ack.timeline == timeline && ack.asked > over));
        }
    }
    found
}

#[test]
fn an_overlap_is_found() {
    let begin = Instant::now();
    let at = |millis| begin + Duration::from_millis(millis);
    let ack = |timeline, asked, told| Ack { row: (0, asked), timeline, asked: at(asked), told: at(told) };
    let sound = [ack(2, 0, 1), ack(2, 2, 9), ack(3, 5, 6), ack(3, 7, 8)];
    assert!(overlaps(&sound).is_empty());
    let unsound = [&sound[..], &[ack(2, 7, 8)]].concat();
    assert_eq!(overlaps(&unsound).len(), 1);
}
