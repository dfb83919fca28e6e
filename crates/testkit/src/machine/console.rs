//! The console of a machine: a terminal, because systemd says nothing to anything else.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// A terminal whose output goes to a file for as long as this lives.
#[derive(Debug)]
pub(super) struct Console {
    /// The machine's end, by its path on the host.
    pub(super) terminal: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Console {
    /// Opens a terminal, the output of which is appended to a file.
    pub(super) fn open(log: &Path) -> io::Result<Self> {
        let mut log = File::options().append(true).open(log)?;
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let terminal = PathBuf::from(OsStr::from_bytes(ptsname(&master, Vec::new())?.to_bytes()));
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let mut master = File::from(master);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                // Asked before the last look, so that what was printed before the end is not lost.
                let last = theirs.load(Ordering::Relaxed);
                match wait_and_read(&mut master, &mut buffer) {
                    Some(length) => {
                        let text: Vec<u8> = buffer.iter().take(length).copied().filter(|byte| *byte != b'\r').collect();
                        if let Err(error) = log.write_all(&text) {
                            eprintln!("the console of a machine could not be kept: {error}");
                            return;
                        }
                    }
                    None if last => return,
                    None => {}
                }
            }
        });
        Ok(Self { terminal, stop, thread: Some(thread) })
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the thread of a console panicked");
        }
    }
}

/// What was printed, if there is something before the pause is over.
fn wait_and_read(master: &mut File, buffer: &mut [u8]) -> Option<usize> {
    let mut watched = [PollFd::new(&*master, PollFlags::IN)];
    let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(PAUSE.subsec_nanos()) };
    let ready = poll(&mut watched, Some(&pause)).is_ok_and(|ready| ready > 0);
    if ready && watched[0].revents().contains(PollFlags::IN) {
        return master.read(buffer).ok().filter(|length| *length > 0);
    }
    if ready {
        // Nobody has the other end open, which poll reports at once and always.
        std::thread::sleep(PAUSE);
    }
    None
}

/// How long the thread waits for output before it sees whether it is to stop. Below a second.
const PAUSE: Duration = Duration::from_millis(20);
