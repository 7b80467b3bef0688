//! Past how many slots more of them only slow each other down. Pure: the measuring is done elsewhere.

use std::collections::BTreeMap;
use std::fmt;

/// What twice as many slots must bring to be worth their memory: a tenth more throughput.
const GAIN_PER_DOUBLING: f64 = 1.1;

/// How often each number of slots is measured.
const TRIES: u8 = 2;

/// Finds the knee: the fewest slots such that no larger number that was measured brings a tenth more throughput for each
/// doubling.
///
/// Asks for 1, 2, 4, 8, … slots, up to a limit, and stops when throughput no longer grows. Whatever else runs on the
/// machine only ever slows a measurement down, so each number is measured twice and the better one counts: a single
/// disturbance changes nothing. Measure warm: the first decode of a state is slower than the others.
#[derive(Debug, Clone)]
pub struct KneeSearch {
    limit: u16,
    measured: BTreeMap<u16, Throughput>,
}

/// What was measured with one number of slots.
#[derive(Debug, Clone, Copy, Default)]
struct Throughput {
    best: f64,
    tries: u8,
}

impl KneeSearch {
    /// A search among 1 to `limit` slots.
    pub fn new(limit: u16) -> Self {
        Self { limit: limit.max(1), measured: BTreeMap::new() }
    }

    /// How many slots to measure next, all of them busy; none when enough is known.
    pub fn next(&self) -> Option<u16> {
        let Some((&last, throughput)) = self.measured.last_key_value() else { return Some(1) };
        if throughput.tries < TRIES {
            return Some(last);
        }
        let next = last.saturating_mul(2).min(self.limit);
        (next > last && self.grew()).then_some(next)
    }

    /// Notes what `slots` busy slots did together, in any unit of work per time. A measurement that failed counts as 0.
    pub fn record(&mut self, slots: u16, throughput: f64) {
        let measured = self.measured.entry(slots).or_default();
        measured.tries = measured.tries.saturating_add(1);
        // `max` prefers a number to what is none.
        measured.best = measured.best.max(throughput);
    }

    /// The knee; none when throughput still grew with the most slots that were measured, so that something else binds.
    pub fn knee(&self) -> Option<u16> {
        let (&most, _) = self.measured.last_key_value()?;
        let nothing_larger_pays =
            |slots: u16| self.measured.range(slots + 1..).all(|(&n, _)| !self.pays(slots, n));
        let knee = self.measured.keys().copied().find(|&slots| slots < most && nothing_larger_pays(slots));
        knee.filter(|slots| self.measured[slots].best > 0.0)
    }

    /// The most slots that were measured.
    pub fn reached(&self) -> Option<u16> {
        self.measured.last_key_value().map(|(&slots, _)| slots)
    }

    /// Whether the last step up brought what it should.
    fn grew(&self) -> bool {
        let mut largest = self.measured.keys().rev();
        match (largest.next(), largest.next()) {
            (Some(&last), Some(&before)) => self.pays(before, last),
            _ => true,
        }
    }

    /// Whether going from `few` to `many` slots brings a tenth more for each doubling.
    fn pays(&self, few: u16, many: u16) -> bool {
        let doublings = (f64::from(many) / f64::from(few)).log2();
        self.measured[&many].best > self.measured[&few].best * GAIN_PER_DOUBLING.powf(doublings)
    }
}

/// What a knee depends on: where one of these differs, it must be measured anew.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KneeKey {
    /// The model's name.
    pub model: String,
    /// The device: its UUID if it has one, else its name.
    pub device: String,
    /// Threads per slot.
    pub threads: u16,
    /// The encoder's window: `fit` or `full`.
    pub window: String,
}

impl fmt::Display for KneeKey {
    /// One word without spaces or quotes that stays the same from version to version; different keys differ in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [model, device, window] = [&self.model, &self.device, &self.window].map(|part| escaped(part));
        write!(f, "{model}/{device}/{}/{window}", self.threads)
    }
}

