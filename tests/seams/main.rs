//! Five minutes of speech without a pause

#![allow(clippy::unwrap_used)]

mod readers;
mod recording;

use futures_util::{SinkExt, StreamExt};
use readers::{Log, Noted, Perfect, demo};
use recording::Recording;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use stenopool::asr::fake;
use stenopool::asr::{EncoderWindow, Engine, Lanes, ModelInfo, RecognizerFactory, ThreadEngine};
use stenopool::audio::Span;
use stenopool::pool::{Allocator, PoolSettings, SlotId};
use stenopool::server::{Keyring, ModelNames, Server, ServerSettings};
use stenopool::session::Frontend;
use stenopool::vad::Silero;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A test that waits longer than this for a server waits for nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with one slot, on which these readers read.
async fn serve(readers: impl RecognizerFactory + 'static) -> SocketAddr {
    let (allocator, _retired) = Allocator::new(PoolSettings::default());
    let engine = ThreadEngine::new(readers);
    engine.open(SlotId(0)).unwrap();
    allocator.add(SlotId(0));
    let model = ModelInfo { name: "demo.en".into(), multilingual: false, window: EncoderWindow::Fit };
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let silero = Silero::load(&models.join("libonnxruntime.so"), &models.join("silero_vad.onnx"));
    let server = Arc::new(Server {
        models: ModelNames::new(model.name.clone(), Vec::new()),
        lanes: Lanes::new(Arc::new(engine), allocator, model),
        capacity: fake::capacity(),
        frontend: Frontend::start(vec![Box::new(silero.expect("`make setup` was run"))]),
        keys: Keyring::new(Vec::new()),
        settings: ServerSettings::default(),
        stopping: CancellationToken::new(),
        cut_off: CancellationToken::new(),
        sessions: TaskTracker::new(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(stenopool::server::serve(listener, server, PATIENCE));
    address
}

/// One item as its events tell it.
#[derive(Debug, Default)]
struct Item {
    id: String,
    start_ms: u64,
    end_ms: u64,
    deltas: String,
    text: Option<String>,
    diverged: u64,
}

/// Speaks a recording and a second of silence, piece by piece, each when what is due of those before is read.
async fn speak(address: SocketAddr, log: &Log, recording: &Recording) -> Vec<Item> {
    let url = format!("ws://{address}/v1/realtime?intent=transcription");
    let (mut socket, _) = connect_async(url).await.unwrap();
    let format = json!({ "audio": { "input": { "format": { "type": "audio/pcm", "rate": 16_000 } } } });
    let update = json!({ "type": "session.update", "session": format }).to_string();
    let mut items: Vec<Item> = Vec::new();
    let piece_ms: usize = std::env::var("PIECE").map_or(500, |ms| ms.parse().unwrap());
    let sound = [recording.pcm16(), vec![0; 48_000]].concat();
    let mut pieces = sound.chunks(piece_ms * 32);
    socket.send(Message::text(update.clone())).await.unwrap();
    let mut done = false;
    while !done {
        let message = timeout(PATIENCE, socket.next()).await.expect("the server answers");
        let Message::Text(text) = message.expect("the session goes on").unwrap() else { continue };
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_ne!(event["type"], "error", "{event}");
        if event["type"] == "session.updated" {
            log.quiet().await;
            if let Some(piece) = pieces.next() {
                socket.send(Message::binary(piece.to_vec())).await.unwrap();
                socket.send(Message::text(update.clone())).await.unwrap();
            }
        }
        note(&mut items, &event);
        done = pieces.len() == 0 && !items.is_empty() && items.iter().all(|item| item.text.is_some());
    }
    items
}

fn note(items: &mut Vec<Item>, event: &Value) {
    let Some(id) = event["item_id"].as_str() else { return };
    if items.last().is_none_or(|item| item.id != id) && !items.iter().any(|item| item.id == id) {
        items.push(Item { id: id.to_owned(), ..Item::default() });
    }
    let item = items.iter_mut().find(|item| item.id == id).expect("it is there");
    match event["type"].as_str().expect("events have a type") {
        "input_audio_buffer.speech_started" => item.start_ms = event["audio_start_ms"].as_u64().unwrap(),
        "input_audio_buffer.speech_stopped" => item.end_ms = event["audio_end_ms"].as_u64().unwrap(),
        "conversation.item.input_audio_transcription.delta" => {
            item.deltas.push_str(event["delta"].as_str().unwrap());
        }
        "conversation.item.input_audio_transcription.completed" => {
            item.text = Some(event["transcript"].as_str().unwrap().to_owned());
            if std::env::var("VERBOSE").is_ok() {
                println!("{event}");
            }
        }
        _ => {}
    }
}

/// Words alone.
fn words(text: &str) -> Vec<String> {
    let bare = |word: &str| word.chars().filter(|char| char.is_alphanumeric()).collect::<String>();
    let words = text.split([' ', '-']).map(|word| bare(&word.to_lowercase()));
    words.filter(|word| !word.is_empty()).collect()
}

/// One step from what was said to what was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The next word, and whether it is told as it was said.
    Told(bool),
    /// A word that is not told.
    Missing,
    /// A word that was not said; whether it stands beside one like it.
    Added(bool),
}

/// Steps with the least mistakes.
fn steps(said: &[String], told: &[String]) -> Vec<Step> {
    let width = told.len() + 1;
    let mut cost: Vec<usize> = vec![0; (said.len() + 1) * width];
    for n in 0..=said.len() {
        for m in 0..=told.len() {
            cost[n * width + m] = match (n, m) {
                (0, m) => m,
                (n, 0) => n,
                (n, m) => (cost[(n - 1) * width + m - 1] + usize::from(said[n - 1] != told[m - 1]))
                    .min(cost[(n - 1) * width + m] + 1)
                    .min(cost[n * width + m - 1] + 1),
            };
        }
    }
    let (mut n, mut m, mut steps) = (said.len(), told.len(), Vec::new());
    while n > 0 || m > 0 {
        let here = cost[n * width + m];
        let changed = |n: usize, m: usize| said[n - 1] != told[m - 1];
        if n > 0 && m > 0 && cost[(n - 1) * width + m - 1] + usize::from(changed(n, m)) == here {
            steps.push(Step::Told(!changed(n, m)));
            (n, m) = (n - 1, m - 1);
        } else if n > 0 && cost[(n - 1) * width + m] + 1 == here {
            steps.push(Step::Missing);
            n -= 1;
        } else {
            m -= 1;
            let like = |at: Option<usize>| at.and_then(|at| told.get(at)) == Some(&told[m]);
            steps.push(Step::Added(like(m.checked_sub(1)) || like(Some(m + 1))));
        }
    }
    steps.reverse();
    steps
}

fn render(said: &[String], told: &[String], ends: &[u64], seams: &[u64]) -> String {
    let (mut n, mut m, mut out) = (0, 0, Vec::new());
    let mut seams = seams.iter().peekable();
    for step in steps(said, told) {
        while n < said.len() && seams.peek().is_some_and(|seam| **seam <= ends[n]) {
            out.push(format!("|{:.1}|", *seams.next().unwrap() as f64 / 16e3));
        }
        match step {
            Step::Told(true) => {
                out.push(said[n].clone());
                n += 1;
                m += 1;
            }
            Step::Told(false) => {
                out.push(format!("[{}>{}]", said[n], told[m]));
                n += 1;
                m += 1;
            }
            Step::Missing => {
                out.push(format!("-{}", said[n]));
                n += 1;
            }
            Step::Added(like) => {
                out.push(format!("{}{}", if like { "++" } else { "+" }, told[m]));
                m += 1;
            }
        }
    }
    out.join(" ")
}

/// Words, and what became of them.
#[derive(Debug, Default)]
struct Tally {
    said: usize,
    changed: usize,
    missing: usize,
    added: usize,
    doubled: usize,
    lost: usize,
}

/// Of the words at seams, and of the others.
fn tally(recording: &[(String, Span)], told: &[String], seams: &[u64], near: u64) -> [Tally; 2] {
    let said: Vec<String> = recording.iter().map(|(word, _)| word.clone()).collect();
    let mut tallies = [Tally::default(), Tally::default()];
    let (mut n, mut run) = (0, 0);
    for step in steps(&said, told) {
        let span = recording[n.min(recording.len() - 1)].1;
        let before = recording[n.saturating_sub(1)].1;
        let from = if matches!(step, Step::Added(_)) { before.start } else { span.start };
        let is_near = seams.iter().any(|seam| seam + near >= from && *seam <= span.end + near);
        let tally = &mut tallies[usize::from(!is_near)];
        run = if step == Step::Missing { run + 1 } else { 0 };
        match step {
            Step::Told(right) => tally.changed += usize::from(!right),
            Step::Missing => tally.missing += 1,
            Step::Added(doubled) => {
                tally.added += 1;
                tally.doubled += usize::from(doubled);
            }
        }
        if run > 1 {
            tally.lost += 1 + usize::from(run == 2);
        }
        if !matches!(step, Step::Added(_)) {
            n += 1;
            tally.said += 1;
        }
    }
    tallies
}

async fn check(name: &str, recording: &Recording, readers: impl RecognizerFactory + 'static) {
    let log = Log::new();
    let address = serve(Noted { readers, log: log.clone() }).await;
    let begun = std::time::Instant::now();
    let items = speak(address, &log, recording).await;
    println!("{name}: {:?}, {} readings", begun.elapsed(), log.spans().len());
    let said: Vec<(String, Span)> = recording
        .words
        .iter()
        .flat_map(|said| {
            let words = words(&said.text);
            let n = words.len() as u64;
            let at = |k: u64| said.span.start + said.span.len() * k / n;
            words
                .into_iter()
                .enumerate()
                .map(|(k, word)| (word, Span::new(at(k as u64), at(k as u64 + 1))))
                .collect::<Vec<_>>()
        })
        .collect();
    let mut seams: Vec<u64> = log.spans().iter().map(|span| span.start).collect();
    seams.sort_unstable();
    seams.dedup();
    seams.remove(0);
    println!(
        "{} seams; items {:?}",
        seams.len(),
        items.iter().map(|item| (item.start_ms, item.end_ms)).collect::<Vec<_>>()
    );
    let finals: Vec<String> = items.iter().flat_map(|item| words(item.text.as_ref().unwrap())).collect();
    let deltas: Vec<String> = items.iter().flat_map(|item| words(&item.deltas)).collect();
    for (what, told) in [("finals", finals), ("deltas", deltas)] {
        let [near, far] = tally(&said, &told, &seams, 4_800);
        println!("{what}: near {near:?}");
        println!("{what}: far  {far:?}");
        let s: Vec<String> = said.iter().map(|(word, _)| word.clone()).collect();
        let ends: Vec<u64> = said.iter().map(|(_, span)| span.end).collect();
        println!("{}", render(&s, &told, &ends, &seams));
    }
}

fn seed() -> u64 {
    std::env::var("SEED").map_or(7, |seed| seed.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn perfect() {
    let recording = Recording::new(seed(), 300);
    let blur = std::env::var("BLUR").map_or(0, |ms| ms.parse::<u64>().unwrap() * 16);
    check("perfect", &recording, Perfect::new(&recording, blur)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real() {
    let recording = Recording::new(seed(), 300);
    check("demo", &recording, demo()).await;
}
