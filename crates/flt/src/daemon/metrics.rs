//! What is measured, in Prometheus's text format; and whether the daemon is healthy.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Role;

/// How a value behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One value at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// Its name: `flt_…`, with its unit in the end; the same for all samples of one thing.
    pub(crate) name: &'static str,
    /// What it says, in a sentence.
    pub(crate) help: &'static str,
    /// How it behaves.
    pub(crate) behaviour: Behaviour,
    /// What tells it from others of its name.
    pub(crate) labels: Vec<(&'static str, String)>,
    /// The value.
    pub(crate) value: f64,
}

impl Sample {
    /// A value that only grows.
    pub(crate) const fn counter(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, behaviour: Behaviour::Counter, labels: Vec::new(), value }
    }

    /// A value that goes up and down.
    pub(crate) const fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, behaviour: Behaviour::Gauge, labels: Vec::new(), value }
    }

    /// The same with a label.
    #[must_use]
    pub(crate) fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((name, value.into()));
        self
    }
}

type Source = Box<dyn Fn() -> Vec<Sample> + Send + Sync>;
type Condition = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// All sources of samples and all conditions of health of a daemon.
#[derive(Clone)]
pub(super) struct Registry {
    role: Role,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    ready: AtomicBool,
    sources: Mutex<Vec<Source>>,
    conditions: Mutex<Vec<Condition>>,
}

impl Registry {
    pub(super) fn new(role: Role) -> Self {
        Self { role, inner: Arc::default() }
    }

    pub(super) fn add(&self, source: Source) {
        self.inner.sources.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    pub(super) fn add_condition(&self, condition: Condition) {
        self.inner.conditions.lock().unwrap_or_else(PoisonError::into_inner).push(condition);
    }

    pub(super) fn set_ready(&self) {
        self.inner.ready.store(true, Ordering::Release);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.inner.ready.load(Ordering::Acquire)
    }

    /// Why the daemon is not healthy; nothing if it is.
    pub(super) fn unhealthy(&self) -> Option<String> {
        let conditions = self.inner.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.iter().find_map(|condition| condition().err())
    }

    /// All samples as Prometheus reads them.
    pub(super) fn text(&self) -> String {
        let up = if self.is_ready() { 1.0 } else { 0.0 };
        let mut samples = vec![
            Sample::gauge("flotilla_build_info", "What runs here.", 1.0)
                .label("version", env!("CARGO_PKG_VERSION"))
                .label("role", self.role.name()),
            Sample::gauge("flotilla_ready", "Whether the daemon serves.", up),
        ];
        samples.extend(resident_bytes());
        for source in self.inner.sources.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            samples.extend(source());
        }
        render(&mut samples)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("role", &self.role).finish_non_exhaustive()
    }
}

fn render(samples: &mut [Sample]) -> String {
    // All samples of one name must stand together.
    samples.sort_by_key(|sample| sample.name);
    let mut text = String::new();
    let mut last = "";
    for sample in samples.iter() {
        if sample.name != last {
            let behaviour = match sample.behaviour {
                Behaviour::Counter => "counter",
                Behaviour::Gauge => "gauge",
            };
            text.push_str(&format!("# HELP {0} {1}\n# TYPE {0} {behaviour}\n", sample.name, sample.help));
            last = sample.name;
        }
        text.push_str(sample.name);
        let labels: Vec<String> =
            sample.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        if !labels.is_empty() {
            text.push_str(&format!("{{{}}}", labels.join(",")));
        }
        text.push_str(&format!(" {}\n", sample.value));
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The memory that the process has in use, as the kernel counts it.
fn resident_bytes() -> Option<Sample> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "a double is what Prometheus reads")]
    let bytes = pages.saturating_mul(page) as f64;
    Some(Sample::gauge("process_resident_memory_bytes", "Memory in use.", bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_prometheus_reads() {
        let mut samples = vec![
            Sample::gauge("flt_nodes", "Nodes by state.", 2.0).label("state", "online"),
            Sample::counter("flt_entries_total", "Entries appended.", 17.0),
            Sample::gauge("flt_nodes", "Nodes by state.", 1.5).label("state", "a \"b\"\\\n"),
        ];
        insta::assert_snapshot!(render(&mut samples), @r#"
        # HELP flt_entries_total Entries appended.
        # TYPE flt_entries_total counter
        flt_entries_total 17
        # HELP flt_nodes Nodes by state.
        # TYPE flt_nodes gauge
        flt_nodes{state="online"} 2
        flt_nodes{state="a \"b\"\\\n"} 1.5
        "#);
    }

    #[test]
    fn knows_its_own_memory() {
        let sample = resident_bytes().unwrap();
        assert!(sample.value > 100_000.0, "{sample:?}");
    }
}
