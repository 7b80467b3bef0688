//! What goes to one client: events of its session, replies of its reader, and the last word.

use super::beta::Dialect;
use super::config::SessionType;
use super::conversation::Conversation;
use super::fault::Fault;
use super::server_event::{Scribe, ServerEvent};
use crate::server::{BACK_AFTER_CRASH, Server, ServerSettings};
use crate::session::{SessionEvent, SessionEvents, at};
use crate::telemetry::metrics;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long what is left unread is told of when the process is about to end: it has half a second in all.
const CRASH: Duration = Duration::from_millis(150);

/// What the reader has to say to the client.
#[derive(Debug)]
pub(super) enum Reply {
    /// An event.
    Event(Box<ServerEvent>),
    /// The session was updated.
    Updated(Box<Update>),
    /// Write anything, to see whether the client is there.
    Ping,
    /// Close when the session has told everything.
    CloseAfterAll(Farewell),
    /// Say why, and close when the session has told everything, for which it has `last_words`.
    CloseSoon(Box<Fault>, Farewell),
}

/// What a session was updated to.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) dialect: Dialect,
    pub(super) kind: SessionType,
    /// As clients are shown it.
    pub(super) session: Value,
    pub(super) with_logprobs: bool,
    pub(super) with_transcripts: bool,
}

/// The last word: a WebSocket close code and a reason.
#[derive(Debug, Clone, Copy)]
pub(super) struct Farewell {
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

impl Farewell {
    const ENDED: Self = Self { code: close_code::NORMAL, reason: "" };
    const CUT_OFF: Self = Self { code: close_code::AWAY, reason: "shutdown" };
    const DEAF: Self = Self { code: close_code::ERROR, reason: "session_failed" };
    const CRASHED: Self = Self { code: close_code::RESTART, reason: "crashed" };
}

/// Why there is nothing more to write.
enum Ended {
    /// The client is gone, or does not read.
    Gone,
    /// All was said.
    Closing(Farewell),
}

/// Writes one client's events.
pub(super) struct Writer<'a> {
    sink: &'a mut SplitSink<WebSocket, Message>,
    scribe: Scribe,
    conversation: Conversation,
    /// How long one message may take to leave.
    slow_client: Duration,
    /// How long a session that is broken off may go on reading, and when it began to.
    last_words: Duration,
    broken_off: Option<Instant>,
    /// Has the session leave what it has not read.
    abandon: CancellationToken,
    /// The process is about to end.
    crashing: CancellationToken,
    farewell: Option<Farewell>,
}

impl<'a> Writer<'a> {
    /// For a session that leaves its work once `abandon` is cancelled.
    pub(super) fn new(
        sink: &'a mut SplitSink<WebSocket, Message>,
        scribe: Scribe,
        conversation: Conversation,
        server: &Server,
        abandon: CancellationToken,
    ) -> Self {
        let ServerSettings { slow_client, last_words, .. } = server.settings;
        Self {
            sink,
            scribe,
            conversation,
            slow_client,
            last_words,
            broken_off: None,
            abandon,
            crashing: server.crashing.clone(),
            farewell: None,
        }
    }

    /// Writes until the session or the reader ends the connection, or the client does not take it any more.
    pub(super) async fn run(mut self, mut events: SessionEvents, mut replies: mpsc::Receiver<Reply>) {
        let crashing = self.crashing.clone();
        let written = tokio::select! {
            // Before the reader's word that the server stops, which comes with it.
            biased;
            () = crashing.cancelled() => None,
            ended = self.write_all(&mut events, &mut replies) => Some(ended),
        };
        let ended = match written {
            Some(ended) => ended,
            None => self.crash(&mut events).await,
        };
        if let Ended::Closing(Farewell { code, reason }) = ended {
            let frame = CloseFrame { code, reason: reason.into() };
            let _ = self.send(Message::Close(Some(frame))).await;
        }
    }

    async fn write_all(&mut self, events: &mut SessionEvents, replies: &mut mpsc::Receiver<Reply>) -> Ended {
        loop {
            let patience_ends = self.broken_off.map(|since| since + self.last_words);
            let written = tokio::select! {
                // Replies first: a farewell is announced before the last texts, and an error before what came after it.
                biased;
                Some(reply) = replies.recv() => self.answer(reply).await,
                event = events.recv() => match event {
                    Some(event) => self.tell(event).await,
                    None => return Ended::Closing(self.farewell()),
                },
                () = at(patience_ends) => {
                    self.broken_off = None;
                    self.abandon.cancel();
                    Ok(())
                }
            };
            if written.is_err() {
                return Ended::Gone;
            }
        }
    }

    /// Says that the process is about to end, and what stays unread because of that.
    async fn crash(&mut self, events: &mut SessionEvents) -> Ended {
        let retry_after_ms = BACK_AFTER_CRASH.as_millis() as u64;
        let closing = ServerEvent::Closing { reason: "crashed", retry_after_ms, closes_in_ms: Some(0) };
        self.abandon.cancel();
        let telling = async {
            self.write(closing).await?;
            while let Some(event) = events.recv().await {
                self.tell(event).await?;
            }
            Ok(())
        };
        match timeout(CRASH, telling).await {
            Ok(Err(Gone)) => Ended::Gone,
            // A session that does not come to an end is none that could be waited for.
            Ok(Ok(())) | Err(_) => Ended::Closing(Farewell::CRASHED),
        }
    }

    /// What to close with when the session has told everything.
    fn farewell(&self) -> Farewell {
        let unannounced = if self.abandon.is_cancelled() { Farewell::CUT_OFF } else { Farewell::ENDED };
        self.farewell.unwrap_or(unannounced)
    }

    async fn tell(&mut self, event: SessionEvent) -> Result<(), Gone> {
        if matches!(event, SessionEvent::Deaf(_)) {
            self.farewell = Some(Farewell::DEAF);
        }
        for event in self.conversation.tell(event) {
            self.write(event).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, reply: Reply) -> Result<(), Gone> {
        let event = match reply {
            Reply::Event(event) => *event,
            Reply::Updated(update) => {
                self.conversation.update(&update);
                update.dialect.updated(update.kind, update.session)
            }
            Reply::Ping => return self.send(Message::Ping(Vec::new().into())).await,
            Reply::CloseAfterAll(farewell) => {
                self.farewell = Some(farewell);
                return Ok(());
            }
            Reply::CloseSoon(fault, farewell) => {
                (self.farewell, self.broken_off) = (Some(farewell), Some(Instant::now()));
                ServerEvent::Error { error: *fault }
            }
        };
        if let ServerEvent::Error { error } = &event {
            // Errors of the session itself are counted there.
            metrics::failed(metrics::Module::Server, error.code);
        }
        self.write(event).await
    }

    /// Writes one event.
    pub(super) async fn write(&mut self, event: ServerEvent) -> Result<(), Gone> {
        let text = self.scribe.write(&event, self.conversation.dialect());
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        match timeout(self.slow_client, self.sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                debug!(%error, "client is gone");
                Err(Gone)
            }
            Err(_) => {
                warn!(code = "client_too_slow", limit = ?self.slow_client, "client does not read, connection dropped");
                Err(Gone)
            }
        }
    }
}

/// The client cannot be written to any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone;
