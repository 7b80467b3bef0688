//! What the voice takes: how soon the first sound comes, and how much work a second of sound is.

use super::figures::{VoiceFigures, millis, rounded};
use crate::cli::assembly::off_the_runtime;
use crate::cli::failure::Failure;
use crate::cli::voices;
use crate::config::Settings;
use crate::gpu::process_memory;
use crate::load::Quantiles;
use crate::tts::{Studio, Voice, phrases, recite};
use anyhow::Context;
use futures_util::StreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What is said, one after the other: phrases as replies have them, each with its own length, since what a GPU learns of one
/// length helps with no other.
const PHRASES: [&str; 6] = [
    "The kitchen lights are on, and the timer is set for fifteen minutes.",
    "Yes, of course.",
    "There are two trains tonight, and the later one stops at the airport.",
    "I have put it on your list.",
    "The forecast says rain until noon, then clouds, and a little sun towards the evening.",
    "Shall I read the second message as well, or is that enough for now?",
];

/// And no more of them when that has taken so long.
const LONG_ENOUGH: Duration = Duration::from_secs(20);

/// Opens what speaks, as a server does, and lets it say phrases.
///
/// # Errors
///
/// When nothing speaks here.
pub(super) async fn measure(settings: &Settings, gpu: Option<u32>) -> anyhow::Result<VoiceFigures> {
    let before = process_memory();
    let begun = Instant::now();
    let studio = voices::open(settings, gpu).await?;
    // The first phrase of all is slower than the others: what it needs is loaded then.
    say(&*studio, "Good evening, what can I do for you?").await?;
    let ready_ms = millis(begun.elapsed());
    let (begun, mut firsts, mut work, mut sound) = (Instant::now(), Vec::new(), 0.0, 0.0);
    for phrase in PHRASES {
        if !firsts.is_empty() && begun.elapsed() > LONG_ENOUGH {
            break;
        }
        let said = say(&*studio, phrase).await?;
        firsts.push(millis(said.first));
        work += said.work.as_secs_f64();
        sound += said.sound;
    }
    let figures = VoiceFigures {
        engine: studio.engine().into(),
        voice: studio.default_voice().into(),
        device: studio.provider().map(|provider| provider.to_string()),
        ready_ms,
        first_sound_ms: Quantiles::of(&mut firsts).context("nothing was said")?,
        real_time_factor: rounded(work / sound, 3),
        memory_bytes: process_memory().since(before).0,
    };
    close(studio).await?;
    Ok(figures)
}

/// Its threads are joined, which blocks.
async fn close(studio: Arc<dyn Studio>) -> anyhow::Result<()> {
    off_the_runtime(move || {
        drop(studio);
        Ok::<_, Failure>(())
    })
    .await
}

struct Said {
    first: Duration,
    work: Duration,
    /// In seconds.
    sound: f64,
}

async fn say(studio: &dyn Studio, phrase: &str) -> anyhow::Result<Said> {
    let voice = Voice { name: studio.default_voice().to_owned(), speed: 1.0 };
    let begun = Instant::now();
    let rate = crate::audio::SoundEncoder::RATE;
    let mut pieces = recite(studio.narrator(), phrases(phrase, None), voice, rate);
    let (mut first, mut samples) = (None, 0);
    while let Some(piece) = pieces.next().await {
        samples += piece?.samples.len();
        first.get_or_insert_with(|| begun.elapsed());
    }
    let sound = samples as f64 / f64::from(rate.hertz());
    Ok(Said { first: first.context("the voice gave no sound")?, work: begun.elapsed(), sound })
}
