//! What comes from one client: frames to commands for its session and replies for its writer.
//!
//! Backpressure runs through here: while the session takes no more, the reader waits and TCP slows the client down.
//! Waiting longer than `slow_client` ends the session with `audio_overrun`, because audio is never dropped silently.
//! A session that has to end takes nothing any more, but still reads what it has taken.

use super::beta::{self, Dialect};
use super::client_event::{self, ClientEvent, Incoming, LARGEST_APPEND};
use super::config::{AudioFormat, Bounds, LeaseTerms, SessionConfig};
use super::connection::Parting;
use super::fault::Fault;
use super::field::Field;
use super::limits::{Due, Limit, Limits};
use super::response::read_request;
use super::server_event::ServerEvent;
use super::vigil::{Act, Vigil};
use super::writer::{Farewell, Reply, Update};
use crate::audio::AudioError;
use crate::server::Server;
use crate::server::pulse::Pulse;
use crate::session::{Command, Request, Session};
use axum::extract::ws::{Message, WebSocket, close_code};
use futures_util::StreamExt;
use futures_util::stream::SplitStream;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep_until, timeout_at};
use tracing::{debug, trace};

/// While nothing is read from the client, it is pinged this often: its end cannot be read behind what it has sent.
const PROBE: Duration = Duration::from_millis(300);

/// When a client should come back after the server was stopped.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Reads one client's frames.
pub(super) struct Reader<'a> {
    pub(super) stream: &'a mut SplitStream<WebSocket>,
    pub(super) server: Arc<Server>,
    /// The session's name and the second of the Unix epoch at which it expires, as clients are shown them.
    pub(super) id: String,
    pub(super) expires_at: u64,
    pub(super) config: SessionConfig,
    pub(super) dialect: Dialect,
    pub(super) limits: Limits,
    pub(super) vigil: Vigil,
    pub(super) pulse: Arc<Pulse>,
    pub(super) has_audio: bool,
    /// Whether there is work for the client.
    pub(super) busy: watch::Receiver<bool>,
    /// Gone when no more is taken.
    pub(super) session: Option<Session>,
    pub(super) replies: mpsc::Sender<Reply>,
}

/// The connection is at its end: the client is gone, or the writer is.
#[derive(Debug, Clone, Copy)]
struct Done;

