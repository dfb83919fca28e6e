//! A session with a device's command line that never loses step.
//!
//! A prompt is one only as the whole of the unfinished line. Every command must come back as an echo before its output
//! counts. After output that is read as data an empty line is sent, and only two prompts in a row are the end: output
//! that looks like a prompt is output. What is not understood ends the session, and the next one starts clean.

mod command;
mod dialog;
mod error;
mod exchange;
mod prompt;
mod refusal;
mod screen;

use std::time::Duration;

use protocols::SecretValue;
use russh::Channel;
use russh::client::Msg;
use tokio::time::{Instant, timeout_at};

pub use command::Command;
pub(crate) use command::redact;
use dialog::Answers;
pub use error::SessionError;
use exchange::Deadline;
pub(crate) use prompt::{Level, Prompt};
use refusal::{Refusal, refusal, refusal_of_show};
use screen::Screen;

use crate::netconf::{Client, NetconfError};
use crate::ssh::login::read_secret;
use crate::ssh::{self, Connection};
use crate::{Declaration, Patience};

/// An open session at a prompt.
pub(crate) struct Session {
    connection: Connection,
    channel: Channel<Msg>,
    screen: Screen,
    prompt: Prompt,
    level: Level,
    /// The prompt as it stands now, which the next echo starts with.
    line: String,
    echoes: Option<bool>,
    secrets: Vec<SecretValue>,
    used: Instant,
    patience: Patience,
}

impl Session {
    /// Connects, logs in, finds the prompt, and becomes privileged.
    pub(crate) async fn open(declaration: &Declaration, patience: Patience) -> Result<Self, SessionError> {
        let connection = ssh::connect(declaration, patience).await?;
        let greeting = patience.greeting;
        let ssh = |doing: &str| {
            let doing = doing.to_owned();
            move |source: russh::Error| SessionError::Ssh { doing, source: Box::new(source) }
        };
        let opening = async {
            let channel = connection.handle.channel_open_session().await.map_err(ssh("open a channel"))?;
            // Tall, so that little is paged where paging stays on; wide, so that no line is wrapped.
            channel.request_pty(false, "vt100", 511, 1000, 0, 0, &[]).await.map_err(ssh("ask for a terminal"))?;
            channel.request_shell(false).await.map_err(ssh("ask for a shell"))?;
            Ok::<_, SessionError>(channel)
        };
        let late = |_| SessionError::Late { doing: "open a shell".into(), after: greeting, last: String::new() };
        let channel = timeout_at(Instant::now() + greeting, opening).await.map_err(late)??;
        let prompt = Prompt::learn("-#").map_or_else(|| unreachable!("it is a prompt"), |(prompt, _)| prompt);
        let mut session = Self {
            connection,
            channel,
            screen: Screen::default(),
            prompt,
            level: Level::User,
            line: String::new(),
            echoes: None,
            secrets: Vec::new(),
            used: Instant::now(),
            patience,
        };
        session.find_prompt(Deadline::within(greeting)).await?;
        if session.level == Level::User {
            session.enable(declaration).await?;
        }
        session.no_pages().await?;
        Ok(session)
    }

    /// The names of the algorithms in use.
    pub(crate) fn agreed(&self) -> &[String] {
        &self.connection.agreed
    }

    /// The fingerprint of the device's host key.
    pub(crate) fn host_key(&self) -> &str {
        &self.connection.host_key
    }

    /// Whether its prompt is FastIron's.
    pub(crate) fn is_fastiron(&self) -> bool {
        self.prompt.is_fastiron()
    }

