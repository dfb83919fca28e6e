//! Where one NETCONF message ends and the next begins (RFC 6242): by `]]>]]>`, and in chunks once both sides know base:1.1.

use super::NetconfError;

/// Takes bytes as they come, and gives whole messages.
#[derive(Debug, Default)]
pub(super) struct Frames {
    chunked: bool,
    /// What came and is not taken yet.
    bytes: Vec<u8>,
    /// So many of them were searched for the end already, or belong to chunks that were taken.
    seen: usize,
    /// What the chunks so far hold.
    message: Vec<u8>,
    /// So many bytes of the chunk are still to come.
    missing: usize,
}

impl Frames {
    /// Everything from now on is in chunks.
    pub(super) fn go_chunked(&mut self) {
        self.chunked = true;
        self.seen = 0;
    }

    /// A message as it is sent.
    pub(super) fn wrap(&self, text: &str) -> Vec<u8> {
        if self.chunked {
            return format!("\n#{}\n{text}\n##\n", text.len()).into_bytes();
        }
        format!("{text}{END}").into_bytes()
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), NetconfError> {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() + self.message.len() > REPLY_BYTES_MAX {
            return Err(NetconfError::TooLarge { bytes: REPLY_BYTES_MAX });
        }
        Ok(())
    }

    /// The next message, if all of it is there.
    pub(super) fn next(&mut self) -> Result<Option<String>, NetconfError> {
        let message = if self.chunked { self.next_chunked()? } else { self.next_delimited() };
        let text = message.map(String::from_utf8).transpose();
        text.map_err(|_| NetconfError::Framing("a message is not UTF-8".into()))
    }

    fn next_delimited(&mut self) -> Option<Vec<u8>> {
        let from = self.seen.saturating_sub(END.len() - 1);
        let found = self.bytes.get(from..)?.windows(END.len()).position(|window| window == END.as_bytes());
        let Some(found) = found else {
            self.seen = self.bytes.len();
            return None;
        };
        let rest = self.bytes.split_off(from + found + END.len());
        let mut message = std::mem::replace(&mut self.bytes, rest);
        message.truncate(from + found);
        self.seen = 0;
        Some(message)
    }

    fn next_chunked(&mut self) -> Result<Option<Vec<u8>>, NetconfError> {
        loop {
            let rest = self.bytes.get(self.seen..).unwrap_or_default();
            if self.missing > 0 {
                let part = &rest[..rest.len().min(self.missing)];
                if part.is_empty() {
                    return Ok(self.wait());
                }
                self.message.extend_from_slice(part);
                self.missing -= part.len();
                self.seen += part.len();
                continue;
            }
            match header(rest)? {
                None => return Ok(self.wait()),
                Some((length, Header::Chunk(size))) => {
                    self.seen += length;
                    self.missing = size;
                }
                Some((length, Header::End)) => {
                    self.bytes.drain(..self.seen + length);
                    self.seen = 0;
                    return Ok(Some(std::mem::take(&mut self.message)));
                }
            }
        }
    }

    /// What was taken need not be kept.
    fn wait(&mut self) -> Option<Vec<u8>> {
        self.bytes.drain(..self.seen);
        self.seen = 0;
        None
    }
}

enum Header {
    /// So many bytes follow.
    Chunk(usize),
    /// It was the last one.
    End,
}

/// A head, and how long it is; nothing where it is not all there.
fn header(bytes: &[u8]) -> Result<Option<(usize, Header)>, NetconfError> {
    let odd = || {
        let shown = String::from_utf8_lossy(bytes.get(..HEADER_BYTES_MAX.min(bytes.len())).unwrap_or_default());
        NetconfError::Framing(format!("{:?} is no head of a chunk", shown.as_ref()))
    };
    for (at, expected) in [(0, b'\n'), (1, b'#')] {
        match bytes.get(at) {
            None => return Ok(None),
            Some(byte) if *byte != expected => return Err(odd()),
            Some(_) => {}
        }
    }
    let rest = bytes.get(2..).unwrap_or_default();
    let Some(end) = rest.iter().take(HEADER_BYTES_MAX).position(|byte| *byte == b'\n') else {
        let plausible = rest.len() < HEADER_BYTES_MAX && rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b'#');
        return if plausible { Ok(None) } else { Err(odd()) };
    };
    let head = &rest[..end];
    if head == b"#" {
        return Ok(Some((2 + end + 1, Header::End)));
    }
    let plain = head.first().is_some_and(|byte| (b'1'..=b'9').contains(byte)) && head.iter().all(u8::is_ascii_digit);
    let size = std::str::from_utf8(head).ok().filter(|_| plain).and_then(|digits| digits.parse::<usize>().ok());
    let size = size.ok_or_else(odd)?;
    if size > REPLY_BYTES_MAX {
        return Err(NetconfError::TooLarge { bytes: REPLY_BYTES_MAX });
    }
    Ok(Some((2 + end + 1, Header::Chunk(size))))
}

