//! The REST edge on real sockets, with a scripted engine behind it.

#![allow(clippy::unwrap_used)]

mod client;
mod driver;
mod metrics;
mod speech;
mod waiting;

use client::{Answer, FORM, exchange, form, request, send, transcription};
use serde_json::{Value, json};
use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use stenopool::asr::fake::{self, Act, FakeEngine};
use stenopool::asr::{AsrError, EncoderWindow, Lanes, ModelInfo};
use stenopool::llm::Echo;
use stenopool::pool::{
    Allocator, Ask, Class, Cost, FlowInfo, Lease, LeaseScope, PoolSettings, SlotId, Snapshot, Tier, Weight,
};
use stenopool::server::{KeyEntry, Keyring, ModelNames, Server, ServerSettings, hash_key, serve};
use stenopool::session::{Assistant, Frontend};
use stenopool::vad::fake::FakeDetector;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than anything here takes; a test that waits for so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a server under test is set up.
struct Stage {
    engine: FakeEngine,
    studio: Option<Arc<dyn stenopool::tts::Studio>>,
    slots: u16,
    queue_limit: usize,
    keys: Vec<KeyEntry>,
    settings: ServerSettings,
    grace: Duration,
}

impl Stage {
    fn with(engine: FakeEngine) -> Self {
        let (keys, settings) = (Vec::new(), ServerSettings::default());
        Self { engine, studio: None, slots: 1, queue_limit: 8, keys, settings, grace: PATIENCE }
    }

    async fn start(self) -> Running {
        let (allocator, _) =
            Allocator::new(PoolSettings { queue_limit: self.queue_limit, ..PoolSettings::default() });
        (0..self.slots).for_each(|slot| allocator.add(SlotId(slot)));
        let model = ModelInfo { name: "demo".into(), multilingual: false, window: EncoderWindow::Fit };
        let server = Arc::new(Server {
            capacity: fake::capacity(),
            lanes: Lanes::new(Arc::new(self.engine), allocator, model),
            frontend: Frontend::start(vec![Box::new(FakeDetector)]),
            assistant: Assistant { model: Arc::new(Echo), studio: self.studio },
            models: ModelNames::new("demo".into(), vec!["whisper-1".into()]),
            keys: Keyring::new(self.keys),
            settings: self.settings,
            stopping: CancellationToken::new(),
            crashing: CancellationToken::new(),
            cut_off: CancellationToken::new(),
            sessions: TaskTracker::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, Arc::clone(&server), self.grace));
        Running { address, server, serving }
    }
}

/// A server under test.
struct Running {
    address: SocketAddr,
    server: Arc<Server>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Running {
    async fn answer(&self, request: &[u8]) -> Answer {
        timeout(PATIENCE, exchange(self.address, request)).await.expect("an answer")
    }

    async fn get(&self, path: &str) -> Answer {
        self.answer(&request("GET", path, "", b"")).await
    }

    async fn transcribe(&self, fields: &[(&str, &str)]) -> Answer {
        self.answer(&transcription(fields, &recording())).await
    }

    /// Waits until the pool looks like this.
    async fn until(&self, expected: impl Fn(&Snapshot) -> bool) {
        let looking = async {
            while !expected(&self.server.lanes.allocator().snapshot()) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, looking).await.expect("the pool gets there");
    }
}

fn key(name: &str, max_sessions: Option<usize>) -> KeyEntry {
    KeyEntry {
        name: name.into(),
        hash: hash_key(name),
        tier: Tier::default(),
        max_sessions,
        max_leases: None,
    }
}

/// Two loud seconds with silence around and between them: two utterances.
fn recording() -> Vec<u8> {
    wav(&[false, true, false, true, false])
}

/// One utterance, so that its request stands in line at most once.
fn one_utterance() -> Vec<u8> {
    wav(&[false, true, false])
}

/// Seconds that are loud or silent.
fn wav(seconds: &[bool]) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut wav, spec).unwrap();
    for loud in seconds {
        for sample in 0..16_000 {
            writer.write_sample(if *loud && sample % 2 == 0 { 20_000_i16 } else { 0 }).unwrap();
        }
    }
    writer.finalize().unwrap();
    wav.into_inner()
}

/// Reads "One." out of the first loud second and "Two." out of the second.
fn counting() -> FakeEngine {
    FakeEngine::new(|utterance, _| {
        let text = if utterance.span.start < 32_000 { "One." } else { "Two." };
        Act::Say(text.into(), Duration::ZERO)
    })
}

fn never_done() -> FakeEngine {
    FakeEngine::new(|_, _| Act::Never)
}

