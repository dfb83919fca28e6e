//! Requests, as far as a switch looks at them: names without their namespaces.

use quick_xml::events::Event;
use quick_xml::{Reader, XmlVersion};

/// An element.
#[derive(Debug, Default)]
pub(super) struct Tag {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    pub(super) text: String,
    pub(super) children: Vec<Self>,
}

impl Tag {
    /// Reads a message, or nothing.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut open: Vec<Self> = Vec::new();
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    let mut tag = Self { name: start.local_name().as_ref().to_owned(), ..Self::default() };
                    for attribute in start.attributes() {
                        let attribute = attribute.ok()?;
                        let value = attribute.normalized_value(XmlVersion::Explicit1_0).ok()?.into_owned();
                        tag.attributes.push((attribute.key.as_ref().to_owned(), value));
                    }
                    open.push(tag);
                }
                Event::End(_) => {
                    let tag = open.pop()?;
                    match open.last_mut() {
                        Some(outer) => outer.children.push(tag),
                        None => return Some(tag),
                    }
                }
                Event::Text(text) => {
                    if let Some(tag) = open.last_mut() {
                        tag.text.push_str(&text);
                    }
                }
                Event::Eof => return None,
                _ => {}
            }
        }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the child of this name.
    pub(super) fn leaf(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }

    /// Every element of this name, however deep.
    pub(super) fn all(&self, name: &str) -> Vec<&Self> {
        let mut found: Vec<&Self> = self.children.iter().flat_map(|child| child.all(name)).collect();
        if self.name == name {
            found.push(self);
        }
        found
    }
}