impl Reader<'_> {
    /// Reads until the client is gone, and says how it went. When it is the server that ends the connection, the writer is
    /// told, and what the client still sends is read and forgotten.
    pub(super) async fn run(mut self) -> Parting {
        while let Ok(message) = self.next().await {
            if self.take(message).await.is_err() {
                break;
            }
            // However long that took: the client's silence counts while somebody listens.
            self.vigil.heard(Instant::now());
        }
        if self.vigil.gave_up() { Parting::Nobody } else { Parting::Client }
    }

    /// The next frame, while limits, the client's silence and the server's end are watched.
    async fn next(&mut self) -> Result<Message, Done> {
        loop {
            let open = self.session.is_some();
            let busy = *self.busy.borrow_and_update();
            tokio::select! {
                biased;
                () = self.server.stopping.cancelled(), if open => self.stop().await?,
                () = sleep_until(self.limits.next()), if open => self.apply_limits().await?,
                frame = self.stream.next() => return self.framed(frame).await,
                Ok(()) = self.busy.changed() => {}
                () = sleep_until(self.vigil.next(busy)) => self.look_after(busy).await?,
            }
        }
    }

    async fn framed(&mut self, frame: Option<Result<Message, axum::Error>>) -> Result<Message, Done> {
        match frame {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) if is_too_large(&error) => {
                let limit = self.server.settings.message_limit;
                let fault =
                    Fault::invalid("message_too_large", format!("a message is larger than {limit} bytes"));
                let farewell = Farewell { code: close_code::SIZE, reason: "message_too_large" };
                self.break_off(fault, farewell).await?;
                Err(self.unread().await)
            }
            Some(Err(error)) => {
                debug!(%error, "client is gone");
                Err(Done)
            }
            None => Err(Done),
        }
    }

    /// Waits for the end without reading: nothing can be read behind a message that is too large.
    async fn unread(&mut self) -> Done {
        let mut probes = interval(PROBE);
        loop {
            tokio::select! {
                () = self.replies.closed() => return Done,
                _ = probes.tick() => self.probe(),
            }
        }
    }

    /// Has something written, to find out whether the client is there.
    fn probe(&self) {
        // When the replies are full there is enough to write.
        let _ = self.replies.try_send(Reply::Ping);
    }

    /// Asks a silent client whether it is there, and gives up one that does not answer.
    async fn look_after(&mut self, busy: bool) -> Result<(), Done> {
        self.vigil.heard(self.pulse.last());
        match self.vigil.due(busy, Instant::now()) {
            Some(Act::Ping) => self.reply(Reply::Ping).await,
            Some(Act::GiveUp(silence)) => {
                debug!(code = "client_silent", ?silence, busy, "client is gone");
                Err(Done)
            }
            None => Ok(()),
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), Done> {
        if matches!(message, Message::Close(_)) {
            return Err(Done);
        }
        if self.session.is_none() || matches!(message, Message::Ping(_) | Message::Pong(_)) {
            return Ok(());
        }
        self.limits.active(Instant::now());
        match message {
            Message::Binary(bytes) => self.append(&bytes, None).await,
            Message::Text(text) => {
                let Incoming { event_id, event } = client_event::parse(&text);
                trace!(event = %text, "client event");
                match event {
                    Ok(event) => self.obey(event, event_id).await,
                    Err(fault) => self.refuse(fault, event_id).await,
                }
            }
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
        }
    }

    async fn obey(&mut self, event: ClientEvent, event_id: Option<String>) -> Result<(), Done> {
        match event {
            ClientEvent::SessionUpdate(dialect, session) => self.update(dialect, &session, event_id).await,
            ClientEvent::Append(bytes) => self.append(&bytes, event_id).await,
            ClientEvent::Commit => self.command(Command::Commit, event_id).await,
            ClientEvent::Clear => self.command(Command::Clear, event_id).await,
            ClientEvent::ItemRetrieve(id) => self.command(Command::ShowItem(id), event_id).await,
            ClientEvent::ItemDelete(id) => self.command(Command::DeleteItem(id), event_id).await,
            ClientEvent::ItemCreate(place, item) => {
                self.command(Command::AddItem(place, item), event_id).await
            }
            ClientEvent::ItemTruncate { item_id, audio_end } => {
                self.command(Command::Truncate { item: item_id, heard: audio_end }, event_id).await
            }
            ClientEvent::Played { item_id, audio_end } => {
                self.command(Command::Played { item: item_id, heard: audio_end }, event_id).await
            }
            ClientEvent::ResponseCreate(response) => self.ask(response.as_ref(), event_id).await,
            ClientEvent::ResponseCancel(id) => self.command(Command::CancelReply(id), event_id).await,
            ClientEvent::OutputClear => self.command(Command::ClearOutput, event_id).await,
        }
    }

    async fn update(
        &mut self,
        dialect: Dialect,
        session: &Value,
        event_id: Option<String>,
    ) -> Result<(), Done> {
        let server = Arc::clone(&self.server);
        let model = server.lanes.model();
        let (lease, has_audio) = (LeaseTerms::of(&server.settings), self.has_audio);
        let bounds = Bounds { models: &server.models, model, lease, has_audio };
        match self.config.updated(&dialect.update(session), bounds) {
            Ok(config) => {
                self.config = config;
                self.dialect = self.dialect.or(dialect);
                self.command(Command::Configure(Box::new(self.config.settings())), None).await?;
                let session = self.config.shown(&self.id, self.expires_at, &model.name);
                let update = Update {
                    dialect: self.dialect,
                    kind: self.config.kind,
                    session,
                    with_logprobs: self.config.with_logprobs(),
                    with_transcripts: self.config.with_transcripts(),
                };
                self.reply(Reply::Updated(Box::new(update))).await
            }
            Err(fault) => self.refuse(fault, event_id).await,
        }
    }

    /// Asks for a reply that is as the client wants it.
    async fn ask(&mut self, response: Option<&Value>, event_id: Option<String>) -> Result<(), Done> {
        let response = response.map(beta::translated);
        let field = response.as_ref().map(|response| Field::root("response", response));
        match read_request(&self.config.talk(), field.as_ref()) {
            Ok(request) => self.command(Command::Reply(Box::new(request)), event_id).await,
            Err(fault) => self.refuse(fault, event_id).await,
        }
    }

    async fn append(&mut self, bytes: &[u8], event_id: Option<String>) -> Result<(), Done> {
        if let Err(fault) = appendable(bytes.len(), self.config.format) {
            return self.refuse(fault, event_id).await;
        }
        self.has_audio |= !bytes.is_empty();
        for append in Command::appends(bytes) {
            self.command(append, event_id.clone()).await?;
        }
        Ok(())
    }

    /// Hands a command to the session, waiting for room as long as a slow server is allowed to be slow.
    async fn command(&mut self, command: Command, origin: Option<String>) -> Result<(), Done> {
        let Some(session) = self.session.clone() else { return Ok(()) };
        let patience = self.server.settings.slow_client;
        let deadline = Instant::now() + patience;
        let mut sending = Box::pin(session.send(Request { command, origin }));
        loop {
            let probe = deadline.min(Instant::now() + PROBE);
            // A session that has ended has said why, and the writer closes the connection: sent or not is the same here.
            if timeout_at(probe, &mut sending).await.is_ok() {
                return Ok(());
            }
            if probe == deadline {
                return self.overrun(patience).await;
            }
            self.probe();
        }
    }

    async fn overrun(&mut self, patience: Duration) -> Result<(), Done> {
        let message =
            format!("audio came faster than it could be taken, and nothing was taken for {patience:?}");
        let farewell = Farewell { code: close_code::AGAIN, reason: "audio_overrun" };
        self.break_off(Fault::server("audio_overrun", message), farewell).await
    }

    async fn apply_limits(&mut self) -> Result<(), Done> {
        match self.limits.due(Instant::now()) {
            Some(Due::Notice(limit, remaining)) => self.reply(closing(limit, remaining)).await,
            Some(Due::Strike(limit)) => self.finish(farewell(limit)).await,
            None => Ok(()),
        }
    }

    async fn stop(&mut self) -> Result<(), Done> {
        let retry_after_ms = RETRY_AFTER.as_millis() as u64;
        let closing = ServerEvent::Closing { reason: "shutdown", retry_after_ms, closes_in_ms: None };
        self.reply(Reply::Event(Box::new(closing))).await?;
        self.finish(Farewell { code: close_code::AWAY, reason: "shutdown" }).await
    }

    /// Lets the session read what was said, and then closes.
    async fn finish(&mut self, farewell: Farewell) -> Result<(), Done> {
        self.reply(Reply::CloseAfterAll(farewell)).await?;
        self.session = None;
        Ok(())
    }

    /// Says what is wrong, lets the session read what was said, though not for ever, and then closes.
    async fn break_off(&mut self, fault: Fault, farewell: Farewell) -> Result<(), Done> {
        self.reply(Reply::CloseSoon(Box::new(fault), farewell)).await?;
        self.session = None;
        Ok(())
    }

    async fn refuse(&mut self, fault: Fault, event_id: Option<String>) -> Result<(), Done> {
        debug!(code = fault.code, param = fault.param, "client event refused");
        self.reply(Reply::Event(Box::new(ServerEvent::Error { error: fault.answering(event_id) }))).await
    }

    async fn reply(&mut self, reply: Reply) -> Result<(), Done> {
        self.replies.send(reply).await.map_err(|_| Done)
    }
}

