//! The recipes of `docs/adding-*.md`, followed: a score, the capability that it asks for, and a device that has it.
//!
//! The pages quote this file, and a test here holds them to it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use protocols::{Kind, Name, Subject, Verdict};
use scores::topology::{Each, Redundant};
use scores::{
    DeviceError, Ensemble, Interpret, Invalid, Plan, Player, Registry, Score, Stage, Topology, Trial, Trials, durable,
};
use serde::{Deserialize, Serialize};

use crate::fake::{FakeChecks, FakeStage, assignment};

/// The light by which a technician finds a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BeaconScore {
    /// The shelf that it is in.
    shelf: Name,
    /// Which lights shall be on. The others are left alone.
    on: Vec<u8>,
}

impl Score for BeaconScore {
    const KIND: Kind = Kind::from_static("beacon/1");

    fn subject(&self) -> Subject {
        format!("beacon/{}", self.shelf).parse().unwrap_or_else(|_| unreachable!("a name is a part of a subject"))
    }

    fn check(&self) -> Result<(), Invalid> {
        match self.on.len() {
            0 => Err(Invalid::at("on", "there are none")),
            1..=LIGHTS_MAX => Ok(()),
            many => Err(Invalid::at("on", format!("there are {many} and may be at most {LIGHTS_MAX}"))),
        }
    }
}

/// The most lights of a shelf.
const LIGHTS_MAX: usize = 48;

/// A light is turned on.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct TurnOn(u8);

impl fmt::Display for TurnOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turn on light {}", self.0)
    }
}

impl Plan for BeaconScore {
    type Observed = BTreeMap<u8, bool>;
    type Step = TurnOn;

    fn plan(&self, observed: &Self::Observed) -> Vec<TurnOn> {
        self.on.iter().filter(|light| observed.get(*light) != Some(&true)).map(|light| TurnOn(*light)).collect()
    }
}

/// Lights that can be looked at and switched.
#[diagnostic::on_unimplemented(message = "`{Self}` has no lights", label = "needs the capability `Beacon`")]
trait Beacon: Topology {
    /// Which of its lights are on.
    fn lights(&self) -> impl Future<Output = Result<BTreeMap<u8, bool>, DeviceError>> + Send;

    /// Turns one on or off. Done twice, it is as if done once.
    fn turn(&self, light: u8, on: bool) -> impl Future<Output = Result<(), DeviceError>> + Send;
}

impl<T: Beacon> Interpret<T> for BeaconScore {
    async fn observe(&self, on: &T) -> Result<Self::Observed, DeviceError> {
        on.lights().await
    }

    async fn begin(&self, on: &T, trial: &Trial, _steps: &[TurnOn]) -> Result<(), DeviceError> {
        let before = serde_json::to_vec(&on.lights().await?).map_err(|e| DeviceError::permanent(BEFORE).because(e))?;
        durable::write(&trial.dir.join(BEFORE), &before).map_err(|error| DeviceError::io(BEFORE, error))
    }

    async fn apply(&self, on: &T, step: &TurnOn, _trial: &Trial, _stage: &dyn Stage) -> Result<(), DeviceError> {
        on.turn(step.0, true).await
    }

    async fn revert(&self, on: &T, trial: &Trial) -> Result<(), DeviceError> {
        // Nothing was changed before this was written.
        let Ok(before) = std::fs::read(trial.dir.join(BEFORE)) else { return Ok(()) };
        let before: BTreeMap<u8, bool> =
            serde_json::from_slice(&before).map_err(|e| DeviceError::permanent(BEFORE).because(e))?;
        for light in &self.on {
            on.turn(*light, before.get(light).copied().unwrap_or(false)).await?;
        }
        Ok(())
    }
}

/// What lights were on before, in the folder of a trial.
const BEFORE: &str = "lights.json";

/// A shelf with lights, whose third one is broken.
#[derive(Debug, Clone)]
struct Shelf {
    name: &'static str,
    lit: Arc<Mutex<BTreeMap<u8, bool>>>,
}