/// Everything but letters, digits, `-`, `_` and `.` as `%XX`, as in a URL.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// What is measured, in order, and the knee, on a device that does `throughput` with so many slots.
    fn searched(limit: u16, mut throughput: impl FnMut(u16) -> f64) -> (Vec<u16>, Option<u16>) {
        let mut search = KneeSearch::new(limit);
        let mut asked = Vec::new();
        while let Some(slots) = search.next() {
            asked.push(slots);
            search.record(slots, throughput(slots));
            assert!(asked.len() <= 64, "the search does not end: {asked:?}");
        }
        assert_eq!(search.reached(), asked.iter().max().copied());
        (asked, search.knee())
    }

    /// Every slot adds as much as the first, up to `cores` of them.
    fn up_to(cores: f64) -> impl Fn(u16) -> f64 {
        move |slots| f64::from(slots).min(cores) * 10.0
    }

    #[test]
    fn the_search_doubles_until_more_slots_bring_nothing() {
        assert_eq!(searched(64, up_to(1.0)), (vec![1, 1, 2, 2], Some(1)));
        assert_eq!(searched(64, up_to(4.0)), (vec![1, 1, 2, 2, 4, 4, 8, 8], Some(4)));
        assert_eq!(searched(64, up_to(6.0)), (vec![1, 1, 2, 2, 4, 4, 8, 8, 16, 16], Some(8)));
    }

    #[test]
    fn while_throughput_still_grows_there_is_no_knee() {
        assert_eq!(searched(6, up_to(64.0)), (vec![1, 1, 2, 2, 4, 4, 6, 6], None));
        assert_eq!(searched(1, up_to(64.0)), (vec![1, 1], None));
        assert_eq!(searched(0, up_to(64.0)), (vec![1, 1], None));
        assert_eq!(KneeSearch::new(8).knee(), None);
    }

    #[test]
    fn slots_that_slow_each_other_down_are_too_many() {
        let thrashing = |slots: u16| if slots <= 2 { f64::from(slots) } else { 0.5 };
        assert_eq!(searched(64, thrashing), (vec![1, 1, 2, 2, 4, 4], Some(2)));
    }

    #[test]
    fn small_gains_do_not_add_up_to_a_reason() {
        // 8 % for each doubling: 16 slots do a third more than one, and need sixteen times the memory.
        let (_, knee) = searched(16, |slots| 1.08_f64.powf(f64::from(slots).log2()));
        assert_eq!(knee, Some(1));
    }

    #[test]
    fn one_disturbed_measurement_changes_nothing() {
        for disturbed in 1..=8 {
            let mut n = 0;
            let (_, knee) = searched(64, |slots| {
                n += 1;
                up_to(4.0)(slots) * if n == disturbed { 0.6 } else { 1.0 }
            });
            assert_eq!(knee, Some(4), "measurement {disturbed} was disturbed");
        }
    }

    #[test]
    fn measurements_that_fail_end_the_search_without_a_knee() {
        for failed in [0.0, f64::NAN, -1.0] {
            assert_eq!(searched(8, |_| failed), (vec![1, 1, 2, 2], None));
        }
    }

    proptest! {
        /// Fails when the worse of two measurements counts too, or when a gain within the noise is taken for growth.
        #[test]
        fn the_knee_is_found_through_noise(cores in 0_u32..5, noise in prop::collection::vec(0.93_f64..1.0, 64)) {
            let mut noise = noise.into_iter();
            let cores = 2_u16.pow(cores);
            let (_, knee) = searched(64, |slots| up_to(cores.into())(slots) * noise.next().unwrap());
            prop_assert_eq!(knee, Some(cores));
        }
    }

    #[test]
    fn different_keys_have_different_texts() {
        // Names that run into each other unless something keeps them apart.
        let names = ["", "/", "a", "a/", "/a", "//", "%", "%2F"];
        let pairs = names.iter().flat_map(|model| names.map(|device| (*model, device)));
        let text = |(model, device): (&str, &str)| {
            KneeKey { model: model.into(), device: device.into(), threads: 1, window: "fit".into() }
                .to_string()
        };
        let texts: BTreeSet<String> = pairs.map(text).collect();
        assert_eq!(texts.len(), names.len() * names.len());
    }

    #[test]
    fn a_key_reads_the_same_in_every_version() {
        let key = KneeKey {
            model: "large-v3-turbo".into(),
            device: "AMD EPYC 7B13".into(),
            threads: 4,
            window: "full".into(),
        };
        assert_eq!(key.to_string(), "large-v3-turbo/AMD%20EPYC%207B13/4/full");
    }
}