    /// Whether the connection is known to have ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.connection.handle.is_closed()
    }

    /// How long it was not used.
    pub(crate) fn idle(&self) -> Duration {
        self.used.elapsed()
    }

    /// Makes sure that the device still answers.
    pub(crate) async fn check(&mut self) -> Result<(), SessionError> {
        self.send("").await?;
        let until = Deadline::within(self.patience.check);
        while !self.screen.lines().iter().any(|line| *line == self.line.trim_end()) || !self.at_prompt() {
            self.receive(until, self.patience.check, "see whether the device still answers").await?;
        }
        self.screen.take_lines();
        Ok(())
    }

    /// Asks for data: the whole of the output, without echo and prompt.
    pub(crate) async fn show(&mut self, text: &str) -> Result<Vec<String>, SessionError> {
        let command = Command::new(text);
        let lines = self.exchange(&command, true, &Answers::default()).await?;
        match refusal_of_show(&lines) {
            None => Ok(lines),
            Some(refused) => Err(self.refused(&command, &refused)),
        }
    }

    /// Asks for what the device may not have; nothing when it refuses the words.
    pub(crate) async fn try_show(&mut self, text: &str) -> Result<Option<Vec<String>>, SessionError> {
        match self.show(text).await {
            Ok(lines) => Ok(Some(lines)),
            Err(SessionError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends commands in the mode of configuration, and leaves it again, also after a refusal.
    pub(crate) async fn configure(&mut self, commands: &[Command]) -> Result<(), SessionError> {
        let done = self.configure_inside(commands).await;
        match done {
            Err(error) if !error.keeps_session() => Err(error),
            done => {
                if self.level != Level::Privileged {
                    self.exchange(&Command::new("end"), false, &Answers::default()).await?;
                }
                self.expect_level("end", |level| *level == Level::Privileged)?;
                done
            }
        }
    }

    async fn configure_inside(&mut self, commands: &[Command]) -> Result<(), SessionError> {
        self.tell(&Command::new("configure terminal")).await?;
        self.expect_level("configure terminal", |level| matches!(level, Level::Config(_)))?;
        for command in commands {
            self.tell(command).await?;
            let entered = |level: &Level| match level {
                Level::Config(mode) => !command.enters() || mode != "config",
                _ => false,
            };
            self.expect_level(&command.to_string(), entered)?;
        }
        Ok(())
    }

    /// Saves, and waits while the flash is busy.
    pub(crate) async fn save(&mut self, command: &str, done: &str) -> Result<(), SessionError> {
        let until = Instant::now() + self.patience.save;
        let command = Command::new(command);
        loop {
            let lines = self.exchange(&command, true, &Answers { yes: true, ..Answers::default() }).await?;
            let refused = match refusal(&lines) {
                None if done.is_empty() || lines.iter().any(|line| line.contains(done)) => return Ok(()),
                None => {
                    let said = lines.last().cloned().unwrap_or_default();
                    return Err(SessionError::LostStep {
                        doing: format!("`{command}`"),
                        expected: format!("{done:?}"),
                        found: said,
                    });
                }
                Some(refused) => refused,
            };
            match refused {
                Refusal::Later(_) if Instant::now() + BUSY_PAUSE < until => tokio::time::sleep(BUSY_PAUSE).await,
                refused => return Err(self.refused(&command, &refused)),
            }
        }
    }

    /// Sends a command that answers with nothing, or with something that is only for people.
    async fn tell(&mut self, command: &Command) -> Result<(), SessionError> {
        let lines = self.exchange(command, false, &Answers::default()).await?;
        match refusal(&lines) {
            None => Ok(()),
            Some(refused) => Err(self.refused(command, &refused)),
        }
    }

    fn refused(&self, command: &Command, refused: &Refusal) -> SessionError {
        let tell = |said: &str| {
            let said = redact(&command.redact(said), &self.secrets);
            protocols::outcome::shorten(&said, SAID_BYTES_MAX)
        };
        match refused {
            Refusal::No(said) => SessionError::Refused { command: command.to_string(), said: tell(said) },
            Refusal::Later(said) => SessionError::Busy { command: command.to_string(), said: tell(said) },
        }
    }

    fn expect_level(&self, doing: &str, good: impl FnOnce(&Level) -> bool) -> Result<(), SessionError> {
        if good(&self.level) {
            return Ok(());
        }
        Err(SessionError::LostStep {
            doing: format!("`{doing}`"),
            expected: "another mode".into(),
            found: self.line.clone(),
        })
    }

    async fn enable(&mut self, declaration: &Declaration) -> Result<(), SessionError> {
        let password = match (&declaration.enable_password_file, &declaration.password_file) {
            (Some(path), _) => Some(read_secret("the enable password", path).await?),
            // RADIUS and TACACS ask for the user again.
            (None, Some(path)) => Some(read_secret("the password", path).await?),
            (None, None) => None,
        };
        self.secrets.extend(password.clone());
        let answers = Answers { user: Some(declaration.user.clone()), password, yes: false };
        let lines = self.exchange(&Command::new("enable"), true, &answers).await?;
        match refusal(&lines) {
            Some(Refusal::No(said) | Refusal::Later(said)) => Err(SessionError::Enable(redact(&said, &self.secrets))),
            None if self.level == Level::Privileged => Ok(()),
            None => Err(SessionError::Enable("the device left the prompt as it was".into())),
        }
    }

    /// Turns paging off. Where that is refused, pages are turned one by one.
    async fn no_pages(&mut self) -> Result<(), SessionError> {
        let words = if self.is_fastiron() { "skip-page-display" } else { "terminal length 0" };
        let lines = self.exchange(&Command::new(words), true, &Answers::default()).await?;
        if refusal(&lines).is_some() {
            tracing::debug!("the device keeps its pager");
        }
        Ok(())
    }

    /// Opens NETCONF beside the command line, on the same connection.
    pub(crate) async fn netconf(&self) -> Result<Client, NetconfError> {
        Client::open(&self.connection.handle, self.patience).await
    }

    /// Leaves politely.
    pub(crate) async fn close(self) {
        ssh::leave(&self.connection.handle, self.patience).await;
    }
}

/// The pause before saving is tried again while the flash is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// The most of a device's words in an error, in bytes.
const SAID_BYTES_MAX: usize = 200;
