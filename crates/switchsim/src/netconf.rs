//! NETCONF, as Network OS speaks it on a subsystem of the same SSH server: about the same switch as its command line.

mod answers;
mod config;
mod request;

use std::sync::Arc;

use quick_xml::escape::escape;

use self::request::Tag;
use crate::profile::Nasty;
use crate::sim::{Fate, Shared};
use crate::terminal::State;

/// One session: bytes in, bytes out.
#[derive(Debug)]
pub(crate) struct Peer {
    shared: Arc<Shared>,
    session: u64,
    /// What came and was not taken yet.
    bytes: Vec<u8>,
    greeted: bool,
    chunked: bool,
    state: State,
    out: Vec<u8>,
    endless: bool,
}

impl Peer {
    pub(crate) fn new(shared: Arc<Shared>, session: u64) -> Self {
        let state = State::Command;
        Self {
            shared,
            session,
            bytes: Vec::new(),
            greeted: false,
            chunked: false,
            state,
            out: Vec::new(),
            endless: false,
        }
    }

    /// Our hello.
    pub(crate) fn greet(&mut self) {
        let nasty = self.nasty();
        if nasty.mute.iter().any(|mute| mute == "netconf hello") {
            self.state = State::Hung;
            return;
        }
        let hello = nasty.netconf.hello.unwrap_or_else(|| hello(self.session, nasty.netconf.base_1_0));
        self.out.extend(hello.into_bytes());
        self.out.extend_from_slice(END);
    }

    /// What is to be sent, and how.
    pub(crate) fn take(&mut self) -> (Vec<u8>, Nasty) {
        (std::mem::take(&mut self.out), self.nasty())
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// More of an answer that never ends.
    pub(crate) fn goes_on(&self) -> Option<Vec<u8>> {
        let text = "<counter>1</counter>".repeat(1024);
        self.endless.then(|| if self.chunked { format!("\n#{}\n{text}", text.len()) } else { text }.into_bytes())
    }

    /// Takes what was sent.
    pub(crate) fn input(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        while self.state == State::Command {
            match if self.chunked { self.chunks() } else { self.delimited() } {
                Ok(Some(message)) => self.message(&message),
                Ok(None) => return,
                // As the standard has it: whoever frames wrongly is not talked to.
                Err(()) => self.state = State::Closed,
            }
        }
    }

    fn delimited(&mut self) -> Result<Option<String>, ()> {
        let Some(at) = self.bytes.windows(END.len()).position(|window| window == END) else { return Ok(None) };
        let rest = self.bytes.split_off(at + END.len());
        let mut message = std::mem::replace(&mut self.bytes, rest);
        message.truncate(at);
        String::from_utf8(message).map(Some).map_err(drop)
    }

    fn chunks(&mut self) -> Result<Option<String>, ()> {
        let (mut at, mut message) = (0, Vec::new());
        loop {
            let Some(rest) = self.bytes.get(at..) else { return Ok(None) };
            let Some(end) = rest.iter().skip(1).position(|byte| *byte == b'\n').map(|end| end + 1) else {
                return Ok(None);
            };
            let head = std::str::from_utf8(&rest[..end]).ok().and_then(|head| head.strip_prefix("\n#")).ok_or(())?;
            at += end + 1;
            if head == "#" {
                self.bytes.drain(..at);
                return String::from_utf8(message).map(Some).map_err(drop);
            }
            let size: usize = head.parse().map_err(drop)?;
            let Some(part) = self.bytes.get(at..at + size) else { return Ok(None) };
            message.extend_from_slice(part);
            at += size;
        }
    }

    fn message(&mut self, text: &str) {
        let Some(root) = Tag::parse(text) else {
            self.say(&format!("<rpc-reply xmlns=\"{BASE}\">{}</rpc-reply>", error("malformed-message", "no XML")));
            self.state = State::Closed;
            return;
        };
        if !self.greeted {
            self.greeted = true;
            if root.name != "hello" {
                self.state = State::Closed;
            }
            let theirs = root.all("capability").iter().any(|tag| tag.text.trim() == BASE_1_1);
            self.chunked = theirs && !self.nasty().netconf.base_1_0;
            return;
        }
        let id = root.attribute("message-id").unwrap_or_default().to_owned();
        let Some(request) = root.children.first().filter(|_| root.name == "rpc") else {
            return self.reply(&id, &error("missing-element", "there is no request"));
        };
        let name = request.name.clone();
        let fate = self.shared.received(&format!("netconf {name}"));
        match fate {
            Fate::Mute => self.state = State::Hung,
            Fate::LostBefore => self.state = State::Cut,
            Fate::Answered | Fate::LostAfter => {
                self.answer(&id, request);
                if fate == Fate::LostAfter {
                    self.out.truncate(self.out.len() / 2);
                    self.state = State::Cut;
                }
            }
        }
    }

    fn answer(&mut self, id: &str, request: &Tag) {
        let nasty = self.nasty();
        let canned = nasty.netconf.answers.iter().find(|(name, _)| *name == request.name);
        if let Some((_, answer)) = canned {
            return self.say(&answer.replace("{id}", &escape(id)));
        }
        if nasty.netconf.endless.as_deref() == Some(request.name.as_str()) {
            let text = format!("<rpc-reply xmlns=\"{BASE}\" message-id=\"{}\">", escape(id));
            let begun = if self.chunked { format!("\n#{}\n{text}", text.len()) } else { text };
            self.out.extend(begun.into_bytes());
            self.endless = true;
            return;
        }
        let text = match request.name.as_str() {
            "close-session" => "<ok/>".to_owned(),
            "get-config" => config::get_config(&self.shared.device(), request),
            _ => answers::answer(&self.shared.device(), request, &nasty.netconf),
        };
        self.reply(id, &text);
        if request.name == "close-session" {
            self.state = State::Closed;
        }
    }

    fn reply(&mut self, id: &str, inside: &str) {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rpc-reply xmlns=\"{BASE}\" message-id=\"{}\">{inside}</rpc-reply>",
            escape(id)
        );
        self.say(&text);
    }

