//! `flt dev demo`: a whole fleet in one process that shows what a fleet does. Every line it prints was observed; what does
//! not come out as told ends it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use admin::session::CheckedReport;
use admin::view::LogRow;
use anyhow::{Context as _, ensure};
use clap::Args;
use protocols::policy::Check;
use protocols::{Labels, Name, NodeId, Outcome, Policy, SignedEntry, Verdict, export};
use tokio::time::{Instant, MissedTickBehavior, timeout};

mod story;

use super::fleet::{DevFleet, DevOptions};
use crate::app::App;
use crate::output::Output;
use crate::report::{Advise as _, Code};
use story::{Line, Told};

/// `flt dev demo`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Keep everything in this folder, which stays; a temporary one by default
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Do not remove the temporary folder
    #[arg(long)]
    keep: bool,
}

/// Runs it.
pub(super) async fn run(args: DemoArgs, app: &App) -> anyhow::Result<Code> {
    let place = Place::make(args)?;
    let options = DevOptions { heartbeat: Duration::from_secs(1), ..DevOptions::default() };
    let found = DevFleet::found(&place.dir, options);
    let mut demo = tokio::select! {
        fleet = found => Demo::new(fleet.context("cannot found the fleet")?, &place, &app.out),
        pressed = tokio::signal::ctrl_c() => return interrupted(pressed),
    };
    let result = tokio::select! {
        result = demo.play() => result.map(|()| Code::Done).context("the demo did not come out as it should"),
        pressed = tokio::signal::ctrl_c() => interrupted(pressed),
    };
    // In any case: what runs must not write into a folder that is being removed.
    demo.fleet.stop().await;
    match result {
        Err(error) if !place.stays() => Err(error).hint("look closer: flt dev demo --keep -v"),
        other => other,
    }
}

fn interrupted(pressed: std::io::Result<()>) -> anyhow::Result<Code> {
    pressed.context("cannot listen for ctrl-C")?;
    crate::output::stderr("interrupted: the fleet is gone\n");
    Ok(Code::Interrupted)
}

/// Where the demo keeps its files.
struct Place {
    dir: PathBuf,
    /// Removed with it.
    temporary: Option<tempfile::TempDir>,
}

impl Place {
    fn make(args: DemoArgs) -> anyhow::Result<Self> {
        let Some(dir) = args.dir else {
            let mut temporary =
                tempfile::Builder::new().prefix("flt-demo-").tempdir().context("cannot make a folder for the demo")?;
            temporary.disable_cleanup(args.keep);
            let dir = temporary.path().to_owned();
            return Ok(Self { dir, temporary: (!args.keep).then_some(temporary) });
        };
        let doing = || format!("cannot use the folder {}", dir.display());
        std::fs::create_dir_all(&dir).with_context(doing)?;
        let mut inside = std::fs::read_dir(&dir).with_context(doing)?;
        if inside.next().is_some() {
            return Err(anyhow::anyhow!("the folder {} is not empty", dir.display()))
                .hint("the demo begins with nothing: name an empty folder, or none")
                .code(Code::Usage);
        }
        Ok(Self { dir: std::path::absolute(&dir).with_context(doing)?, temporary: None })
    }

    const fn stays(&self) -> bool {
        self.temporary.is_none()
    }
}

/// The demo as it runs.
struct Demo<'a> {
    fleet: DevFleet,
    out: &'a Output,
    dir: &'a Path,
    stays: bool,
    step: u32,
    begun: Instant,
}

impl<'a> Demo<'a> {
    fn new(fleet: DevFleet, place: &'a Place, out: &'a Output) -> Self {
        Self { fleet, out, dir: &place.dir, stays: place.stays(), step: 0, begun: Instant::now() }
    }

