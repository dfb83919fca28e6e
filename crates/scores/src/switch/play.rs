//! How every score of switches is planned, played and undone.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use protocols::secret::Place;
use protocols::{Name, SealedText, Subject};
use serde::{Deserialize, Serialize};

use super::{
    Change, Config, InterfaceScore, PortChannelScore, PortFenceScore, Snapshot, SnmpKeys, SnmpScore, SnmpSecrets,
    Switch, Touched, VlanScore,
};
use crate::{DeviceError, Interpret, OpenSecrets, Plan, Score, Stage, Trial, durable};

/// A step on a switch.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwitchStep {
    /// A change in the running configuration.
    Change(Box<Change>),
    /// The running configuration becomes that of the next boot.
    Save,
}

impl fmt::Display for SwitchStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(change) => write!(f, "{change}"),
            Self::Save => f.write_str("save the configuration"),
        }
    }
}

/// A score that edits the configuration of a switch.
pub(super) trait Declares: Score {
    /// The switch.
    fn device(&self) -> &Name;

    /// What it reads and writes on a switch that is found so.
    fn touched(&self, now: &Snapshot) -> Touched;

    /// Edits a configuration so that it is as declared. Done twice, it is as if done once.
    fn declare(&self, now: &Snapshot, config: &mut Config);

    /// What keeps it from being played on a switch that is found so.
    fn objections(&self, now: &Snapshot) -> Vec<String>;
}

/// The changes that are missing, and whether it has to be saved.
fn steps<S: Declares>(score: &S, now: &Snapshot) -> Vec<SwitchStep> {
    let missing = |config: &Config| {
        let mut wanted = config.clone();
        score.declare(now, &mut wanted);
        config.changes_to(&wanted)
    };
    let changes = missing(&now.running).into_iter().map(|change| SwitchStep::Change(Box::new(change)));
    let mut steps: Vec<SwitchStep> = changes.collect();
    if !missing(&now.startup).is_empty() {
        steps.push(SwitchStep::Save);
    }
    steps
}

/// What a change needs to be undone, as it is kept in the trial's folder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    touched: Touched,
    running: Config,
    startup: Config,
    /// By which grant this agent began; none if it needed none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant: Option<u64>,
}

async fn observe<S: Declares, T: Switch>(score: &S, on: &T) -> Result<Snapshot, DeviceError> {
    if score.device() != on.device() {
        let why = format!("play on `{}`: the declaration is for `{}`", on.device(), score.device());
        return Err(DeviceError::permanent(why));
    }
    let now = on.read().await?;
    let objections = score.objections(&now);
    if objections.is_empty() {
        return Ok(now);
    }
    Err(DeviceError::permanent(format!("not possible on `{}`: {}", on.device(), objections.join("; "))))
}

async fn begin<S: Declares, T: Switch>(score: &S, on: &T, trial: &Trial) -> Result<(), DeviceError> {
    let grant = on.claim(&trial.subject).await?.map(|grant| grant.epoch);
    // Only now: somebody else's change may have ended in between.
    let now = observe(score, on).await?;
    let touched = score.touched(&now);
    let before = Before { running: now.running.only(&touched), startup: now.startup.only(&touched), touched, grant };
    let file = file(trial);
    let failed = |error| DeviceError::io(format!("write `{}`", file.display()), error);
    let bytes = serde_json::to_vec(&before).map_err(|error| failed(std::io::Error::other(error)))?;
    let path = file.clone();
    match tokio::task::spawn_blocking(move || durable::write(&path, &bytes)).await {
        Ok(written) => written.map_err(failed),
        Err(error) => Err(DeviceError::transient("write what was before").because(error)),
    }
}

fn confirm<T: Switch>(on: &T, trial: &Trial) {
    on.release(&trial.subject);
}

/// Opens the secrets that a user had before.
trait Opens: Sync {
    fn open(&self, keys: &SnmpKeys) -> impl Future<Output = Result<SnmpSecrets, DeviceError>> + Send;
}

/// For scores without secrets.
struct Nothing;

impl Opens for Nothing {
    async fn open(&self, _keys: &SnmpKeys) -> Result<SnmpSecrets, DeviceError> {
        Err(DeviceError::permanent("open a secret: this score has none"))
    }
}

struct With<'a, T>(&'a T, &'a Subject);

impl<T: OpenSecrets> Opens for With<'_, T> {
    async fn open(&self, keys: &SnmpKeys) -> Result<SnmpSecrets, DeviceError> {
        open(self.0, self.1, keys).await
    }
}

/// The changes that bring back what was before.
fn way_back(before: &Before, now: &Snapshot) -> Vec<Change> {
    let mut target = now.running.clone().with(&before.touched, &before.running);
    for (name, user) in &before.running.users {
        // Its secrets are not known: it was declared that it need not come back. One that was never changed stays.
        if user.keys.is_none() && now.running.users.get(name) != Some(user) {
            target.users.remove(name);
        }
    }
    now.running.changes_to(&target)
}

