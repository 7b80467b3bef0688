//! Tables (`.` silence, `-` the band between the thresholds, `#` speech) and properties. Samples are their own positions,
//! so that an utterance shows where it comes from.

use super::*;
use crate::audio::{FRAME_SAMPLES, Span};
use proptest::prelude::*;

const FRAME: u64 = FRAME_SAMPLES as u64;
/// The whole stream.
const ALL: Span = Span { start: 0, end: u64::MAX };

/// So long that frames fill it evenly.
fn lasting(frames: u32) -> Duration {
    Duration::from_millis(32) * frames
}

/// Pre-roll 2 frames, silence 3 frames, 2 frames are more than a click, 40 frames are too long. No pause is told.
fn settings() -> EndpointSettings {
    EndpointSettings {
        threshold: 0.5,
        prefix: lasting(2),
        end_silence: lasting(3),
        short_pause: Duration::ZERO,
        min_speech: lasting(2),
        longest: lasting(40),
        automatic: true,
    }
}

fn manual() -> EndpointSettings {
    EndpointSettings { automatic: false, ..settings() }
}

/// Pauses are told after 2 frames, and speech ends after 5.
fn pausing() -> EndpointSettings {
    EndpointSettings { end_silence: lasting(5), short_pause: lasting(2), ..settings() }
}

fn probability(frame: char) -> f32 {
    match frame {
        '#' => 0.9,
        '-' => 0.4,
        _ => 0.1,
    }
}

/// A stream that is played to an endpointer frame by frame.
struct Stream {
    endpointer: Endpointer,
    events: Vec<EndpointEvent>,
}

impl Stream {
    fn new(settings: EndpointSettings) -> Self {
        Self { endpointer: Endpointer::new(settings), events: Vec::new() }
    }

    /// `c` commits, `t` commits with a tail of 100 samples, `x` clears, `s` commits silence; a digit lets so many frames of
    /// silence end the utterance.
    fn play(mut self, script: &str) -> Self {
        for step in script.chars() {
            let next: [f32; FRAME_SAMPLES] =
                std::array::from_fn(|index| (self.endpointer.position() + index as u64) as f32);
            match step {
                'c' => self.endpointer.commit(&[], &mut self.events),
                't' => self.endpointer.commit(&next[..100], &mut self.events),
                'x' => self.endpointer.clear(),
                's' => self.endpointer.commit_silence(&mut self.events),
                '1'..='9' => self.endpointer.set_end_silence(lasting(step as u32 - u32::from('0'))),
                _ => self.endpointer.push(&next, probability(step), &mut self.events),
            }
        }
        self
    }

    fn configure(mut self, settings: EndpointSettings) -> Self {
        self.endpointer.configure(settings);
        self
    }

    /// Positions in frames: `[2` speech started, `p5` paused, `r7` resumed, `9]` stopped, `(2..9 silence)` an utterance.
    fn events(&self) -> String {
        let printed: Vec<String> = self.events.iter().map(print).collect();
        printed.join(" ")
    }

    fn utterances(&self) -> impl Iterator<Item = &Utterance> {
        self.events.iter().filter_map(|event| match event {
            EndpointEvent::Utterance(utterance, _) => Some(utterance),
            _ => None,
        })
    }
}

fn print(event: &EndpointEvent) -> String {
    let frames = |position: u64| position as f64 / FRAME as f64;
    match event {
        EndpointEvent::SpeechStarted { at } => format!("[{}", frames(*at)),
        EndpointEvent::SpeechPaused { at } => format!("p{}", frames(*at)),
        EndpointEvent::SpeechResumed { at } => format!("r{}", frames(*at)),
        EndpointEvent::SpeechStopped { at } => format!("{}]", frames(*at)),
        EndpointEvent::Utterance(Utterance { span, .. }, cut) => {
            format!("({}..{} {cut:?})", frames(span.start), frames(span.end)).to_lowercase()
        }
    }
}

fn events(script: &str) -> String {
    Stream::new(settings()).play(script).events()
}

fn manual_events(script: &str) -> String {
    Stream::new(manual()).play(script).events()
}