    async fn play(&mut self) -> anyhow::Result<()> {
        let nodes: Vec<Name> = NODES.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
        let away = nodes.last().context("there are no nodes")?;
        let here = &nodes[..nodes.len() - 1];
        self.tell(Told::Begun { dir: self.dir.display().to_string() })?;
        self.founded().await?;
        self.join(&nodes).await?;

        self.begin("Publish version 1; every node verifies it and plays it")?;
        let (first, asked) = self.publish(FIRST, ALONE).await?;
        self.expect(first, Verdict::Converged, &nodes, asked).await?;
        self.expect_files(&nodes, FIRST)?;

        self.begin("Publish version 2 and then 3 while edge-3 is down")?;
        let knew = self.fleet.agents.get(away).context("edge-3 does not run")?.role.stats().head;
        self.fleet.stop_agent(away).await;
        self.tell(Told::Stopped { node: away.clone() })?;
        let (second, asked) = self.publish(SECOND, WITH_WITNESS).await?;
        self.expect(second, Verdict::Converged, here, asked).await?;
        self.expect_files(here, SECOND)?;
        let (third, asked) = self.publish(THIRD, ALONE).await?;
        self.expect(third, Verdict::Converged, here, asked).await?;
        self.expect_files(here, THIRD)?;
        self.expect_files(std::slice::from_ref(away), FIRST)?;

        self.begin("Bring edge-3 back: it goes straight to version 3")?;
        self.come_back(away, knew, second, third).await?;
        self.expect_files(std::slice::from_ref(away), THIRD)?;
        self.expect_witness(here, away)?;

        self.begin("Publish version 4, which fails its health check")?;
        let (bad, asked) = self.publish(BAD, ALONE).await?;
        self.expect(bad, Verdict::Quarantined, &nodes, asked).await?;
        self.expect_files(&nodes, THIRD)?;

        self.begin("Verify the ledger: who did what, in which order")?;
        let file = self.verify(&nodes).await?;

        let next = self.next(&file)?;
        let kept = self.stays.then(|| self.dir.display().to_string());
        self.tell(Told::Ended { millis: millis(self.begun), kept, next })
    }

    fn tell(&self, told: Told) -> anyhow::Result<()> {
        self.out.event(&Line { step: self.step, told })
    }

    fn begin(&mut self, title: &'static str) -> anyhow::Result<()> {
        self.step += 1;
        self.tell(Told::Step { title })
    }

    async fn founded(&mut self) -> anyhow::Result<()> {
        self.begin("Found a fleet, and start its coordinator")?;
        let ticket = self.fleet.ticket()?;
        let welcome = self.fleet.session.hello().await.context("the coordinator does not answer")?;
        let relay = ticket.relays.first().context("the ticket names no relay")?;
        self.tell(Told::Founded {
            fleet: ticket.name.clone(),
            fleet_id: self.fleet.fleet,
            coordinator: ticket.coordinators.first().context("the ticket names no coordinator")?.id,
            relay: relay.url.clone(),
            head: welcome.head.seq,
        })
    }

    async fn join(&mut self, nodes: &[Name]) -> anyhow::Result<()> {
        self.begin("Let three nodes in with one invite")?;
        let labels = Labels::from([("role".parse()?, "edge".to_owned())]);
        let uses = u32::try_from(nodes.len())?;
        let ticket = self.fleet.invite(None, labels, uses).await?;
        let entry = self.fleet.state()?.head().seq;
        self.tell(Told::Invited { entry, uses })?;
        for node in nodes {
            let began = Instant::now();
            let id = self.fleet.join_with(node, ticket.clone()).await?;
            self.fleet.session.sync().await?;
            let state = self.fleet.state()?;
            let member = state.members().get(&id).with_context(|| format!("{node} is no member"))?;
            ensure!(member.name == *node, "{node} joined under the name {}", member.name);
            let entry = member.since;
            self.tell(Told::Joined { node: node.clone(), id, entry, millis: millis(began) })?;
        }
        let uses_left = self.fleet.state()?.invites().values().map(|invite| invite.uses_left).sum();
        ensure!(uses_left == 0, "the invite has {uses_left} uses left after {uses} nodes joined with it");
        self.tell(Told::InviteLeft { uses_left })
    }

