//! When people speak, and what: a seeded model of turns. Pure: it says what to do next, and never waits.
//!
//! What it leaves out: who waits for whom. A person that waits for its text before it speaks again speaks less often
//! than the duty says, as people do.

pub(super) mod chance;
mod pauses;

pub(super) use pauses::Pauses;

use super::clips::Clip;
use chance::Chance;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

/// How people take turns.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnSettings {
    /// The part of the time in which a person plays a recording, on average; more than 0. A duty that leaves less than
    /// `shortest_pause` between two recordings is not reached. 1 is to speak without pause: recordings are cut to their
    /// speech, those without any are left out, and from the last speech of one to the first of the next it is
    /// `shortest_pause`, always.
    pub duty: f64,
    /// Where chance begins. The same seed gives the same conversation.
    pub seed: u64,
    /// No pause between two turns is shorter, so that a server can tell them apart.
    pub shortest_pause: Duration,
    /// How likely a turn is to interrupt the reply to the one before, 0 to 1. Only for who listens to replies.
    pub interrupts: f64,
}

/// Words begin and end more softly than a label can say.
const MARGIN: Duration = Duration::from_millis(150);

impl TurnSettings {
    /// The part of the time for which people speak who talk to a machine.
    pub const DUTY: f64 = 0.3;

    /// So long a silence ends an utterance for any server, and hardly anybody is quicker.
    pub const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

    /// Half a second of silence ends an utterance for most servers, and a voice detector takes a tenth to be sure: the
    /// shortest pause after which the next words are another turn.
    pub const SHORTEST_GAP: Duration = Duration::from_millis(700);

    /// Whether people speak without pause.
    pub fn are_without_pause(&self) -> bool {
        self.duty >= 1.0
    }

    /// How long somebody with recordings of these lengths is silent between two turns.
    pub(super) fn pauses(&self, clips: &[Duration]) -> Pauses {
        if self.are_without_pause() {
            let pause = self.shortest_pause.saturating_sub(self.margin() * 2);
            return Pauses::lasting(pause, pause);
        }
        Pauses::between(mean(clips), self.duty, self.shortest_pause)
    }

    /// The recordings as people say them.
    pub(super) fn as_said(&self, clips: &[Arc<Clip>]) -> Vec<Arc<Clip>> {
        if !self.are_without_pause() {
            return clips.to_vec();
        }
        let spoken = clips.iter().filter(|clip| !clip.speech.is_empty());
        spoken.map(|clip| Arc::new(clip.tight(self.margin()))).collect()
    }

    /// What stays before and behind the speech of a recording that is cut to it.
    fn margin(&self) -> Duration {
        MARGIN.min(self.shortest_pause / 2)
    }
}

impl Default for TurnSettings {
    /// As people do who talk to a machine; nobody interrupts.
    fn default() -> Self {
        Self { duty: Self::DUTY, seed: 1, shortest_pause: Self::SHORTEST_PAUSE, interrupts: 0.0 }
    }
}

/// The next thing that somebody says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// How long the person is silent first.
    pub pause: Duration,
    /// Which of its recordings it plays then, counted from 0.
    pub clip: usize,
    /// How far into the reply to the last turn it begins, instead of after `pause`; `None` for who lets others finish.
    pub interrupts: Option<Duration>,
}

/// The turns of one person, without end. Silent about somebody without recordings.
#[derive(Debug, Clone)]
pub struct Turns {
    chance: Chance,
    pauses: Pauses,
    interrupts: f64,
    /// A turn and its pause; `None` once the first turn was taken.
    first_cycle: Option<Duration>,
    /// One pass through the recordings, in the order of this pass, and how much of it is done.
    pass: Vec<usize>,
    done: usize,
}

/// A reply is interrupted between this and four times as far into it.
const EARLIEST_INTERRUPTION: Duration = Duration::from_millis(300);

