//! The greeting: what both sides are capable of.

use super::error::shorten;
use super::{BASE, Element, NetconfError};

/// What a device says that it is capable of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The number that it gave the session.
    pub(crate) session: u32,
    pub(crate) capabilities: Vec<String>,
}

impl Hello {
    pub(super) fn read(root: &Element) -> Result<Self, NetconfError> {
        let bad = |why: String| NetconfError::Hello(why);
        if !root.is("hello", BASE) {
            return Err(bad(format!("it greets with `{}`", shorten(&root.to_string()))));
        }
        let mut capabilities = Vec::new();
        let mut session = None;
        for part in root.children() {
            if part.is("capabilities", BASE) {
                let named = part.children().iter().filter(|child| child.is("capability", BASE));
                capabilities.extend(named.map(|child| child.text().to_owned()));
            } else if part.is("session-id", BASE) {
                let text = part.text();
                let id = text.parse().map_err(|_| bad(format!("its session has the number {text:?}")))?;
                session = Some(id);
            }
        }
        if capabilities.len() > CAPABILITIES_MAX {
            return Err(bad(format!("it names more than {CAPABILITIES_MAX} capabilities")));
        }
        let hello =
            Self { session: session.ok_or_else(|| bad("it gives the session no number".into()))?, capabilities };
        if !hello.has(BASE_1_0) && !hello.has(BASE_1_1) {
            return Err(bad("it names neither base:1.0 nor base:1.1".into()));
        }
        Ok(hello)
    }

    fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|known| known == capability)
    }

    /// Whether messages go in chunks: we are capable of both.
    pub(crate) fn is_chunked(&self) -> bool {
        self.has(BASE_1_1)
    }

    /// Whether it knows a module.
    pub(crate) fn knows(&self, namespace: &str) -> bool {
        self.capabilities.iter().any(|known| known.split('?').next() == Some(namespace))
    }

    /// Ours.
    pub(super) fn ours() -> Element {
        let capabilities = Element::new("capabilities", BASE).leaf("capability", BASE_1_0).leaf("capability", BASE_1_1);
        Element::new("hello", BASE).child(capabilities)
    }
}

const BASE_1_0: &str = "urn:ietf:params:netconf:base:1.0";
const BASE_1_1: &str = "urn:ietf:params:netconf:base:1.1";
/// The most capabilities of a device.
const CAPABILITIES_MAX: usize = 4096;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail so")]
mod tests {
    use super::*;

    fn read(inside: &str) -> Result<Hello, String> {
        let text = format!("<hello xmlns=\"{BASE}\">{inside}</hello>");
        Hello::read(&Element::parse(&text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_greeting_is_read() {
        let good = read(
            "<capabilities><capability>urn:ietf:params:netconf:base:1.0</capability><capability>\
             urn:brocade.com:mgmt:brocade-lag?module=brocade-lag&amp;revision=2014-04-14</capability></capabilities>\
             <session-id>16</session-id>",
        );
        let good = good.unwrap();
        assert!(good.session == 16 && !good.is_chunked());
        assert!(good.knows("urn:brocade.com:mgmt:brocade-lag") && !good.knows("urn:brocade.com:mgmt:brocade"));
        for (inside, why) in [
            ("", "gives the session no number"),
            ("<session-id>x</session-id>", "the number \"x\""),
            ("<session-id>1</session-id>", "neither base:1.0 nor base:1.1"),
            ("<capabilities/><session-id>-1</session-id>", "the number \"-1\""),
        ] {
            let error = read(inside).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let error = Hello::read(&Element::parse("<hello/>").unwrap()).unwrap_err().to_string();
        assert_eq!(error, "greet by NETCONF: it greets with `<hello/>`");
        let ours = Element::parse(&Hello::ours().to_string()).unwrap();
        assert_eq!(ours.children()[0].children().len(), 2);
    }
}
