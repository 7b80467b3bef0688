//! When to give a slot back, and when to take one again. Pure: time and memory are handed in.
//!
//! Shrinking is quick, because a device without memory ends the process; growing is slow, because nothing is lost by
//! waiting. Between the two thresholds lies a whole slot and a margin, so that the memory of a slot that was just closed
//! is never by itself a reason to open it again.

use super::{Bytes, DeviceMemory};
use std::time::Duration;

/// How long a slot that was opened must last, or opening it counts as a mistake.
const REGRET: Duration = Duration::from_secs(60);

/// The longest time without growth after a slot was given back.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Where the thresholds lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElasticitySettings {
    /// With less than this free, a slot is given back.
    pub reserve: Bytes,
    /// What a slot needs.
    pub slot: Bytes,
    /// What must be free beside the reserve and the slot before one is opened.
    pub margin: Bytes,
    /// The fewest slots.
    pub floor: u16,
    /// The most slots.
    pub target: u16,
    /// For how long there must have been room, without a break, before a slot is opened.
    pub calm: Duration,
    /// How long no slot is opened after one was given back.
    pub pause: Duration,
    /// How long a change takes to show in the memory.
    pub settle: Duration,
}

impl ElasticitySettings {
    /// Between `floor` and `target` slots that need `slot` each, with `reserve` untouched; the times are 10 s of calm,
    /// 30 s without growth after a slot was given back, and 2 s for a change to show.
    pub fn new(reserve: Bytes, slot: Bytes, floor: u16, target: u16) -> Self {
        let times = [10, 30, 2].map(Duration::from_secs);
        let [calm, pause, settle] = times;
        Self { reserve, slot, margin: Bytes(slot.0 / 4), floor, target, calm, pause, settle }
    }
}

/// The slots of the pool, at the moment of the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSlots {
    /// All whose memory is taken or about to be: idle, leased, warming, being rebuilt.
    pub open: u16,
    /// Whether one of them is to be closed already, as soon as its decode is done.
    pub leaving: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Stay,
    /// Close a slot: an idle one, or the next that comes free.
    Shrink,
    /// Open a slot.
    Grow,
}

/// Keeps the pool within the memory that others leave it, one slot at a time.
///
/// A slot is opened at the earliest `calm` after any change and `pause` after one was given back, so the pool never swings
/// faster than that, whatever the memory does. Each time a slot has to be given back within a minute of having been
/// opened (somebody else's memory comes and goes, or a slot needs more than was measured) the pause doubles, up to
/// ten minutes.
#[derive(Debug)]
pub struct Elasticity {
    settings: ElasticitySettings,
    /// Since when every reading had room for another slot.
    roomy_since: Option<Duration>,
    last: Option<(Duration, Change)>,
    pause: Duration,
    /// Not before this is a slot opened.
    paused_until: Duration,
}

impl Elasticity {
    /// A pool that has not changed yet.
    pub fn new(settings: ElasticitySettings) -> Self {
        Self { settings, roomy_since: None, last: None, pause: settings.pause, paused_until: Duration::ZERO }
    }

    /// What to do about a reading of `memory` at `now` (since any fixed moment, never backwards).
    ///
    /// The answer is taken as done: a slot that then cannot be opened or closed is simply asked for again later.
    pub fn decide(&mut self, now: Duration, memory: DeviceMemory, slots: OpenSlots) -> Change {
        let roomy = memory.free >= self.settings.reserve.and(self.settings.slot).and(self.settings.margin);
        self.roomy_since = roomy.then(|| self.roomy_since.unwrap_or(now));
        let pressed = memory.free < self.settings.reserve;
        if pressed && self.may_shrink(now, slots) {
            self.shrink(now)
        } else if self.may_grow(now, slots) {
            self.last = Some((now, Change::Grow));
            Change::Grow
        } else {
            Change::Stay
        }
    }

    fn may_shrink(&self, now: Duration, slots: OpenSlots) -> bool {
        !slots.leaving && slots.open > self.settings.floor && self.unchanged_for(self.settings.settle, now)
    }

    fn may_grow(&self, now: Duration, slots: OpenSlots) -> bool {
        let calm = self.settings.calm;
        let roomy = self.roomy_since.is_some_and(|since| now.saturating_sub(since) >= calm);
        let in_time = now >= self.paused_until && self.unchanged_for(calm, now);
        slots.open < self.settings.target && roomy && in_time
    }

