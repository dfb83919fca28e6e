//! A session with a device's command line that never loses step.
//!
//! A prompt is one only as the whole of the unfinished line. Every command must come back as an echo before its output
//! counts. After output that is read as data an empty line is sent, and only two prompts in a row are the end: output
//! that looks like a prompt is output. What is not understood ends the session, and the next one starts clean.

mod command;
mod error;
mod prompt;
mod refusal;
mod screen;

use std::time::Duration;

use protocols::SecretValue;
use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

pub use command::Command;
pub(crate) use command::redact;
pub use error::SessionError;
pub(crate) use prompt::{Level, Prompt};
use refusal::{Refusal, refusal, refusal_of_show};
use screen::Screen;

use crate::Declaration;
use crate::ssh::login::read_secret;
use crate::ssh::{self, Connection};

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
}

/// What to answer when the device asks.
#[derive(Debug, Default)]
struct Answers {
    user: Option<String>,
    password: Option<SecretValue>,
    yes: bool,
}

/// What an unfinished line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    User,
    Password,
    Sure,
}

impl Session {
    /// Connects, logs in, finds the prompt, and becomes privileged.
    pub(crate) async fn open(declaration: &Declaration) -> Result<Self, SessionError> {
        let connection = ssh::connect(declaration).await?;
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
        let late = |_| SessionError::Late { doing: "open a shell".into(), after: PROMPT_WITHIN, last: String::new() };
        let channel = timeout_at(Instant::now() + PROMPT_WITHIN, opening).await.map_err(late)??;
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
        };
        session.find_prompt(Instant::now() + PROMPT_WITHIN).await?;
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
        let until = Instant::now() + CHECK_WITHIN;
        while !self.screen.lines().iter().any(|line| *line == self.line.trim_end()) || !self.at_prompt() {
            self.receive(until, CHECK_WITHIN, "see whether the device still answers").await?;
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
        let until = Instant::now() + SAVE_WITHIN;
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

    /// Sends a line and reads up to the next prompt. With `fence`, the output is all of it for certain.
    async fn exchange(
        &mut self,
        command: &Command,
        fence: bool,
        answers: &Answers,
    ) -> Result<Vec<String>, SessionError> {
        let doing = format!("`{command}`");
        let until = Instant::now() + COMMAND_WITHIN;
        self.screen.take_lines();
        self.send(command.text()).await?;
        let mut echoed = false;
        let mut fenced = false;
        let mut asked = 0;
        loop {
            if !echoed {
                echoed = self.take_echo(command)?;
            }
            if echoed {
                let last = self.screen.last();
                if let Some(question) = question(&last).filter(|_| !self.at_prompt()) {
                    let quiet = self.quiet(until, QUESTION_DOUBT, &doing).await?;
                    if quiet && asked < QUESTIONS_MAX {
                        asked += 1;
                        self.reply(question, answers, &last).await?;
                    }
                    continue;
                }
                if is_pager(&last) {
                    let whole = is_whole_pager(&last, self.is_fastiron());
                    if whole || self.quiet(until, PAGER_DOUBT, &doing).await? {
                        self.screen.wipe();
                        self.write(b" ").await?;
                    }
                    if !whole {
                        continue;
                    }
                } else if self.at_prompt() {
                    if !fence {
                        return Ok(self.finish(false));
                    }
                    let twice = self.screen.lines().last().is_some_and(|line| *line == last.trim_end());
                    if fenced && twice {
                        return Ok(self.finish(true));
                    }
                    if !fenced {
                        fenced = true;
                        self.send("").await?;
                    }
                }
            }
            self.receive_or_relearn(until, &doing).await?;
        }
    }

    /// Takes the first line if it is the echo of a command.
    fn take_echo(&mut self, command: &Command) -> Result<bool, SessionError> {
        let Some(first) = self.screen.lines().first() else { return Ok(false) };
        // The blank behind a prompt may have come after the prompt was known.
        let prompt = self.line.trim_end();
        let echo = first.strip_prefix(prompt).is_some_and(|rest| rest.trim() == command.text().trim());
        let silence = first == prompt;
        let echoes = match self.echoes {
            None if echo => true,
            // It echoes nothing: only the end of the line shows.
            None if silence && !command.text().is_empty() => false,
            Some(true) if echo => true,
            Some(false) if silence => false,
            _ => {
                let found = if command.is_secret() { "something else".into() } else { first.clone() };
                return Err(SessionError::LostStep {
                    doing: format!("`{command}`"),
                    expected: "its echo".into(),
                    found: redact(&found, &self.secrets),
                });
            }
        };
        self.echoes = Some(echoes);
        self.screen.shift();
        Ok(true)
    }

    /// Takes the output, and notes where the session is.
    fn finish(&mut self, fenced: bool) -> Vec<String> {
        let line = self.screen.last();
        if let Some(level) = self.prompt.level(&line) {
            self.level = level;
        }
        self.line = line;
        self.used = Instant::now();
        let mut lines = self.screen.take_lines();
        if fenced {
            lines.pop();
        }
        lines
    }

    fn at_prompt(&self) -> bool {
        self.prompt.level(&self.screen.last()).is_some()
    }

    async fn reply(&mut self, question: Question, answers: &Answers, asked: &str) -> Result<(), SessionError> {
        let text = match question {
            Question::User => answers.user.clone().map(Zeroizing::new),
            Question::Password => {
                let text =
                    answers.password.as_ref().map(|secret| String::from_utf8_lossy(secret.expose()).into_owned());
                text.map(Zeroizing::new)
            }
            Question::Sure => answers.yes.then(|| Zeroizing::new("y".to_owned())),
        };
        let Some(text) = text else {
            let why = format!("it asks {:?}, and nothing is declared to answer", asked.trim());
            return Err(SessionError::Enable(why));
        };
        // The rest of the line is the answer's echo, if it has one.
        self.screen.wipe();
        self.send(&text).await
    }

    /// Whether nothing comes for a moment.
    async fn quiet(&mut self, until: Instant, moment: Duration, doing: &str) -> Result<bool, SessionError> {
        let end = (Instant::now() + moment).min(until);
        match timeout_at(end, self.channel.wait()).await {
            Err(_) if end == until => Err(self.late(doing, COMMAND_WITHIN)),
            Err(_) => Ok(true),
            Ok(message) => self.take(message, doing).map(|()| false),
        }
    }

    /// Receives; when nothing comes although what stands there looks like a prompt, the device may have a new name.
    async fn receive_or_relearn(&mut self, until: Instant, doing: &str) -> Result<(), SessionError> {
        let looks = !self.at_prompt() && Prompt::learn(&self.screen.last()).is_some();
        if looks && self.quiet(until, PROMPT_DOUBT, doing).await? {
            // The next session learns it.
            return Err(SessionError::LostStep {
                doing: doing.to_owned(),
                expected: "the prompt as it was".into(),
                found: self.screen.last(),
            });
        }
        if looks {
            return Ok(());
        }
        self.receive(until, IDLE_WITHIN, doing).await
    }

    /// Finds the prompt: what stands there twice, as a line and as the unfinished one, after an empty line was sent.
    async fn find_prompt(&mut self, until: Instant) -> Result<(), SessionError> {
        let doing = "find the prompt";
        let mut asked = false;
        loop {
            let last = self.screen.last();
            if let Some((prompt, level)) = Prompt::learn(&last) {
                let twice = self.screen.lines().last().is_some_and(|line| *line == last.trim_end());
                if asked && twice {
                    self.prompt = prompt;
                    self.level = level;
                    self.line = last;
                    self.screen.take_lines();
                    return Ok(());
                }
                if !asked {
                    asked = true;
                    self.send("").await?;
                }
            }
            self.receive(until, PROMPT_WITHIN, doing).await?;
        }
    }

    async fn receive(&mut self, until: Instant, idle: Duration, doing: &str) -> Result<(), SessionError> {
        let end = (Instant::now() + idle).min(until);
        match timeout_at(end, self.channel.wait()).await {
            Err(_) => Err(self.late(doing, idle)),
            Ok(message) => self.take(message, doing),
        }
    }

    fn late(&self, doing: &str, after: Duration) -> SessionError {
        let last = redact(&self.screen.last(), &self.secrets);
        let last = protocols::outcome::shorten(&last, SAID_BYTES_MAX);
        SessionError::Late { doing: doing.to_owned(), after, last }
    }

    fn take(&mut self, message: Option<ChannelMsg>, doing: &str) -> Result<(), SessionError> {
        match message {
            Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) => self.screen.feed(&data),
            None | Some(ChannelMsg::Eof | ChannelMsg::Close) => Err(SessionError::Closed { doing: doing.to_owned() }),
            Some(ChannelMsg::Failure) => Err(SessionError::Login {
                user: String::new(),
                why: "it gives no shell: too many may be logged in".into(),
            }),
            Some(_) => Ok(()),
        }
    }