    /// Signs and enters a version; gives its entry, and when that was asked for.
    async fn publish(&mut self, content: &'static str, witness: bool) -> anyhow::Result<(u64, Instant)> {
        let asked = Instant::now();
        let mut entries = serde_json::json!({ CONF: { "content": format!("{content}\n") } });
        if witness {
            entries[WITNESS] = serde_json::json!({ "content": "only version 2 says so\n" });
        }
        let score = serde_json::json!({ "root": ROOT, "entries": entries }).to_string();
        let script = self.dir.join(SCRIPT);
        std::fs::write(&script, SCRIPT_TEXT).context("cannot write the health check")?;
        let command = vec!["sh".to_owned(), script.display().to_string()];
        let policy = Policy {
            checks: vec![Check::Exec { command, seconds: CHECK_RUNS }],
            check_seconds: if content == BAD { BAD_CHECK_SECONDS } else { GOOD_CHECK_SECONDS },
            ..Policy::default()
        };
        let generation = self.fleet.publish(DECLARATION, ON, "files/1", &score, policy).await?;
        self.tell(Told::Published { name: DECLARATION.into(), generation, content })?;
        Ok((generation, asked))
    }

    /// Tells every node's last word on a generation as it comes, and demands that it is this one. Gives all generations
    /// that the nodes spoke of since it listens.
    async fn expect(
        &self,
        generation: u64,
        verdict: Verdict,
        nodes: &[Name],
        since: Instant,
    ) -> anyhow::Result<BTreeSet<u64>> {
        let state = self.fleet.state()?;
        let id = |name: &Name| state.member_named(name.as_str()).map(|(id, _)| id);
        let ids: Vec<NodeId> =
            nodes.iter().map(|n| id(n).with_context(|| format!("{n} is no member"))).collect::<Result<_, _>>()?;
        let mut waiting: BTreeSet<NodeId> = ids.iter().copied().collect();
        let mut spoke_of = BTreeSet::new();
        let mut take = |report: CheckedReport, waiting: &mut BTreeSet<NodeId>| -> anyhow::Result<()> {
            ensure!(report.problems.is_empty(), "a node's report is not sound: {}", report.problems.join("; "));
            let Some(outcome) = report.outcomes.into_values().find(|o| o.name.to_string() == DECLARATION) else {
                return Ok(());
            };
            spoke_of.insert(outcome.generation);
            if outcome.generation != generation || !outcome.verdict.is_final() || !waiting.remove(&report.node) {
                return Ok(());
            }
            let node = state.members().get(&report.node).context("a stranger reports")?.name.clone();
            let as_told = outcome.verdict == verdict;
            let got = outcome.clone();
            self.tell(Told::Settled { node: node.clone(), millis: millis(since), outcome })?;
            ensure!(as_told, "{node} should be {verdict} and is {}: {}", got.verdict, got.message);
            Ok(())
        };
        let listen = async {
            let mut watching = self.fleet.session.watch(&ids).await?;
            let mut look = tokio::time::interval(LOOK_EVERY);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !waiting.is_empty() {
                tokio::select! {
                    report = watching.next() => take(report?, &mut waiting)?,
                    // A watch is the fast path; asking is the guarantee.
                    _ = look.tick() => {
                        for report in self.fleet.session.reports(&ids, "").await? {
                            take(report, &mut waiting)?;
                        }
                    }
                }
            }
            anyhow::Ok(())
        };
        let listened = timeout(WITHIN, listen).await;
        let missing: Vec<String> =
            waiting.iter().filter_map(|id| state.members().get(id)).map(|m| m.name.to_string()).collect();
        listened.with_context(|| {
            format!("no last word on entry {generation} from {} within {} s", missing.join(", "), WITHIN.as_secs())
        })??;
        Ok(spoke_of)
    }

