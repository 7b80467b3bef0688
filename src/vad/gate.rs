//! Two thresholds and a hangover: probabilities to edges. Pure.
//!
//! The rules are those of Silero's own `VADIterator`: speech begins at the threshold; below threshold − 0.15 silence
//! begins, and ends speech once it has lasted the hangover; what lies between the two changes nothing.

/// How far below the upper threshold the lower one lies.
const BAND: f32 = 0.15;
/// The lower threshold never sinks below this, or speech would never end.
const LOWEST: f32 = 0.01;
/// So many frames of silence in a row, and a closed gate is at rest.
const RESTFUL: u64 = 4;

/// Speech started or stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Speech began in this frame.
    Started {
        /// Frame index since the beginning of the stream.
        frame: u64,
    },
    /// The last frame of speech was this one; the silence after it has lasted long enough to be sure.
    Stopped {
        /// Frame index since the beginning of the stream.
        frame: u64,
    },
}

/// Hysteresis over frame probabilities.
#[derive(Debug, Clone)]
pub struct Gate {
    threshold: f32,
    hangover: u64,
    /// Holds in the place of `hangover` until speech is heard again.
    patience: Option<u64>,
    /// Index of the next frame.
    next: u64,
    open: bool,
    /// While open: the frame in which the present silence began.
    silent_since: Option<u64>,
    /// One past the last frame that was no silence.
    stirred: Option<u64>,
}

impl Gate {
    /// A closed gate. Speech begins at `threshold` (a probability, 0 to 1) and ends when `hangover` frames have passed
    /// without it (0 counts as 1).
    pub fn new(threshold: f32, hangover: u64) -> Self {
        Self {
            threshold,
            hangover: hangover.max(1),
            patience: None,
            next: 0,
            open: false,
            silent_since: None,
            stirred: None,
        }
    }

    /// Changes threshold and hangover from here on; speech in progress goes on.
    pub fn configure(&mut self, threshold: f32, hangover: u64) {
        self.threshold = threshold;
        self.hangover = hangover.max(1);
        self.patience = None;
    }

    /// Lets the silence that follows the last speech end it after `hangover` frames (0 counts as 1) in the place of the
    /// usual number. If more have passed, the next frame of silence ends it.
    pub fn wait_for(&mut self, hangover: u64) {
        self.patience = self.open.then_some(hangover.max(1));
    }

    /// The probability below which a frame is silence.
    pub fn floor(&self) -> f32 {
        (self.threshold - BAND).max(LOWEST).min(self.threshold)
    }

    /// Whether speech is in progress.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Takes [`Gate::wait_for`] back.
    pub fn wait_as_usual(&mut self) {
        self.patience = None;
    }

    /// Frames since the silence in speech began; 0 when there is none, or no speech.
    pub fn silence(&self) -> u64 {
        self.silent_since.map_or(0, |since| self.next - since)
    }

    /// Whether the gate is closed, and the last frames were silence.
    pub fn is_at_rest(&self) -> bool {
        !self.open && self.stirred.is_none_or(|stirred| self.next - stirred >= RESTFUL)
    }

    /// Takes the next frame's probability.
    pub fn push(&mut self, probability: f32) -> Option<Edge> {
        let frame = self.next;
        self.next += 1;
        if probability >= self.floor() {
            self.stirred = Some(self.next);
        }
        if probability >= self.threshold {
            return self.hear_speech(frame);
        }
        if !self.open || probability >= self.floor() {
            return None;
        }
        let since = *self.silent_since.get_or_insert(frame);
        if self.next - since < self.patience.unwrap_or(self.hangover) {
            return None;
        }
        self.close();
        Some(Edge::Stopped { frame: since.saturating_sub(1) })
    }

    fn hear_speech(&mut self, frame: u64) -> Option<Edge> {
        (self.silent_since, self.patience) = (None, None);
        let was_open = std::mem::replace(&mut self.open, true);
        (!was_open).then_some(Edge::Started { frame })
    }

    /// Takes speech for being in progress, without an edge.
    pub fn open(&mut self) {
        self.open = true;
    }