    fn say(&mut self, text: &str) {
        if !self.chunked {
            self.out.extend_from_slice(text.as_bytes());
            self.out.extend_from_slice(END);
            return;
        }
        let size = self.nasty().netconf.chunk.unwrap_or(CHUNK).max(1);
        for part in text.as_bytes().chunks(size) {
            self.out.extend(format!("\n#{}\n", part.len()).into_bytes());
            self.out.extend_from_slice(part);
        }
        self.out.extend_from_slice(b"\n##\n");
    }

    fn nasty(&self) -> Nasty {
        self.shared.wire().nasty.clone()
    }
}

fn hello(session: u64, base_1_0: bool) -> String {
    let mut capabilities = vec![BASE_1_0.to_owned()];
    if !base_1_0 {
        capabilities.push(BASE_1_1.to_owned());
    }
    capabilities.push("urn:ietf:params:netconf:capability:writable-running:1.0".to_owned());
    capabilities.push("urn:ietf:params:netconf:capability:xpath:1.0".to_owned());
    capabilities.push("http://tail-f.com/ns/netconf/actions/1.0".to_owned());
    let modules = [("interface", "2012-04-24"), ("interface-ext", "2014-04-01"), ("lag", "2014-04-14")];
    for (module, revision) in modules.into_iter().chain([("fabric-service", "2012-10-01"), ("vcs", "2014-06-06")]) {
        let urn = format!("urn:brocade.com:mgmt:brocade-{module}");
        capabilities.push(format!("{urn}?module=brocade-{module}&revision={revision}"));
    }
    let list: String = capabilities.iter().map(|one| format!("<capability>{}</capability>\n", escape(one))).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<hello xmlns=\"{BASE}\">\n<capabilities>\n{list}</capabilities>\n\
         <session-id>{session}</session-id></hello>"
    )
}

/// An `<rpc-error>` of the application.
fn error(tag: &str, message: &str) -> String {
    format!(
        "<rpc-error><error-type>application</error-type><error-tag>{tag}</error-tag>\
         <error-severity>error</error-severity><error-message xml:lang=\"en\">{}</error-message></rpc-error>",
        escape(message)
    )
}

/// `<name>text</name>`
fn leaf(out: &mut String, name: &str, text: &str) {
    out.push_str(&format!("<{name}>{}</{name}>", escape(text)));
}

const BASE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";
const BASE_1_0: &str = "urn:ietf:params:netconf:base:1.0";
const BASE_1_1: &str = "urn:ietf:params:netconf:base:1.1";

/// What ends a message where there are no chunks.
const END: &[u8] = b"]]>]]>";

/// Bytes of a chunk, when nothing else is said.
const CHUNK: usize = 4096;

#[cfg(test)]
mod tests;
