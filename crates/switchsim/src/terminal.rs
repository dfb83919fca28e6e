//! The terminal of one session: echo, lines, questions, pages, and all that makes a terminal hard to read.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::profile::{Nasty, Os};
use crate::shell::{Question, Reply, Shell, Then};
use crate::sim::{Fate, Shared};

/// What the terminal waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Command,
    Answer(Question),
    Page(Afterwards),
    /// Nothing ever comes again.
    Hung,
    Closed,
    Cut,
}

/// What comes after the last page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    Prompt,
    Question(Question),
    Close,
}

/// A terminal: bytes in, bytes out.
#[derive(Debug)]
pub(crate) struct Terminal {
    shared: Arc<Shared>,
    shell: Shell,
    os: Os,
    rows: usize,
    line: Vec<u8>,
    after_return: bool,
    pages: VecDeque<String>,
    state: State,
    out: Vec<u8>,
    nasty: Nasty,
}

impl Terminal {
    pub(crate) fn new(shared: Arc<Shared>, rows: usize) -> Self {
        let device = shared.device();
        let (shell, os) = (device.login(), device.os);
        drop(device);
        let nasty = shared.wire().nasty.clone();
        Self {
            shared,
            shell,
            os,
            rows,
            line: Vec::new(),
            after_return: false,
            pages: VecDeque::new(),
            state: State::Command,
            out: Vec::new(),
            nasty,
        }
    }

    /// The banner and the first prompt.
    pub(crate) fn greet(&mut self) {
        if self.nasty.silent {
            self.state = State::Hung;
            return;
        }
        if let Some(banner) = self.nasty.banner.clone() {
            if self.nasty.wrong_encoding {
                self.out.extend_from_slice(&[0xff, 0xfe, 0xc3, b'\r', b'\n']);
            }
            self.say(&banner);
            self.say("\n");
        }
        if self.os == Os::Nos {
            self.say(
                "\nWelcome to the Network Operating System Software\nadmin connected from 127.0.0.1 using ssh on sw0\n",
            );
        }
        self.prompt();
    }

    /// What is to be printed, and how.
    pub(crate) fn take(&mut self) -> (Vec<u8>, Nasty) {
        (std::mem::take(&mut self.out), self.nasty.clone())
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Takes what was typed.
    pub(crate) fn input(&mut self, bytes: &[u8]) {
        self.nasty = self.shared.wire().nasty.clone();
        for byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match self.state {
                State::Hung | State::Closed | State::Cut => return,
                State::Page(after) => self.page_key(*byte, after),
                // CR and LF together are one line's end.
                _ if *byte == b'\n' && after_return => {}
                State::Command | State::Answer(_) => self.key(*byte),
            }
        }
    }

    fn key(&mut self, byte: u8) {
        let shown = match self.state {
            State::Answer(question) => question.shown(),
            _ => !self.nasty.no_echo,
        };
        match byte {
            b'\r' | b'\n' => {
                self.out.extend_from_slice(b"\r\n");
                let line = std::mem::take(&mut self.line);
                let line = self.decode(&line);
                self.entered(&line);
            }
            0x08 | 0x7f => {
                if self.line.pop().is_some() && shown {
                    self.out.extend_from_slice(b"\x08 \x08");
                }
            }
            0x15 => {
                let erased = std::mem::take(&mut self.line).len();
                if shown {
                    self.out.extend(b"\x08 \x08".repeat(erased));
                }
            }
            0x03 => {
                self.line.clear();
                self.out.extend_from_slice(b"^C\r\n");
                self.state = State::Command;
                self.prompt();
            }
            b'?' if self.state == State::Command && !self.line.contains(&b'"') => {
                let line = self.decode(&self.line);
                let help = self.shared.device().help(&self.shell, &line);
                self.say("?\n");
                self.say(&help);
                self.prompt();
                self.out.extend_from_slice(&self.line);
            }
            _ if self.line.len() >= LONGEST_LINE => self.out.push(0x07),
            byte => {
                self.line.push(byte);
                if shown {
                    self.out.push(byte);
                }
            }
        }
    }