/// Brings back what was before, and lets others change the switch.
async fn revert<T: Switch, O: Opens>(on: &T, trial: &Trial, opens: O) -> Result<(), DeviceError> {
    let reverted = bring_back(on, trial, opens).await;
    if reverted.as_ref().map_or_else(DeviceError::is_overtaken, |()| true) {
        on.release(&trial.subject);
    }
    reverted
}

/// Brings back what a port channel was before, and keeps the switch: for a change that is not of the switch alone.
pub(crate) async fn bring_back_channel<T: Switch>(on: &T, trial: &Trial) -> Result<(), DeviceError> {
    bring_back(on, trial, Nothing).await
}

/// Whether what a change touches is as it was before it, now and after a boot; whoever saw to that.
pub(crate) async fn is_as_before<T: Switch>(on: &T, trial: &Trial) -> Result<bool, DeviceError> {
    let Some(before) = read_before(trial).await? else { return Ok(true) };
    let now = on.read().await?;
    let same = |now: &Config, then: &Config| now.only(&before.touched) == *then;
    Ok(same(&now.running, &before.running) && same(&now.startup, &before.startup))
}

/// What was before; nothing where it was not written, and so nothing changed.
async fn read_before(trial: &Trial) -> Result<Option<Before>, DeviceError> {
    let path = file(trial);
    let read = tokio::task::spawn_blocking(move || match std::fs::metadata(&path) {
        Ok(found) if found.len() > BEFORE_BYTES_MAX => Err(std::io::Error::other("it is too large")),
        Ok(_) => std::fs::read(&path).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    });
    let bytes = match read.await {
        Ok(Ok(Some(bytes))) => bytes,
        Ok(Ok(None)) => return Ok(None),
        Ok(Err(error)) => return Err(DeviceError::io("read what was before", error)),
        Err(error) => return Err(DeviceError::transient("read what was before").because(error)),
    };
    let before = serde_json::from_slice(&bytes);
    before.map(Some).map_err(|error| DeviceError::permanent("read what was before").because(error))
}

async fn bring_back<T: Switch, O: Opens>(on: &T, trial: &Trial, opens: O) -> Result<(), DeviceError> {
    let Some(before) = read_before(trial).await? else { return Ok(()) };
    let grant = on.claim(&trial.subject).await?;
    if grant.zip(before.grant).is_some_and(|(now, then)| now.overtakes(then)) {
        // What was before the change is no longer what was before it: another agent went on from what it found.
        let why = format!("another agent may have changed `{}` since", on.device());
        return Err(DeviceError::overtaken(why));
    }
    for change in way_back(&before, &on.read().await?) {
        let secrets = match &change {
            Change::User { to: Some(user), .. } => match &user.keys {
                Some(keys) => Some(opens.open(keys).await?),
                None => return Err(unknown_secret(&change)),
            },
            _ => None,
        };
        on.change(&change, secrets.as_ref()).await?;
    }
    let now = on.read().await?;
    let left: Vec<String> = way_back(&before, &now).iter().map(ToString::to_string).collect();
    if !left.is_empty() {
        let why = format!("bring back what was before: all was done and these are left: {}", left.join(", "));
        return Err(DeviceError::transient(why));
    }
    // It may have been saved already; then so must be what was before.
    let startup = |config: &Config| config.only(&before.touched);
    if startup(&now.startup) != before.startup && startup(&now.startup) != startup(&now.running) {
        on.save().await?;
    }
    Ok(())
}

fn unknown_secret(change: &Change) -> DeviceError {
    DeviceError::permanent(format!("{change}: its former secret is not known"))
}

fn file(trial: &Trial) -> PathBuf {
    trial.dir.join("before.json")
}

/// Plan and play of scores without secrets.
macro_rules! played {
    ($($score:ty),*) => {$(
        impl Plan for $score {
            type Observed = Snapshot;
            type Step = SwitchStep;

            fn plan(&self, now: &Snapshot) -> Vec<SwitchStep> {
                steps(self, now)
            }

            fn after_checks(step: &SwitchStep) -> bool {
                *step == SwitchStep::Save
            }
        }

        impl<T: Switch> Interpret<T> for $score {
            async fn observe(&self, on: &T) -> Result<Snapshot, DeviceError> {
                observe(self, on).await
            }

            async fn begin(&self, on: &T, trial: &Trial, _steps: &[SwitchStep]) -> Result<(), DeviceError> {
                begin(self, on, trial).await
            }

            async fn apply(
                &self,
                on: &T,
                step: &SwitchStep,
                _trial: &Trial,
                _stage: &dyn Stage,
            ) -> Result<(), DeviceError> {
                match step {
                    SwitchStep::Change(change) => {
                        on.change(change, None).await?;
                        self.settle(on).await
                    }
                    SwitchStep::Save => on.save().await,
                }
            }

            async fn confirm(&self, on: &T, trial: &Trial) -> Result<(), DeviceError> {
                confirm(on, trial);
                Ok(())
            }

            async fn revert(&self, on: &T, trial: &Trial) -> Result<(), DeviceError> {
                revert(on, trial, Nothing).await
            }
        }
    )*};
}