#[tokio::test]
async fn every_format_tells_the_same_text() {
    let server = Stage::with(counting()).start().await;
    let told = async |format| server.transcribe(&[("response_format", format)]).await;
    assert_eq!(told("text").await.body, "One. Two.\n");
    assert_eq!(told("json").await.body, r#"{"text":"One. Two.","usage":{"type":"duration","seconds":5.0}}"#);
    let (srt, vtt) = (told("srt").await.body, told("vtt").await.body);
    assert!(srt.starts_with("1\n00:00:0") && srt.contains("\nOne.\n\n2\n"), "{srt}");
    assert!(vtt.starts_with("WEBVTT\n\n00:00:0") && vtt.contains("\nTwo.\n"), "{vtt}");
    let verbose: Value = serde_json::from_str(&told("verbose_json").await.body).unwrap();
    assert_eq!((&verbose["text"], &verbose["language"]), (&"One. Two.".into(), &"english".into()));
    assert_eq!(verbose["segments"][1]["text"], "Two.");
}

#[tokio::test]
async fn a_translation_of_english_is_its_transcription() {
    let server = Stage::with(counting()).start().await;
    let body = form(&[("response_format", "verbose_json")], Some(&recording()));
    let answer = server.answer(&request("POST", "/v1/audio/translations", FORM, &body)).await;
    let verbose: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&verbose["task"], &verbose["text"]), (&"translate".into(), &"One. Two.".into()));
}

#[tokio::test]
async fn a_stream_tells_each_part_and_then_the_whole() {
    let server = Stage::with(counting()).start().await;
    let answer = server.transcribe(&[("stream", "true")]).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let events = answer.events();
    let deltas: Vec<_> = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(deltas, ["One.", " Two."]);
    let done = events.last().unwrap();
    assert_eq!((&done["type"], &done["text"]), (&"transcript.text.done".into(), &"One. Two.".into()));
    assert_eq!(done["usage"]["seconds"], 5.0);
}

#[tokio::test]
async fn log_probabilities_come_with_the_text_they_belong_to_when_they_are_asked_for() {
    let server = Stage::with(counting()).start().await;
    let asked = [("include[]", "logprobs"), ("stream", "true")];
    let tokens = |event: &Value| -> Vec<String> {
        let logprobs = event["logprobs"].as_array().expect("they were asked for");
        assert!(logprobs.iter().all(|token| token["logprob"].is_f64() && token["bytes"].is_array()));
        logprobs.iter().map(|token| token["token"].as_str().expect("a text").to_owned()).collect()
    };
    let events = server.transcribe(&asked).await.events();
    let told: Vec<_> = events.iter().map(tokens).collect();
    assert_eq!(told, [vec!["One."], vec!["Two."], vec!["One.", "Two."]]);
    let whole: Value = serde_json::from_str(&server.transcribe(&asked[..1]).await.body).unwrap();
    assert_eq!(tokens(&whole), ["One.", "Two."]);
    let plain: Value = serde_json::from_str(&server.transcribe(&[]).await.body).unwrap();
    assert_eq!(plain.get("logprobs"), None);
}

/// Reads the first loud second and fails on the second.
fn failing_midway() -> FakeEngine {
    FakeEngine::new(|utterance, _| match utterance.span.start {
        0..32_000 => Act::Say("One.".into(), Duration::ZERO),
        _ => Act::Fail(AsrError::Decode("scripted".into()), Duration::ZERO),
    })
}

#[tokio::test]
async fn an_error_midway_ends_a_stream_with_an_error_event() {
    let server = Stage::with(failing_midway()).start().await;
    let answer = server.transcribe(&[("stream", "true")]).await;
    let events = answer.events();
    assert_eq!(events[0]["delta"], "One.");
    assert_eq!((events.len(), &events[1]["error"]["code"]), (2, &"decode_failed".into()));
    assert!(answer.body.contains("event: error\n"), "{}", answer.body);
}

