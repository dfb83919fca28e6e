//! The name of a port, the same whatever the device calls it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A port or a port channel: `1/1/7`, `2/1`, `3`, `te1/0/5`, `lg12`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Port {
    media: Media,
    path: [u16; 3],
    parts: u8,
}

/// What a port is, as far as its name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Media {
    /// A port that is named by numbers alone.
    Plain,
    /// One Gigabit, `gi`.
    Gigabit,
    /// Ten Gigabit, `te`.
    TenGigabit,
    /// Forty Gigabit, `fo`.
    FortyGigabit,
    /// A hundred Gigabit, `hu`.
    HundredGigabit,
    /// A port channel, `lg`.
    Channel,
}

impl Port {
    /// A port by its numbers, one to three of them.
    pub fn new(media: Media, numbers: &[u16]) -> Option<Self> {
        let fits = if media == Media::Channel { numbers.len() == 1 } else { (1..=3).contains(&numbers.len()) };
        if !fits {
            return None;
        }
        let mut path = [0; 3];
        path[..numbers.len()].copy_from_slice(numbers);
        Some(Self { media, path, parts: u8::try_from(numbers.len()).ok()? })
    }

    /// A port channel by its id.
    pub const fn channel(id: u16) -> Self {
        Self { media: Media::Channel, path: [id, 0, 0], parts: 1 }
    }

    /// What it is.
    pub const fn media(self) -> Media {
        self.media
    }

    /// Its numbers.
    pub fn numbers(&self) -> &[u16] {
        &self.path[..usize::from(self.parts)]
    }

    /// Its id if it is a port channel.
    pub const fn channel_id(self) -> Option<u16> {
        match self.media {
            Media::Channel => Some(self.path[0]),
            _ => None,
        }
    }

    /// The port with the next number.
    pub fn next(self) -> Option<Self> {
        let mut next = self;
        let last = next.path.get_mut(usize::from(self.parts).checked_sub(1)?)?;
        *last = last.checked_add(1)?;
        Some(next)
    }

    /// All ports of a range, which may not go beyond a unit and module.
    pub fn range(self, last: Self) -> Option<Vec<Self>> {
        let (from, to) = (self.numbers(), last.numbers());
        let (tail, head) = (from.last()?, from.get(..from.len() - 1)?);
        if self.media != last.media || to.len() != from.len() || to.get(..to.len() - 1)? != head {
            return None;
        }
        let end = *to.last()?;
        if end < *tail || end - tail >= RANGE_MAX {
            return None;
        }
        let mut ports = Vec::new();
        for number in *tail..=end {
            let mut numbers = from.to_vec();
            *numbers.last_mut()? = number;
            ports.push(Self::new(self.media, &numbers)?);
        }
        Some(ports)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let media = match self.media {
            Media::Plain => "",
            Media::Gigabit => "gi",
            Media::TenGigabit => "te",
            Media::FortyGigabit => "fo",
            Media::HundredGigabit => "hu",
            Media::Channel => "lg",
        };
        let numbers: Vec<String> = self.numbers().iter().map(u16::to_string).collect();
        f.pad(&format!("{media}{}", numbers.join("/")))
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Port> for String {
    fn from(port: Port) -> Self {
        port.to_string()
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            let text: String = text.chars().take(40).collect();
            format!("`{}` is not a port; write `1/1/7`, `te1/0/5` or `lg12`", text.escape_default())
        };
        let split = text.find(|c: char| c.is_ascii_digit()).ok_or_else(bad)?;
        let media = match &text[..split] {
            "" => Media::Plain,
            "gi" => Media::Gigabit,
            "te" => Media::TenGigabit,
            "fo" => Media::FortyGigabit,
            "hu" => Media::HundredGigabit,
            "lg" | "po" => Media::Channel,
            _ => return Err(bad()),
        };
        let mut numbers = Vec::new();
        for part in text[split..].split('/') {
            let plain = !part.is_empty() && part.len() <= 5 && part.bytes().all(|b| b.is_ascii_digit());
            if !plain || numbers.len() == 3 {
                return Err(bad());
            }
            numbers.push(part.parse::<u16>().map_err(|_| bad())?);
        }
        Self::new(media, &numbers).ok_or_else(bad)
    }
}

impl TryFrom<String> for Port {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The most ports of one range.
const RANGE_MAX: u16 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, again) in [("1/1/7", "1/1/7"), ("3", "3"), ("te1/0/5", "te1/0/5"), ("po7", "lg7"), ("lg61", "lg61")]
        {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), again);
        }
        for bad in ["", "a", "1/", "/1", "1/1/1/1", "lg1/2", "1/1/70000", "xe1/1", "1/+1/1", "lg", "1/1/ä"] {
            assert!(bad.parse::<Port>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_stay_within_a_module() {
        let port = |text: &str| text.parse::<Port>().unwrap();
        assert_eq!(port("10/2/9").range(port("10/2/11")).unwrap(), [port("10/2/9"), port("10/2/10"), port("10/2/11")]);
        assert!(port("1/2/5").range(port("2/2/6")).is_none());
        assert!(port("1/2/5").range(port("1/2/4")).is_none());
        assert!(port("1/2/5").range(port("1/2")).is_none());
        assert!(port("1").range(port("65535")).is_none());
    }
}