fn speech_in_frames(stream: &Stream) -> Vec<(u64, u64)> {
    stream
        .utterances()
        .map(|utterance| (utterance.speech.start / FRAME, utterance.speech.end / FRAME))
        .collect()
}

#[test]
fn an_utterance_has_pre_roll_and_end_silence() {
    assert_eq!(events("....###....."), "[2 10] (2..10 silence)");
}

#[test]
fn speech_is_announced_once_it_is_more_than_a_click() {
    assert_eq!(events("....#"), "");
    assert_eq!(events("....##"), "[2");
    assert_eq!(events("....#..#"), "[2", "two frames with a pause between them");
}

#[test]
fn a_click_causes_no_event() {
    assert_eq!(events("....#......"), "");
    assert_eq!(
        events("....#......###..."),
        "[9 17] (9..17 silence)",
        "nor does it change the next utterance"
    );
}

#[test]
fn a_doubtful_frame_before_speech_does_not_make_a_click_of_it_speech() {
    assert_eq!(events("..--#....."), "");
}

#[test]
fn short_pauses_do_not_split_an_utterance() {
    assert_eq!(events("..##..##..##..."), "[0 15] (0..15 silence)");
}

#[test]
fn pre_roll_never_reaches_back_before_the_last_cut() {
    assert_eq!(events("..##...##..."), "[0 7] (0..7 silence) [7 12] (7..12 silence)");
    assert_eq!(events("..##....##..."), "[0 7] (0..7 silence) [7 13] (7..13 silence)");
    assert_eq!(events("##..."), "[0 5] (0..5 silence)", "nor before the stream");
}

#[test]
fn speech_is_marked_inside_the_utterance() {
    assert_eq!(speech_in_frames(&Stream::new(settings()).play("....##-##.-....")), [(4, 11)]);
}

#[test]
fn an_utterance_too_long_is_cut_at_its_longest_late_pause() {
    let speech = format!("{}.{}..{}.{}", "#".repeat(22), "#".repeat(6), "#".repeat(5), "#".repeat(20));
    let cut = "[0 30] (0..30 longest) [30";
    assert_eq!(events(&speech), cut);
    assert_eq!(events(&(speech + "...")), format!("{cut} 60] (30..60 silence)"));
}

#[test]
fn without_a_pause_the_least_likely_frame_is_cut() {
    assert_eq!(events(&format!("{}-{}", "#".repeat(30), "#".repeat(20))), "[0 30.5] (0..30.5 longest) [30.5");
}

#[test]
fn silence_after_the_longest_cut_is_no_utterance() {
    let speech = "#".repeat(38);
    assert_eq!(events(&(speech.clone() + "........")), "[0 39] (0..39 longest)");
    assert_eq!(events(&(speech + "..##...")), "[0 39] (0..39 longest) [39 45] (39..45 silence)");
}

#[test]
fn a_click_before_a_silence_that_never_ends_is_given_up() {
    let patient = EndpointSettings { end_silence: lasting(1000), ..settings() };
    let stream = Stream::new(patient).play(&format!("#{}", ".".repeat(100)));
    assert_eq!((stream.events(), stream.endpointer.pending()), (String::new(), 0));
}

#[test]
fn a_commit_cuts_speech_in_progress() {
    assert_eq!(events("....###c"), "[2 7] (2..7 commit)");
    assert_eq!(events("....###c##..."), "[2 7] (2..7 commit) [7 12] (7..12 silence)");
    assert_eq!(events("....#c"), "[2 5] (2..5 commit)", "even if it has just begun");
    assert_eq!(
        events("....###t"),
        "[2 7.1953125] (2..7.1953125 commit)",
        "with the samples after the last frame"
    );
}

#[test]
fn a_commit_without_speech_cuts_nothing() {
    assert_eq!(events("....c"), "");
    assert_eq!(events("....t"), "");
    assert_eq!(events("..##...c"), "[0 7] (0..7 silence)");
}

#[test]
fn a_clear_drops_speech_in_progress_without_an_event() {
    assert_eq!(events("....##x....."), "[2");
    assert_eq!(events("....#x.##..."), "[5 11] (5..11 silence)", "and the pre-roll before it");
}