    /// Takes speech for being over, without an edge.
    pub fn close(&mut self) {
        self.open = false;
        (self.silent_since, self.patience) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HANGOVER: u64 = 4;

    /// `.` is silence, `-` is the band between the thresholds, `#` is speech.
    fn probability(frame: char) -> f32 {
        match frame {
            '#' => 0.9,
            '-' => 0.4,
            _ => 0.1,
        }
    }

    /// Drives a gate at 0.5 with a hangover of 4 and prints `[2 9]` for speech from frame 2 to 9, `[2` if it goes on.
    fn edges(frames: &str) -> String {
        let mut gate = Gate::new(0.5, HANGOVER);
        let edges = frames.chars().filter_map(|frame| gate.push(probability(frame)));
        edges.map(|edge| print(&edge)).collect()
    }

    fn print(edge: &Edge) -> String {
        match edge {
            Edge::Started { frame } => format!("[{frame}"),
            Edge::Stopped { frame } => format!(" {}]", frame + 1),
        }
    }

    #[test]
    fn short_pauses_do_not_split_speech() {
        assert_eq!(edges("..###..##......"), "[2 9]");
        assert_eq!(edges("##...#...#...#...."), "[0 14]");
    }

    #[test]
    fn a_pause_as_long_as_the_hangover_ends_speech() {
        assert_eq!(edges("##...."), "[0 2]");
        assert_eq!(edges("##..."), "[0");
        assert_eq!(edges("##....##...."), "[0 2][6 8]");
    }

    #[test]
    fn the_band_between_the_thresholds_changes_nothing() {
        assert_eq!(edges("..----...."), "", "it does not begin speech");
        assert_eq!(edges("##--------"), "[0", "it does not end speech");
        assert_eq!(edges("##--...."), "[0 4]", "it belongs to the speech before it");
        assert_eq!(edges("##.--."), "[0 2]", "it does not interrupt a silence");
    }

    #[test]
    fn silence_alone_has_no_edges() {
        assert_eq!(edges("............"), "");
    }

    #[test]
    fn the_lower_threshold_never_sinks_to_zero() {
        assert!((Gate::new(0.1, HANGOVER).floor() - LOWEST).abs() < 1e-6);
        assert!((Gate::new(0.5, HANGOVER).floor() - 0.35).abs() < 1e-6);
    }

    #[test]
    fn a_new_hangover_holds_for_speech_in_progress() {
        let mut gate = Gate::new(0.5, 100);
        gate.push(0.9);
        gate.push(0.1);
        gate.configure(0.5, 2);
        assert_eq!(gate.push(0.1), Some(Edge::Stopped { frame: 0 }));
    }

    #[test]
    fn patience_holds_until_speech_is_heard_again() {
        let edges = |script: &str| {
            let mut gate = Gate::new(0.5, HANGOVER);
            let mut push = |step| match step {
                '1'..='9' => {
                    gate.wait_for(u64::from(step as u8 - b'0'));
                    None
                }
                frame => gate.push(probability(frame)).map(|edge| print(&edge)),
            };
            script.chars().filter_map(&mut push).collect::<String>()
        };
        assert_eq!(edges("##.2."), "[0 2]", "less of it");
        assert_eq!(edges("##...1."), "[0 2]", "less than what has passed");
        assert_eq!(edges("##.8......"), "[0", "more of it");
        assert_eq!(edges("##.8......."), "[0 2]");
        assert_eq!(edges("##.2#..."), "[0", "not in the next silence");
        assert_eq!(edges("##.2#...."), "[0 4]");
        assert_eq!(edges("..1##..."), "[2", "nor when nobody speaks");
    }

    fn after(frames: &str) -> Gate {
        let mut gate = Gate::new(0.5, HANGOVER);
        for frame in frames.chars() {
            gate.push(probability(frame));
        }
        gate
    }

    #[test]
    fn a_gate_is_at_rest_after_some_silence() {
        let at_rest = |frames| after(frames).is_at_rest();
        assert!(at_rest("") && at_rest(".") && at_rest("-...."));
        assert!(!at_rest("-..."), "a doubtful frame stirs it");
        assert!(!at_rest("#...") && at_rest("#...."), "it is open until the hangover is over");
    }

    #[test]
    fn silence_is_counted_while_the_gate_is_open() {
        let silence = |frames| after(frames).silence();
        assert_eq!(["...", "#", "#..", "#.-.", "#..#", "#...."].map(silence), [0, 0, 2, 3, 0, 0]);
    }

    proptest! {
        /// Fails if an edge is lost or doubled, or if speech outside the edges goes unnoticed.
        #[test]
        fn edges_alternate_and_enclose_every_frame_of_speech(frames in "[#.-]{0,60}") {
            let mut gate = Gate::new(0.5, HANGOVER);
            let mut open = false;
            let frames: Vec<char> = frames.chars().collect();
            for (index, &frame) in frames.iter().enumerate() {
                match gate.push(probability(frame)) {
                    Some(Edge::Started { frame: at }) => {
                        prop_assert!(!open && frame == '#' && at == index as u64);
                        open = true;
                    }
                    Some(Edge::Stopped { frame: at }) => {
                        prop_assert!(open && index as u64 - at >= HANGOVER);
                        prop_assert!(!frames[at as usize + 1..=index].contains(&'#'));
                        open = false;
                    }
                    None => prop_assert!(open || frame != '#'),
                }
                prop_assert_eq!(open, gate.is_open());
            }
        }
    }
}
