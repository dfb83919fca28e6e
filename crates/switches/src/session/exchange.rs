//! One command and its answer: sent, echoed, read up to the prompt, questions and pages on the way.

use std::time::Duration;

use bytes::Bytes;
use russh::ChannelMsg;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::dialog::{Answers, Question, is_pager, is_whole_pager, question};
use super::{Command, Prompt, SAID_BYTES_MAX, Session, SessionError, redact};

/// When something must have come to its end, and how long that is from its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    within: Duration,
}

impl Deadline {
    pub(super) fn within(within: Duration) -> Self {
        Self { at: Instant::now() + within, within }
    }
}

impl Session {
    /// Sends a line and reads up to the next prompt. With `fence`, the output is all of it for certain.
    pub(super) async fn exchange(
        &mut self,
        command: &Command,
        fence: bool,
        answers: &Answers,
    ) -> Result<Vec<String>, SessionError> {
        let doing = format!("`{command}`");
        let until = Deadline::within(self.patience.command);
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
                        self.write(Zeroizing::new(vec![b' '])).await?;
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

    pub(super) fn at_prompt(&self) -> bool {
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
    async fn quiet(&mut self, until: Deadline, moment: Duration, doing: &str) -> Result<bool, SessionError> {
        let end = (Instant::now() + moment).min(until.at);
        match timeout_at(end, self.channel.wait()).await {
            Err(_) if end == until.at => Err(self.late(doing, until.within)),
            Err(_) => Ok(true),
            Ok(message) => self.take(message, doing).map(|()| false),
        }
    }

    /// Receives; when nothing comes although what stands there looks like a prompt, the device may have a new name.
    async fn receive_or_relearn(&mut self, until: Deadline, doing: &str) -> Result<(), SessionError> {
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
        self.receive(until, self.patience.idle, doing).await
    }

    /// Finds the prompt: what stands there twice, as a line and as the unfinished one, after an empty line was sent.
    pub(super) async fn find_prompt(&mut self, until: Deadline) -> Result<(), SessionError> {
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
            self.receive(until, self.patience.greeting, doing).await?;
        }
    }

    pub(super) async fn receive(&mut self, until: Deadline, idle: Duration, doing: &str) -> Result<(), SessionError> {
        let end = (Instant::now() + idle).min(until.at);
        match timeout_at(end, self.channel.wait()).await {
            Err(_) => Err(self.late(doing, if end == until.at { until.within } else { idle })),
            Ok(message) => self.take(message, doing),
        }
    }

    pub(super) fn late(&self, doing: &str, after: Duration) -> SessionError {
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

    pub(super) async fn send(&mut self, text: &str) -> Result<(), SessionError> {
        let mut line = Zeroizing::new(Vec::with_capacity(text.len() + 1));
        line.extend_from_slice(text.as_bytes());
        line.push(b'\r');
        self.write(line).await
    }

    async fn write(&mut self, bytes: Zeroizing<Vec<u8>>) -> Result<(), SessionError> {
        // What is sent may be a secret: it is wiped when it has gone out.
        let sending = self.channel.data_bytes(Bytes::from_owner(bytes));
        match timeout_at(Instant::now() + self.patience.idle, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(SessionError::Closed { doing: "send to the device".into() }),
            Err(_) => Err(self.late("send to the device", self.patience.idle)),
        }
    }
}

/// How long what looks like another prompt stands before it is held to be one.
const PROMPT_DOUBT: Duration = Duration::from_secs(2);
/// How long what looks like a pager stands before it is held to be one.
const PAGER_DOUBT: Duration = Duration::from_millis(500);
/// How long what looks like a question stands before it is answered.
const QUESTION_DOUBT: Duration = Duration::from_millis(20);
/// The most questions in one command.
const QUESTIONS_MAX: u32 = 6;