#[test]
fn manual_mode_cuts_only_when_told() {
    assert_eq!(manual_events("..##......"), "");
    assert_eq!(manual_events("..##......c.#c"), "(0..10 commit) (10..12 commit)");
    assert_eq!(manual_events("....t"), "(0..4.1953125 commit)");
    assert_eq!(manual_events("..##x..c"), "(4..6 commit)");
    assert_eq!(manual_events("cxc"), "", "there is nothing to cut");
}

#[test]
fn manual_mode_marks_speech_leniently() {
    assert_eq!(speech_in_frames(&Stream::new(manual()).play("..-.#..c")), [(2, 5)]);
    assert!(Stream::new(manual()).play("....c").utterances().all(|utterance| utterance.speech.is_empty()));
}

#[test]
fn manual_mode_too_is_bounded() {
    let script = format!("{}..{}c", "#".repeat(28), "#".repeat(12));
    assert_eq!(manual_events(&script), "(0..29 longest) (29..42 commit)");
}

#[test]
fn a_change_to_manual_keeps_what_is_held() {
    let speaking = Stream::new(settings()).play("....##").configure(manual());
    assert_eq!(speaking.endpointer.pending(), 4 * FRAME);
    assert_eq!(speaking.play(".....c").events(), "[2 (2..11 commit)");
    let quiet = Stream::new(settings()).play("....").configure(manual());
    assert_eq!(quiet.play("##c").events(), "(2..6 commit)");
}

#[test]
fn a_change_to_automatic_cuts_what_was_said_before_it() {
    let after =
        |said: &str, script| Stream::new(manual()).play(said).configure(settings()).play(script).events();
    assert_eq!(after(".##.", ".."), "[0 6] (0..6 silence)");
    assert_eq!(after(".##.....", "..."), "[0 11] (0..11 silence)", "even if it was over");
    assert_eq!(after(".##.", "c"), "[0 4] (0..4 commit)");
    let silence = Stream::new(manual()).play("......").configure(settings());
    assert_eq!(silence.endpointer.pending(), 0);
    assert_eq!(silence.play("##...").events(), "[4 11] (4..11 silence)", "silence is only pre-roll");
}

#[test]
fn a_shorter_bound_holds_for_what_is_held() {
    let short = EndpointSettings { longest: Duration::from_secs(1), ..settings() };
    let stream =
        Stream::new(manual()).play(&".".repeat(38)).configure(EndpointSettings { automatic: false, ..short });
    let stream = stream.play(".c");
    assert!(stream.utterances().all(|utterance| utterance.span.len() <= 16_000), "{}", stream.events());
    assert_eq!(stream.utterances().map(|utterance| utterance.span.len()).sum::<u64>(), 39 * FRAME);
}

#[test]
fn settings_out_of_reason_are_brought_within_it() {
    let odd = EndpointSettings {
        prefix: Duration::from_secs(9),
        end_silence: Duration::ZERO,
        min_speech: Duration::from_secs(9),
        longest: Duration::ZERO,
        ..settings()
    };
    let stream = Stream::new(odd).play(&format!("{}{}.", ".".repeat(40), "#".repeat(100)));
    assert!(stream.utterances().count() > 3, "{}", stream.events());
    assert!(stream.utterances().all(|utterance| utterance.span.len() <= 16_000), "{}", stream.events());
}

fn pausing_events(script: &str) -> String {
    Stream::new(pausing()).play(script).events()
}

#[test]
fn a_pause_is_told_once_and_so_is_its_end() {
    assert_eq!(pausing_events("..##."), "[0");
    assert_eq!(pausing_events("..##...."), "[0 p6");
    assert_eq!(pausing_events("..##..--"), "[0 p6", "what may be speech does not end it");
    assert_eq!(pausing_events("..##.-.-"), "[0 p7", "nor does it prolong it");
    assert_eq!(pausing_events("..##...##.#.."), "[0 p6 r8 p13");
    assert_eq!(pausing_events("..##....."), "[0 p6 9] (0..9 silence)");
    assert_eq!(pausing_events("..##.....##.."), "[0 p6 9] (0..9 silence) [9 p13");
    assert_eq!(pausing_events("..#....."), "", "a click has no pause");
}

