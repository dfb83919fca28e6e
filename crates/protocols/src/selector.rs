//! Which nodes a declaration, a grant or a command is for: one small language everywhere.
//!
//! `edge-*` matches names (`*` any run, `?` one character), `@rack-3` is short for the label `tag=rack-3` or a bare
//! label `rack-3`, `role=web` matches a label (the value may hold `*`), `*` is everything. A comma means *or*, a leading
//! `!` takes away: `role=web,edge-*,!edge-7` is "web nodes and edge nodes, but not edge-7". A selector of only
//! negations starts from everything.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::Name;

/// Labels of a node: `role = "web"`; a tag is a label with an empty value.
pub type Labels = BTreeMap<Name, String>;

/// The longest selector, in bytes.
pub const SELECTOR_BYTES_MAX: usize = 1024;

/// A parsed selector; prints back as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    text: String,
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Term {
    negated: bool,
    atom: Atom,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Atom {
    Name(String),
    Tag(String),
    Label(String, String),
}

/// Why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a selector: {why}")]
pub struct BadSelector {
    text: String,
    why: String,
}

impl Selector {
    /// The selector `*`: every node.
    pub fn everything() -> Self {
        Self { text: "*".into(), terms: vec![Term { negated: false, atom: Atom::Name("*".into()) }] }
    }

    /// Whether a node of this name with these labels is meant.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        let hit = |term: &Term| match &term.atom {
            Atom::Name(pattern) => glob(pattern, name),
            Atom::Tag(tag) => labels.iter().any(|(key, value)| {
                (value.is_empty() && glob(tag, key.as_str())) || (key.as_str() == "tag" && glob(tag, value))
            }),
            Atom::Label(key, pattern) => labels.iter().any(|(k, value)| k.as_str() == key && glob(pattern, value)),
        };
        let mut positive = self.terms.iter().filter(|t| !t.negated).peekable();
        let wanted = positive.peek().is_none() || positive.any(hit);
        wanted && !self.terms.iter().filter(|t| t.negated).any(hit)
    }

    /// Whether every node that this means is one that `other` means, whatever its name and labels.
    ///
    /// It may say no where a cleverer look would say yes, never the other way round.
    pub fn is_within(&self, other: &Self) -> bool {
        if self.text == other.text || other.is_everything() {
            return true;
        }
        let mut mine = self.terms.iter().filter(|t| !t.negated).peekable();
        let theirs = |a: &Atom| other.terms.iter().any(|t| !t.negated && a.is_within(&t.atom));
        let wanted = if other.terms.iter().all(|t| t.negated) {
            true
        } else {
            mine.peek().is_some() && mine.all(|t| theirs(&t.atom))
        };
        // What the other takes away, this must take away too.
        let taken = |a: &Atom| self.terms.iter().any(|t| t.negated && a.is_within(&t.atom));
        wanted && other.terms.iter().filter(|t| t.negated).all(|t| taken(&t.atom))
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is the plain `*`.
    pub fn is_everything(&self) -> bool {
        self.text == "*"
    }
}

impl Atom {
    fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(a), Self::Name(b)) | (Self::Tag(a), Self::Tag(b)) => pattern_within(a, b),
            (Self::Label(k, a), Self::Label(l, b)) => k == l && pattern_within(a, b),
            _ => false,
        }
    }
}

/// Whether every text that `inner` matches is one that `outer` matches. May say no where it is yes.
fn pattern_within(inner: &str, outer: &str) -> bool {
    // Read as a text, a wildcard of `inner` is only matched by a `*` of `outer`, unless `outer` has a `?`: that would
    // take one `*` for one character.
    inner == outer || (!(outer.contains('?') && inner.contains('*')) && glob(outer, inner))
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for Selector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        let bad = |why: String| BadSelector { text: text.chars().take(120).collect(), why };
        if text.len() > SELECTOR_BYTES_MAX {
            return Err(bad(format!("it is longer than {SELECTOR_BYTES_MAX} bytes")));
        }
        if text.contains(char::is_control) {
            return Err(bad("it holds control characters".into()));
        }
        let mut terms = Vec::new();
        for part in text.split(',') {
            let part = part.trim();
            let (negated, body) = match part.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, part),
            };
            if body.is_empty() {
                return Err(bad("a part between commas is empty".into()));
            }
            let (atom, words) = if let Some(tag) = body.strip_prefix('@') {
                (Atom::Tag(tag.to_owned()), vec![tag])
            } else if let Some((key, value)) = body.split_once('=') {
                if key.parse::<Name>().is_err() {
                    return Err(bad(format!("`{key}` is not a label's name")));
                }
                (Atom::Label(key.to_owned(), value.to_owned()), vec![value])
            } else {
                (Atom::Name(body.to_owned()), vec![body])
            };
            for word in words {
                let odd = |c: &char| {
                    !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*' | '?' | '/' | ':' | '+'))
                };
                if let Some(c) = word.chars().find(odd) {
                    return Err(bad(format!("`{}` in `{part}` has no meaning", c.escape_default())));
                }
                if word.is_empty() && !matches!(atom, Atom::Label(..)) {
                    return Err(bad(format!("`{part}` names nothing")));
                }
            }
            terms.push(Term { negated, atom });
        }
        Ok(Self { text: text.to_owned(), terms })
    }
}