    fn unchanged_for(&self, time: Duration, now: Duration) -> bool {
        self.last.is_none_or(|(at, _)| now.saturating_sub(at) >= time)
    }

    fn shrink(&mut self, now: Duration) -> Change {
        if let Some((at, Change::Grow)) = self.last {
            let regretted = now.saturating_sub(at) < REGRET;
            self.pause = if regretted { (self.pause * 2).min(LONGEST_PAUSE) } else { self.settings.pause };
        }
        self.paused_until = now + self.pause;
        self.last = Some((now, Change::Shrink));
        Change::Shrink
    }
}

#[cfg(test)]
mod tests {
    use super::Change::{Grow, Shrink, Stay};
    use super::*;
    use proptest::prelude::*;

    /// Between 1 and 8 slots of 100 bytes, with 1000 in reserve and a margin of 25.
    fn settings() -> ElasticitySettings {
        ElasticitySettings::new(Bytes(1_000), Bytes(100), 1, 8)
    }

    fn reading(free: u64) -> DeviceMemory {
        DeviceMemory { total: Bytes(100_000), free: Bytes(free) }
    }

    type Decide<'a> = &'a mut dyn FnMut(Duration, DeviceMemory, OpenSlots) -> Change;

    /// What happened in one second.
    #[derive(Debug, Clone, Copy)]
    struct Second {
        free: u64,
        open: u16,
        change: Change,
    }

    /// Drives a pool of `open` slots, all idle, once a second. `free` is told the second and how many slots are open.
    fn run(seconds: u64, mut open: u16, decide: Decide, free: impl Fn(u64, u16) -> u64) -> Vec<Second> {
        let second = |at| {
            let free = free(at, open);
            let slots = OpenSlots { open, leaving: false };
            let change = decide(Duration::from_secs(at), reading(free), slots);
            let before = open;
            match change {
                Grow => open += 1,
                Shrink => open -= 1,
                Stay => {}
            }
            Second { free, open: before, change }
        };
        (0..seconds).map(second).collect()
    }

    /// When a slot was opened (`+`) or given back (`-`), as in `+10 -42`.
    fn changes(trace: &[Second]) -> String {
        let change = |(at, second): (usize, &Second)| match second.change {
            Grow => Some(format!("+{at}")),
            Shrink => Some(format!("-{at}")),
            Stay => None,
        };
        trace.iter().enumerate().filter_map(change).collect::<Vec<_>>().join(" ")
    }

    /// The changes of a pool of `open` slots while so much is free, whatever the pool does.
    fn changes_while(open: u16, free: impl Fn(u64) -> u64, seconds: u64) -> String {
        let mut pool = Elasticity::new(settings());
        changes(&run(seconds, open, &mut |now, memory, slots| pool.decide(now, memory, slots), |at, _| {
            free(at)
        }))
    }

    #[test]
    fn under_pressure_slots_are_given_back_one_by_one_down_to_the_floor() {
        assert_eq!(changes_while(4, |_| 999, 60), "-0 -2 -4");
        assert_eq!(changes_while(4, |_| 1_000, 60), "");
    }

    #[test]
    fn no_other_slot_is_given_back_before_the_one_that_leaves_has_left() {
        let mut pool = Elasticity::new(settings());
        let mut decide =
            |at, leaving| pool.decide(Duration::from_secs(at), reading(0), OpenSlots { open: 4, leaving });
        assert_eq!([decide(0, false), decide(10, true), decide(20, false)], [Shrink, Stay, Shrink]);
    }

    #[test]
    fn slots_come_back_when_there_was_room_for_a_while() {
        assert_eq!(changes_while(6, |_| 1_125, 60), "+10 +20");
        assert_eq!(changes_while(6, |_| 1_124, 60), "");
        assert_eq!(changes_while(7, |at| if at == 9 { 1_124 } else { 1_125 }, 60), "+20");
    }

    #[test]
    fn after_a_slot_was_given_back_none_is_opened_for_a_while() {
        assert_eq!(changes_while(7, |at| if at == 5 { 999 } else { 5_000 }, 60), "-5 +35 +45");
    }

    #[test]
    fn a_growth_that_is_regretted_makes_the_next_one_wait_longer() {
        // Each slot really needs 500, not 100: the fourth is one too many.
        let mut pool = Elasticity::new(settings());
        let free = |_, open: u16| 2_900 - 500 * u64::from(open);
        let trace = run(1_500, 3, &mut |now, memory, slots| pool.decide(now, memory, slots), free);
        assert_eq!(changes(&trace), "+10 -12 +72 -74 +194 -196 +436 -438 +918 -920");
    }

