//! Who hears the news of a document at once, and when to look after those who should and do not.

use std::collections::HashSet;
use std::time::Duration;

use protocols::NodeId;
use tokio::time::Instant;

use super::inbox::News;

/// The neighbours of one document. Live news reach nobody else, and a neighbour that was lost does not always come back
/// by itself: see [`super::stack::Stack::greet`].
#[derive(Debug)]
pub(super) struct Neighbours {
    up: HashSet<NodeId>,
    lost: HashSet<NodeId>,
    next: Instant,
    pause: Duration,
    longest: Duration,
}

impl Neighbours {
    /// Nobody yet. What is tried without success is tried again with growing pauses, the longest of which is named.
    pub(super) fn new(longest: Duration) -> Self {
        let longest = longest.max(FIRST_PAUSE);
        Self {
            up: HashSet::new(),
            lost: HashSet::new(),
            next: Instant::now() + FIRST_PAUSE,
            pause: FIRST_PAUSE,
            longest,
        }
    }

    /// Takes note of who came and who went.
    pub(super) fn note(&mut self, news: &News) {
        self.up.extend(&news.up);
        self.up.retain(|peer| !news.down.contains(peer));
        let room = LOST_MAX.saturating_sub(self.lost.len());
        self.lost.extend(news.down.iter().take(room));
        self.lost.retain(|peer| !self.up.contains(peer));
        if !news.down.is_empty() {
            self.pause = FIRST_PAUSE;
            self.soon();
        }
    }

    /// Whether nobody hears of news.
    pub(super) fn is_empty(&self) -> bool {
        self.up.is_empty()
    }

    /// Makes the next look come soon.
    pub(super) fn soon(&mut self) {
        self.next = self.next.min(Instant::now() + FIRST_PAUSE);
    }

    /// When to look next.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Those who were lost, and those of `wanted`, who are no neighbours; none before it is time to look.
    pub(super) fn missing(&mut self, wanted: impl IntoIterator<Item = NodeId>) -> HashSet<NodeId> {
        let now = Instant::now();
        if now < self.next {
            return HashSet::new();
        }
        let wanted = wanted.into_iter().filter(|peer| !self.up.contains(peer));
        let missing: HashSet<_> = self.lost.iter().copied().chain(wanted).collect();
        if missing.is_empty() {
            self.pause = FIRST_PAUSE;
            self.next = now + self.longest;
            return missing;
        }
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(self.longest);
        if self.pause == self.longest {
            // Whoever is gone for good is not dialed for ever. They are back when they dial.
            self.lost.clear();
        }
        missing
    }
}

/// How long the stack underneath has to find neighbours by itself.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Lost neighbours that are remembered.
const LOST_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn news(up: &[u8], down: &[u8]) -> News {
        News {
            up: up.iter().copied().map(peer).collect(),
            down: down.iter().copied().map(peer).collect(),
            ..News::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_missing_is_looked_for_with_growing_pauses() {
        let mut neighbours = Neighbours::new(Duration::from_secs(60));
        assert!(neighbours.missing([peer(1)]).is_empty(), "not at once");
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let before = Instant::now();
            tokio::time::sleep_until(neighbours.next()).await;
            pauses.push(before.elapsed().as_secs());
            assert_eq!(neighbours.missing([peer(1)]), [peer(1)].into());
        }
        assert_eq!(pauses, [2, 2, 4, 8, 16, 32, 60, 60]);
        neighbours.note(&news(&[1], &[]));
        tokio::time::sleep_until(neighbours.next()).await;
        assert!(neighbours.missing([peer(1)]).is_empty(), "it is there");
        neighbours.note(&news(&[], &[1]));
        assert!(neighbours.is_empty());
        assert_eq!(neighbours.next(), Instant::now() + FIRST_PAUSE, "a loss is looked after soon");
        tokio::time::sleep_until(neighbours.next()).await;
        assert_eq!(neighbours.missing([]), [peer(1)].into(), "also who was not named");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_for_good_is_forgotten() {
        let mut neighbours = Neighbours::new(Duration::from_secs(10));
        let crowd: Vec<u8> = (0..100).collect();
        neighbours.note(&news(&crowd, &[]));
        neighbours.note(&news(&[], &crowd));
        let mut looks = 0;
        loop {
            tokio::time::sleep_until(neighbours.next()).await;
            let missing = neighbours.missing([]);
            if missing.is_empty() {
                break;
            }
            assert!(missing.len() <= LOST_MAX);
            looks += 1;
        }
        assert!((2..8).contains(&looks), "{looks}");
    }
}
