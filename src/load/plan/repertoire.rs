//! What the people of a load test say: its recordings, and what the server made of each. Pure.
//!
//! How much work a crowd brings depends on who has which recordings, because who has a long one says it less often. So
//! the people of a plan get theirs, and take their turns, as those of a load test do.

use super::drift::{Decoded, Drift};
use super::fit::Fit;
use super::service::{Point, Sample};
use crate::load::report::{ClipTakes, Take};
use crate::load::simulation::Chance;
use crate::load::turns::{TurnSettings, Turns, assign, mean};
use std::time::Duration;

/// Recordings, and what came of each whenever it was played.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Repertoire {
    clips: Vec<Repeated>,
    drift: Drift,
}

/// One recording.
#[derive(Debug, Clone, PartialEq)]
struct Repeated {
    length: Duration,
    /// Never empty; a take of a recording without speech is.
    takes: Vec<Vec<Spoken>>,
}

/// An utterance in a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spoken {
    /// Where it ends, in seconds from the beginning of the recording.
    end: f64,
    sample: Sample,
}

/// What a crowd says and asks for in a second, on average.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Demand {
    /// Utterances.
    pub(super) utterances: f64,
    /// Seconds of slots.
    pub(super) work: f64,
    /// Seconds of speech.
    pub(super) speech: f64,
}

impl Repertoire {
    /// Puts together what was measured of the same recordings with different numbers of people, and tells by how much
    /// decodes took longer at each point than at the first one, whoever said what there.
    ///
    /// `None` where a point tells nothing of recordings, or of others, or nobody was heard.
    pub(super) fn of(points: &[Point]) -> Option<(Self, Vec<f64>)> {
        let (first, others) = points.split_first()?;
        let same = |other: &Point| {
            let pairs = || first.clips.iter().zip(&other.clips);
            first.clips.len() == other.clips.len() && pairs().all(|(a, b)| is_same(a, b))
        };
        if !others.iter().all(same) || points.iter().all(|point| !is_heard(point)) {
            return None;
        }
        let Fit { costs, slowdowns } = Fit::of(points);
        let drifted: Vec<(Drift, &Point, f64)> =
            points.iter().zip(&slowdowns).map(|(point, slow)| (drift(point, &costs), point, *slow)).collect();
        let takes = |clip: usize| -> Vec<Vec<Spoken>> {
            let of_point =
                |(drift, point, slow): &(Drift, &Point, f64)| spoken(&point.clips[clip], drift, *slow);
            drifted.iter().flat_map(of_point).collect()
        };
        let repeated = |(number, clip): (usize, &ClipTakes)| {
            Some(Repeated { length: seconds(clip.seconds)?, takes: takes(number) })
        };
        let clips = first.clips.iter().enumerate().map(repeated).collect::<Option<Vec<_>>>()?;
        let drift = drifted.iter().map(|(drift, ..)| drift.clone()).collect();
        Some((Self { clips: filled(clips), drift }, slowdowns))
    }

    /// How much slower or faster than on average the machine was, from one moment to the next.
    pub(super) fn drift(&self) -> &Drift {
        &self.drift
    }

    /// The recordings of each person: the same as in a load test with this seed.
    pub(super) fn sets(&self, people: u32, seed: u64) -> Vec<Vec<usize>> {
        assign(&self.clips.iter().map(|clip| clip.length).collect::<Vec<_>>(), people, seed)
    }

    /// What somebody with these recordings asks for, in the long run.
    pub(super) fn demand(&self, set: &[usize], settings: &TurnSettings) -> Demand {
        let lengths = self.lengths(set);
        let pass = (mean(&lengths) + settings.pauses(&lengths).mean()).as_secs_f64() * set.len() as f64;
        let all = set.iter().map(|clip| self.clips[*clip].yields());
        all.fold(Demand::default(), |sum, clip| sum.and(clip, 1.0 / pass))
    }

    /// Everything that somebody with these recordings says.
    pub(super) fn player(&self, set: &[usize], settings: &TurnSettings, person: u32) -> Player<'_> {
        Player {
            turns: Turns::new(settings, person, &self.lengths(set)),
            clips: set.iter().map(|clip| &self.clips[*clip]).collect(),
            chance: Chance::new(settings.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(person))),
            take: &[],
            rest: 0.0,
            at: 0.0,
        }
    }

    fn lengths(&self, set: &[usize]) -> Vec<Duration> {
        set.iter().map(|clip| self.clips[*clip].length).collect()
    }
}

