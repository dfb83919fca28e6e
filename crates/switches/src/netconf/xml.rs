//! XML as NETCONF uses it: elements with namespaces, leaves with text. No document types, no entities of its own.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;
use quick_xml::{NsReader, XmlVersion};

/// An element.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Element {
    name: String,
    namespace: Option<Arc<str>>,
    /// Attributes without a namespace.
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Self>,
}

impl Element {
    /// An element in a namespace.
    pub fn new(name: &str, namespace: &str) -> Self {
        Self { name: name.to_owned(), namespace: Some(namespace.into()), ..Self::default() }
    }

    /// The same with an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with a child in another namespace.
    #[must_use]
    pub fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// The same with a leaf in its own namespace.
    #[must_use]
    pub fn leaf(mut self, name: &str, text: &str) -> Self {
        let namespace = self.namespace.clone();
        self.children.push(Self { name: name.to_owned(), namespace, text: text.to_owned(), ..Self::default() });
        self
    }

    /// Its name, without a prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the one of this name and namespace.
    pub fn is(&self, name: &str, namespace: &str) -> bool {
        self.name == name && self.namespace.as_deref() == Some(namespace)
    }

    /// Its text, without blanks around it.
    pub fn text(&self) -> &str {
        self.text.trim()
    }

    /// The elements in it.
    pub fn children(&self) -> &[Self] {
        &self.children
    }

    /// The value of an attribute.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Reads a message.
    ///
    /// # Errors
    /// Why it is none that is believed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = NsReader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut open: Vec<Self> = Vec::new();
        let mut root = None;
        let mut count = 0_usize;
        let mut names: BTreeSet<Arc<str>> = BTreeSet::new();
        loop {
            let (namespace, event) = reader.read_resolved_event().map_err(|error| error.to_string())?;
            match event {
                Event::Start(start) => {
                    count += 1;
                    if count > ELEMENTS_MAX {
                        return Err(format!("it has more than {ELEMENTS_MAX} elements"));
                    }
                    if open.len() >= DEPTH_MAX {
                        return Err(format!("its elements are more than {DEPTH_MAX} deep"));
                    }
                    if root.is_some() {
                        return Err("it has two outermost elements".into());
                    }
                    let namespace = match namespace {
                        ResolveResult::Bound(name) => {
                            let name = name.into_inner();
                            let known = names.get(name).cloned();
                            Some(known.unwrap_or_else(|| {
                                let name: Arc<str> = name.into();
                                names.insert(Arc::clone(&name));
                                name
                            }))
                        }
                        ResolveResult::Unbound => None,
                        ResolveResult::Unknown(prefix) => return Err(format!("nothing says what `{prefix}:` is")),
                    };
                    let mut element =
                        Self { name: start.local_name().as_ref().to_owned(), namespace, ..Self::default() };
                    for attribute in start.attributes() {
                        let attribute = attribute.map_err(|error| error.to_string())?;
                        let key = attribute.key.as_ref();
                        if key == "xmlns" || key.contains(':') {
                            continue;
                        }
                        let value = attribute.normalized_value(XmlVersion::Explicit1_0);
                        let value = value.map_err(|error| error.to_string())?;
                        element.attributes.push((key.to_owned(), value.into_owned()));
                    }
                    open.push(element);
                }
                Event::End(_) => {
                    let Some(element) = open.pop() else { return Err("an element ends that never began".into()) };
                    match open.last_mut() {
                        Some(outer) => outer.children.push(element),
                        None => root = Some(element),
                    }
                }
                Event::Text(text) => add(&mut open, &text.xml10_content())?,
                Event::CData(text) => add(&mut open, &text.xml10_content())?,
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                    match (character, resolve_predefined_entity(&reference)) {
                        (Some(character), _) => add(&mut open, character.encode_utf8(&mut [0; 4]))?,
                        (None, Some(text)) => add(&mut open, text)?,
                        (None, None) => return Err(format!("nothing says what `&{};` is", &*reference)),
                    }
                }
                Event::DocType(_) => return Err("it has a document type".into()),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
                // With empty elements expanded there are none.
                Event::Empty(_) => return Err("an empty element came as one".into()),
                Event::Eof if open.is_empty() => return root.ok_or_else(|| "there is nothing in it".into()),
                Event::Eof => return Err("it ends within an element".into()),
            }
        }
    }

    fn write(&self, outer: Option<&str>, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        let namespace = self.namespace.as_deref();
        if namespace != outer {
            out.push_str(&format!(" xmlns=\"{}\"", escape(namespace.unwrap_or_default())));
        }
        for (name, value) in &self.attributes {
            out.push_str(&format!(" {name}=\"{}\"", escape(value)));
        }
        if self.text.is_empty() && self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        out.push_str(&escape(&self.text));
        for child in &self.children {
            child.write(namespace, out);
        }
        out.push_str(&format!("</{}>", self.name));
    }
}

