//! One WebSocket and its session, from the first event to the last: one task, three futures.
//!
//! The reader, the session's driver and the writer run side by side; whichever of reader and writer ends first ends the
//! connection, and dropping the driver then frees the session's lease. When the server cannot wait any longer it is the
//! driver that is told to leave its work: what it still says reaches the client, and its end is the writer's.

use super::beta::Dialect;
use super::config::SessionConfig;
use super::conversation::Conversation;
use super::limits::Limits;
use super::reader::Reader;
use super::server_event::Scribe;
use super::vigil::Vigil;
use super::writer::Writer;
use crate::pool::FlowInfo;
use crate::server::pulse::Pulse;
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
    /// Which names it has for things.
    pub(super) dialect: Dialect,
    /// Without the `sess_` that clients see.
    pub(super) id: Uuid,
    pub(super) permit: SessionPermit,
    /// When its connection was last seen alive.
    pub(super) pulse: Arc<Pulse>,
    pub(super) tracked: TaskTrackerToken,
}

/// Who ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// The client closed, or broke off.
    Client,
    /// We have said our last word.
    Server,
    /// The client is not there any more.
    Nobody,
}

/// Serves one client until it or the server ends the connection.
pub(super) async fn serve(socket: WebSocket, visit: Visit) {
    let Visit { server, config, dialect, id, permit, pulse, tracked } = visit;
    let since = Instant::now();
    info!(kind = ?config.kind, "session begins");
    let (mut sink, mut stream) = socket.split();
    let expires_at = (SystemTime::now() + server.settings.session_lifetime)
        .duration_since(UNIX_EPOCH)
        .map_or(0, |expires| expires.as_secs());
    let name = format!("sess_{}", id.simple());
    let shown = config.shown(&name, expires_at, &server.lanes.model().name);
    let created = dialect.created(config.kind, shown);
    let (session, events, driver) = session::open(
        server.frontend.clone(),
        server.lanes.open(permit.caller().as_flow(FlowInfo::session(name.as_str()))),
        server.assistant.clone(),
        config.settings(),
    );
    let (replies, replies_out) = mpsc::channel(REPLIES);
    let (settings, abandon) = (&server.settings, server.cut_off.child_token());
    let scribe = Scribe::new(&id.simple().to_string());
    let mut writer =
        Writer::new(&mut sink, scribe, Conversation::new(&id, dialect), &server, abandon.clone());
    let reader = Reader {
        stream: &mut stream,
        id: name,
        expires_at,
        config,
        dialect,
        limits: Limits::new(settings.session_idle, settings.session_lifetime, since),
        vigil: Vigil::new(settings.busy_silence, settings.idle_silence, since),
        pulse,
        has_audio: false,
        busy: session.busy(),
        session: Some(session),
        replies,
        server: Arc::clone(&server),
    };
    let mut parting = Parting::Client;
    if writer.write(created).await.is_ok() {
        // On the heap each of them is there once; inside one another they would be copied, thousands of times.
        let mut driving = Box::pin(driver.run(abandon));
        tokio::select! {
            they = Box::pin(reader.run()) => parting = they,
            () = Box::pin(writer.run(events, replies_out)) => parting = Parting::Server,
            () = async { driving.as_mut().await; pending().await } => {}
        }
    }
    take_leave(&mut stream, parting).await;
    info!(seconds = since.elapsed().as_secs(), "session ends");
    drop((permit, tracked));
}

/// Reads what the client still sends, its `Close` last: a socket that is closed over unread bytes takes back what was
/// written to it. When it is we who close and the client's answer cannot be read (it stands behind a message that is too
/// large), the client is given the time all the same.
async fn take_leave(stream: &mut SplitStream<WebSocket>, parting: Parting) {
    if parting == Parting::Nobody {
        return;
    }
    let leaving = async {
        let mut answered = parting == Parting::Client;
        while let Some(Ok(message)) = stream.next().await {
            answered |= matches!(message, Message::Close(_));
        }
        if !answered {
            pending::<()>().await;
        }
    };
    let _ = timeout(LEAVE, leaving).await;
}