#[test]
fn a_pause_that_ends_speech_is_told_no_more() {
    let told = |short_pause| {
        let settings = EndpointSettings { short_pause, ..pausing() };
        Stream::new(settings).play("##.....").events()
    };
    assert_eq!(told(lasting(4)), "[0 p6 7] (0..7 silence)");
    assert_eq!(told(lasting(5)), "[0 7] (0..7 silence)", "as long as the end silence");
    assert_eq!(told(Duration::ZERO), "[0 7] (0..7 silence)", "none at all");
}

#[test]
fn what_is_cut_or_cleared_in_a_pause_does_not_resume() {
    assert_eq!(pausing_events("##..c##.."), "[0 p4 4] (0..4 commit) [4 p8");
    assert_eq!(pausing_events("##..x##.."), "[0 p4 [4 p8");
    let speech = format!("{}..{}..", "#".repeat(30), "#".repeat(8));
    assert_eq!(pausing_events(&speech), "[0 p32 r33 31] (0..31 longest) [31 p42");
}

#[test]
fn manual_mode_tells_pauses_too() {
    let told = |script| {
        let manual = EndpointSettings { automatic: false, ..pausing() };
        Stream::new(manual).play(script).events()
    };
    assert_eq!(told("....#..#..."), "p7 r8 p10");
    assert_eq!(told("....#........"), "p7", "one for each pause");
    assert_eq!(told("....#........#.."), "p7 r14 p16", "which may be long");
    assert_eq!(told("....#..c..."), "p7 (0..7 commit)", "what was cut is over");
    assert_eq!(told("....#..c.#.."), "p7 (0..7 commit) p11");
    assert_eq!(told("....#..x.#.."), "p7 p11");
    assert_eq!(told("##.c..."), "(0..3 commit)", "nobody has spoken since");
    let speech = format!("{}{}", "#".repeat(25), ".".repeat(30));
    assert_eq!(told(&speech), "p27 (0..32.5 longest)");
}

#[test]
fn the_end_silence_may_be_set_for_one_pause() {
    assert_eq!(pausing_events("##..3."), "[0 p4 5] (0..5 silence)");
    assert_eq!(pausing_events("##...1."), "[0 p4 6] (0..6 silence)", "the next frame ends it");
    assert_eq!(pausing_events("##..8....."), "[0 p4");
    assert_eq!(pausing_events("##..8......"), "[0 p4 10] (0..10 silence)");
    assert_eq!(pausing_events("##..3#..."), "[0 p4 r5 p7", "speech has gone on");
    assert_eq!(pausing_events("##..9#....."), "[0 p4 r5 p7 10] (0..10 silence)");
    assert_eq!(pausing_events("..3##..."), "[0 p6", "nobody speaks yet");
    assert_eq!(pausing_events("##..3x##...."), "[0 p4 [4 p8", "it was cleared");
    assert_eq!(pausing_events("##..3c##...."), "[0 p4 4] (0..4 commit) [4 p8", "it was cut");
    let configured = Stream::new(pausing()).play("##..3").configure(pausing()).play("..");
    assert_eq!(configured.events(), "[0 p4");
}

#[test]
fn what_would_be_cut_can_be_looked_at() {
    let stream = Stream::new(pausing()).play("....##-##..");
    let utterance = stream.endpointer.so_far(ALL).unwrap();
    assert_eq!(utterance.span, Span::new(2 * FRAME, 11 * FRAME));
    assert_eq!((utterance.speech, utterance.voiced), (Span::new(4 * FRAME, 9 * FRAME), 5 * FRAME));
    let part = stream.endpointer.so_far(Span::new(5 * FRAME + 100, 99 * FRAME)).unwrap();
    assert_eq!(part.span, Span::new(5 * FRAME + 100, 11 * FRAME));
    assert_eq!(part.speech, Span::new(5 * FRAME + 100, 9 * FRAME));
    assert_eq!(part.voiced, 4 * FRAME - 100);
    assert_eq!(stream.endpointer.voiced_since(5 * FRAME + 100), part.voiced);
    assert_eq!(stream.endpointer.voiced_since(9 * FRAME), 0);
    assert_eq!(stream.endpointer.so_far(Span::new(11 * FRAME, 99 * FRAME)), None, "nothing lies behind it");
}

