//! What differs between two publications, as lines that a person can read.

use protocols::entry::Publish;
use protocols::outcome::shorten;
use protocols::state::Declaration;
use protocols::{Policy, SealedText, Selector};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiffLine {
    /// What happens to the line.
    pub sign: Sign,
    /// The line.
    pub text: String,
}

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Sign {
    /// It comes.
    #[serde(rename = "+")]
    Add,
    /// It goes.
    #[serde(rename = "-")]
    Remove,
    /// It stays, and is there for orientation.
    #[serde(rename = " ")]
    Keep,
}

impl std::fmt::Display for DiffLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = match self.sign {
            Sign::Add => '+',
            Sign::Remove => '-',
            Sign::Keep => ' ',
        };
        write!(f, "{sign} {}", self.text)
    }
}

/// Everything of a new publication.
pub(super) fn create(new: &Publish) -> Vec<DiffLine> {
    let text = describe(&new.on, new.kind.as_str(), &new.policy, new.payload.get());
    text.lines().take(LINES_MAX).map(|line| DiffLine { sign: Sign::Add, text: line.to_owned() }).collect()
}

/// What a publication changes. Nothing if it means the same.
pub(super) fn update(old: &Declaration, new: &Publish) -> Vec<DiffLine> {
    let value = |json: &str| serde_json::from_str::<Value>(json).ok();
    let same = old.on == new.on
        && old.kind == new.kind
        && old.subject == new.subject
        && old.policy == new.policy
        && (old.payload == new.payload
            || value(old.payload.get()).is_some_and(|v| Some(v) == value(new.payload.get())));
    if same {
        return Vec::new();
    }
    let before = describe(&old.on, old.kind.as_str(), &old.policy, old.payload.get());
    let after = describe(&new.on, new.kind.as_str(), &new.policy, new.payload.get());
    let diff = TextDiff::from_lines(&before, &after);
    let mut lines = Vec::new();
    for (i, group) in diff.grouped_ops(CONTEXT_LINES).into_iter().enumerate() {
        if i > 0 {
            lines.push(DiffLine { sign: Sign::Keep, text: "...".into() });
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Insert => Sign::Add,
                ChangeTag::Delete => Sign::Remove,
                ChangeTag::Equal => Sign::Keep,
            };
            lines.push(DiffLine { sign, text: change.value().trim_end_matches('\n').to_owned() });
        }
    }
    if lines.iter().all(|line| line.sign == Sign::Keep) {
        // Only what is cut from long lines differs.
        lines.push(DiffLine { sign: Sign::Add, text: "(a difference in a long value)".into() });
    }
    if lines.len() > LINES_MAX {
        let more = lines.len() - LINES_MAX;
        lines.truncate(LINES_MAX);
        lines.push(DiffLine { sign: Sign::Keep, text: format!("... and {more} more lines") });
    }
    lines
}

/// A publication with one line for each value, and texts of several lines as they are.
fn describe(on: &Selector, kind: &str, policy: &Policy, payload: &str) -> String {
    let mut out = format!("on = {on}\nkind = {kind}\n");
    match serde_json::from_str::<Value>(payload) {
        Ok(value) => flatten("", &value, &mut out),
        Err(_) => line(&mut out, payload),
    }
    if *policy != Policy::default()
        && let Ok(value) = serde_json::to_value(policy)
    {
        flatten("policy", &value, &mut out);
    }
    out
}

fn flatten(path: &str, value: &Value, out: &mut String) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    if let Some(sealed) = sealed(value) {
        // The form is another one whenever it is sealed anew, also if the secret is the same.
        return line(out, &format!("{path} = the secret `{}`, sealed as {}", sealed.name(), sealed.digest().short()));
    }
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            for (key, value) in sorted {
                flatten(&join(&printable(key)), value, out);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            for (i, item) in items.iter().enumerate() {
                flatten(&format!("{path}[{i}]"), item, out);
            }
        }
        Value::String(text) if text.trim_end_matches('\n').contains('\n') => {
            line(out, &format!("{path}:"));
            for part in text.lines() {
                line(out, &format!("    {}", printable(part)));
            }
            if !text.ends_with('\n') {
                line(out, "    (no newline at the end)");
            }
        }
        other => line(out, &format!("{path} = {other}")),
    }
}

/// The sealed secret that a value is, if it is one.
fn sealed(value: &Value) -> Option<SealedText> {
    let fields = value.as_object().filter(|fields| fields.len() == 2 && fields.contains_key("age"))?;
    fields.get("name").and_then(|_| SealedText::deserialize(value).ok())
}

fn line(out: &mut String, text: &str) {
    out.push_str(&shorten(text, LINE_BYTES_MAX));
    out.push('\n');
}

/// Without control characters: what is printed must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() && c != '\t' { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// Unchanged lines shown around changed ones.
const CONTEXT_LINES: usize = 2;
/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 200;
/// The most lines of one difference.
const LINES_MAX: usize = 400;