impl Repeated {
    /// What saying it once asks for.
    fn yields(&self) -> Demand {
        let one = |spoken: &Spoken| Demand {
            utterances: 1.0,
            work: spoken.sample.decode.as_secs_f64(),
            speech: spoken.sample.speech.as_secs_f64(),
        };
        let each = 1.0 / self.takes.len() as f64;
        self.takes.iter().flatten().fold(Demand::default(), |sum, spoken| sum.and(one(spoken), each))
    }
}

impl Demand {
    pub(super) fn and(self, other: Self, weight: f64) -> Self {
        Self {
            utterances: self.utterances + weight * other.utterances,
            work: self.work + weight * other.work,
            speech: self.speech + weight * other.speech,
        }
    }
}

/// What one person says, utterance by utterance.
pub(super) struct Player<'a> {
    turns: Turns,
    clips: Vec<&'a Repeated>,
    chance: Chance,
    /// What is still to come of the recording that plays.
    take: &'a [Spoken],
    /// How long that recording is, and how much of it is over, in seconds.
    rest: f64,
    at: f64,
}

/// The time from the end of the utterance before, and what is said. Ends at once for who has nothing to say.
impl Iterator for Player<'_> {
    type Item = (Duration, Sample);

    fn next(&mut self) -> Option<Self::Item> {
        let speaks = |clip: &&Repeated| clip.takes.iter().any(|take| !take.is_empty());
        if !self.clips.iter().any(speaks) {
            return None;
        }
        let mut gap = 0.0;
        loop {
            if let Some((spoken, later)) = self.take.split_first() {
                gap += spoken.end - self.at;
                (self.take, self.at) = (later, spoken.end);
                return Some((seconds(gap).unwrap_or_default(), spoken.sample));
            }
            let turn = self.turns.next()?;
            gap += self.rest - self.at + turn.pause.as_secs_f64();
            let clip = self.clips[turn.clip];
            let take = (self.chance.unit() * clip.takes.len() as f64) as usize;
            (self.take, self.rest, self.at) = (&clip.takes[take], clip.length.as_secs_f64(), 0.0);
        }
    }
}

fn is_same(a: &ClipTakes, b: &ClipTakes) -> bool {
    a.file == b.file && (a.seconds - b.seconds).abs() < 1e-3
}

fn is_heard(point: &Point) -> bool {
    point.clips.iter().flat_map(|clip| &clip.takes).any(|take| !take.is_empty())
}

/// How fast the machine was while a point was measured. Each recording costs what it costs, whenever it is played.
fn drift(point: &Point, costs: &[f64]) -> Drift {
    let of_take = |(take, cost): (&Take, f64)| {
        let all: f64 = take.iter().map(|[_, _, decode_ms, _]| decode_ms).sum();
        let decoded =
            |[_, _, took, at]: &[f64; 4]| Decoded { at: *at, took: *took, expected: cost * took / all };
        take.iter().map(decoded).collect::<Vec<_>>()
    };
    let takes =
        point.clips.iter().zip(costs).flat_map(|(clip, cost)| clip.takes.iter().map(|take| (take, *cost)));
    Drift::of(&takes.flat_map(of_take).collect::<Vec<_>>())
}

/// The takes of a recording, with decodes as long as they are where nothing slows them down.
fn spoken(clip: &ClipTakes, drift: &Drift, slowdown: f64) -> Vec<Vec<Spoken>> {
    let utterance = |[end, speech, decode_ms, at]: &[f64; 4]| {
        let slower = slowdown * drift.at(seconds(*at)?);
        let sample = Sample { speech: seconds(*speech)?, decode: seconds(decode_ms / 1e3 / slower)? };
        end.is_finite().then_some(Spoken { end: *end, sample })
    };
    clip.takes.iter().filter_map(|take| take.iter().map(utterance).collect()).collect()
}

/// A recording that nobody played is taken to be like the one of the nearest length.
fn filled(clips: Vec<Repeated>) -> Vec<Repeated> {
    let played: Vec<Repeated> = clips.iter().filter(|clip| !clip.takes.is_empty()).cloned().collect();
    let takes = |clip: &Repeated| {
        let nearest = played.iter().min_by_key(|other| other.length.abs_diff(clip.length));
        nearest.map_or_else(Vec::new, |nearest| nearest.takes.clone())
    };
    let fill = |clip: Repeated| {
        let takes = if clip.takes.is_empty() { takes(&clip) } else { clip.takes };
        Repeated { takes, ..clip }
    };
    clips.into_iter().map(fill).collect()
}

