//! A server on a port of its own, with two slots of a scripted engine.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use stenopool::asr::fake::{Act, FakeEngine};
use stenopool::asr::{DecodeOptions, EncoderWindow, Lanes, ModelInfo};
use stenopool::audio::Utterance;
use stenopool::pool::{Allocator, PoolSettings, SlotId, Snapshot};
use stenopool::server::{KeyEntry, Keyring, ModelNames, Server, ServerSettings, router};
use stenopool::session::Frontend;
use stenopool::vad::fake::FakeDetector;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

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
}

type Script = fn(&Utterance, &DecodeOptions) -> Act;

/// Serves with the default settings and without keys.
pub(crate) async fn serve(script: Script) -> Served {
    serve_with(script, settings()).await
}

/// Serves with other settings.
pub(crate) async fn serve_with(script: Script, settings: ServerSettings) -> Served {
    start(script, settings, Vec::new()).await
}

/// Serves those who know the key, and only so many of them at once.
pub(crate) async fn serve_guarded(key: &str, max_sessions: usize) -> Served {
    let entry = KeyEntry {
        name: "tester".into(),
        hash: Sha256::digest(key.as_bytes()).into(),
        tier: "default".into(),
        max_sessions: Some(max_sessions),
    };
    start(heard, settings(), vec![entry]).await
}

async fn start(script: Script, settings: ServerSettings, keys: Vec<KeyEntry>) -> Served {
    let (allocator, _retired) = Allocator::new(PoolSettings { queue_limit: 64 });
    for slot in 0..2 {
        allocator.add(SlotId(slot));
    }
    let model = ModelInfo { name: "fake".into(), multilingual: false, window: EncoderWindow::Fit };
    let server = Arc::new(Server {
        lanes: Lanes::new(Arc::new(FakeEngine::new(script)), allocator, model),
        frontend: Frontend::start(vec![Box::new(FakeDetector)]),
        models: ModelNames::new("fake".into(), vec!["whisper-1".into()]),
        keys: Keyring::new(keys),
        settings,
        stopping: CancellationToken::new(),
        sessions: TaskTracker::new(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let router = router(Arc::clone(&server));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Served { address, server }
}

impl Served {
    /// The address of the WebSocket.
    pub(crate) fn url(&self, query: &str) -> String {
        format!("ws://{}/v1/realtime{query}", self.address)
    }

    /// Begins to stop, as `serve` does on a signal.
    pub(crate) fn stop(&self) {
        self.server.stopping.cancel();
    }

    /// Lets nobody in any more.
    pub(crate) fn drain(&self) {
        self.server.lanes.allocator().drain();
    }

    /// Waits until the pool looks like this.
    pub(crate) async fn until(&self, looks: impl Fn(Snapshot) -> bool) {
        while !looks(self.server.lanes.allocator().snapshot()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until all sessions are gone.
    pub(crate) async fn no_sessions_within(&self, limit: Duration) {
        self.server.sessions.close();
        tokio::time::timeout(limit, self.server.sessions.wait()).await.expect("sessions are gone in time");
        self.server.sessions.reopen();
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
