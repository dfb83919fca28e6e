//! What is wrong with a file, and where.

use std::fmt;

/// One thing that is wrong, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it, if that is known.
    pub hint: Option<String>,
    /// The line's text.
    pub source_line: String,
}

/// Everything that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BadFile {
    /// The file's name, as it was given.
    pub file: String,
    /// In the order of the file; never empty.
    pub problems: Vec<Problem>,
}

impl Problem {
    pub(super) fn at(text: &str, at: usize, what: impl Into<String>) -> Self {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
        Self {
            line: text[..at].matches('\n').count() + 1,
            column: text[start..at].chars().count() + 1,
            what: what.into(),
            hint: None,
            source_line: text[start..end].trim_end().chars().take(LINE_CHARS_MAX).collect(),
        }
    }

    /// What serde_json says about a part of a text that begins at `at`.
    pub(super) fn of_json(text: &str, at: usize, error: &serde_json::Error) -> Self {
        let part = text.get(at..).unwrap_or_default();
        let before: usize = part.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let offset = before + error.column().saturating_sub(1);
        Self::at(text, at + offset, without_place(&error.to_string()))
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Removes serde_json's own ` at line 1 column 7`, which is about another text than the reader's.
pub(super) fn without_place(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(at) if message[at..].contains(" column ") => message[..at].to_owned(),
        _ => message.to_owned(),
    }
}

impl fmt::Display for BadFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            let Problem { line, column, what, hint, source_line } = problem;
            write!(f, "{}:{line}:{column}: {what}", self.file)?;
            if !source_line.trim().is_empty() {
                write!(f, "\n  | {source_line}")?;
            }
            if let Some(hint) = hint {
                write!(f, "\n  = {hint}")?;
            }
        }
        Ok(())
    }
}

/// The most of a line that is shown, in characters.
const LINE_CHARS_MAX: usize = 160;