impl Turns {
    /// The turns of a person whose recordings have these lengths.
    pub fn new(settings: &TurnSettings, person: u32, clips: &[Duration]) -> Self {
        let pauses = settings.pauses(clips);
        Self {
            chance: Chance::of_person(settings.seed, person),
            interrupts: settings.interrupts,
            first_cycle: Some(mean(clips) + pauses.mean()),
            pauses,
            pass: (0..clips.len()).collect(),
            done: clips.len(),
        }
    }

    /// Every recording once in each pass, so that all are heard equally often.
    fn next_clip(&mut self) -> Option<usize> {
        if self.done == self.pass.len() {
            self.chance.shuffle(&mut self.pass);
            self.done = 0;
        }
        let clip = self.pass.get(self.done).copied();
        self.done += 1;
        clip
    }

    /// The first pause is a random part of a cycle, so that people do not start in step.
    fn next_pause(&mut self) -> Duration {
        match self.first_cycle.take() {
            Some(cycle) => cycle.mul_f64(self.chance.unit()),
            None => self.pauses.draw(self.chance.normal()),
        }
    }
}

impl Iterator for Turns {
    type Item = Turn;

    fn next(&mut self) -> Option<Turn> {
        let is_first = self.first_cycle.is_some();
        let clip = self.next_clip()?;
        let pause = self.next_pause();
        // Drawn whether or not anybody interrupts, so that pauses are the same in both cases.
        let (decides, depth) = (self.chance.unit(), self.chance.unit());
        let interrupts = (!is_first && decides < self.interrupts)
            .then(|| EARLIEST_INTERRUPTION.mul_f64(1.0 + 3.0 * depth));
        Some(Turn { pause, clip, interrupts })
    }
}

/// 0 of none.
pub(super) fn mean(clips: &[Duration]) -> Duration {
    clips.iter().sum::<Duration>().div_f64(clips.len().max(1) as f64)
}

/// Who gets which recordings: for each person the indices of its own, in order.
///
/// While there are enough, nobody shares one with anybody, all are given out, and everybody gets about as much to say.
/// When there are fewer recordings than people, each gets one, and all are given out equally often.
pub fn assign(clips: &[Duration], people: u32, seed: u64) -> Vec<Vec<usize>> {
    let mut shuffled: Vec<usize> = (0..clips.len()).collect();
    Chance::of_person(seed, u32::MAX).shuffle(&mut shuffled);
    let mut sets: Vec<Vec<usize>> = if clips.len() < people as usize {
        shuffled.iter().cycle().take(people as usize).map(|clip| vec![*clip]).collect()
    } else {
        share_out(clips, shuffled, people as usize)
    };
    for set in &mut sets {
        set.sort_unstable();
    }
    sets.resize(people as usize, Vec::new());
    sets
}

