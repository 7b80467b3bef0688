//! A server on a port of its own, with two slots of a scripted engine.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use stenopool::asr::fake::{self, Act, FakeEngine};
use stenopool::asr::{DecodeOptions, EncoderWindow, Lanes, ModelInfo};
use stenopool::audio::Utterance;
use stenopool::llm::Echo;
use stenopool::pool::{Allocator, Lease, PoolSettings, SlotId, Snapshot, Tier, Weight};
use stenopool::server::{KeyEntry, Keyring, ModelNames, Server, ServerSettings, Tls};
use stenopool::session::{Assistant, Frontend};
use stenopool::vad::fake::FakeDetector;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A test that waits longer than this for a server waits for nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Reads an utterance as `heard N`, where N is its peak in hundredths.
pub(crate) fn heard(utterance: &Utterance, _: &DecodeOptions) -> Act {
    let peak = utterance.samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    Act::Say(format!("heard {}", (peak * 100.0).round()), Duration::ZERO)
}

/// The settings of a server unless a test wants others.
pub(crate) fn settings() -> ServerSettings {
    ServerSettings::default()
}

/// A server that answers.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    server: Arc<Server>,
    serving: Mutex<JoinHandle<std::io::Result<()>>>,
}

type Script = fn(&Utterance, &DecodeOptions) -> Act;

/// Serves with the default settings and without keys.
pub(crate) async fn serve(script: Script) -> Served {
    serve_with(script, settings()).await
}

/// Serves with other settings.
pub(crate) async fn serve_with(script: Script, settings: ServerSettings) -> Served {
    start(script, settings, Vec::new(), PATIENCE).await
}

/// Serves with other settings, and with so much time to stop.
pub(crate) async fn serve_with_grace(script: Script, settings: ServerSettings, grace: Duration) -> Served {
    start(script, settings, Vec::new(), grace).await
}

/// Serves those who know the key, and only so many of them at once.
pub(crate) async fn serve_guarded(key: &str, max_sessions: usize) -> Served {
    let entry = KeyEntry {
        name: "tester".into(),
        hash: Sha256::digest(key.as_bytes()).into(),
        tier: Tier { name: "gold".into(), weight: Weight::new(4).expect("it is a weight") },
        max_sessions: Some(max_sessions),
        max_leases: None,
    };
    start(heard, settings(), vec![entry], PATIENCE).await
}

async fn start(script: Script, settings: ServerSettings, keys: Vec<KeyEntry>, grace: Duration) -> Served {
    listen(fake_server(script, settings, keys), None, grace).await
}

fn fake_server(script: Script, settings: ServerSettings, keys: Vec<KeyEntry>) -> Server {
    let (allocator, _retired) = Allocator::new(PoolSettings::default());
    for slot in 0..2 {
        allocator.add(SlotId(slot));
    }
    let model = ModelInfo { name: "fake".into(), multilingual: false, window: EncoderWindow::Fit };
    let lanes = Lanes::new(Arc::new(FakeEngine::new(script)), allocator, model);
    server_on(lanes, settings, keys)
}

/// Serves on lanes that somebody else looks after.
#[allow(dead_code, reason = "only the tests of faults have lanes of their own")]
pub(crate) async fn serve_lanes(lanes: Lanes, settings: ServerSettings, grace: Duration) -> Served {
    listen(server_on(lanes, settings, Vec::new()), None, grace).await
}

fn server_on(lanes: Lanes, settings: ServerSettings, keys: Vec<KeyEntry>) -> Server {
    Server {
        models: ModelNames::new(lanes.model().name.clone(), vec!["whisper-1".into()]),
        lanes,
        capacity: fake::capacity(),
        frontend: Frontend::start(vec![Box::new(FakeDetector)]),
        assistant: Assistant { model: Arc::new(Echo), studio: None },
        keys: Keyring::new(keys),
        settings,
        stopping: CancellationToken::new(),
        crashing: CancellationToken::new(),
        cut_off: CancellationToken::new(),
        sessions: TaskTracker::new(),
    }
}

/// Serves with the default settings over TLS.
#[allow(dead_code, reason = "only the tests of TLS speak it")]
pub(crate) async fn serve_tls(script: Script, tls: Tls) -> Served {
    listen(fake_server(script, settings(), Vec::new()), Some(tls), PATIENCE).await
}

async fn listen(server: Server, tls: Option<Tls>, grace: Duration) -> Served {
    let server = Arc::new(server);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let serving = tokio::spawn(stenopool::server::serve_over(listener, tls, Arc::clone(&server), grace));
    Served { address, server, serving: Mutex::new(serving) }
}

impl Served {
    /// The address of the WebSocket.
    pub(crate) fn url(&self, query: &str) -> String {
        format!("ws://{}/v1/realtime{query}", self.address)
    }

    /// Begins to stop, as on a signal.
    pub(crate) fn stop(&self) {
        self.server.stopping.cancel();
    }

    /// Begins to end against its will.
    pub(crate) fn crash(&self) {
        self.server.crashing.cancel();
        self.stop();
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(&self) {
        let mut serving = self.serving.lock().await;
        let ended = timeout(PATIENCE, &mut *serving).await.expect("the server stops");
        ended.expect("it does not panic").expect("its socket was sound");
    }

    /// Lets nobody in any more.
    pub(crate) fn drain(&self) {
        self.server.lanes.allocator().drain();
    }

    /// Takes all slots away.
    pub(crate) fn occupied(&self) -> Vec<Lease> {
        let allocator = self.server.lanes.allocator();
        (0..2).map(|slot| allocator.lend(SlotId(slot), "test").expect("it is idle")).collect()
    }

    /// Waits until the pool looks like this.
    pub(crate) async fn until(&self, looks: impl Fn(Snapshot) -> bool) {
        patiently(|| looks(self.server.lanes.allocator().snapshot())).await;
    }

    /// Waits until all sessions are gone.
    pub(crate) async fn no_sessions(&self) {
        patiently(|| self.server.sessions.is_empty()).await;
    }

    /// Tries to come in and is refused: the status, the body, and the `Retry-After` header.
    pub(crate) async fn refused(&self, query: &str, key: Option<&str>) -> (u16, Value, Option<String>) {
        let mut request = self.url(query).into_client_request().expect("a request");
        if let Some(key) = key {
            let bearer = format!("Bearer {key}").parse().expect("a header value");
            request.headers_mut().insert("authorization", bearer);
        }
        let Err(Error::Http(response)) = tokio_tungstenite::connect_async(request).await else {
            panic!("the client was let in");
        };
        let body = response.body().as_deref().expect("a body");
        let retry_after =
            response.headers().get("retry-after").map(|value| value.to_str().expect("it is text").to_owned());
        (response.status().as_u16(), serde_json::from_slice(body).expect("the body is JSON"), retry_after)
    }
}

/// Waits for something that has to come true.
async fn patiently(is_so: impl Fn() -> bool) {
    let looking = async {
        while !is_so() {
            yield_now().await;
        }
    };
    timeout(PATIENCE, looking).await.expect("it comes true");
}