    /// Starts a node that missed two versions, and demands that it plays the newest and nothing else.
    async fn come_back(&mut self, node: &Name, knew: u64, skipped: u64, newest: u64) -> anyhow::Result<()> {
        let before = self.generation_reported(node).await?;
        let began = Instant::now();
        self.fleet.start_agent(node).await?;
        self.tell(Told::Started { node: node.clone(), knew })?;
        ensure!(knew < skipped, "{node} knew of entry {skipped} before it went");
        let mut spoke_of = self.expect(newest, Verdict::Converged, std::slice::from_ref(node), began).await?;
        // What the coordinator still held of it from before.
        spoke_of.retain(|generation| Some(*generation) != before);
        let plays = self.fleet.agents.get(node).with_context(|| format!("{node} does not run"))?.role.stats().plays;
        ensure!(plays == 1, "{node} played {plays} declarations since it came back, instead of the newest alone");
        ensure!(
            spoke_of.iter().eq([&newest]),
            "{node} spoke of {spoke_of:?} since it came back, not of {newest} alone"
        );
        self.tell(Told::Straight { node: node.clone(), plays, spoke_of: spoke_of.into_iter().collect(), skipped })
    }

    async fn generation_reported(&self, node: &Name) -> anyhow::Result<Option<u64>> {
        let state = self.fleet.state()?;
        let (id, _) = state.member_named(node.as_str()).with_context(|| format!("{node} is no member"))?;
        let outcomes: Vec<Outcome> = self.fleet.outcomes(id).await?;
        Ok(outcomes.iter().find(|o| o.name.to_string() == DECLARATION).map(|o| o.generation))
    }

    fn read(&self, node: &Name, path: &'static str) -> anyhow::Result<Option<String>> {
        let file = self.fleet.agent_root(node).join(path.trim_start_matches('/'));
        let content = match std::fs::read_to_string(&file) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        self.tell(Told::File { node: node.clone(), path, content: content.clone() })?;
        Ok(content)
    }

    fn expect_files(&self, nodes: &[Name], content: &str) -> anyhow::Result<()> {
        for node in nodes {
            let found = self.read(node, CONF_PATH)?;
            let found = found.as_deref().map(str::trim_end);
            ensure!(found == Some(content), "{CONF_PATH} of {node} holds {found:?} instead of {content:?}");
        }
        Ok(())
    }

    /// Version 2 made a file that version 3 does not name and so leaves alone: where it is, version 2 was played.
    fn expect_witness(&self, played: &[Name], skipped: &Name) -> anyhow::Result<()> {
        for node in played {
            ensure!(self.read(node, WITNESS_PATH)?.is_some(), "{WITNESS_PATH} of {node} is gone");
        }
        ensure!(self.read(skipped, WITNESS_PATH)?.is_none(), "{skipped} has {WITNESS_PATH}: it played version 2");
        Ok(())
    }

    /// Exports the ledger and verifies the file, knowing nothing but the fleet's id.
    async fn verify(&mut self, nodes: &[Name]) -> anyhow::Result<PathBuf> {
        self.fleet.session.sync().await?;
        let entries = self.entries()?;
        let mut text = Vec::new();
        entries.iter().try_for_each(|entry| export::write_line(&mut text, entry))?;
        let file = self.dir.join(EXPORT);
        std::fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
        let read = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let state = export::verify_export(read.as_slice(), self.fleet.fleet).context("the export does not verify")?;
        for entry in &entries {
            self.tell(Told::Entry(LogRow::new(&entry.clone().verify()?, &state)))?;
        }
        let mut agree = Vec::new();
        for node in nodes {
            let agent = self.fleet.agents.get(node).with_context(|| format!("{node} does not run"))?;
            let mut states = agent.role.watch();
            let same = states.wait_for(|s| s.as_ref().is_some_and(|s| s.head() == state.head()));
            let own = timeout(WITHIN, same).await.with_context(|| format!("{node} has another ledger"))??.clone();
            let own = own.with_context(|| format!("{node} has no ledger"))?;
            ensure!(own.digest() == state.digest(), "{node} makes something else of the same ledger");
            agree.push(node.clone());
        }
        self.tell(Told::Verified {
            file: file.display().to_string(),
            entries: state.head().seq + 1,
            head: state.head().hash.to_string(),
            state: state.digest().to_string(),
            agree,
        })?;
        self.forge(&entries)?;
        Ok(file)
    }

