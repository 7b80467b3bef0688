//! One client who speaks without a pause, and a server with one slot that hears it.

use super::readers::{Log, Noted};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use stenopool::asr::fake;
use stenopool::asr::{EncoderWindow, Engine, Lanes, ModelInfo, RecognizerFactory, ThreadEngine};
use stenopool::llm::Echo;
use stenopool::pool::{Allocator, PoolSettings, SlotId};
use stenopool::server::{Keyring, ModelNames, Server, ServerSettings};
use stenopool::session::{Assistant, Frontend};
use stenopool::vad::Silero;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A test that waits longer than this for a server waits for nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a second of PCM16 at 16 kHz.
const SECOND: usize = 32_000;

/// A real server with real Silero, and these readers.
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
        assistant: Assistant { model: Arc::new(Echo), studio: None },
        keys: Keyring::new(Vec::new()),
        settings: ServerSettings::default(),
        stopping: CancellationToken::new(),
        crashing: CancellationToken::new(),
        cut_off: CancellationToken::new(),
        sessions: TaskTracker::new(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(stenopool::server::serve(listener, server, PATIENCE));
    address
}

/// What the events tell of one item.
#[derive(Debug, Default)]
pub(crate) struct Item {
    id: String,
    /// From where to where it is, in milliseconds of the stream.
    pub(crate) ms: (u64, u64),
    pub(crate) deltas: String,
    pub(crate) text: Option<String>,
}

/// What was told of a recording.
#[derive(Debug)]
pub(crate) struct Told {
    /// In order.
    pub(crate) items: Vec<Item>,
    /// Where what was read began a second time or later, in samples.
    pub(crate) seams: Vec<u64>,
}

impl Told {
    /// All texts, one behind the other.
    pub(crate) fn finals(&self) -> String {
        let texts: Vec<_> = self.items.iter().filter_map(|item| item.text.as_deref()).collect();
        texts.join(" ")
    }

    /// All deltas.
    pub(crate) fn deltas(&self) -> String {
        let texts: Vec<_> = self.items.iter().map(|item| item.deltas.as_str()).collect();
        texts.join(" ")
    }
}

/// Speaks this to a server of its own, which reads it so.
///
/// Piece by piece of so many seconds, each as soon as what was due of those before has been read. So windows are alike
/// on slow machines and fast ones, as long as one goes about as fast as people speak.
pub(crate) async fn speak(pcm16: &[u8], piece: usize, readers: impl RecognizerFactory + 'static) -> Told {
    let log = Log::default();
    let address = serve(Noted { readers, log: log.clone() }).await;
    let url = format!("ws://{address}/v1/realtime?intent=transcription");
    let (mut socket, _) = connect_async(url).await.unwrap();
    // A second and a half of silence ends what is being said.
    let sound = [pcm16, &vec![0; 3 * SECOND / 2]].concat();
    let (mut pieces, mut items) = (sound.chunks(piece * SECOND), Vec::new());
    update(&mut socket).await;
    let mut is_heard = false;
    while pieces.len() > 0 || items.iter().any(|item: &Item| item.text.is_none()) {
        // The socket is looked after meanwhile: a client that answers no ping is taken for gone.
        tokio::select! {
            event = event(&mut socket) => {
                note(&mut items, &event);
                // What was sent before is heard, and has been asked for if it was due.
                is_heard |= event["type"] == "session.updated";
            }
            () = log.quiet(), if is_heard && pieces.len() > 0 => {
                is_heard = false;
                let piece = pieces.next().expect("there is one more");
                socket.send(Message::binary(piece.to_vec())).await.unwrap();
                update(&mut socket).await;
            }
        }
    }
    Told { items, seams: log.seams() }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Sets what is set already. The answer comes behind all that was sent before.
async fn update(socket: &mut Socket) {
    let format = json!({ "type": "audio/pcm", "rate": 16_000 });
    let session = json!({ "audio": { "input": { "format": format } } });
    let update = json!({ "type": "session.update", "session": session });
    socket.send(Message::text(update.to_string())).await.unwrap();
}

async fn event(socket: &mut Socket) -> Value {
    loop {
        let message = timeout(PATIENCE, socket.next()).await.expect("the server answers");
        let Message::Text(text) = message.expect("the session goes on").unwrap() else { continue };
        let event: Value = serde_json::from_str(&text).unwrap();
        assert_ne!(event["type"], "error", "{event}");
        return event;
    }
}

fn note(items: &mut Vec<Item>, event: &Value) {
    let Some(id) = event["item_id"].as_str() else { return };
    if !items.iter().any(|item| item.id == id) {
        items.push(Item { id: id.to_owned(), ..Item::default() });
    }
    let item = items.iter_mut().find(|item| item.id == id).expect("it was just put there");
    match event["type"].as_str().unwrap() {
        "input_audio_buffer.speech_started" => item.ms.0 = event["audio_start_ms"].as_u64().unwrap(),
        "input_audio_buffer.speech_stopped" => item.ms.1 = event["audio_end_ms"].as_u64().unwrap(),
        "conversation.item.input_audio_transcription.delta" => {
            item.deltas.push_str(event["delta"].as_str().unwrap());
        }
        "conversation.item.input_audio_transcription.completed" => {
            item.text = Some(event["transcript"].as_str().unwrap().to_owned());
        }
        _ => {}
    }
}
