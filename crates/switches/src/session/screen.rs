//! What a terminal would show: lines that are finished, and the one that is not.

use super::SessionError;

/// A terminal without a screen: it keeps lines, follows carriage returns and backspaces, and drops escape sequences.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    lines: Vec<String>,
    last: Vec<u8>,
    column: usize,
    escape: Escape,
    bytes: usize,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    /// After ESC.
    Begun,
    /// After `ESC [`, with the parameters so far.
    Sequence(Vec<u8>),
    /// After `ESC ]`: until BEL or `ESC \`.
    Text,
    /// After `ESC (` and its like: one more byte.
    Charset,
}

impl Screen {
    /// Takes what came from the device.
    ///
    /// # Errors
    /// [`SessionError::TooMuchOutput`].
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.bytes > OUTPUT_BYTES_MAX {
            return Err(SessionError::TooMuchOutput { bytes: OUTPUT_BYTES_MAX });
        }
        for &byte in bytes {
            self.take(byte)?;
        }
        Ok(())
    }

    fn take(&mut self, byte: u8) -> Result<(), SessionError> {
        match std::mem::take(&mut self.escape) {
            Escape::None => return self.show(byte),
            Escape::Begun => {
                self.escape = match byte {
                    b'[' => Escape::Sequence(Vec::new()),
                    b']' => Escape::Text,
                    b'(' | b')' | b'#' | b'%' => Escape::Charset,
                    _ => Escape::None,
                }
            }
            Escape::Sequence(mut parameters) => match byte {
                0x40..=0x7e => self.control(byte, &parameters),
                _ if parameters.len() >= ESCAPE_BYTES_MAX => {}
                _ => {
                    parameters.push(byte);
                    self.escape = Escape::Sequence(parameters);
                }
            },
            Escape::Text => match byte {
                0x07 => {}
                0x1b => self.escape = Escape::Charset,
                _ => self.escape = Escape::Text,
            },
            Escape::Charset => {}
        }
        Ok(())
    }

    /// The few sequences that change what stands on a line.
    fn control(&mut self, byte: u8, parameters: &[u8]) {
        match (byte, parameters) {
            (b'K', b"" | b"0") => self.last.truncate(self.column),
            (b'K', b"2") => self.last.clear(),
            _ => {}
        }
    }

    fn show(&mut self, byte: u8) -> Result<(), SessionError> {
        match byte {
            b'\n' => {
                let line = String::from_utf8_lossy(&self.last).trim_end().to_owned();
                self.lines.push(line);
                self.last.clear();
                self.column = 0;
            }
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            0x1b => self.escape = Escape::Begun,
            b'\t' => {
                let to = (self.column / 8 + 1) * 8;
                while self.column < to {
                    self.put(b' ')?;
                }
            }
            0x00..=0x1f | 0x7f => {}
            _ => self.put(byte)?,
        }
        Ok(())
    }

    fn put(&mut self, byte: u8) -> Result<(), SessionError> {
        if self.column >= LINE_BYTES_MAX {
            return Err(SessionError::TooMuchOutput { bytes: LINE_BYTES_MAX });
        }
        if self.last.len() < self.column {
            self.last.resize(self.column, b' ');
        }
        match self.last.get_mut(self.column) {
            Some(place) => *place = byte,
            None => self.last.push(byte),
        }
        self.column += 1;
        Ok(())
    }

    /// The lines that are finished.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The line that is not.
    pub(crate) fn last(&self) -> String {
        String::from_utf8_lossy(&self.last).into_owned()
    }

    /// Takes the finished lines away.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.bytes = 0;
        std::mem::take(&mut self.lines)
    }

    /// Takes the first finished line away.
    pub(crate) fn shift(&mut self) -> Option<String> {
        if self.lines.is_empty() { None } else { Some(self.lines.remove(0)) }
    }

    /// Wipes the unfinished line, as a pager does.
    pub(crate) fn wipe(&mut self) {
        self.last.clear();
        self.column = 0;
    }
}

/// The most output of one command, in bytes.
const OUTPUT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The longest parameters of an escape sequence, in bytes.
const ESCAPE_BYTES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> (Vec<String>, String) {
        let mut screen = Screen::default();
        for byte in bytes {
            screen.feed(&[*byte]).unwrap();
        }
        (screen.take_lines(), screen.last())
    }

    #[test]
    fn escapes_returns_and_backspaces_are_followed() {
        assert_eq!(shown(b"a\r\nb\x1b[?7hsw0# "), (vec!["a".into()], "bsw0# ".into()));
        assert_eq!(shown(b"--More--\r        \rnext\r\n"), (vec!["next".into()], String::new()));
        assert_eq!(shown(b"--More--\x08 \x08\x08 \x08x\n"), (vec!["--Morex".into()], String::new()));
        assert_eq!(shown(b"abc\x1b[2K\rd"), (vec![], "d".into()));
        assert_eq!(shown(b"\x1b]0;title\x07x\x1b(By\x1b]t\x1b\\z"), (vec![], "xyz".into()));
        assert_eq!(shown(b"caf\xe9\r\n"), (vec!["caf\u{fffd}".into()], String::new()));
    }

    #[test]
    fn output_is_bounded() {
        let mut screen = Screen::default();
        assert!(matches!(screen.feed(&vec![b'x'; LINE_BYTES_MAX + 1]), Err(SessionError::TooMuchOutput { .. })));
        let mut screen = Screen::default();
        let megabyte = "x\n".repeat(512 * 1024);
        assert!((0..9).any(|_| screen.feed(megabyte.as_bytes()).is_err()));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let mut screen = Screen::default();
            let _shown = screen.feed(&bytes);
        }
    }
}
