//! The realtime protocol as far as somebody needs it who will not stay for the answer.

use super::client::voice;
use futures_util::future::BoxFuture;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use stenopool::audio::SampleRate;
use stenopool::load::{Clip, ConnectError, Connection, Disconnected, Heard, Listener, Protocol, Speaker};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// What a session takes unless it says otherwise.
fn rate() -> SampleRate {
    SampleRate::new(24_000).expect("it is a rate")
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Something to say.
pub(crate) fn clip() -> Arc<Clip> {
    let bytes = voice(40, 2_000);
    let samples = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    let (file, kind, text) = ("voice.wav".into(), "all".into(), "heard".into());
    Arc::new(Clip { file, kind, text, samples, rate: rate(), speech: Vec::new() })
}

/// Speaks to the WebSocket at this address.
pub(crate) struct Spoken(pub(crate) String);

struct Mouth(SplitSink<Socket, Message>);

struct Ear(SplitStream<Socket>);

fn lost(reason: &dyn ToString) -> Disconnected {
    Disconnected { code: "connection_lost".into(), reason: reason.to_string() }
}

impl Protocol for Spoken {
    fn rate(&self) -> SampleRate {
        rate()
    }

    fn tells_positions(&self) -> bool {
        true
    }

    fn connect(&self, _: u32) -> BoxFuture<'_, Result<Connection, ConnectError>> {
        Box::pin(async {
            let unreachable = |error: &dyn ToString| ConnectError::Unreachable {
                url: self.0.clone(),
                reason: error.to_string(),
            };
            let (socket, _) = connect_async(&self.0).await.map_err(|error| unreachable(&error))?;
            let (sink, stream) = socket.split();
            Ok(Connection { speaker: Box::new(Mouth(sink)), listener: Box::new(Ear(stream)) })
        })
    }
}

impl Speaker for Mouth {
    fn begin_turn(&mut self) {}

    fn say<'a>(&'a mut self, samples: &'a [i16]) -> BoxFuture<'a, Result<Duration, Disconnected>> {
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        Box::pin(async {
            self.0.send(Message::binary(bytes)).await.map_err(|error| lost(&error))?;
            Ok(Duration::ZERO)
        })
    }

    fn end_turn(&mut self) -> BoxFuture<'_, Result<(), Disconnected>> {
        Box::pin(async { Ok(()) })
    }

    fn hang_up(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let _ = self.0.close().await;
        })
    }
}

impl Listener for Ear {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Heard>, Disconnected>> {
        Box::pin(async {
            let message = self.0.next().await.transpose().map_err(|error| lost(&error))?;
            Ok(message.map(|_| Heard::Delta { text: String::new(), start: None }))
        })
    }
}
