//! The first copy of a cluster, and the start as a standby that everything else begins with.

use std::time::Duration;

use protocols::secret::Place;
use scores::postgres::{PostgresScore, PostgresUser};
use scores::workload::{Nudge, Program};
use scores::{DeviceError, Score as _};
use tokio::time::{Instant as Moment, sleep};

use super::super::config::{self, Sync};
use super::super::setup::{To, make_folder};
use super::super::sql::{QUICK, Session, literal};
use super::super::timeline::Timeline;
use super::super::tools::MEDIUM;
use super::super::{clock, processes, scram};
use super::Instance;

use failover::LocalTime;

impl Instance {
    /// Makes the cluster's first copy, once in the node's life.
    pub(super) async fn initialise(&self) -> Result<(), DeviceError> {
        let setup = self.setup();
        let doing = format!("make the first copy of postgres/{}", setup.score.name);
        if !setup.is_first() {
            return Err(DeviceError::permanent(doing).because("another node is `first`"));
        }
        if self.has_held() {
            let why = "it was made here before and is gone; this node copies it from the primary";
            return Err(DeviceError::permanent(doing).because(why));
        }
        let fresh = self.fresh_folder().await?;
        let fresh = fresh.to_string_lossy().into_owned();
        let args = [
            "-D",
            &fresh,
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--data-checksums",
            "--auth-local=peer",
            "--auth-host=scram-sha-256",
        ];
        self.tool(&doing, "initdb", &args, INITIALISE).await?;
        // While nobody can connect yet: what standbys connect as must be in the first copy, or none could ever follow.
        let script =
            "printf '%s' \"$2\" | \"$1\" --single -j -D \"$3\" -c fsync=off postgres >/dev/null; sync -f -- \"$3\"";
        self.shell(&doing, script, &[&setup.program("postgres"), FIRST_STATEMENTS, &fresh], INITIALISE).await?;
        self.configure(|state| {
            state.timeline = Timeline::FIRST.0;
            state.upstream = None;
        })?;
        let data = self.layout().data();
        std::fs::rename(&fresh, &data).map_err(|error| DeviceError::io(doing, error))
    }

    /// An empty folder for a copy, with what an unfinished one left behind removed.
    pub(super) async fn fresh_folder(&self) -> Result<std::path::PathBuf, DeviceError> {
        for leftover in [self.layout().fresh(), self.layout().stale()] {
            self.remove_folder(&leftover).await?;
        }
        let fresh = self.layout().fresh();
        make_folder(&fresh, 0o700)
            .and_then(|()| self.account().give(&fresh, To::Account))
            .map_err(|error| DeviceError::io(format!("make {}", fresh.display()), error))?;
        Ok(fresh)
    }

    /// Removes a copy: its content with the account's rights alone.
    pub(super) async fn remove_folder(&self, folder: &std::path::Path) -> Result<(), DeviceError> {
        if !folder.exists() {
            return Ok(());
        }
        let doing = format!("remove {}", folder.display());
        let script = "find \"$1\" -mindepth 1 -xdev -delete";
        self.shell(&doing, script, &[&folder.to_string_lossy()], REMOVE).await?;
        std::fs::remove_dir(folder).map_err(|error| DeviceError::io(doing, error))
    }

    /// Starts it as a standby with the configuration there is, and waits until it answers.
    pub(super) async fn start_standby(&self) -> Result<(), DeviceError> {
        let doing = format!("start postgres/{} as a standby", self.setup().score.name);
        if self.state().closed {
            self.configure(|state| state.closed = false)?;
        }
        self.is_cleared(&doing).await?;
        // The copy may be further than what was noted: a promotion notes its timeline when it is done.
        let control = self.control().await?;
        let noted = Timeline(self.state().timeline);
        if control.timeline > noted {
            self.configure(|state| state.timeline = control.timeline.0)?;
        }
        let setup = self.setup();
        // Lowered in the declaration: PostgreSQL would not replay what was written with more.
        let lowered = |(name, least): &(&str, u32)| config::declared(&setup, name).is_none_or(|now| now < *least);
        let least = control.least.into_iter().filter(lowered);
        let settings: Vec<String> = least.map(|(name, least)| format!("{name}={least}")).collect();
        let session = self.launch(&doing, GATE, &settings, LocalTime::NEVER).await?;
        if Self::in_recovery(&session).await? {
            return Ok(());
        }
        Err(DeviceError::permanent(doing).because("it came up writable, which is never wanted"))
    }

