//! Errors at the edge: what was being done, why it failed cause by cause, what to do next, and the exit code.

use std::error::Error as StdError;
use std::fmt;
use std::process::ExitCode;

mod hints;
mod panic;

pub(crate) use hints::find;
pub(crate) use panic::{catch, log_panics};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Done, or already so.
    Done = 0,
    /// Refused or failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// `plan --exit-code` found changes.
    Changes = 3,
    /// Admitted, and not converged in time.
    NotConverged = 4,
    /// A daemon's configuration is bad.
    Config = 64,
    /// Interrupted.
    Interrupted = 130,
    /// A bug.
    Bug = 255,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Attaches to an error what the person should do next, and how the program should end.
pub(crate) trait Advise<T> {
    /// Adds a `hint:` line. It names the exact next command where there is one.
    fn hint(self, hint: impl fmt::Display) -> anyhow::Result<T>;

    /// Sets the exit code.
    fn code(self, code: Code) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Advise<T> for Result<T, E> {
    fn hint(self, hint: impl fmt::Display) -> anyhow::Result<T> {
        self.map_err(|error| Advised::wrap(error.into(), Some(hint.to_string()), None))
    }

    fn code(self, code: Code) -> anyhow::Result<T> {
        self.map_err(|error| Advised::wrap(error.into(), None, Some(code)))
    }
}

/// An error with advice. It looks like the error inside, so that the advice never shows up among the causes.
#[derive(Debug)]
struct Advised {
    inner: anyhow::Error,
    hint: Option<String>,
    code: Option<Code>,
}

impl Advised {
    fn wrap(inner: anyhow::Error, hint: Option<String>, code: Option<Code>) -> anyhow::Error {
        anyhow::Error::new(Self { inner, hint, code })
    }
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl StdError for Advised {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.chain().nth(1)
    }
}

/// What is printed about an error, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// What was being done, and below it why not.
    pub(crate) causes: Vec<String>,
    /// What to do next.
    pub(crate) hints: Vec<String>,
    /// How the program ends.
    pub(crate) code: Code,
    /// Nothing is to be said: whoever read stdout has gone.
    pub(crate) silent: bool,
}

impl Report {
    /// Takes an error apart.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let silent = find::<crate::output::Closed>(error).is_some();
        let mut hints = Vec::new();
        let mut code = None;
        for part in hints::parts(error) {
            if let Some(advised) = part.downcast_ref::<Advised>() {
                hints.extend(advised.hint.clone());
                code = code.or(advised.code);
            }
        }
        for hint in hints::known(error) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        let mut causes: Vec<String> = Vec::new();
        for part in error.chain() {
            let text = part.to_string();
            if causes.last() != Some(&text) {
                causes.push(text);
            }
        }
        let code = if silent { Code::Done } else { code.unwrap_or(Code::Failed) };
        Self { causes, hints, code, silent }
    }

    /// The report as people read it.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (at, cause) in self.causes.iter().enumerate() {
            let label = if at == 0 { "error" } else { "caused by" };
            push_labelled(&mut text, label, cause);
        }
        for hint in &self.hints {
            push_labelled(&mut text, "hint", hint);
        }
        text
    }

    /// The report as programs read it, on one line.
    pub(crate) fn json(&self) -> String {
        serde_json::json!({
            "schema": "flt.error/1",
            "error": self.causes.first(),
            "causes": self.causes.get(1..).unwrap_or_default(),
            "hints": self.hints,
            "code": self.code as u8,
        })
        .to_string()
    }
}

/// Prints what is to be said about an error on stderr, and gives the exit code.
pub(crate) fn show(error: &anyhow::Error, json: bool) -> Code {
    let report = Report::of(error);
    if !report.silent {
        crate::output::stderr(&if json { report.json() + "\n" } else { report.text() });
    }
    report.code
}

/// One line `label: text`; further lines of the text are indented below the first.
fn push_labelled(out: &mut String, label: &str, text: &str) {
    let mut lines = text.trim_end().lines();
    out.push_str(label);
    out.push_str(": ");
    out.push_str(lines.next().unwrap_or_default());
    out.push('\n');
    for line in lines {
        if !line.is_empty() {
            out.push_str("  ");
            out.push_str(line);
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests;