/// Adds text to the innermost element; outside of all there is none.
fn add(open: &mut [Element], text: &str) -> Result<(), String> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err("there is text outside of its elements".into()),
    }
    Ok(())
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(None, &mut out);
        f.write_str(&out)
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The most elements of a message.
const ELEMENTS_MAX: usize = 500_000;
/// How deep elements may stand in each other.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail so")]
mod tests {
    use super::*;

    #[test]
    fn prefixes_entities_and_empty_elements_are_read() {
        let text = "<?xml version=\"1.0\"?>\n<n:a xmlns:n=\"urn:n\" id='1&amp;2' n:x='y'><b xmlns=\"urn:b\">1 &lt; \
                    2&#33;<![CDATA[ & ]]></b><!-- no --><n:c/><d/></n:a>\n";
        let found = Element::parse(text).unwrap();
        assert!(found.is("a", "urn:n") && !found.is("a", "urn:b"));
        assert_eq!(found.value("id"), Some("1&2"));
        assert_eq!(found.value("x"), None);
        let children: Vec<&str> = found.children().iter().map(Element::name).collect();
        assert_eq!(children, ["b", "c", "d"]);
        assert_eq!(found.children()[0].text(), "1 < 2! &");
        assert!(found.children()[1].is("c", "urn:n") && !found.children()[2].is("d", "urn:n"));
        assert_eq!(Element::parse(&found.to_string()).unwrap(), found);
    }

    #[test]
    fn what_is_not_believed_is_told() {
        let deep = "<a>".repeat(40);
        let many = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX));
        for (text, why) in [
            ("", "nothing in it"),
            ("<a>", "ends within an element"),
            ("<a></b>", "expected `</a>`"),
            ("</a>", "</a>"),
            ("<a/><b/>", "two outermost"),
            ("x<a/>", "outside"),
            ("<a>&lol;</a>", "`&lol;`"),
            ("<!DOCTYPE a [<!ENTITY lol \"lol\">]><a/>", "document type"),
            ("<n:a/>", "what `n:` is"),
            ("<a x='1' x='2'/>", "duplicated attribute"),
            (&deep, "more than 32 deep"),
            (&many, "more than 500000 elements"),
        ] {
            let error = Element::parse(text).unwrap_err();
            assert!(error.contains(why), "{why}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_escaped() {
        let element = Element::new("rpc", "urn:a").attribute("message-id", "\"1\"").leaf("name", "<&>");
        assert_eq!(
            element.to_string(),
            "<rpc xmlns=\"urn:a\" message-id=\"&quot;1&quot;\"><name>&lt;&amp;&gt;</name></rpc>"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(<|/|>|a|b| |x=|'|\"|&|;|#|!|\\[|\\]|-|\\?|xmlns|:|\n|ä){0,60}") {
            let _found = Element::parse(&text);
        }
    }
}