    fn entries(&self) -> anyhow::Result<Vec<SignedEntry>> {
        let ledger = self.fleet.session.workspace().ledger(Some(self.fleet.fleet))?;
        let entries = ledger.range(0, ENTRIES_MAX, usize::MAX)?;
        ensure!(entries.len() < ENTRIES_MAX, "the ledger is longer than a demo's can be");
        Ok(entries)
    }

    /// Changes what the first publication says by one byte, and demands that the file is then refused.
    fn forge(&self, entries: &[SignedEntry]) -> anyhow::Result<()> {
        let mut text = Vec::new();
        let mut forged = None;
        for (at, entry) in entries.iter().enumerate() {
            let mut entry = entry.clone();
            let place = entry.bytes.windows(FIRST.len()).position(|part| part == FIRST.as_bytes());
            if let (None, Some(place)) = (forged, place) {
                let mut bytes = entry.bytes.to_vec();
                // `workers = 2` becomes `workers = 3`.
                bytes[place + FIRST.len() - 1] += 1;
                entry.bytes = bytes.into();
                forged = Some(u64::try_from(at)?);
            }
            export::write_line(&mut text, &entry)?;
        }
        let entry = forged.context("no entry of the ledger says what version 1 said")?;
        match export::verify_export(text.as_slice(), self.fleet.fleet) {
            Ok(_) => anyhow::bail!("a forged ledger was believed"),
            Err(error) => self.tell(Told::Forged { entry, refused: scores::chain(&error) }),
        }
    }

    fn next(&self, ledger: &Path) -> anyhow::Result<Vec<String>> {
        let flt = super::paste::program();
        let mut next = Vec::new();
        if self.stays {
            let ledger = super::paste::path(ledger);
            next.push(format!("{flt} admin verify {ledger} --fleet {}", self.fleet.fleet));
        }
        next.push(format!("{flt} dev up"));
        Ok(next)
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The agents.
const NODES: [&str; 3] = ["edge-1", "edge-2", "edge-3"];
/// What is published, and for whom.
const DECLARATION: &str = "app/config";
const ON: &str = "role=edge";
const ROOT: &str = "/etc/app";
const CONF: &str = "app.conf";
const CONF_PATH: &str = "/etc/app/app.conf";
const WITNESS: &str = "only-in-2";
const WITNESS_PATH: &str = "/etc/app/only-in-2";
/// What the versions say.
const FIRST: &str = "workers = 2";
const SECOND: &str = "workers = 4";
const THIRD: &str = "workers = 8";
const BAD: &str = "workers = 0";
/// Whether a version makes the second file, too.
const ALONE: bool = false;
const WITH_WITNESS: bool = true;
/// The health check: the agents share a machine, so it looks at each one's file. It stands for a service that does not
/// come up.
const SCRIPT: &str = "app-is-healthy";
const SCRIPT_TEXT: &str = "\
#!/bin/sh
cd \"${0%/*}\" || exit 2
if grep -qx 'workers = 0' edge-*/root/etc/app/app.conf; then
  echo 'an app without workers serves nobody' >&2
  exit 1
fi
";
/// How long one run of the check may take, in seconds.
const CHECK_RUNS: u32 = 10;
/// How long the check has to turn green, in seconds: long for what is good, as machines are slow at times.
const GOOD_CHECK_SECONDS: u32 = 60;
/// The same for what is bad, as long as three tries take.
const BAD_CHECK_SECONDS: u32 = 3;
/// File that the ledger is exported to.
const EXPORT: &str = "ledger.jsonl";
/// More entries than the demo makes.
const ENTRIES_MAX: usize = 100;
/// How long each step may take.
const WITHIN: Duration = Duration::from_secs(60);
/// How often nodes are asked beside the watch.
const LOOK_EVERY: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
It needs no root, no Nix and no network but loopback, and leaves nothing behind. It exits with 1 if anything does not come
out as told.

Examples:
  flt dev demo
  flt dev demo --dir demo          keep the files, to look at them
  flt dev demo --json              the same as one JSON object a line";