played!(PortChannelScore, InterfaceScore, VlanScore, PortFenceScore);

/// What is waited for after a change, beyond the configuration.
trait Settles: Declares {
    async fn settle<T: Switch>(&self, _on: &T) -> Result<(), DeviceError> {
        Ok(())
    }
}

impl Settles for PortChannelScore {}
impl Settles for InterfaceScore {}
impl Settles for VlanScore {}

impl Settles for PortFenceScore {
    /// A fence counts only when the link is seen to be down.
    async fn settle<T: Switch>(&self, on: &T) -> Result<(), DeviceError> {
        if !self.fenced {
            return Ok(());
        }
        for _ in 0..FENCE_LOOKS {
            if !on.read().await?.links.get(&self.port).is_some_and(|link| link.up) {
                return Ok(());
            }
            tokio::time::sleep(FENCE_PAUSE).await;
        }
        Err(DeviceError::transient(format!("see the link of port {} go down: it is still up", self.port)))
    }
}

impl Plan for SnmpScore {
    type Observed = Snapshot;
    type Step = SwitchStep;

    fn plan(&self, now: &Snapshot) -> Vec<SwitchStep> {
        steps(self, now)
    }

    fn after_checks(step: &SwitchStep) -> bool {
        *step == SwitchStep::Save
    }
}

impl<T: Switch + OpenSecrets> Interpret<T> for SnmpScore {
    async fn observe(&self, on: &T) -> Result<Snapshot, DeviceError> {
        let now = observe(self, on).await?;
        if let Some(keys) = self.keys() {
            // What cannot be opened is said before anything changes.
            drop(open(on, &self.subject(), &keys).await?);
        }
        Ok(now)
    }

    async fn begin(&self, on: &T, trial: &Trial, _steps: &[SwitchStep]) -> Result<(), DeviceError> {
        begin(self, on, trial).await
    }

    async fn apply(&self, on: &T, step: &SwitchStep, _trial: &Trial, _stage: &dyn Stage) -> Result<(), DeviceError> {
        match step {
            SwitchStep::Save => on.save().await,
            SwitchStep::Change(change) => {
                let secrets = match change.as_ref() {
                    Change::User { to: Some(user), .. } => match &user.keys {
                        Some(keys) => Some(open(on, &self.subject(), keys).await?),
                        None => return Err(unknown_secret(change)),
                    },
                    _ => None,
                };
                on.change(change, secrets.as_ref()).await
            }
        }
    }

    async fn confirm(&self, on: &T, trial: &Trial) -> Result<(), DeviceError> {
        confirm(on, trial);
        Ok(())
    }

    async fn revert(&self, on: &T, trial: &Trial) -> Result<(), DeviceError> {
        revert(on, trial, With(on, &trial.subject)).await
    }
}

async fn open<T: OpenSecrets>(on: &T, subject: &Subject, keys: &SnmpKeys) -> Result<SnmpSecrets, DeviceError> {
    let place = Place { kind: &SnmpScore::KIND, subject };
    let checked = async |sealed: &SealedText| {
        let value = on.open(sealed, place).await?;
        let text = std::str::from_utf8(value.expose()).unwrap_or_default();
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"?!\\".contains(&byte));
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&text.len()) || !plain {
            return Err(DeviceError::permanent(format!(
                "use the secret `{}`: a password of SNMPv3 has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} printable ASCII \
                 characters without blanks and \" ? ! \\",
                sealed.name()
            )));
        }
        Ok(value)
    };
    let privacy = match &keys.privacy {
        Some(sealed) => Some(checked(sealed).await?),
        None => None,
    };
    Ok(SnmpSecrets { auth: checked(&keys.auth).await?, privacy })
}

/// The subject of something on a switch.
pub(super) fn subject(device: &Name, what: &str, which: impl fmt::Display) -> Subject {
    let text = format!("switch/{device}/{what}/{which}");
    // Names, words and numbers of bounded length make a subject.
    text.parse().unwrap_or_else(|_| Subject::fallback(&text))
}

/// A subject for what `check` refuses anyway.
trait Fallback {
    fn fallback(text: &str) -> Self;
}

impl Fallback for Subject {
    fn fallback(text: &str) -> Self {
        let hash = data_encoding::HEXLOWER.encode(blake3::hash(text.as_bytes()).as_bytes());
        format!("switch/blake3/{hash}").parse().unwrap_or_else(|_| unreachable!("it is short and plain"))
    }
}

/// The largest record of what was before, in bytes.
const BEFORE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How often a fenced port is looked at before the fence is held to have failed.
const FENCE_LOOKS: u32 = 20;
/// The pause between two looks at a fenced port.
const FENCE_PAUSE: Duration = Duration::from_millis(250);
/// The shortest password of an SNMPv3 user, in bytes (RFC 3414, 11.2).
const SECRET_BYTES_MIN: usize = 8;
/// The longest, in bytes, that all families take.
const SECRET_BYTES_MAX: usize = 32;
