//! Mutations that are the same each time, for the tests that try the targets without a fuzzer.

/// The same numbers each time (xorshift64*).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// One of several.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Alters bytes a little, with pieces of seeds.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>, seeds: &[(String, Vec<u8>)]) {
        let at = self.below(bytes.len());
        let end = at + self.below(bytes.len().saturating_sub(at).min(16) + 1);
        match self.below(8) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = *self.of(&[0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'*', b',']),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            4 => bytes.truncate(at),
            // A length that promises much.
            5 => drop(bytes.splice(at..end, [0xff, 0xff, 0xff, 0xff, 0x0f])),
            6 => {
                let other = &self.of(seeds).1.clone();
                let from = self.below(other.len());
                drop(bytes.splice(at..end, other[from..].iter().copied().take(64)));
            }
            _ => bytes.push(self.next().to_le_bytes()[0]),
        }
    }
}
