//! What the hands and the half with the network say to each other about devices: the hands ask, the half that has the
//! device answers. What a switch says is parsed there; the hands get what it means.

use std::time::Duration;

use bytes::Bytes;
use protocols::{Name, Subject};
use scores::switch::Change;
use scores::{DeviceError, chain};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of what follows.
pub(super) const PROTOCOL: u32 = 1;
/// The most that an answer may have, in bytes: two configurations, or all that a switch has learnt.
pub(super) const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long an answer may take: as long as another change on the device, and another agent, are waited for, and more.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(300);
/// How many questions may be under way.
pub(super) const ERRANDS_MAX: usize = 16;

/// The first words of the half with the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u32,
}

/// What the hands ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Errand {
    /// Names it; nobody waits for the answer to one without.
    pub(super) id: Option<u64>,
    pub(super) device: Name,
    /// A [`What`] as JSON: postcard cannot carry it.
    pub(super) what: String,
}

/// What is asked of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum What {
    Ready,
    Read,
    Change(Box<Change>),
    Save,
    Claim(Subject),
    Release(Subject),
    Surroundings,
}

/// The next bytes of an answer: JSON of what was asked for, or [`Failed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) id: u64,
    pub(super) bytes: Bytes,
    pub(super) last: bool,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    why: String,
    transient: bool,
    overtaken: bool,
}

/// An answer, as it crosses.
pub(super) fn pack<T: Serialize>(answer: Result<T, DeviceError>) -> Vec<u8> {
    let failed = |error: DeviceError| Failed {
        why: chain(&error),
        transient: error.is_transient(),
        overtaken: error.is_overtaken(),
    };
    let packed = |answer: Result<T, DeviceError>| serde_json::to_vec(&answer.map_err(failed)).ok();
    let too_large = || format!("answer the hands: the device says more than {} MiB", ANSWER_BYTES_MAX >> 20);
    let answer = packed(answer).filter(|bytes| bytes.len() <= ANSWER_BYTES_MAX);
    // Nothing at all is understood as no answer.
    answer.or_else(|| packed(Err(DeviceError::permanent(too_large())))).unwrap_or_default()
}

/// What was answered.
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DeviceError> {
    let answer: Result<T, Failed> = serde_json::from_slice(bytes)
        .map_err(|error| DeviceError::permanent("understand the half with the network").because(error))?;
    answer.map_err(|Failed { why, transient, overtaken }| match (overtaken, transient) {
        (true, _) => DeviceError::overtaken(why),
        (_, true) => DeviceError::transient(why),
        _ => DeviceError::permanent(why),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use scores::Grant;
    use scores::bond::Surroundings;
    use scores::switch::{Config, Family, Link, Port, Snapshot};

    use super::*;

    #[test]
    fn answers_mean_the_same_on_the_other_side() {
        let kinds = |error: &DeviceError| (error.is_transient(), error.is_overtaken(), chain(error));
        for error in [DeviceError::permanent("x"), DeviceError::transient("x"), DeviceError::overtaken("x")] {
            let before = kinds(&error);
            assert_eq!(kinds(&unpack::<()>(&pack::<()>(Err(error))).unwrap_err()), before);
        }
        let port: Port = "1/1/1".parse().unwrap();
        let links = BTreeMap::from([(port, Link { up: true, megabits: Some(10_000) })]);
        let (running, startup) = (Config::default(), Config::default());
        let found = Snapshot { family: Family::FastIron, running, startup, links };
        assert_eq!(unpack::<Snapshot>(&pack(Ok(found.clone()))).unwrap(), found);
        let around = Surroundings { carrying: BTreeMap::from([(port, None)]), ..Surroundings::default() };
        assert_eq!(unpack::<Surroundings>(&pack(Ok(around.clone()))).unwrap(), around);
        let grant = Some(Grant { epoch: 7, since: 3 });
        assert_eq!(unpack::<Option<Grant>>(&pack(Ok(grant))).unwrap(), grant);
        let large = unpack::<String>(&pack(Ok("x".repeat(ANSWER_BYTES_MAX)))).unwrap_err();
        assert!(chain(&large).contains("more than 16 MiB"), "{large}");
        for bad in [&b""[..], b"{", b"{\"Ok\":7}", b"{\"Err\":7}"] {
            assert!(!unpack::<Option<Grant>>(bad).unwrap_err().is_transient());
        }
    }
}