    fn entered(&mut self, line: &str) {
        if let State::Answer(question) = self.state {
            let reply = self.shared.device().answer(&mut self.shell, question, line);
            return self.reply(reply);
        }
        let command = line.trim();
        if command.is_empty() {
            return self.prompt();
        }
        match self.shared.received(command) {
            Fate::Mute => self.state = State::Hung,
            Fate::LostBefore => self.state = State::Cut,
            Fate::LostAfter => {
                // The echo may get out, the answer does not.
                drop(self.shared.device().execute(&mut self.shell, command));
                self.state = State::Cut;
            }
            Fate::Answered => {
                let reply = self.shared.device().execute(&mut self.shell, command);
                self.reply(reply);
            }
        }
    }

    fn reply(&mut self, reply: Reply) {
        let after = match reply.then {
            Then::Prompt => Afterwards::Prompt,
            Then::Ask(question) => Afterwards::Question(question),
            Then::Close => Afterwards::Close,
        };
        let rows = self.nasty.pager.unwrap_or(self.rows);
        let paging = self.shell.paging && rows > 1;
        let lines = reply.text.lines().count();
        if !paging || lines < rows {
            self.say(&reply.text);
            if !reply.text.is_empty() && !reply.text.ends_with('\n') {
                self.say("\n");
            }
            return self.afterwards(after);
        }
        self.pages = reply.text.lines().map(str::to_owned).collect();
        self.page(rows - 1, after);
    }

    /// Prints so many lines, then asks whether to go on.
    fn page(&mut self, lines: usize, after: Afterwards) {
        for _ in 0..lines {
            let Some(line) = self.pages.pop_front() else {
                break;
            };
            self.say(&line);
            self.say("\n");
        }
        if self.pages.is_empty() {
            return self.afterwards(after);
        }
        self.out.extend_from_slice(self.more().as_bytes());
        self.state = State::Page(after);
    }

    fn page_key(&mut self, byte: u8, after: Afterwards) {
        let rows = self.nasty.pager.unwrap_or(self.rows);
        let lines = match byte {
            b' ' => rows.saturating_sub(1).max(1),
            b'\r' => 1,
            b'\n' => 1,
            0x03 | b'q' | b'Q' => 0,
            _ => return,
        };
        let width = self.more().len();
        self.out.extend(b"\x08".repeat(width));
        self.out.extend(b" ".repeat(width));
        self.out.extend(b"\x08".repeat(width));
        if lines == 0 {
            self.pages.clear();
            self.out.extend_from_slice(b"\r\n");
        }
        self.page(lines, after);
    }

    fn more(&self) -> &'static str {
        match self.os {
            Os::Nos => "--More--",
            Os::FastIronOld | Os::FastIronNew => "--More--, next page: Space, next line: Return key, quit: Control-c",
        }
    }

    fn afterwards(&mut self, after: Afterwards) {
        match after {
            Afterwards::Prompt => {
                self.state = State::Command;
                self.prompt();
            }
            Afterwards::Question(question) => {
                self.state = State::Answer(question);
                self.say(question.text());
            }
            Afterwards::Close => self.state = State::Closed,
        }
    }

    fn prompt(&mut self) {
        let prompt = self.shared.device().prompt(&self.shell);
        if self.nasty.ansi && self.os != Os::Nos {
            self.out.extend_from_slice(b"\x1b[?7h");
        }
        let bytes = self.encode(&prompt);
        self.out.extend(bytes);
    }

    fn say(&mut self, text: &str) {
        let end = if self.nasty.ansi { "\u{1b}[0m\u{1b}[K\r\n" } else { "\r\n" };
        let bytes = self.encode(&text.replace('\n', end));
        self.out.extend(bytes);
    }

    fn encode(&self, text: &str) -> Vec<u8> {
        if self.nasty.wrong_encoding {
            return text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        }
        text.as_bytes().to_vec()
    }

    fn decode(&self, bytes: &[u8]) -> String {
        if self.nasty.wrong_encoding {
            return bytes.iter().copied().map(char::from).collect();
        }
        String::from_utf8_lossy(bytes).into_owned()
    }
}

/// Bytes of a line that is typed.
const LONGEST_LINE: usize = 4096;

#[cfg(test)]
mod tests;
