//! Which frames of a quiet room need no detector. Pure.
//!
//! A room in which nobody speaks sounds the same from frame to frame. Once the detector has said of some of them in a row
//! that this is no speech, it is asked of every eighth frame only, as long as the room stays as quiet as it was. What is
//! louder than that, or louder than a quiet room, is always judged.

use crate::audio::Frame;

/// No frame with more power than this is passed over: −50 dB of full scale.
const QUIET: f32 = 1e-5;

/// Nor one with so many times the power of the room (6 dB).
const LOUDER: f32 = 4.0;

/// So many frames in a row must have been judged to be silence.
const KNOWN: u32 = 16;

/// Of so many frames one is judged.
const ONE_IN: u32 = 8;

/// What is known of a room.
#[derive(Debug, Clone, Default)]
pub(super) struct Hush {
    /// The mean power of frames that were judged to be silence.
    room: f32,
    /// How many were, in a row.
    judged: u32,
    /// Frames passed over since.
    passed: u32,
}

impl Hush {
    /// Whether a frame can be passed over.
    pub(super) fn passes(&mut self, frame: &Frame) -> bool {
        let power = power(frame);
        let alike = power < QUIET && power < LOUDER * self.room;
        let passes = alike && self.judged >= KNOWN && self.passed + 1 < ONE_IN;
        self.passed += u32::from(passes);
        passes
    }

    /// A frame was judged.
    pub(super) fn judged(&mut self, frame: &Frame, is_silence: bool) {
        self.passed = 0;
        if !is_silence {
            self.judged = 0;
            return;
        }
        let power = power(frame);
        self.room = if self.judged == 0 { power } else { self.room + (power - self.room) / 8.0 };
        self.judged = self.judged.saturating_add(1);
    }
}

fn power(frame: &Frame) -> f32 {
    frame.iter().map(|sample| sample * sample).sum::<f32>() / frame.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::FRAME_SAMPLES;

    /// A frame of this power, in decibels of full scale.
    fn frame(decibels: f32) -> Frame {
        [10_f32.powf(decibels / 20.0); FRAME_SAMPLES]
    }

    /// How many of 80 frames like `next` are judged, all of them to be silence, after a second in a room.
    fn judged(room: f32, next: f32) -> usize {
        let mut hush = Hush::default();
        (0..32).for_each(|_| hush.judged(&frame(room), true));
        let next = frame(next);
        let judges = |_: &i32| {
            let judges = !hush.passes(&next);
            if judges {
                hush.judged(&next, true);
            }
            judges
        };
        (0..80).filter(judges).count()
    }

    #[test]
    fn in_a_quiet_room_one_frame_in_eight_is_judged() {
        assert_eq!(judged(-60.0, -60.0), 10);
        assert_eq!(judged(-60.0, -56.0), 10);
    }

    #[test]
    fn what_is_louder_than_the_room_is_judged_until_the_room_is_known_to_be_as_loud() {
        let mut hush = Hush::default();
        (0..32).for_each(|_| hush.judged(&frame(-70.0), true));
        assert!(!hush.passes(&frame(-62.0)));
        (0..32).for_each(|_| hush.judged(&frame(-62.0), true));
        assert!(hush.passes(&frame(-62.0)));
    }

    #[test]
    fn a_room_that_is_not_quiet_is_judged_all_the_time() {
        assert_eq!(judged(-45.0, -45.0), 80);
    }

    #[test]
    fn after_speech_the_room_has_to_be_known_again() {
        let mut hush = Hush::default();
        (0..32).for_each(|_| hush.judged(&frame(-60.0), true));
        hush.judged(&frame(-60.0), false);
        assert!(!hush.passes(&frame(-60.0)));
    }
}
