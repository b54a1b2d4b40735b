//! Numbers from a seed (SplitMix64), or from bytes that somebody has chosen.

/// A generator; the same seed or bytes give the same numbers on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: u64,
    /// What is left of the bytes, the next one last.
    bytes: Option<Vec<u8>>,
}

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d, bytes: None }
    }

    /// As long as they last; then as from a seed.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self { bytes: Some(bytes.iter().rev().copied().collect()), ..Self::new(0) }
    }

    /// Whether there were bytes, and all are used.
    pub(crate) fn is_over(&self) -> bool {
        self.bytes.as_ref().is_some_and(Vec::is_empty)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number less than `bound`: of bytes one, or two where one has not enough values, or none where there is no choice.
    fn up_to(&mut self, bound: u64) -> u64 {
        let chosen = match &mut self.bytes {
            Some(_) if bound == 1 => Some(0),
            Some(bytes) if bound <= 256 => bytes.pop().map(u64::from),
            Some(bytes) => bytes.pop().map(|high| u64::from(high) << 8 | u64::from(bytes.pop().unwrap_or(0))),
            None => None,
        };
        chosen.unwrap_or_else(|| self.next()) % bound
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.up_to(high - low + 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.up_to(bound as u64) as usize
    }

    /// True in `n` of 1000 cases.
    pub(crate) fn permille(&mut self, n: u64) -> bool {
        match self.bytes {
            // A byte decides.
            Some(_) => n > 0 && self.up_to(256) * 1000 < n * 256,
            None => self.next() % 1000 < n,
        }
    }

    /// A random pick.
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}
