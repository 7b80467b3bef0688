//! Seeded chance for people: a stream of numbers for each of them, without a dependency.

use std::f64::consts::TAU;

/// `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014). Made for seeds that follow on one another, as persons do.
#[derive(Debug, Clone)]
pub(in super::super) struct Chance(u64);

impl Chance {
    /// The stream of one person.
    pub(in super::super) fn of_person(seed: u64, person: u32) -> Self {
        let mut streams = Self(seed);
        Self(streams.next() ^ (u64::from(person) << 32))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly distributed over [0, 1).
    pub(in super::super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normally distributed around 0 with deviation 1 (Box and Muller, 1958).
    pub(in super::super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }

    /// Puts `items` into an order in which all are equally likely (Fisher and Yates).
    pub(in super::super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.unit() * (last + 1) as f64) as usize);
        }
    }
}