    #[test]
    fn a_growth_that_lasted_is_no_mistake() {
        let pressed_at = |at| [12, 200, 232].contains(&at);
        let free = |at| if pressed_at(at) { 999 } else { 5_000 };
        // Regretted at 12, so 60 s of pause; the slot of 82 lasted until 200, so 30 s again.
        assert_eq!(changes_while(7, free, 240), "+10 -12 +72 -200 +230 -232");
    }

    /// What is wrong with a trace, whatever the memory did.
    fn wrong_with(trace: &[Second]) -> Option<&'static str> {
        let ElasticitySettings { calm, pause, floor, target, .. } = settings();
        let (calm, pause) = (calm.as_secs() as usize, pause.as_secs() as usize);
        let within = |at: usize, time: usize| &trace[at.saturating_sub(time - 1)..at];
        trace.iter().enumerate().find_map(|(at, &Second { free, open, change })| {
            let any = |time, is: fn(&Second) -> bool| within(at, time).iter().any(is);
            let wrongs = [
                (change == Shrink && free >= 1_000, "shrinks without pressure"),
                (change == Shrink && open <= floor, "shrinks below the floor"),
                (change == Grow && open >= target, "grows beyond the target"),
                (change == Grow && (at < calm || any(calm, |it| it.free < 1_125)), "grows without calm"),
                (change == Grow && any(calm, |it| it.change != Stay), "changes too fast"),
                (change == Grow && any(pause, |it| it.change == Shrink), "grows too soon after shrinking"),
            ];
            wrongs.iter().find(|(is_wrong, _)| *is_wrong).map(|(_, what)| *what)
        })
    }

    /// An elasticity without hysteresis: it grows whenever a slot fits.
    fn eager(_: Duration, memory: DeviceMemory, slots: OpenSlots) -> Change {
        match memory.free.0 {
            ..1_000 if slots.open > 1 => Shrink,
            1_100.. if slots.open < 8 => Grow,
            _ => Stay,
        }
    }

    /// Stretches of steady memory: how much is free, for how many seconds.
    fn curve() -> impl Strategy<Value = Vec<u64>> {
        let stretch = (900_u64..1_300, 1_usize..40).prop_map(|(free, seconds)| vec![free; seconds]);
        prop::collection::vec(stretch, 1..30).prop_map(|stretches| stretches.concat())
    }

    proptest! {
        /// Fails without the calm, without the pause, or with either threshold on the wrong side.
        #[test]
        fn no_memory_curve_makes_the_pool_swing(curve in curve(), open in 1_u16..9) {
            let mut pool = Elasticity::new(settings());
            let mut decide = |now, memory, slots| pool.decide(now, memory, slots);
            let trace = run(curve.len() as u64, open, &mut decide, |at, _| curve[at as usize]);
            prop_assert_eq!(wrong_with(&trace), None);
        }

        /// Fails when the thresholds are closer together than a slot, or when a change is judged before it shows.
        #[test]
        fn what_the_pool_itself_takes_and_gives_never_turns_it_round(left in 0_u64..2_500, open in 1_u16..9) {
            let mut pool = Elasticity::new(settings());
            let trace = run_alone(left, open, &mut |now, memory, slots| pool.decide(now, memory, slots));
            prop_assert!(one_way(&trace), "{}", changes(&trace));
        }
    }

    /// A pool alone on a device that has `left` for its slots, the reserve included.
    fn run_alone(left: u64, open: u16, decide: Decide) -> Vec<Second> {
        run(300, open, decide, |_, open| left.saturating_sub(100 * u64::from(open)))
    }

    fn one_way(trace: &[Second]) -> bool {
        let happened = |change| trace.iter().any(|second| second.change == change);
        !(happened(Grow) && happened(Shrink))
    }

    #[test]
    fn an_elasticity_without_hysteresis_would_be_found_out() {
        let trace = run(100, 4, &mut eager, |at, _| if at % 2 == 0 { 999 } else { 1_200 });
        assert!(wrong_with(&trace).is_some());
        let mut greedy = |_, memory: DeviceMemory, slots: OpenSlots| match memory.free.0 {
            ..1_000 if slots.open > 1 => Shrink,
            1_000.. if slots.open < 8 => Grow,
            _ => Stay,
        };
        assert!(!one_way(&run_alone(1_450, 2, &mut greedy)));
    }
}