/// Whether so many bytes can be an append.
fn appendable(bytes: usize, format: AudioFormat) -> Result<(), Fault> {
    if bytes > LARGEST_APPEND {
        let message = format!("an append of {bytes} bytes is larger than {LARGEST_APPEND} bytes");
        return Err(Fault::invalid("audio_append_too_large", message).in_param("audio"));
    }
    if matches!(format, AudioFormat::Pcm { .. }) && bytes % 2 == 1 {
        let error = AudioError::OddByteCount { bytes };
        return Err(Fault::invalid(error.code(), error.to_string()).in_param("audio"));
    }
    Ok(())
}

fn closing(limit: Limit, remaining: Duration) -> Reply {
    let closes_in_ms = Some(remaining.as_millis() as u64);
    let closing = ServerEvent::Closing { reason: farewell(limit).reason, retry_after_ms: 0, closes_in_ms };
    Reply::Event(Box::new(closing))
}

fn farewell(limit: Limit) -> Farewell {
    match limit {
        Limit::Idle => Farewell { code: close_code::NORMAL, reason: "session_idle" },
        Limit::Lifetime => Farewell { code: close_code::AWAY, reason: "session_lifetime" },
    }
}

/// Whether a frame or message was over the limit. axum hides the type of its WebSocket errors, so their words must do.
fn is_too_large(error: &axum::Error) -> bool {
    error.to_string().starts_with("Space limit exceeded")
}