impl Serialize for Selector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether `text` matches `pattern`, where `*` stands for any run and `?` for one character.
///
/// Linear memory and at most `pattern × text` steps: no pattern can make it slow.
pub fn glob(pattern: &str, text: &str) -> bool {
    if pattern.is_ascii() && text.is_ascii() {
        return fits(pattern.as_bytes(), text.as_bytes());
    }
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    fits(&pattern, &text)
}

fn fits<T: PartialEq + From<u8>>(pattern: &[T], text: &[T]) -> bool {
    let (run, one) = (T::from(b'*'), T::from(b'?'));
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == run {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == one || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            p = star_p + 1;
            t = star_t + 1;
            star = Some((star_p, star_t + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), (*v).to_owned())).collect()
    }

    #[test]
    fn selects_by_name_label_and_tag() {
        let web = labels(&[("role", "web"), ("rack-3", "")]);
        let is = |s: &str, name: &str| s.parse::<Selector>().unwrap().matches(name, &web);
        assert!(is("*", "edge-1"));
        assert!(is("edge-*", "edge-1"));
        assert!(!is("edge-*", "core-1"));
        assert!(is("edge-?", "edge-1") && !is("edge-?", "edge-10"));
        assert!(is("role=web", "x") && is("role=w*", "x") && !is("role=db", "x"));
        assert!(is("@rack-3", "x") && !is("@rack-4", "x"));
        assert!(is("role=db,x", "x"));
        assert!(!is("role=web,!edge-1", "edge-1"));
        assert!(is("!edge-7", "edge-1") && !is("!edge-7", "edge-7"));
    }

    #[test]
    fn refuses_what_means_nothing() {
        for bad in ["", ",", "a,,b", "!", "@", "A B", "a;b", "ROLE=x"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_selector_lies_within_another() {
        let within = |a: &str, b: &str| a.parse::<Selector>().unwrap().is_within(&b.parse().unwrap());
        for (a, b) in [
            ("edge-1", "*"),
            ("edge-1", "edge-*"),
            ("edge-1,edge-2", "edge-*,core-*"),
            ("edge-1*", "edge-*"),
            ("edge-?", "edge-*"),
            ("role=web", "role=w*"),
            ("edge-*,!edge-7", "edge-*"),
            ("edge-*,!edge-7*", "edge-*,!edge-7"),
            ("edge-1,!edge-7", "!edge-7"),
        ] {
            assert!(within(a, b), "{a} within {b}");
        }
        for (a, b) in [
            ("*", "edge-*"),
            ("edge-*", "edge-?"),
            ("edge-1,core-1", "edge-*"),
            ("!edge-1", "edge-*"),
            ("edge-*", "edge-*,!edge-7"),
            ("role=web", "edge-*"),
            ("role=web", "site=web"),
        ] {
            assert!(!within(a, b), "{a} not within {b}");
        }
    }

    proptest::proptest! {
        #[test]
        fn within_is_never_wrong(a in "(!?[ab*?]{1,3},){0,2}!?[ab*?]{1,3}", b in "(!?[ab*?]{1,3},){0,2}!?[ab*?]{1,3}") {
            let (a, b): (Selector, Selector) = (a.parse().unwrap(), b.parse().unwrap());
            if a.is_within(&b) {
                for n in 0..3usize.pow(4) {
                    let digit = |at: u32| n / 3usize.pow(at) % 3;
                    let name: String = (0..4).filter_map(|at| ["", "a", "b"].get(digit(at)).copied()).collect();
                    assert!(!a.matches(&name, &Labels::new()) || b.matches(&name, &Labels::new()), "{a} {b} {name}");
                }
            }
        }

        #[test]
        fn glob_agrees_with_a_plain_recursion(p in "[ab*?]{0,8}", t in "[ab]{0,8}") {
            // The same where letters are longer than a byte.
            assert_eq!(glob(&p.replace('a', "ä"), &t.replace('a', "ä")), glob(&p, &t));
            fn slow(p: &[u8], t: &[u8]) -> bool {
                match (p.first(), t.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => slow(&p[1..], t) || (!t.is_empty() && slow(p, &t[1..])),
                    (Some(b'?'), Some(_)) => slow(&p[1..], &t[1..]),
                    (Some(a), Some(b)) if a == b => slow(&p[1..], &t[1..]),
                    _ => false,
                }
            }
            assert_eq!(glob(&p, &t), slow(p.as_bytes(), t.as_bytes()));
        }

        #[test]
        fn any_text_parses_or_is_refused(text in "\\PC{0,60}") {
            if let Ok(selector) = text.parse::<Selector>() {
                assert_eq!(selector.to_string(), text);
                selector.matches("edge-1", &Labels::new());
            }
        }
    }
}
