//! What it costs to listen to sessions in which nobody speaks: `cargo bench --bench frontend`.
//!
//! Times are of this machine. Sessions stream in real time, 100 ms at a time, each at a moment of its own; what counts is
//! the processor time of the frontend's thread.

use std::fs;
use std::path::Path;
use std::time::Duration;
use stenopool::audio::{FRAME_SAMPLES, Frame, StreamFormat};
use stenopool::session::{Ear, EarInput, Frontend};
use stenopool::vad::{Detector, EndpointSettings, Silero, VadState};
use tokio::time::{Instant, interval_at};

/// How long sessions stream before anything is measured, and while it is.
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURE: Duration = Duration::from_secs(5);

/// What sessions send at a time.
const PIECE: Duration = Duration::from_millis(100);

/// Samples of noise that sessions take their pieces from, each from a place of its own.
const NOISE: usize = 200_000;

/// What a session sends.
#[derive(Clone, Copy)]
enum Sound {
    /// Samples that are all 0.
    None,
    /// Noise of −50 dB.
    Room,
}

/// How pieces are begun.
#[derive(Clone, Copy)]
enum Begun {
    /// As those of live sessions.
    Gathered,
    /// As those of files, which wait for nobody.
    AtOnce,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    for n_frames in [1, 2, 4, 8, 16, 32, 64] {
        run(n_frames);
    }
    for (sound, begun, hertz, n_sessions) in [
        (Sound::None, Begun::Gathered, 16_000, 300),
        (Sound::Room, Begun::Gathered, 16_000, 20),
        (Sound::Room, Begun::AtOnce, 16_000, 300),
        (Sound::Room, Begun::Gathered, 16_000, 300),
        (Sound::Room, Begun::AtOnce, 16_000, 1_000),
        (Sound::Room, Begun::Gathered, 16_000, 1_000),
        (Sound::None, Begun::Gathered, 24_000, 300),
        (Sound::Room, Begun::Gathered, 24_000, 300),
        (Sound::Room, Begun::Gathered, 24_000, 1_000),
    ] {
        runtime.block_on(stream(sound, begun, hertz, n_sessions));
    }
}

fn silero() -> Silero {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    Silero::load(&models.join("libonnxruntime.so"), &models.join("silero_vad.onnx"))
        .expect("`make setup` has fetched the models")
}

/// So many streams' frames in one run.
fn run(n_frames: usize) {
    const ROUNDS: usize = 300;
    let mut silero = silero();
    let (mut states, frame) = (vec![VadState::default(); n_frames], [0.01; FRAME_SAMPLES]);
    let mut heard = vec![0.0; n_frames];
    let mut round = || {
        let mut steps: Vec<(&mut VadState, &Frame)> =
            states.iter_mut().map(|state| (state, &frame)).collect();
        let since = Instant::now();
        silero.probabilities(&mut steps, &mut heard).expect("the model runs");
        since.elapsed()
    };
    let mut took: Vec<Duration> = (0..ROUNDS).map(|_| round()).collect();
    took.sort_unstable();
    println!("{n_frames} frames in one run: {:.1} us per frame", micros(took[ROUNDS / 2]) / n_frames as f64);
}

/// So many sessions stream for a while.
async fn stream(sound: Sound, begun: Begun, hertz: u32, n_sessions: usize) {
    let frontend = Frontend::start(vec![Box::new(silero())]);
    let noise = noise(sound);
    let end = Instant::now() + WARM_UP + MEASURE;
    let sessions: Vec<_> = (0..n_sessions)
        .map(|n| tokio::spawn(session(frontend.clone(), noise, begun, hertz, n, end)))
        .collect();
    tokio::time::sleep(WARM_UP).await;
    let (since, used) = (Instant::now(), used_by_frontend());
    tokio::time::sleep_until(end).await;
    let (took, used) = (since.elapsed().as_secs_f64(), used_by_frontend() - used);
    let mut waits = Vec::new();
    for session in sessions {
        waits.extend(session.await.expect("no session panics"));
    }
    waits.sort_unstable();
    let frames = n_sessions as f64 * took * 16_000.0 / FRAME_SAMPLES as f64;
    println!(
        "{n_sessions} sessions, {}, {hertz} Hz, pieces begun {}: {:.3} core per 100 sessions, {:.1} us per frame; \
         a piece takes {:.1} ms, p99 {:.1} ms",
        match sound {
            Sound::None => "no sound",
            Sound::Room => "room noise",
        },
        match begun {
            Begun::Gathered => "together",
            Begun::AtOnce => "at once",
        },
        used.as_secs_f64() / took / n_sessions as f64 * 100.0,
        micros(used) / frames,
        micros(waits[waits.len() / 2]) / 1e3,
        micros(waits[waits.len() * 99 / 100]) / 1e3,
    );
}

/// One session until `end`; how long each piece took to be heard.
async fn session(
    frontend: Frontend,
    noise: &'static [i16],
    begun: Begun,
    hertz: u32,
    n: usize,
    end: Instant,
) -> Vec<Duration> {
    let format = StreamFormat::pcm16(hertz).expect("a usual rate");
    let mut ear = Ear::new(format, EndpointSettings::default());
    let phase = PIECE.mul_f64((n as f64 * 0.618_034).fract());
    let mut pieces = interval_at(Instant::now() + phase, PIECE);
    let mut rest = noise.iter().copied().cycle().skip(n * 7_919 % NOISE);
    let mut waits = Vec::new();
    while Instant::now() < end {
        pieces.tick().await;
        let piece = rest.by_ref().take(hertz as usize / 10);
        let input = match begun {
            Begun::Gathered => EarInput::Bytes(piece.flat_map(i16::to_le_bytes).collect()),
            Begun::AtOnce => EarInput::Samples(piece.map(|sample| f32::from(sample) / 32_768.0).collect()),
        };
        let since = Instant::now();
        let (home, events) = frontend.hear(ear, input).await.expect("the frontend hears");
        assert!(events.expect("the bytes are audio").is_empty(), "nobody speaks");
        waits.push(since.elapsed());
        ear = home;
    }
    waits
}

fn noise(sound: Sound) -> &'static [i16] {
    let loudness = match sound {
        Sound::None => 0,
        Sound::Room => 100,
    };
    let mut random = 1_u32;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        (random % (2 * loudness + 1)) as i16 - loudness as i16
    };
    (0..NOISE).map(|_| next()).collect::<Vec<_>>().leak()
}

/// Processor time that the frontend's thread has used.
fn used_by_frontend() -> Duration {
    let threads = fs::read_dir("/proc/self/task").expect("Linux lists its threads");
    let used = threads.flatten().filter_map(|thread| {
        let name = fs::read_to_string(thread.path().join("comm")).ok()?;
        let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        name.starts_with("frontend-").then(|| times.split(' ').next()?.parse::<u64>().ok()).flatten()
    });
    Duration::from_nanos(used.sum())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