/// `None` for what is no length of time.
fn seconds(seconds: f64) -> Option<Duration> {
    (0.0..1e9).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recording of `seconds`, in which each take is one utterance of half of that.
    fn clip(seconds: f64, decodes: &[f64]) -> ClipTakes {
        let take = |decode: &f64| vec![[seconds * 0.75, seconds / 2.0, *decode, 0.0]];
        ClipTakes { file: format!("{seconds}.wav"), seconds, takes: decodes.iter().map(take).collect() }
    }

    fn point(people: u32, clips: Vec<ClipTakes>) -> Point {
        Point { people, samples: Vec::new(), clips, speech_per_utterance: None, overhead: None }
    }

    fn settings() -> TurnSettings {
        TurnSettings { duty: 0.5, ..TurnSettings::default() }
    }

    #[test]
    fn a_crowd_that_says_longer_things_is_not_taken_to_be_slower() {
        let few = point(4, vec![clip(2.0, &[100.0]), clip(8.0, &[400.0, 400.0])]);
        let many = point(20, vec![clip(2.0, &[120.0, 120.0, 120.0]), clip(8.0, &[480.0])]);
        let (_, slowdowns) = Repertoire::of(&[few, many]).unwrap();
        assert!((slowdowns[1] - 1.2).abs() < 1e-6, "{slowdowns:?}");
    }

    #[test]
    fn what_people_say_asks_for_as_much_as_is_foreseen() {
        let clips = vec![clip(2.0, &[100.0]), clip(8.0, &[300.0, 500.0]), clip(3.0, &[])];
        let silence = ClipTakes { file: "silence".into(), seconds: 5.0, takes: vec![Vec::new()] };
        let clips = clips.into_iter().chain([silence]).collect();
        let (repertoire, _) = Repertoire::of(&[point(2, clips)]).unwrap();
        for set in [vec![0], vec![1, 3], vec![0, 1, 2, 3]] {
            let foreseen = repertoire.demand(&set, &settings());
            let (mut time, mut work, mut speech) = (0.0, 0.0, 0.0);
            for (gap, sample) in repertoire.player(&set, &settings(), 3).take(20_000) {
                time += gap.as_secs_f64();
                work += sample.decode.as_secs_f64();
                speech += sample.speech.as_secs_f64();
            }
            let found = Demand { utterances: 20_000.0 / time, work: work / time, speech: speech / time };
            let near = |a: f64, b: f64| (a / b - 1.0).abs() < 0.03;
            assert!(
                near(found.utterances, foreseen.utterances)
                    && near(found.work, foreseen.work)
                    && near(found.speech, foreseen.speech),
                "{set:?}: {found:?} instead of {foreseen:?}"
            );
        }
    }

    #[test]
    fn a_recording_that_nobody_played_is_like_the_one_of_the_nearest_length() {
        let clips = vec![clip(2.0, &[100.0]), clip(8.0, &[400.0]), clip(7.0, &[])];
        let (repertoire, _) = Repertoire::of(&[point(2, clips)]).unwrap();
        assert_eq!(repertoire.clips[2].takes, repertoire.clips[1].takes);
        assert_eq!(repertoire.clips[2].length, Duration::from_secs(7));
    }

    #[test]
    fn who_has_nothing_but_silence_says_nothing() {
        let silence = ClipTakes { file: "silence".into(), seconds: 5.0, takes: vec![Vec::new()] };
        let (repertoire, _) = Repertoire::of(&[point(2, vec![silence, clip(2.0, &[100.0])])]).unwrap();
        assert_eq!(repertoire.player(&[0], &settings(), 0).next(), None);
    }

    #[test]
    fn points_that_tell_of_other_recordings_or_none_are_no_repertoire() {
        let known = point(4, vec![clip(2.0, &[100.0])]);
        for other in [point(8, Vec::new()), point(8, vec![clip(3.0, &[100.0])])] {
            assert_eq!(Repertoire::of(&[known.clone(), other]), None);
        }
        assert_eq!(Repertoire::of(&[point(4, vec![clip(2.0, &[])])]), None);
        assert_eq!(Repertoire::of(&[]), None);
    }
}