#[test]
fn an_utterance_tells_how_sure_the_detector_was_at_its_surest() {
    let confidence =
        |script: &str| Stream::new(pausing()).play(script).endpointer.so_far(ALL).unwrap().confidence;
    let close =
        |script: &str, expected: f32| assert!((confidence(script) - expected).abs() < 1e-6, "{script}");
    close("##-##..", 0.9);
    close("##-.", (0.9 + 0.9 + 0.4) / 3.0);
    let committed = Stream::new(manual()).play("#-").endpointer.so_far(ALL).unwrap();
    assert!((committed.confidence - 0.65).abs() < 1e-6, "of two frames");
}

#[test]
fn where_nothing_would_be_cut_there_is_nothing_to_look_at() {
    for script in ["", "....", "..##.....", "..##c", "..##x"] {
        let stream = Stream::new(pausing()).play(script);
        assert_eq!((stream.endpointer.so_far(ALL), stream.endpointer.voiced_since(0)), (None, 0), "{script}");
    }
    let held = Stream::new(manual()).play("..");
    assert_eq!((held.endpointer.so_far(ALL).unwrap().voiced, held.endpointer.voiced_since(0)), (0, 0));
}

#[test]
fn silence_is_counted_from_the_last_speech_cut_or_clear() {
    let silence = |script| Stream::new(settings()).play(script).endpointer.silence() / FRAME;
    assert_eq!(["", "....", "....##", "....#"].map(silence), [0, 4, 0, 0]);
    assert_eq!(silence("....#..."), 8, "a click is silence, too");
    assert_eq!(silence("..##....."), 2, "the end silence belongs to the utterance");
    assert_eq!(silence("..##c..."), 3);
    assert_eq!(silence("....x..."), 3);
    assert_eq!(silence("....c..."), 7, "there was nothing to cut");
    assert_eq!(silence(&("#".repeat(38) + "........")), 7, "it was cut in the pause");
    assert_eq!(Stream::new(manual()).play("....").endpointer.silence(), 0);
    let late = Stream::new(manual()).play("....").configure(settings()).play("..");
    assert_eq!(late.endpointer.silence(), 2 * FRAME, "nobody counted before");
}

#[test]
fn silence_can_be_cut_as_an_utterance() {
    assert_eq!(events("......s"), "(0..6 silence)");
    assert_eq!(events("......s...s"), "(0..6 silence) (6..9 silence)");
    assert_eq!(events("......ss"), "(0..6 silence)", "but only once");
    assert_eq!(events("..##...s...s"), "[0 7] (0..7 silence) (7..10 silence)");
    assert_eq!(events("..##s"), "[0", "and only where nobody speaks");
    assert_eq!(manual_events("....s"), "");
    assert_eq!(events("......s.##..."), "(0..6 silence) [5 12] (5..12 silence)", "the pre-roll stays");
    let stream = Stream::new(settings()).play("......s");
    let utterance = stream.utterances().next().unwrap();
    assert_eq!((utterance.speech.len(), utterance.voiced, utterance.samples.len()), (0, 0, 0));
}

#[test]
fn a_silent_session_holds_only_its_pre_roll() {
    let talk = format!("{}{}{}", ".".repeat(100), "#".repeat(600), ".".repeat(100));
    let stream = Stream::new(EndpointSettings::default()).play(&talk);
    assert_eq!(stream.utterances().count(), 1);
    assert!(stream.endpointer.held_bytes() < 27 * 1024, "{} bytes", stream.endpointer.held_bytes());
}

fn any_settings() -> impl Strategy<Value = EndpointSettings> {
    (0_u32..8, 0_u32..8, 0_u32..6, 0_u32..5, 32_u32..70, any::<bool>()).prop_map(
        |(prefix, end_silence, short_pause, min_speech, longest, automatic)| EndpointSettings {
            threshold: 0.5,
            prefix: lasting(prefix),
            end_silence: lasting(end_silence),
            short_pause: lasting(short_pause),
            min_speech: lasting(min_speech),
            longest: lasting(longest),
            automatic,
        },
    )
}