impl Topology for Shelf {
    fn name(&self) -> &str {
        self.name
    }
}

impl Beacon for Shelf {
    async fn lights(&self) -> Result<BTreeMap<u8, bool>, DeviceError> {
        Ok(self.lit.lock().unwrap().clone())
    }

    async fn turn(&self, light: u8, on: bool) -> Result<(), DeviceError> {
        if light == 3 && on {
            return Err(DeviceError::permanent("turn on light 3: it is broken"));
        }
        self.lit.lock().unwrap().insert(light, on);
        Ok(())
    }
}

/// What plays beacons on a shelf; the line that goes into the composition.
fn player(shelf: Shelf) -> Player<Shelf> {
    Player::new(shelf, Registry::new().with::<BeaconScore>()).only("beacon/*")
}

fn shelf(name: &'static str) -> Shelf {
    Shelf { name, lit: Arc::default() }
}

fn beacon(on: &[u8]) -> BeaconScore {
    BeaconScore { shelf: "a7".parse().unwrap(), on: on.to_vec() }
}

#[test]
fn the_law_holds() {
    let score = beacon(&[1, 2]);
    for found in [BTreeMap::new(), BTreeMap::from([(1, true)]), BTreeMap::from([(1, false), (2, true), (7, true)])] {
        let mut after = found.clone();
        after.extend(score.plan(&found).into_iter().map(|TurnOn(light)| (light, true)));
        assert!(score.plan(&after).is_empty(), "{found:?}");
    }
    assert!(beacon(&[]).check().is_err());
}

#[tokio::test]
async fn it_is_played_and_undone() {
    let (folder, stage) = (tempfile::tempdir().unwrap(), FakeStage::default());
    let one = shelf("one");
    let trials = Trials::open(folder.path().join("trials")).unwrap();
    let agent = Ensemble::new(trials, Arc::new(FakeChecks::default())).with(player(one.clone()));
    let report = agent.play(&assignment(&beacon(&[1, 2]), 1, "{}"), &stage).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    let before = one.lit.lock().unwrap().clone();
    let report = agent.play(&assignment(&beacon(&[2, 4, 3]), 2, "{}"), &stage).await;
    assert_ne!(report.verdict, Verdict::Converged, "{report:?}");
    let after = one.lit.lock().unwrap().clone();
    let lit =
        |lights: &BTreeMap<u8, bool>| -> Vec<u8> { lights.iter().filter(|(_, on)| **on).map(|(n, _)| *n).collect() };
    assert_eq!(lit(&after), lit(&before), "as before");
}

#[tokio::test]
async fn a_pair_of_them_comes_for_nothing() {
    let (folder, stage) = (tempfile::tempdir().unwrap(), FakeStage::default());
    let shelves = [shelf("left"), shelf("right")];
    let pair = Redundant::new("a7", shelves.to_vec()).unwrap();
    let player = Player::new(pair, Registry::new().with::<Each<BeaconScore>>());
    let trials = Trials::open(folder.path().join("trials")).unwrap();
    let agent = Ensemble::new(trials, Arc::new(FakeChecks::default())).with(player);
    let report = agent.play(&assignment(&beacon(&[1]), 1, "{}"), &stage).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    assert!(shelves.iter().all(|shelf| shelf.lit.lock().unwrap().get(&1) == Some(&true)));
}

/// Every block of Rust on the pages stands here, word by word.
#[test]
fn the_pages_quote_what_compiles() {
    let here = include_str!("recipe.rs");
    let pages = [
        include_str!("../../../../docs/adding-a-score.md"),
        include_str!("../../../../docs/adding-a-capability.md"),
        include_str!("../../../../docs/adding-a-device.md"),
    ];
    for page in pages {
        let blocks: Vec<&str> = page.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!blocks.is_empty());
        for block in blocks {
            assert!(here.contains(block), "this is not in recipe.rs:\n{block}");
        }
    }
}