/// The longest first, each to whoever has least (Graham's LPT rule).
fn share_out(clips: &[Duration], mut order: Vec<usize>, people: usize) -> Vec<Vec<usize>> {
    order.sort_by_key(|clip| Reverse(clips[*clip]));
    let mut sets = vec![Vec::new(); people];
    let mut least: BinaryHeap<_> =
        (0..people).map(|person| Reverse((Duration::ZERO, 0_usize, person))).collect();
    for clip in order {
        let Some(Reverse((has, count, person))) = least.pop() else { break };
        sets[person].push(clip);
        least.push(Reverse((has + clips[clip], count + 1, person)));
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{SampleRate, Span};
    use proptest::prelude::*;

    const CLIPS: [Duration; 4] =
        [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(3), Duration::from_secs(6)];

    fn settings(duty: f64) -> TurnSettings {
        TurnSettings { duty, ..TurnSettings::default() }
    }

    /// Which part of the time somebody speaks who takes so many turns.
    fn duty_of(turns: Turns, count: usize) -> f64 {
        let (mut speech, mut all) = (0.0, 0.0);
        for turn in turns.take(count) {
            let clip = CLIPS[turn.clip].as_secs_f64();
            speech += clip;
            all += clip + turn.pause.as_secs_f64();
        }
        speech / all
    }

    #[test]
    fn people_speak_for_the_part_of_the_time_that_the_duty_says() {
        for duty in [0.05, 0.2, 0.5, 0.7] {
            let mean = (0..20).map(|person| duty_of(Turns::new(&settings(duty), person, &CLIPS), 2_000));
            let reached = mean.sum::<f64>() / 20.0;
            assert!((reached / duty - 1.0).abs() < 0.02, "{reached} instead of {duty}");
        }
    }

    /// A recording of 3 s with speech from 0.5 s to 2 s, or with none.
    fn clip(text: &str) -> Arc<Clip> {
        let speech = if text.is_empty() { Vec::new() } else { vec![Span::new(8_000, 32_000)] };
        Arc::new(Clip {
            file: "a.wav".into(),
            kind: "all".into(),
            text: text.into(),
            samples: vec![0; 24_000].into(),
            rate: SampleRate::TELEPHONE,
            speech,
        })
    }

    #[test]
    fn without_pause_there_is_always_the_same_gap_between_speech_and_speech() {
        for (gap, margin) in [(700, 150), (200, 100)] {
            let gap = Duration::from_millis(gap);
            let settings = TurnSettings { shortest_pause: gap, ..settings(1.0) };
            let [clip] = &settings.as_said(&[clip("hello"), clip("")])[..] else { panic!("one is spoken") };
            let margin = Duration::from_millis(margin);
            assert_eq!(clip.duration(), Duration::from_millis(1_500) + margin * 2);
            let turns = Turns::new(&settings, 3, &[clip.duration()]).take(100).skip(1);
            assert!(turns.into_iter().all(|turn| turn.pause + margin * 2 == gap));
        }
    }

    #[test]
    fn who_pauses_says_recordings_as_they_are() {
        let clips = [clip("hello"), clip("")];
        assert_eq!(settings(0.9).as_said(&clips), clips);
    }

    #[test]
    fn people_are_as_talkative_as_those_of_a_plan_where_nobody_says_how_much() {
        let TurnSettings { duty, shortest_pause, .. } = TurnSettings::default();
        assert!((duty - TurnSettings::DUTY).abs() < 1e-9);
        let reached = duty_of(Turns::new(&TurnSettings::default(), 0, &CLIPS), 20_000);
        assert!((reached / TurnSettings::DUTY - 1.0).abs() < 0.05, "{reached}");
        let mut turns = Turns::new(&TurnSettings::default(), 0, &CLIPS).skip(1).take(1_000);
        assert!(turns.all(|turn| turn.pause >= shortest_pause));
    }

    #[test]
    fn a_duty_that_leaves_no_pause_leaves_the_shortest_one() {
        let turns = Turns::new(&settings(0.95), 0, &CLIPS);
        assert!(turns.skip(1).take(100).all(|turn| turn.pause == Duration::from_secs(1)));
    }

    #[test]
    fn pauses_have_a_heavy_tail_and_a_shortest_length() {
        let turns = Turns::new(&settings(0.2), 3, &CLIPS).skip(1).take(10_000);
        let mut pauses: Vec<_> = turns.map(|turn| turn.pause.as_secs_f64()).collect();
        pauses.sort_by(f64::total_cmp);
        let mean = pauses.iter().sum::<f64>() / 10_000.0;
        assert!(pauses[0] >= 1.0, "{}", pauses[0]);
        assert!(pauses[5_000] < 0.75 * mean && pauses[9_950] > 5.0 * mean, "mean {mean}");
    }

    #[test]
    fn people_do_not_start_in_step() {
        let first = |person| Turns::new(&settings(0.2), person, &CLIPS).next().unwrap().pause.as_secs_f64();
        let mut firsts: Vec<f64> = (0..1_000).map(first).collect();
        firsts.sort_by(f64::total_cmp);
        // A cycle lasts 15 s on average: the mean recording is 3 s long.
        for (rank, expected) in [(100, 1.5), (500, 7.5), (900, 13.5)] {
            assert!((firsts[rank] - expected).abs() < 1.0, "{} at {rank}", firsts[rank]);
        }
        assert!(firsts[999] <= 15.0);
    }

    #[test]
    fn the_same_seed_gives_the_same_turns_and_another_person_or_seed_others() {
        let turns = |seed, person| -> Vec<_> {
            let settings = TurnSettings { seed, ..settings(0.2) };
            Turns::new(&settings, person, &CLIPS).take(50).collect()
        };
        assert_eq!(turns(1, 1), turns(1, 1));
        assert_ne!(turns(1, 1), turns(1, 2));
        assert_ne!(turns(1, 1), turns(2, 1));
    }

    #[test]
    fn every_recording_is_heard_once_in_each_pass() {
        let clips: Vec<_> = Turns::new(&settings(0.2), 0, &CLIPS).take(40).map(|turn| turn.clip).collect();
        for pass in clips.chunks(4) {
            let mut pass = pass.to_vec();
            pass.sort_unstable();
            assert_eq!(pass, [0, 1, 2, 3]);
        }
        assert!(clips.chunks(4).any(|pass| pass != &clips[..4]), "passes differ");
    }

    #[test]
    fn somebody_without_recordings_says_nothing() {
        assert_eq!(Turns::new(&settings(0.2), 0, &[]).next(), None);
    }

    #[test]
    fn replies_are_interrupted_as_often_as_asked_and_never_by_the_first_turn() {
        for (interrupts, least, most) in [(0.0, 0, 0), (0.2, 150, 250), (1.0, 999, 999)] {
            let settings = TurnSettings { interrupts, ..settings(0.2) };
            let turns: Vec<_> = Turns::new(&settings, 0, &CLIPS).take(1_000).collect();
            let depths: Vec<_> = turns.iter().filter_map(|turn| turn.interrupts).collect();
            assert!((least..=most).contains(&depths.len()), "{} of {interrupts}", depths.len());
            assert!(depths.iter().all(|depth| (300..=1_200).contains(&depth.as_millis())));
            assert_eq!(turns[0].interrupts, None);
        }
    }

    proptest! {
        /// Fails if a recording is shared or left over while there are enough, or if somebody gets nothing.
        #[test]
        fn recordings_are_shared_by_nobody_while_there_are_enough_and_evenly_when_not(
            lengths in proptest::collection::vec(0_u64..30_000, 1..60),
            people in 1_u32..40,
            seed: u64,
        ) {
            let clips: Vec<_> = lengths.iter().map(|ms| Duration::from_millis(*ms)).collect();
            let sets = assign(&clips, people, seed);
            prop_assert_eq!(sets.len(), people as usize);
            prop_assert!(sets.iter().all(|set| !set.is_empty()));
            let mut uses = vec![0; clips.len()];
            for clip in sets.iter().flatten() {
                uses[*clip] += 1;
            }
            let (least, most) = (uses.iter().min().unwrap(), uses.iter().max().unwrap());
            if clips.len() >= people as usize {
                prop_assert_eq!((*least, *most), (1, 1));
            } else {
                prop_assert!(most - least <= 1 && sets.iter().all(|set| set.len() == 1));
            }
        }

        /// Fails if one person gets more to say than another by more than its longest recording.
        #[test]
        fn everybody_gets_about_as_much_to_say(
            lengths in proptest::collection::vec(1_u64..30_000, 20..60),
            people in 1_u32..20,
        ) {
            let clips: Vec<_> = lengths.iter().map(|ms| Duration::from_millis(*ms)).collect();
            let sets = assign(&clips, people, 7);
            let amount = |set: &Vec<usize>| set.iter().map(|clip| clips[*clip]).sum::<Duration>();
            let (least, most) = (sets.iter().map(amount).min().unwrap(), sets.iter().map(amount).max().unwrap());
            prop_assert!(most <= least + *clips.iter().max().unwrap());
        }
    }

    #[test]
    fn without_recordings_everybody_gets_none() {
        assert_eq!(assign(&[], 2, 1), vec![Vec::<usize>::new(); 2]);
    }
}