/// Runs of each kind of frame, with a few commits, clears and changes of the end silence between them.
fn any_script() -> impl Strategy<Value = String> {
    let run = (prop::sample::select(vec!['#', '#', '.', '-']), 1_usize..20);
    let runs = run.prop_map(|(frame, count)| frame.to_string().repeat(count));
    let steps = prop_oneof![12 => runs, 2 => prop::sample::select(vec!["c", "t", "x", "1", "9"]).prop_map(str::to_owned)];
    prop::collection::vec(steps, 0..30).prop_map(|steps| steps.concat())
}

/// Whether `span` lies in one of the spans, or in several that touch.
fn covered(span: Span, by: &[Span]) -> bool {
    let lengths =
        by.iter().map(|other| Span::new(other.start.max(span.start), other.end.min(span.end)).len());
    lengths.sum::<u64>() == span.len()
}

/// Whether events (`[` started, `p` paused, `r` resumed, `]` stopped, `u` utterance, `x` clear) are in an order that is
/// promised.
fn in_order(told: &str, automatic: bool) -> bool {
    #[derive(PartialEq)]
    enum Told {
        Nothing,
        Speech,
        Pause,
        End,
    }
    let mut last = Told::Nothing;
    for event in told.chars() {
        last = match (event, last, automatic) {
            ('x', _, _) | ('u', Told::End, true) | ('u', _, false) => Told::Nothing,
            ('[', Told::Nothing, true) | ('r', Told::Pause, _) => Told::Speech,
            ('p', Told::Speech, _) | ('p', Told::Nothing, false) => Told::Pause,
            (']', Told::Speech | Told::Pause, true) => Told::End,
            _ => return false,
        };
    }
    true
}

/// The counter-check of the property that uses it.
#[test]
fn an_order_that_is_not_promised_is_noticed() {
    assert!(["", "[]u", "[p]u[", "[prp]u", "[px[pr"].iter().all(|told| in_order(told, true)));
    assert!(["p", "[pp", "[r", "[p]r", "[]p", "[u", "[p[", "u"].iter().all(|told| !in_order(told, true)));
    assert!(["", "u", "prpu", "pupr", "pxp"].iter().all(|told| in_order(told, false)));
    assert!(["[", "pp", "r", "pur", "pxr"].iter().all(|told| !in_order(told, false)));
}

