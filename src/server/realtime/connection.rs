//! One WebSocket and its session, from the first event to the last: one task, three futures.
//!
//! The reader, the session's driver and the writer run side by side; whichever of reader and writer ends first ends the
//! connection, and dropping the driver then frees the session's lease.

use super::config::SessionConfig;
use super::conversation::Conversation;
use super::limits::Limits;
use super::reader::Reader;
use super::server_event::{Scribe, ServerEvent};
use super::writer::Writer;
use crate::server::{Server, SessionPermit};
use crate::session;
use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::info;
use uuid::Uuid;

/// Replies that may wait for the writer; while as many wait, no more is read from the client.
const REPLIES: usize = 64;

/// How long a client is given to take its leave when everything is said.
const LEAVE: Duration = Duration::from_secs(1);

/// A client that was let in.
pub(super) struct Visit {
    pub(super) server: Arc<Server>,
    pub(super) config: SessionConfig,
    /// Without the `sess_` that clients see.
    pub(super) id: Uuid,
    pub(super) permit: SessionPermit,
    pub(super) tracked: TaskTrackerToken,
}

/// Serves one client until it or the server ends the connection.
pub(super) async fn serve(socket: WebSocket, visit: Visit) {
    let Visit { server, config, id, permit, tracked } = visit;
    let since = Instant::now();
    info!(kind = ?config.kind, "session begins");
    let (mut sink, mut stream) = socket.split();
    let expires_at = (SystemTime::now() + server.settings.session_lifetime)
        .duration_since(UNIX_EPOCH)
        .map_or(0, |expires| expires.as_secs());
    let name = format!("sess_{}", id.simple());
    let created = config.shown(&name, expires_at, &server.lanes.model().name);
    let (session, events, driver) =
        session::open(server.frontend.clone(), server.lanes.open(), config.settings());
    let (replies, replies_out) = mpsc::channel(REPLIES);
    let settings = &server.settings;
    let mut writer = Writer {
        sink: &mut sink,
        scribe: Scribe::new(&id.simple().to_string()),
        conversation: Conversation::default(),
        slow_client: settings.slow_client,
    };
    let reader = Reader {
        stream: &mut stream,
        id: name,
        expires_at,
        config,
        limits: Limits::new(settings.session_idle, settings.session_lifetime, since),
        has_audio: false,
        session: Some(session),
        replies,
        server: Arc::clone(&server),
    };
    let mut we_close = false;
    if writer.write(ServerEvent::SessionCreated { session: created }).await.is_ok() {
        tokio::select! {
            () = reader.run() => {}
            () = writer.run(events, replies_out) => we_close = true,
            () = async { driver.run().await; pending().await } => {}
        }
    }
    take_leave(&mut stream, we_close).await;
    info!(seconds = since.elapsed().as_secs(), "session ends");
    drop((permit, tracked));
}

/// Reads what the client still sends, its `Close` last: a socket that is closed over unread bytes takes back what was
/// written to it. When it is we who close and the client's answer cannot be read (it stands behind a message that is too
/// large), the client is given the time all the same.
async fn take_leave(stream: &mut SplitStream<WebSocket>, we_close: bool) {
    let leaving = async {
        let mut answered = !we_close;
        while let Some(Ok(message)) = stream.next().await {
            answered |= matches!(message, Message::Close(_));
        }
        if !answered {
            pending::<()>().await;
        }
    };
    let _ = timeout(LEAVE, leaving).await;
}
