//! Chance. A history has nothing of it but what follows from its seed and a name, so that a
//! move that is left out changes nothing else.

/// One stream of numbers.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Some number of microseconds, of any size from one to the other.
    pub fn micros(&mut self, from: u64, to: u64) -> u64 {
        let scales = (to / from).max(1).ilog2() as u64 + 1;
        let scale = from << self.below(scales);
        (scale + self.below(scale)).min(to)
    }
}

/// The number that this seed has for these words.
pub fn drawn(seed: u64, words: &[u64]) -> u64 {
    words.iter().fold(seed, |so_far, word| {
        mix(so_far ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    })
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
