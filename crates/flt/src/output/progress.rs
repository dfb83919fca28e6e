//! Waiting, made visible: a spinner on a terminal once it takes a while, plain lines elsewhere; on stderr only.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Something that is being waited for. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    form: Form,
}

#[derive(Debug)]
enum Form {
    Drawn(Drawn),
    Lines(Mutex<String>),
    Silent,
}

/// A line that appears on the terminal after a while.
#[derive(Debug)]
struct Drawn {
    bar: ProgressBar,
    /// Dropped when it is over, which the thread below notices.
    over: Option<mpsc::Sender<()>>,
    reveal: Option<std::thread::JoinHandle<()>>,
}

impl Progress {
    pub(super) fn start(what: String, draws: bool, silent: bool) -> Self {
        if silent {
            return Self { form: Form::Silent };
        }
        if !draws {
            super::stderr(&format!("{what}\n"));
            return Self { form: Form::Lines(Mutex::new(what)) };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style.tick_chars("|/-\\ "));
        }
        bar.set_message(what);
        let (over, wait) = mpsc::channel::<()>();
        let shown = bar.clone();
        // What is over before this is never drawn: a flicker says nothing.
        let reveal = std::thread::spawn(move || {
            if wait.recv_timeout(DELAY) == Err(mpsc::RecvTimeoutError::Timeout) {
                shown.set_draw_target(ProgressDrawTarget::stderr_with_hz(FRAMES_PER_SECOND));
                shown.enable_steady_tick(TURN);
            }
        });
        Self { form: Form::Drawn(Drawn { bar, over: Some(over), reveal: Some(reveal) }) }
    }

    /// Says how far it is. The same words twice are printed once.
    pub(crate) fn update(&self, what: impl Into<String>) {
        let what = what.into();
        match &self.form {
            Form::Drawn(Drawn { bar, .. }) => bar.set_message(what),
            Form::Lines(last) => {
                let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if *last != what {
                    super::stderr(&format!("{what}\n"));
                    *last = what;
                }
            }
            Form::Silent => {}
        }
    }

    /// Says something that stays, above what is drawn.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        match &self.form {
            Form::Drawn(Drawn { bar, .. }) => bar.suspend(|| super::stderr(&format!("{}\n", text.as_ref()))),
            Form::Lines(_) => super::stderr(&format!("{}\n", text.as_ref())),
            Form::Silent => {}
        }
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(reveal) = self.reveal.take() {
            // It only ever waits for the channel, so it ends at once; it cannot have panicked.
            drop(reveal.join());
        }
        self.bar.finish_and_clear();
    }
}

/// How long something must take before it is drawn.
const DELAY: Duration = Duration::from_millis(250);
/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(120);
/// The most often the line is drawn.
const FRAMES_PER_SECOND: u8 = 30;