    /// Makes sure that nothing of an earlier start is left.
    pub(super) async fn is_cleared(&self, doing: &str) -> Result<(), DeviceError> {
        if self.hold().is_running().await? {
            return Err(DeviceError::transient(doing).because("it runs already"));
        }
        // What an earlier start left behind when its main process was killed: it ends by itself, if it is given time.
        let end = Moment::now() + LEFTOVERS;
        while !processes::kill(&self.layout().data()) {
            if Moment::now() > end {
                return Err(DeviceError::transient(doing).because("processes of an earlier start do not end"));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Starts it with these settings beside its files, after `gate` has prepared its folder, and waits until it answers.
    pub(super) async fn launch(
        &self,
        doing: &str,
        gate: &str,
        settings: &[String],
        until: LocalTime,
    ) -> Result<Session, DeviceError> {
        let (setup, layout) = (self.setup(), self.layout());
        // Before anything is received or written: from here on this node may be one of those that acknowledged.
        self.will_hold()?;
        let data = layout.data().to_string_lossy().into_owned();
        self.shell(doing, gate, &[&data, GATE_CONF], MEDIUM).await?;
        let conf = layout.conf().join(config::MAIN);
        let mut command = vec![
            setup.program("postgres"),
            "-D".into(),
            data.clone(),
            "-c".into(),
            format!("config_file={}", conf.display()),
        ];
        command.extend(settings.iter().flat_map(|setting| ["-c".into(), setting.clone()]));
        let program = Program {
            command,
            environment: [("LC_ALL".to_owned(), "C.UTF-8".to_owned())].into(),
            folder: Some(layout.data()),
            user: Some(self.account().name.clone()),
        };
        self.hold().run(&program, until).await?;
        let mut pause = Duration::from_millis(10);
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
            // `starting up` until what a crash left is replayed, which may take minutes.
            if let Ok(session) = self.session().await {
                return Ok(session);
            }
            if !self.hold().is_running().await? {
                let why = self.last_words().unwrap_or_else(|| "its log does not say why".into());
                return Err(DeviceError::transient(doing).because(why));
            }
        }
    }

    /// Stops it in order, as a standby or primary, until nothing of it is left.
    pub(super) async fn halt(&self, by: LocalTime) -> Result<(), DeviceError> {
        let doing = || format!("stop postgres/{}", self.setup().score.name);
        if self.hold().is_running().await? {
            self.hold().signal(Nudge::Int).await?;
        }
        while self.hold().is_running().await? || self.has_processes() {
            if clock::now() >= by {
                return Err(DeviceError::transient(doing()).because("it did not stop in time"));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Makes the running instance read its configuration, and waits until new sessions have it.
    pub(super) async fn reload(&self) -> Result<(), DeviceError> {
        let doing = "make PostgreSQL read its configuration";
        let state = self.state();
        let upstream = match &state.upstream {
            Some(upstream) => config::conninfo(&self.setup(), &upstream.node, "")?,
            None => String::new(),
        };
        let wanted = [("synchronous_standby_names", state.sync.setting()), ("primary_conninfo", upstream)];
        self.hold().signal(Nudge::Hup).await?;
        let end = Moment::now() + RELOAD;
        loop {
            // A new session each time: an old one hears of it when it likes.
            let session = self.session().await?;
            let mut missing = None;
            for (name, value) in &wanted {
                if session.value(&format!("SHOW {name}"), QUICK).await?.as_deref() != Some(value) {
                    missing = Some(*name);
                }
            }
            let Some(missing) = missing else { return Ok(()) };
            if Moment::now() > end {
                let why = format!("`{missing}` did not change; was it set with ALTER SYSTEM? Use ALTER SYSTEM RESET");
                return Err(DeviceError::transient(doing).because(why));
            }
            sleep(LOOK).await;
        }
    }

    pub(super) async fn in_recovery(session: &Session) -> Result<bool, DeviceError> {
        Ok(session.value("SELECT pg_is_in_recovery()", QUICK).await?.as_deref() == Some("t"))
    }

    /// What PostgreSQL is to store of a role's password; what it stores already, if that is of the same one.
    async fn verifier(&self, role: &PostgresUser, stored: Option<&str>) -> Result<String, DeviceError> {
        let sealed = match (&role.verifier, &role.secret) {
            (Some(verifier), _) => return Ok(verifier.clone()),
            (None, Some(sealed)) => sealed,
            (None, None) => return Err(DeviceError::permanent("it has no password")),
        };
        let subject = self.setup().score.subject();
        let place = Place { kind: &PostgresScore::KIND, subject: &subject };
        let password = scores::secrets::open_with(&self.keys, sealed, place).await?;
        if let Some(stored) = stored.filter(|stored| scram::is_of(stored, password.expose())) {
            return Ok(stored.to_owned());
        }
        scram::verifier(password.expose()).map_err(|why| {
            DeviceError::permanent(format!("use the secret `{}` as a password", sealed.name())).because(why)
        })
    }

    /// Makes the roles and databases of the score. Not waiting for standbys: there may be none yet.
    pub(super) async fn make_roles(&self, session: &Session) -> Result<(), DeviceError> {
        let setup = self.setup();
        session.rows("SET synchronous_commit = local", QUICK).await?;
        for (user, role) in &setup.score.users {
            let exists = format!("SELECT rolpassword FROM pg_authid WHERE rolname = {}", literal(user));
            let known = session.rows(&exists, QUICK).await?;
            let stored = known.first().and_then(|row| row.first().cloned().flatten());
            let verifier = match self.verifier(role, stored.as_deref()).await {
                Ok(verifier) => verifier,
                Err(error) => {
                    // The others must be able to log in all the same.
                    tracing::error!(user, error = scores::chain(&error), "the role stays as it is");
                    continue;
                }
            };
            let changed = stored.as_deref() != Some(verifier.as_str());
            let verifier = literal(&verifier);
            match known.first() {
                None => {
                    session.rows(&format!("CREATE ROLE \"{user}\" LOGIN PASSWORD {verifier}"), QUICK).await?;
                }
                Some(_) if changed => {
                    session.rows(&format!("ALTER ROLE \"{user}\" LOGIN PASSWORD {verifier}"), QUICK).await?;
                }
                Some(_) => {}
            }
        }
        for (database, owner) in &setup.score.databases {
            let exists = format!("SELECT 1 FROM pg_database WHERE datname = {}", literal(database));
            if session.rows(&exists, QUICK).await?.is_empty() {
                session.rows(&format!("CREATE DATABASE \"{database}\" OWNER \"{owner}\""), MEDIUM).await?;
            }
        }
        Ok(())
    }

    /// Puts back the instruction that nobody knows whom to wait for.
    pub(super) fn forget_sync(&self) -> Result<(), DeviceError> {
        self.configure(|state| {
            state.sync = Sync::Nobody;
            state.upstream = None;
        })
    }

    /// The last thing that the log complains of.
    fn last_words(&self) -> Option<String> {
        let entries = std::fs::read_dir(self.layout().log()).ok()?.flatten();
        let newest = entries.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok())?;
        let bytes = std::fs::read(newest.path()).ok()?;
        let end = bytes.get(bytes.len().saturating_sub(LOG_END_BYTES)..)?;
        let text = String::from_utf8_lossy(end);
        let line = text.lines().rev().find(|line| line.contains("FATAL:") || line.contains("PANIC:"))?;
        line.split_once("FATAL:").or_else(|| line.split_once("PANIC:")).map(|(_, why)| why.trim().to_owned())
    }
}

/// Run before every start: a standby, whatever it was; and by hand it does not start at all.
const GATE: &str = "umask 077; cd \"$1\"; : >standby.signal; rm -f recovery.signal postmaster.pid; \
                    : >postgresql.auto.conf; printf '%s\\n' \"$2\" >postgresql.conf; \
                    sync standby.signal postgresql.conf .";
/// What the cluster's own folder has for a configuration: PostgreSQL refuses it, and says so.
const GATE_CONF: &str = "# The configuration is beside this folder. Flotilla starts this cluster, as a standby, and decides \
                         when it becomes writable.\nstarted_by_flotilla_alone = on";
/// One statement a line.
const FIRST_STATEMENTS: &str = "CREATE ROLE flotilla_replication LOGIN REPLICATION;\n\n\
    GRANT pg_checkpoint TO flotilla_replication;\n\n\
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean) TO flotilla_replication;\n\n\
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_file(text, boolean) TO flotilla_replication;\n\n\
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text) TO flotilla_replication;\n\n\
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO flotilla_replication;\n\n\
    CREATE SCHEMA flotilla;\n\n\
    CREATE TABLE flotilla.beat (what text PRIMARY KEY, count bigint NOT NULL, at timestamptz NOT NULL);\n\n\
    INSERT INTO flotilla.beat VALUES ('health', 0, now()), ('sync', 0, now());\n\n";

/// How long killed processes may take to be gone.
const LEFTOVERS: Duration = Duration::from_secs(30);
/// How often a state is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// What making an empty cluster may take on a slow disk.
const INITIALISE: Duration = Duration::from_secs(300);
/// What removing a copy may take.
const REMOVE: Duration = Duration::from_secs(1800);
/// How long new settings may take to be seen.
const RELOAD: Duration = Duration::from_secs(10);
/// How much of the log is looked at, in bytes.
const LOG_END_BYTES: usize = 16 * 1024;
