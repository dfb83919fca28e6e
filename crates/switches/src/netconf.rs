//! NETCONF over SSH (RFC 6241, 6242): asked one thing at a time, and only what reads.
//!
//! A device says what it is set to and how it does in elements, which need no screen to be read from. Nothing is changed
//! this way: Network OS has no candidate to commit or to throw away, so that its command line loses nothing by it.

mod error;
mod frames;
mod hello;
mod reads;
mod xml;

use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{Channel, ChannelMsg};
use tokio::time::{Instant, timeout_at};

pub use error::{NetconfError, RpcError, Severity};
pub(crate) use hello::Hello;
pub use xml::Element;

use self::error::shorten;
use self::frames::Frames;
use crate::Patience;
use crate::ssh::host_key::Witness;

/// An open session, on a channel of its own beside the command line.
pub(crate) struct Client {
    channel: Channel<Msg>,
    frames: Frames,
    hello: Hello,
    patience: Patience,
    /// The number of the last request.
    asked: u64,
}

impl Client {
    /// Opens it on a connection that is logged in, and exchanges greetings.
    pub(crate) async fn open(handle: &Handle<Witness>, patience: Patience) -> Result<Self, NetconfError> {
        let doing = "open NETCONF";
        let until = Instant::now() + patience.greeting;
        let late = |_| NetconfError::Late { doing: doing.into(), after: patience.greeting };
        let opening = timeout_at(until, handle.channel_open_session()).await.map_err(late)?;
        let channel = opening.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(_) => {
                NetconfError::Absent("the device allows no second channel on a connection".into())
            }
            _ => NetconfError::Closed { doing: doing.into() },
        })?;
        let mut client = Self {
            channel,
            frames: Frames::default(),
            hello: Hello { session: 0, capabilities: Vec::new() },
            patience,
            asked: 0,
        };
        let asking = timeout_at(until, client.channel.request_subsystem(true, "netconf")).await.map_err(late)?;
        asking.map_err(|_| NetconfError::Closed { doing: doing.into() })?;
        client.granted(until, doing).await?;
        client.send(&Hello::ours().to_string(), "greet by NETCONF").await?;
        let message = client.receive(until, patience.greeting, "greet by NETCONF").await?;
        client.hello = Hello::read(&parse(&message)?)?;
        if client.hello.is_chunked() {
            client.frames.go_chunked();
        }
        Ok(client)
    }

    /// What the device says that it is capable of.
    pub(crate) const fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Asks, and takes the answer: what stands within the `<rpc-reply>`.
    pub(crate) async fn call(&mut self, request: Element) -> Result<Element, NetconfError> {
        self.asked += 1;
        let doing = format!("NETCONF `{}`", request.name());
        let id = self.asked.to_string();
        let rpc = Element::new("rpc", BASE).attribute("message-id", &id).child(request);
        self.send(&rpc.to_string(), &doing).await?;
        let until = Instant::now() + self.patience.command;
        let message = self.receive(until, self.patience.command, &doing).await?;
        answer(parse(&message)?, &id, &doing)
    }

    /// Whether it got the subsystem.
    async fn granted(&mut self, until: Instant, doing: &str) -> Result<(), NetconfError> {
        loop {
            let late = |_| NetconfError::Late { doing: doing.into(), after: self.patience.greeting };
            match timeout_at(until, self.channel.wait()).await.map_err(late)? {
                Some(ChannelMsg::Success) => return Ok(()),
                Some(ChannelMsg::Failure) => {
                    return Err(NetconfError::Absent("the device has no such subsystem".into()));
                }
                Some(ChannelMsg::Data { data }) => self.frames.feed(&data)?,
                None | Some(ChannelMsg::Eof | ChannelMsg::Close) => {
                    return Err(NetconfError::Closed { doing: doing.into() });
                }
                Some(_) => {}
            }
        }
    }

    async fn send(&mut self, text: &str, doing: &str) -> Result<(), NetconfError> {
        let sending = self.channel.data_bytes(self.frames.wrap(text));
        match timeout_at(Instant::now() + self.patience.idle, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(NetconfError::Closed { doing: doing.into() }),
            Err(_) => Err(NetconfError::Late { doing: doing.into(), after: self.patience.idle }),
        }
    }

    /// The next message: whole by then, and never silent for longer than is waited.
    async fn receive(&mut self, until: Instant, whole: Duration, doing: &str) -> Result<String, NetconfError> {
        loop {
            if let Some(message) = self.frames.next()? {
                return Ok(message);
            }
            let idle = Instant::now() + self.patience.idle;
            let after = if idle < until { self.patience.idle } else { whole };
            match timeout_at(idle.min(until), self.channel.wait()).await {
                Err(_) => return Err(NetconfError::Late { doing: doing.into(), after }),
                Ok(Some(ChannelMsg::Data { data })) => self.frames.feed(&data)?,
                Ok(None | Some(ChannelMsg::Eof | ChannelMsg::Close)) => {
                    return Err(NetconfError::Closed { doing: doing.into() });
                }
                Ok(Some(_)) => {}
            }
        }
    }
}