/// What ends a message where there are no chunks.
const END: &str = "]]>]]>";
/// The longest head of a chunk, in bytes: the size has ten digits at most.
const HEADER_BYTES_MAX: usize = 12;
/// The largest message, in bytes.
pub(super) const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail so")]
mod tests {
    use super::*;

    fn all(frames: &mut Frames, bytes: &[u8], step: usize) -> Result<Vec<String>, NetconfError> {
        let mut found = Vec::new();
        for part in bytes.chunks(step) {
            frames.feed(part)?;
            while let Some(message) = frames.next()? {
                found.push(message);
            }
        }
        Ok(found)
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        for step in [1, 2, 3, 5, 7, 100] {
            let mut plain = Frames::default();
            let found = all(&mut plain, b"<a>]]></a>]]>]]>\n<b/>]]>]]><c", step).unwrap();
            assert_eq!(found, ["<a>]]></a>", "\n<b/>"]);
            let mut chunked = Frames::default();
            chunked.go_chunked();
            let found = all(&mut chunked, b"\n#4\n<a>\n\n#6\n#2\n</a\n#1\n>\n##\n\n#4\n<b/>\n##\n\n#1", step).unwrap();
            assert_eq!(found, ["<a>\n#2\n</a>", "<b/>"]);
        }
    }

    #[test]
    fn a_hello_is_delimited_and_what_follows_is_in_chunks() {
        let mut frames = Frames::default();
        frames.feed(b"<hello/>]]>]]>\n#4\n<b/>\n##\n").unwrap();
        assert_eq!(frames.next().unwrap().as_deref(), Some("<hello/>"));
        frames.go_chunked();
        assert_eq!(frames.next().unwrap().as_deref(), Some("<b/>"));
        assert_eq!(frames.wrap("<c/>"), b"\n#4\n<c/>\n##\n");
        assert_eq!(Frames::default().wrap("<c/>"), b"<c/>]]>]]>");
    }

    #[test]
    fn what_is_no_chunk_is_told() {
        for (bytes, why) in [
            (&b"<a/>]]>]]>"[..], "is no head of a chunk"),
            (b"\n#0\n", "is no head of a chunk"),
            (b"\n#-1\nx", "is no head of a chunk"),
            (b"\n#01\nx", "is no head of a chunk"),
            (b"\n#4x\n", "is no head of a chunk"),
            (b"\n#123456789012345", "is no head of a chunk"),
            (b"\n#4294967295\n", "more than 16777216 bytes"),
            (b"\n#2\n\xff\xfe\n##\n", "not UTF-8"),
        ] {
            let mut frames = Frames::default();
            frames.go_chunked();
            let error = all(&mut frames, bytes, 1).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn no_message_is_larger_than_is_believed() {
        let megabyte = vec![b'x'; 1024 * 1024];
        for chunked in [false, true] {
            let mut frames = Frames::default();
            if chunked {
                frames.go_chunked();
            }
            let error = (0..20).find_map(|_| {
                if chunked {
                    frames.feed(b"\n#1048576\n").unwrap();
                }
                let fed = frames.feed(&megabyte).and_then(|()| frames.next());
                fed.err()
            });
            assert!(matches!(error, Some(NetconfError::TooLarge { bytes: REPLY_BYTES_MAX })), "{error:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::sample::select(b"\n#0129]>ax".to_vec()), 0..200), chunked: bool, step in 1_usize..9) {
            let mut frames = Frames::default();
            if chunked {
                frames.go_chunked();
            }
            let _found = all(&mut frames, &bytes, step);
        }

        #[test]
        fn chunks_are_put_together(parts in proptest::collection::vec("[a-z#\n]{1,20}", 1..6), step in 1_usize..9) {
            let mut frames = Frames::default();
            frames.go_chunked();
            let mut wire = String::new();
            for part in &parts {
                wire.push_str(&format!("\n#{}\n{part}", part.len()));
            }
            wire.push_str("\n##\n");
            proptest::prop_assert_eq!(all(&mut frames, wire.as_bytes(), step).unwrap(), vec![parts.concat()]);
        }
    }
}
