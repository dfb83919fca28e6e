//! What nodes say of themselves, as the coordinator passes it on: believed only under the node's own signature.

use std::collections::BTreeMap;

use protocols::control::{Denied, Liveness, NodeReport, Report, Watch};
use protocols::facts::device::{self, DeviceFacts, DeviceLooks};
use protocols::facts::{StableFacts, VolatileFacts};
use protocols::heartbeat::BeatHistory;
use protocols::incoming::Incoming;
use protocols::record::{
    BEATS, DEVICE_PREFIX, DEVICES, FACTS_STABLE, FACTS_VOLATILE, OUTCOME_PREFIX, RECORDS_WITH_EMPTY_MAX, VerifiedRecord,
};
use protocols::standing::{STANDING, Standing};
use protocols::{Name, NodeId, Outcome, Subject};
use serde::de::DeserializeOwned;

use super::{SILENCE_MAX, STREAM_DEPTH, Session, SessionError, within};

/// The most reports that are read in one answer.
const REPORTS_MAX: usize = 200_000;

/// A report with every signature checked.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedReport {
    /// The node.
    pub node: NodeId,
    /// What the coordinator says of its connection. Nobody signs that.
    pub liveness: Liveness,
    /// Its slowly changing facts.
    pub stable: Option<StableFacts>,
    /// Its ever changing facts.
    pub volatile: Option<VolatileFacts>,
    /// Its last heartbeats.
    pub beats: Option<BeatHistory>,
    /// How it stands to the ledger, by its own word.
    pub standing: Option<Standing>,
    /// Its last word on each subject.
    pub outcomes: BTreeMap<Subject, Outcome>,
    /// When it looked at the devices that it manages.
    pub looks: Option<DeviceLooks>,
    /// What it knows of them, where that was asked for.
    pub devices: BTreeMap<Name, DeviceFacts>,
    /// Records that were not believed, and why.
    pub problems: Vec<String>,
}

impl CheckedReport {
    /// Checks a report. What does not hold is left out and named in `problems`.
    pub fn check(report: NodeReport) -> Self {
        let NodeReport { node, liveness, records } = report;
        let mut checked = Self {
            node,
            liveness,
            stable: None,
            volatile: None,
            beats: None,
            standing: None,
            outcomes: BTreeMap::new(),
            looks: None,
            devices: BTreeMap::new(),
            problems: Vec::new(),
        };
        let mut pages = Vec::new();
        if records.len() > RECORDS_WITH_EMPTY_MAX {
            checked.problems.push(format!("{} records came, more than a node may have", records.len()));
        }
        for record in records.into_iter().take(RECORDS_WITH_EMPTY_MAX) {
            if record.writer != node {
                checked.problems.push(format!("a record of {} was passed off as this node's", record.writer.short()));
                continue;
            }
            match record.verify() {
                Ok(verified) if verified.get().key.starts_with(DEVICE_PREFIX) => pages.push(verified.into_signed()),
                Ok(verified) => checked.take(&verified),
                Err(bad) => checked.problems.push(bad.to_string()),
            }
        }
        let (devices, problems) = device::collect(pages.iter().map(|page| (page.key.as_str(), &page.value[..])));
        checked.devices = devices;
        checked.problems.extend(problems);
        checked
    }

    fn take(&mut self, record: &VerifiedRecord) {
        let key = record.get().key.as_str();
        if record.get().value.is_empty() {
            return;
        }
        match key {
            FACTS_STABLE => self.stable = self.read(record),
            FACTS_VOLATILE => self.volatile = self.read(record),
            BEATS => self.beats = self.read(record),
            STANDING => self.standing = self.read(record),
            DEVICES => self.looks = self.read(record),
            _ => {
                if let Some(subject) = key.strip_prefix(OUTCOME_PREFIX)
                    && let Some(outcome) = self.read::<Outcome>(record)
                {
                    if outcome.subject.as_str() == subject {
                        self.outcomes.insert(outcome.subject.clone(), outcome);
                    } else {
                        self.problems.push(format!("the record `{key}` is about `{}`", outcome.subject));
                    }
                }
            }
        }
    }

    fn read<T: DeserializeOwned>(&mut self, record: &VerifiedRecord) -> Option<T> {
        let value = record.value();
        if value.is_none() {
            let key = &record.get().key;
            self.problems
                .push(format!("the record `{key}` is not understood: the node may run another version of flt"));
        }
        value
    }

    /// The same with what `newer` says instead: a watch may send only what changed.
    pub fn update(&mut self, newer: Self) {
        self.liveness = newer.liveness;
        self.stable = newer.stable.or_else(|| self.stable.take());
        self.volatile = newer.volatile.or_else(|| self.volatile.take());
        self.beats = newer.beats.or_else(|| self.beats.take());
        self.standing = newer.standing.or_else(|| self.standing.take());
        self.outcomes.extend(newer.outcomes);
        self.looks = newer.looks.or_else(|| self.looks.take());
        self.devices.extend(newer.devices);
        self.problems = newer.problems;
    }
}

/// A stream of reports.
#[derive(Debug)]
pub struct Watching {
    /// Waited for next to timers and keys: giving up in the middle of a message must lose nothing.
    reports: Incoming<Result<NodeReport, Denied>>,
}

impl Watching {
    /// The next change of a node, however long it takes.
    ///
    /// # Errors
    /// [`SessionError::Ended`] when the coordinator ends the stream, which is then to be opened again.
    pub async fn next(&mut self) -> Result<CheckedReport, SessionError> {
        let doing = "watch the nodes";
        match self.reports.next().await {
            Ok(Some(report)) => Ok(CheckedReport::check(report?)),
            Ok(None) => Err(SessionError::Ended { doing }),
            Err(error) => Err(SessionError::lost(doing, &error)),
        }
    }
}

impl Session {
    /// What the coordinator knows of some nodes, or of all if `nodes` is empty: records whose key begins with `prefix`.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn reports(&self, nodes: &[NodeId], prefix: &str) -> Result<Vec<CheckedReport>, SessionError> {
        let doing = "ask for the nodes' reports";
        let request = Report { nodes: nodes.to_vec(), prefix: prefix.to_owned() };
        let mut stream = within(doing, self.client.server_streaming(request, STREAM_DEPTH)).await?;
        let mut reports = Vec::new();
        while reports.len() < REPORTS_MAX {
            match tokio::time::timeout(SILENCE_MAX, stream.recv()).await {
                Ok(Ok(Some(report))) => reports.push(CheckedReport::check(report?)),
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(SessionError::lost(doing, &error)),
                Err(_) => return Err(SessionError::Silent { doing, after: SILENCE_MAX }),
            }
        }
        Ok(reports)
    }

    /// Watches nodes, or all if `nodes` is empty.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn watch(&self, nodes: &[NodeId]) -> Result<Watching, SessionError> {
        let request = Watch { nodes: nodes.to_vec() };
        let reports = within("watch the nodes", self.client.server_streaming(request, STREAM_DEPTH)).await?;
        Ok(Watching { reports: Incoming::new(reports) })
    }
}
