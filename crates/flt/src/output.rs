//! Everything that is printed: stdout carries what was asked and nothing else; the rest goes to stderr.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

mod ask;
pub(crate) mod format;
mod progress;
pub(crate) mod table;

pub(crate) use progress::Progress;
pub(crate) use table::Table;

use crate::cli::{ColorChoice, Globals};

/// An answer that people read as text and programs as JSON, both from the same fields.
pub(crate) trait View: Serialize {
    /// Name and version of the JSON form, `flt.status/1`. Fields are only ever added to it.
    const SCHEMA: &'static str;

    /// The answer as text, in lines, with a newline at the end of each.
    fn text(&self, style: &Style) -> String;
}

/// What the text may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// How wide a line may be; nothing if it does not matter, as in a pipe.
    pub(crate) width: Option<usize>,
    /// Whether colour may decorate. Nothing is ever said by colour alone.
    pub(crate) color: bool,
}

impl Style {
    /// Text for a file or a pipe.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { width: None, color: false };
}

/// Whoever read stdout has gone. It is no error: `flt admin log | head` is in order.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(crate) struct Closed;

/// Stdout cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the output")]
pub(crate) struct WriteError(#[source] std::io::Error);

/// Where a command prints.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    style: Style,
    /// Whether a person sits at both ends: prompts are for them.
    interactive: bool,
    /// Whether progress can be drawn.
    draws: bool,
}

impl Output {
    /// Decides once how to print.
    pub(crate) fn new(globals: &Globals, env: &crate::config::Env) -> Self {
        let (out, err) = (std::io::stdout(), std::io::stderr());
        let width = out.is_terminal().then(terminal_width);
        let plain = env.get("NO_COLOR").is_some_and(|v| !v.is_empty()) || env.get("TERM") == Some("dumb");
        let color = match globals.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => out.is_terminal() && !plain,
        };
        Self {
            json: globals.json,
            quiet: globals.quiet,
            style: Style { width, color },
            interactive: std::io::stdin().is_terminal() && err.is_terminal(),
            draws: err.is_terminal() && !globals.quiet && !globals.json && env.get("TERM") != Some("dumb"),
        }
    }

    /// Whether the answer is to be JSON.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person can be asked.
    pub(crate) const fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Prints the one answer of a command: text, or a JSON document.
    pub(crate) fn view<V: View>(&self, view: &V) -> anyhow::Result<()> {
        if self.is_json() { print(&(json(view, true)? + "\n")) } else { print(&view.text(&self.style)) }
    }

    /// Prints one of many answers that come one after the other: text, or one line of JSON each.
    pub(crate) fn event<V: View>(&self, view: &V) -> anyhow::Result<()> {
        if self.is_json() { print(&(json(view, false)? + "\n")) } else { print(&view.text(&self.style)) }
    }

    /// Prints an answer that is text in any case, such as a completion script.
    pub(crate) fn raw(&self, text: &str) -> anyhow::Result<()> {
        print(text)
    }

    /// Says on stderr what is going on.
    pub(crate) fn status(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            stderr(&format!("{text}\n"));
        }
    }

    /// Says on stderr what to do next.
    pub(crate) fn hint(&self, text: impl std::fmt::Display) {
        if !self.quiet && !self.is_json() {
            stderr(&format!("hint: {text}\n"));
        }
    }

    /// Says on stderr what should not be overlooked; `--quiet` does not silence it.
    pub(crate) fn warning(&self, text: impl std::fmt::Display) {
        stderr(&format!("warning: {text}\n"));
    }

    /// Shows that something is being waited for.
    pub(crate) fn progress(&self, what: impl Into<String>) -> Progress {
        Progress::start(what.into(), self.draws, self.quiet || self.json)
    }
}

/// A view as JSON, its schema in front.
pub(crate) fn json<V: View>(view: &V, pretty: bool) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Document<'a, V> {
        schema: &'static str,
        #[serde(flatten)]
        view: &'a V,
    }
    let document = Document { schema: V::SCHEMA, view };
    if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }
}

/// Writes to stdout, whole and at once.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Closed.into()),
        Err(error) => Err(WriteError(error).into()),
    }
}

/// Writes to stderr. That nobody listens there is no reason to fail.
pub(crate) fn stderr(text: &str) {
    let mut err = std::io::stderr().lock();
    let written = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    drop(written);
}

fn terminal_width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns >= WIDTH_MIN).unwrap_or(WIDTH)
}

/// Columns of a terminal that does not say how wide it is.
const WIDTH: usize = 80;
/// A narrower terminal is taken for one that does not know, in columns.
const WIDTH_MIN: usize = 40;
