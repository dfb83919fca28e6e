//! What `flt doctor` found, in the order in which it looked.

use serde::Serialize;

use crate::output::{Style, View};
use crate::report::Report;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Warning,
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) what: &'static str,
    pub(super) verdict: Verdict,
    pub(super) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

impl Finding {
    pub(super) fn ok(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Ok, detail: detail.into(), hint: None }
    }

    pub(super) fn warned(what: &'static str, detail: impl Into<String>, hint: Option<&str>) -> Self {
        Self { what, verdict: Verdict::Warning, detail: detail.into(), hint: hint.map(str::to_owned) }
    }

    pub(super) fn failed(what: &'static str, detail: impl Into<String>, hint: Option<&str>) -> Self {
        Self { what, verdict: Verdict::Failed, detail: detail.into(), hint: hint.map(str::to_owned) }
    }

    pub(super) fn of_error(what: &'static str, error: &anyhow::Error) -> Self {
        let report = Report::of(error);
        Self::failed(what, report.causes.join(": "), report.hints.first().map(String::as_str))
    }
}

/// All of them.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    /// One way that works is enough: where there is one, the others are only worth a warning.
    pub(super) fn excuse_ways(&mut self, reached: bool) {
        for finding in &mut self.findings {
            let is_way = matches!(finding.what, "direct" | "by-relay" | "relay");
            if reached && is_way && finding.verdict == Verdict::Failed {
                finding.verdict = Verdict::Warning;
            }
        }
    }

    /// Whether nothing failed.
    pub(super) fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Failed)
    }

    #[cfg(test)]
    pub(super) fn as_slice(&self) -> &[Finding] {
        &self.findings
    }
}

impl View for Findings {
    const SCHEMA: &'static str = "flt.doctor/1";

    fn text(&self, _: &Style) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let verdict = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Warning => "warning",
                Verdict::Failed => "FAILED",
            };
            let line = format!("{:<14}{verdict:<9}{}", finding.what, finding.detail);
            text.push_str(line.trim_end());
            text.push('\n');
            if let Some(hint) = &finding.hint {
                text.push_str(&format!("{:<14}hint: {hint}\n", ""));
            }
        }
        text
    }
}