#[tokio::test]
async fn an_error_midway_fails_a_document_and_leaves_the_slot_usable() {
    let server = Stage::with(failing_midway()).start().await;
    assert_eq!(server.transcribe(&[]).await.refusal(), (500, "decode_failed".into()));
    server.until(|pool| pool.slots.idle == 1).await;
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_with_them() {
    let server = Stage::with(counting()).start().await;
    let form_of = |fields: &[(&str, &str)]| transcription(fields, &recording());
    let post = |headers, body: &[u8]| request("POST", "/v1/audio/transcriptions", headers, body);
    let cases = [
        (transcription(&[], b""), (400, "audio_empty")),
        (transcription(&[], b"this is not audio, whatever its name says"), (400, "audio_format_unknown")),
        (form_of(&[("model", "whisper-9")]), (404, "model_not_found")),
        (form_of(&[("language", "de")]), (400, "unsupported_value")),
        (form_of(&[("temperature", "2")]), (400, "invalid_value")),
        (form_of(&[("response_format", "diarized_json")]), (400, "unsupported_value")),
        (post(FORM, &form(&[], None)), (400, "file_missing")),
        (
            post(FORM, b"--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nRIFF"),
            (400, "form_damaged"),
        ),
        (post("Content-Type: application/json\r\n", b"{}"), (415, "form_expected")),
        (request("GET", "/v1/audio/transcriptions", "", b""), (405, "method_not_allowed")),
        (request("GET", "/v1/audio", "", b""), (404, "route_not_found")),
        (request("GET", "/v1/models/whisper-9", "", b""), (404, "model_not_found")),
        (request("GET", "/v1/models/%FF", "", b""), (400, "invalid_path")),
    ];
    for (request, (status, code)) in cases {
        assert_eq!(server.answer(&request).await.refusal(), (status, code.into()));
    }
    assert_eq!(server.transcribe(&[]).await.status, 200, "nobody else was harmed");
}

fn with_upload_limit(upload_limit: u64) -> Stage {
    let settings = ServerSettings { upload_limit, ..ServerSettings::default() };
    Stage { settings, ..Stage::with(counting()) }
}

#[tokio::test]
async fn an_upload_over_the_limit_is_refused_even_to_a_client_that_sends_it_all_first() {
    let server = with_upload_limit(1000).start().await;
    let announced = transcription(&[], &vec![0; 64 << 20]);
    assert_eq!(server.answer(&announced).await.refusal(), (413, "upload_too_large".into()));
    let close_to_it = transcription(&[], &[0; 1001]);
    assert_eq!(server.answer(&close_to_it).await.refusal(), (413, "upload_too_large".into()));
}

#[tokio::test]
async fn an_upload_of_unknown_length_is_refused_when_it_grows_over_the_limit() {
    let server = with_upload_limit(1000).start().await;
    let head = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n{FORM}\r\n"
    );
    let body = form(&[], Some(&[0; 5000]));
    let size = format!("{:x}\r\n", body.len());
    let request = [head.as_bytes(), size.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    assert_eq!(server.answer(&request).await.refusal(), (413, "upload_too_large".into()));
}

#[tokio::test]
async fn without_the_right_key_only_the_probes_answer() {
    let server = Stage { keys: vec![key("ann", None)], ..Stage::with(counting()) }.start().await;
    for path in ["/pool", "/v1/models", "/v1/models/demo"] {
        assert_eq!(server.get(path).await.refusal(), (401, "api_key_missing".into()), "{path}");
    }
    let wrong = request("GET", "/pool", "Authorization: Bearer bob\r\n", b"");
    assert_eq!(server.answer(&wrong).await.refusal(), (401, "invalid_api_key".into()));
    let right = request("GET", "/pool", "Authorization: Bearer ann\r\n", b"");
    assert_eq!(server.answer(&right).await.status, 200);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_is_served_gives_its_slot_back() {
    let server = Stage::with(never_done()).start().await;
    let client = send(server.address, &transcription(&[], &recording())).await;
    server.until(|pool| pool.slots.leased == 1).await;
    drop(client);
    server.until(|pool| pool.slots.idle == 1 && pool.queue.depth() == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_of_events_gives_its_slot_back() {
    let engine = FakeEngine::new(|utterance, _| match utterance.span.start {
        0..32_000 => Act::Say("One.".into(), Duration::ZERO),
        _ => Act::Never,
    });
    let server = Stage::with(engine).start().await;
    let mut client = send(server.address, &transcription(&[("stream", "true")], &recording())).await;
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("One.") {
        assert_ne!(client.read_buf(&mut heard).await.unwrap(), 0, "the stream ended early");
    }
    server.until(|pool| pool.slots.leased == 1).await;
    drop(client);
    server.until(|pool| pool.slots.idle == 1).await;
}

#[tokio::test]
async fn a_caller_at_its_limit_is_refused_until_its_other_request_ends() {
    let keys = vec![key("ann", Some(1)), key("bob", Some(1))];
    let server = Stage { keys, ..Stage::with(never_done()) }.start().await;
    let head = format!("Authorization: Bearer ann\r\n{FORM}");
    let body = form(&[], Some(&recording()));
    let whole = request("POST", "/v1/audio/transcriptions", &head, &body);
    let client = send(server.address, &whole).await;
    server.until(|pool| pool.slots.leased == 1).await;
    let refused = server.answer(&whole).await;
    assert_eq!(refused.refusal(), (429, "too_many_sessions".into()));
    assert!(refused.headers.contains_key("retry-after"));
    drop(client);
    server.until(|pool| pool.slots.idle == 1).await;
    let _next = send(server.address, &whole).await;
    server.until(|pool| pool.slots.leased == 1).await;
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_of_its_upload_is_forgotten() {
    let server = Stage { keys: vec![key("ann", Some(1))], ..Stage::with(counting()) }.start().await;
    let head = format!("Authorization: Bearer ann\r\n{FORM}");
    let whole = request("POST", "/v1/audio/transcriptions", &head, &form(&[], Some(&recording())));
    drop(send(server.address, &whole[..whole.len() / 2]).await);
    let trying = async { while server.answer(&whole).await.status == 429 {} };
    timeout(PATIENCE, trying).await.expect("its place is free again");
}

#[tokio::test]
async fn slow_clients_are_given_up() {
    let settings = ServerSettings { request_stall: Duration::from_millis(100), ..ServerSettings::default() };
    let server = Stage { settings, ..Stage::with(counting()) }.start().await;
    let whole = transcription(&[], &recording());
    let stalled = server.answer(&whole[..whole.len() / 2]).await;
    assert_eq!(stalled.refusal(), (408, "upload_stalled".into()));
    let mut headless = send(server.address, b"POST /v1/audio/tr").await;
    let mut rest = Vec::new();
    let closed = timeout(PATIENCE, headless.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "a head that never ends is not waited for");
}

#[tokio::test]
async fn a_stopping_server_finishes_the_request_in_progress_and_takes_no_more() {
    let engine = FakeEngine::new(|_, _| Act::Say("Done.".into(), Duration::from_millis(100)));
    let server = Stage::with(engine).start().await;
    let in_progress = async { server.transcribe(&[("response_format", "text")]).await };
    let stop = async {
        server.until(|pool| pool.slots.leased == 1).await;
        server.server.stopping.cancel();
        server.until(|pool| pool.draining).await;
        assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
    };
    let (answer, ()) = tokio::join!(in_progress, stop);
    assert_eq!((answer.status, answer.body.as_str()), (200, "Done. Done.\n"));
    timeout(PATIENCE, server.serving).await.expect("it ends").unwrap().unwrap();
}

#[tokio::test]
async fn a_stopping_server_cuts_off_what_outlasts_the_grace_period() {
    let grace = Duration::from_millis(50);
    let mut server = Stage { grace, ..Stage::with(never_done()) }.start().await;
    let _client = send(server.address, &transcription(&[], &recording())).await;
    server.until(|pool| pool.slots.leased == 1).await;
    server.server.stopping.cancel();
    timeout(PATIENCE, &mut server.serving).await.expect("it ends").unwrap().unwrap();
    server.until(|pool| pool.slots.idle == 1).await;
}

#[tokio::test]
async fn an_idle_connection_hears_that_the_server_is_stopping_by_being_closed() {
    let server = Stage::with(counting()).start().await;
    let mut idle = send(server.address, b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n").await;
    idle.read_exact(&mut [0; 15]).await.unwrap();
    server.server.stopping.cancel();
    let mut rest = Vec::new();
    timeout(PATIENCE, idle.read_to_end(&mut rest)).await.expect("it is closed").unwrap();
    idle.shutdown().await.ok();
    drop(idle);
    timeout(PATIENCE, server.serving).await.expect("it ends").unwrap().unwrap();
}

#[tokio::test]
async fn readiness_needs_a_slot_in_service() {
    let server = Stage { slots: 0, ..Stage::with(counting()) }.start().await;
    assert_eq!(server.get("/readyz").await.refusal(), (503, "no_slot".into()));
    assert_eq!(server.get("/healthz").await.body, "ok\n");
    server.server.lanes.allocator().add(SlotId(0));
    assert_eq!(server.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn the_pool_and_the_models_have_their_shapes() {
    let server = Stage { slots: 2, ..Stage::with(counting()) }.start().await;
    let pool: Value = serde_json::from_str(&server.get("/pool").await.body).expect("it is JSON");
    let slots = json!({ "total": 2, "idle": 2, "leased": 0, "warming": 0, "retired": 0 });
    assert_eq!(
        (&pool["model"], &pool["slots"], &pool["queue"]["limit"]),
        (&json!("demo"), &slots, &json!(8))
    );
    insta::assert_snapshot!(
        server.get("/v1/models").await.body,
        @r#"{"object":"list","data":[{"id":"demo","object":"model","created":0,"owned_by":"stenopool"},{"id":"whisper-1","object":"model","created":0,"owned_by":"stenopool"}]}"#
    );
    insta::assert_snapshot!(
        server.get("/v1/models/whisper-1").await.body,
        @r#"{"id":"whisper-1","object":"model","created":0,"owned_by":"stenopool"}"#
    );
}

#[tokio::test]
async fn every_answer_names_its_request() {
    let server = Stage::with(counting()).start().await;
    let (first, second) = (server.get("/healthz").await, server.get("/nowhere").await);
    assert_ne!(first.headers["x-request-id"], second.headers["x-request-id"]);
}
