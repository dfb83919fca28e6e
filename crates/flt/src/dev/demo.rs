//! `flt dev demo`: a whole fleet in one process that shows what a fleet does. Every line it prints was observed; what does
//! not come out as told ends it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use protocols::policy::Check;
use protocols::{Labels, Name, Policy, Verdict};
use tokio::time::Instant;

mod expect;
mod proof;
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
