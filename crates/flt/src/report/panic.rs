//! A panic is a bug of ours, and is called one: with where it happened, and exit code 255.

use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Code;

/// Set once a daemon runs: then a panic is an event in the log, because the daemon goes on without the task.
static IN_THE_LOG: AtomicBool = AtomicBool::new(false);

/// From now on, panics go to the log.
pub(crate) fn log_panics() {
    IN_THE_LOG.store(true, Ordering::Relaxed);
}

/// Runs the program. If it panics, the person is told that it is a bug.
pub(crate) fn catch(run: impl FnOnce() -> Code) -> Code {
    std::panic::set_hook(Box::new(|info| {
        let (at, message) = (place(info), message(info));
        if IN_THE_LOG.load(Ordering::Relaxed) {
            tracing::error!(target: "flotilla::panic", %at, %message, "a task panicked; this is a bug in flt");
        } else {
            crate::output::stderr(&bug(&at, &message));
        }
    }));
    std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(Code::Bug)
}

fn bug(at: &str, message: &str) -> String {
    format!(
        "bug: flt {version} did something that it never should: {message}\n  at {at}\n\
         hint: report it with the command that you ran; nothing that was acknowledged is lost\n",
        version = env!("CARGO_PKG_VERSION"),
    )
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or_else(|| "an unknown place".into(), ToString::to_string)
}

fn message(info: &PanicHookInfo<'_>) -> String {
    info.payload_as_str().unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_called_a_bug() {
        assert_eq!(catch(|| panic!("the impossible")), Code::Bug);
        assert_eq!(catch(|| Code::Done), Code::Done);
        // The hook is the process's: give it back to the other tests.
        drop(std::panic::take_hook());
        let text = bug("src/x.rs:1:2", "the impossible");
        assert!(text.starts_with("bug: flt ") && text.contains("the impossible") && text.contains("src/x.rs:1:2"));
    }
}