    async fn send(&mut self, text: &str) -> Result<(), SessionError> {
        let mut line = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        line.extend_from_slice(text.as_bytes());
        line.push(b'\r');
        self.write(&line).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let sending = self.channel.data_bytes(bytes.to_vec());
        match timeout_at(Instant::now() + IDLE_WITHIN, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(SessionError::Closed { doing: "send to the device".into() }),
            Err(_) => Err(self.late("send to the device", IDLE_WITHIN)),
        }
    }

    /// Leaves politely.
    pub(crate) async fn close(self) {
        let bye = self.connection.handle.disconnect(russh::Disconnect::ByApplication, "", "");
        let _gone = timeout_at(Instant::now() + CHECK_WITHIN, bye).await;
    }
}

fn question(last: &str) -> Option<Question> {
    let text = last.trim_end();
    let lower = text.to_ascii_lowercase();
    if lower == "password:" || lower == "enable password:" {
        return Some(Question::Password);
    }
    if ["user name:", "username:", "login:", "login name:"].contains(&lower.as_str()) {
        return Some(Question::User);
    }
    let sure = ["[y/n]:", "[y/n]", "(y/n)", "(y/n):", "[y/n]?", "(enter 'y' or 'n'):"];
    sure.iter().any(|end| lower.ends_with(end)).then_some(Question::Sure)
}

