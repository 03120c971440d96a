//! Numbers that a seed decides, the same on every machine.

/// A generator (SplitMix64): small, quick, and good enough to choose faults by.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// One whose numbers follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another one, whose numbers follow from this one's seed and a number.
    #[must_use]
    pub fn branch(&self, number: u64) -> Self {
        Self(Self(self.0 ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03)).next())
    }

    /// Another one, at the cost of one number of this one.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// A number below `end`, which isn't 0.
    pub fn below(&mut self, end: usize) -> usize {
        let number = self.next() % u64::try_from(end).expect("a small number");
        usize::try_from(number).expect("a small number")
    }

    /// A number of milliseconds from `least` to `most`.
    pub fn milliseconds(&mut self, least: usize, most: usize) -> std::time::Duration {
        let number = least + self.below(most - least + 1);
        std::time::Duration::from_millis(u64::try_from(number).expect("a small number"))
    }

    /// Whether one chance in `of` comes up.
    pub fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// Puts items into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