proptest! {
    /// Fails if samples are doubled, lost at a cut, or taken from elsewhere in the stream.
    #[test]
    fn utterances_are_stretches_of_the_stream(settings in any_settings(), script in any_script()) {
        let longest = Limits::of(&settings).longest;
        let stream = Stream::new(settings).play(&script);
        let mut previous_end = 0;
        for Utterance { span, speech, samples, .. } in stream.utterances() {
            prop_assert!(previous_end <= span.start && !span.is_empty() && span.len() <= longest);
            prop_assert!(span.start <= speech.start && speech.end <= span.end);
            prop_assert_eq!(samples.len() as u64, span.len());
            let expected: Vec<f32> = (span.start..span.end).map(|position| position as f32).collect();
            prop_assert!(samples == &expected, "{span:?} holds {samples:?}");
            previous_end = span.end;
        }
    }

    /// Fails if a beginning or an end is forgotten, doubled or somewhere else than its utterance's.
    #[test]
    fn every_utterance_is_announced(settings in any_settings(), script in any_script()) {
        let script = script.replace('x', "");
        let automatic = settings.automatic;
        let stream = Stream::new(settings).play(&(script + "c"));
        prop_assert_eq!(stream.endpointer.pending(), 0);
        let pause = |event: &EndpointEvent| {
            matches!(event, EndpointEvent::SpeechPaused { .. } | EndpointEvent::SpeechResumed { .. })
        };
        let events: Vec<_> = stream.events.iter().filter(|event| !pause(event)).cloned().collect();
        if automatic {
            for three in events.chunks(3) {
                let [started, stopped, EndpointEvent::Utterance(utterance, _)] = three else {
                    return Err(TestCaseError::fail(stream.events()));
                };
                prop_assert_eq!(started, &EndpointEvent::SpeechStarted { at: utterance.span.start });
                prop_assert_eq!(stopped, &EndpointEvent::SpeechStopped { at: utterance.span.end });
                prop_assert!(!utterance.speech.is_empty());
            }
        } else {
            prop_assert_eq!(stream.utterances().count(), events.len());
        }
    }

    /// Fails if a pause or its end is told twice, or told when nobody was said to speak. (It does when `cut` or `clear`
    /// leaves `paused` as it is, and when `resume` does.)
    #[test]
    fn pauses_and_their_ends_take_turns(settings in any_settings(), script in any_script()) {
        let automatic = settings.automatic;
        // A clear ends what was announced without a word, so it is put down as a mark.
        let parts = script.split_inclusive('x');
        let (mut stream, mut told) = (Stream::new(settings), String::new());
        for part in parts {
            stream = stream.play(part);
            told.extend(stream.events.drain(..).map(|event| match event {
                EndpointEvent::SpeechStarted { .. } => '[',
                EndpointEvent::SpeechPaused { .. } => 'p',
                EndpointEvent::SpeechResumed { .. } => 'r',
                EndpointEvent::SpeechStopped { .. } => ']',
                EndpointEvent::Utterance(..) => 'u',
            }));
            told.extend(part.ends_with('x').then_some('x'));
        }
        prop_assert!(in_order(&told, automatic), "{told}");
    }

    /// Fails if a copy is not what the cut would have been.
    #[test]
    fn a_look_shows_what_a_commit_would_cut(settings in any_settings(), script in any_script(), from in 0_u64..40_000) {
        let mut stream = Stream::new(settings).play(&script);
        let shown = stream.endpointer.so_far(Span::new(from, u64::MAX));
        let voiced = stream.endpointer.voiced_since(from);
        let whole = stream.endpointer.so_far(ALL);
        prop_assert_eq!(shown.as_ref().map_or(0, |utterance| utterance.voiced), voiced);
        stream.events.clear();
        let cut = stream.play("c");
        prop_assert_eq!(whole.as_ref(), cut.utterances().next());
        if let (Some(shown), Some(cut)) = (shown, cut.utterances().next()) {
            prop_assert_eq!(shown.span, Span::new(from.max(cut.span.start), cut.span.end));
            let offset = (shown.span.start - cut.span.start) as usize;
            prop_assert_eq!(&shown.samples[..], &cut.samples[offset..]);
        }
    }

    /// Fails if somebody speaks while silence is counted, or if silence is counted twice.
    #[test]
    fn silence_lies_between_utterances(settings in any_settings(), script in any_script()) {
        let script = script.replace(['x', 'c', 't'], "s");
        let stream = Stream::new(settings).play(&script);
        let spans: Vec<Span> = stream.utterances().map(|utterance| utterance.span).collect();
        let silences = stream.utterances().filter(|utterance| utterance.samples.is_empty());
        for silence in silences.map(|utterance| utterance.span) {
            let index = spans.iter().position(|span| *span == silence).unwrap();
            prop_assert!(index == 0 || spans[index - 1].end <= silence.start, "{}", stream.events());
        }
    }

    /// Fails if speech falls between two utterances, or before the first one, or if manual mode skips anything.
    #[test]
    fn nothing_said_is_lost(settings in any_settings(), script in any_script()) {
        let script = script.replace(['x', 'c', 't', '1', '9'], "");
        let min_speech = Limits::of(&settings).min_speech;
        let automatic = settings.automatic;
        let stream = Stream::new(settings).play(&(script.clone() + "c"));
        let spans: Vec<Span> = stream.utterances().map(|utterance| utterance.span).collect();
        let mut start = 0;
        for run in script.as_bytes().chunk_by(|left, right| left == right) {
            let span = Span::new(start * FRAME, (start + run.len() as u64) * FRAME);
            let sustained = run[0] == b'#' && run.len() as u64 >= min_speech;
            prop_assert!(automatic && !sustained || covered(span, &spans), "{:?} of {}", span, stream.events());
            start += run.len() as u64;
        }
    }
}