fn is_pager(last: &str) -> bool {
    last.trim_start().starts_with("--More--")
}

/// Whether it is a pager for certain, and not the start of a line of output.
fn is_whole_pager(last: &str, fastiron: bool) -> bool {
    let end = if fastiron { "Control-c" } else { "--More--" };
    is_pager(last) && last.trim_end().ends_with(end)
}

/// How long a device may take to show a prompt after login.
const PROMPT_WITHIN: Duration = Duration::from_secs(30);
/// How long a device may take for a command.
const COMMAND_WITHIN: Duration = Duration::from_secs(120);
/// How long a device may be silent within a command.
const IDLE_WITHIN: Duration = Duration::from_secs(30);
/// How long a device may take to answer an empty line.
const CHECK_WITHIN: Duration = Duration::from_secs(5);
/// How long saving may take, with waiting for the flash.
const SAVE_WITHIN: Duration = Duration::from_secs(60);
/// The pause before saving is tried again while the flash is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// How long what looks like another prompt stands before it is held to be one.
const PROMPT_DOUBT: Duration = Duration::from_secs(2);
/// How long what looks like a pager stands before it is held to be one.
const PAGER_DOUBT: Duration = Duration::from_millis(500);
/// How long what looks like a question stands before it is answered.
const QUESTION_DOUBT: Duration = Duration::from_millis(20);
/// The most questions in one command.
const QUESTIONS_MAX: u32 = 6;
/// The most of a device's words in an error, in bytes.
const SAID_BYTES_MAX: usize = 200;