fn parse(message: &str) -> Result<Element, NetconfError> {
    Element::parse(message).map_err(|why| NetconfError::Xml(shorten(&why)))
}

/// Judges an answer: it must be to this request, and no refusal.
fn answer(root: Element, id: &str, doing: &str) -> Result<Element, NetconfError> {
    let stray = |expected: String, found: String| NetconfError::Stray { doing: doing.into(), expected, found };
    if !root.is("rpc-reply", BASE) {
        return Err(stray("`rpc-reply`".into(), format!("`{}`", shorten(&root.to_string()))));
    }
    let said = root.children().iter().filter(|child| child.is("rpc-error", BASE));
    let errors: Vec<RpcError> = said.take(ERRORS_MAX).map(RpcError::read).collect();
    let refused = errors.iter().any(|error| error.severity == Severity::Error);
    match root.value("message-id") {
        Some(found) if found == id => {}
        // A request that was not understood may be answered without its number.
        None if refused => {}
        found => {
            let found = found.map_or_else(|| "none".to_owned(), |found| format!("{:?}", shorten(found)));
            return Err(stray(format!("the answer to message {id:?}"), found));
        }
    }
    if refused {
        return Err(NetconfError::Refused { doing: doing.into(), errors });
    }
    for warning in &errors {
        tracing::warn!(doing, %warning, "the device warns");
    }
    Ok(root)
}

/// The namespace of NETCONF itself.
pub(crate) const BASE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";
/// The most errors of one answer that are told.
const ERRORS_MAX: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail so")]
mod tests {
    use super::*;

    fn judged(attributes: &str, inside: &str) -> Result<Element, NetconfError> {
        let text = format!("<rpc-reply xmlns=\"{BASE}\" {attributes}>{inside}</rpc-reply>");
        answer(Element::parse(&text).unwrap(), "7", "NETCONF `get-config`")
    }

    #[test]
    fn an_answer_is_to_the_question_and_no_refusal() {
        assert_eq!(judged("message-id='7'", "<data/>").unwrap().children().len(), 1);
        let error = judged("message-id='6'", "<data/>").unwrap_err();
        assert!(error.is_transient() && !error.keeps_session());
        assert_eq!(
            error.to_string(),
            "NETCONF `get-config`: lost step with the device: expected the answer to message \"7\", found \"6\""
        );
        assert!(judged("", "<data/>").unwrap_err().to_string().ends_with("found none"));
        let notification = answer(Element::new("notification", BASE), "7", "x").unwrap_err();
        assert!(notification.to_string().contains("expected `rpc-reply`, found `<notification"), "{notification}");
    }

    #[test]
    fn a_refusal_tells_severity_tag_and_message() {
        let said = |severity: &str, tag: &str| {
            format!(
                "<rpc-error><error-type>application</error-type><error-tag>{tag}</error-tag>\
                 <error-severity>{severity}</error-severity><error-path>/a/b</error-path>\
                 <error-message xml:lang=\"en\">not &lt;now&gt;</error-message></rpc-error>"
            )
        };
        let error = judged("message-id='7'", &said("error", "access-denied")).unwrap_err();
        assert!(!error.is_transient() && error.keeps_session());
        assert_eq!(
            error.to_string(),
            "NETCONF `get-config`: the device says error `access-denied` (application): \"not <now>\" at \"/a/b\""
        );
        assert!(judged("message-id='7'", &said("error", "in-use")).unwrap_err().is_transient());
        // It need not repeat the number of what it did not understand, and what has no severity counts as bad.
        let bare = judged("", "<rpc-error/>").unwrap_err();
        assert_eq!(bare.to_string(), "NETCONF `get-config`: the device says error `unknown` (unknown)");
        let warned = format!("{}<data/>", said("warning", "partial-operation"));
        assert!(judged("message-id='7'", &warned).is_ok());
        assert!(judged("", &warned).is_err());
    }
}
