//! What goes to one client: events of its session, replies of its reader, pings.

use super::conversation::Conversation;
use super::fault::Fault;
use super::server_event::{Scribe, ServerEvent};
use crate::session::{SessionEvent, SessionEvents};
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

/// How often a client is pinged, so that one that is gone is noticed.
const PING: Duration = Duration::from_secs(20);

/// What the reader has to say to the client.
#[derive(Debug)]
pub(super) enum Reply {
    /// An event.
    Event(ServerEvent),
    /// Show this item.
    Retrieve { item_id: String, event_id: Option<String> },
    /// Forget this item.
    Delete { item_id: String, event_id: Option<String> },
    /// Write anything, to see whether the client is there.
    Ping,
    /// Close when the session has told everything.
    CloseAfterAll(Farewell),
    /// Say why, and close now.
    CloseNow(Fault, Farewell),
}

/// The last word: a WebSocket close code and a reason.
#[derive(Debug, Clone, Copy)]
pub(super) struct Farewell {
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

impl Farewell {
    const ENDED: Self = Self { code: close_code::NORMAL, reason: "" };
    const DEAF: Self = Self { code: close_code::ERROR, reason: "session_failed" };
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
    pub(super) sink: &'a mut SplitSink<WebSocket, Message>,
    pub(super) scribe: Scribe,
    pub(super) conversation: Conversation,
    /// How long one message may take to leave.
    pub(super) slow_client: Duration,
}

impl Writer<'_> {
    /// Writes until the session or the reader ends the connection, or the client does not take it any more.
    pub(super) async fn run(mut self, mut events: SessionEvents, mut replies: mpsc::Receiver<Reply>) {
        if let Ended::Closing(Farewell { code, reason }) = self.write_all(&mut events, &mut replies).await {
            let frame = CloseFrame { code, reason: reason.into() };
            let _ = self.send(Message::Close(Some(frame))).await;
        }
    }

    async fn write_all(&mut self, events: &mut SessionEvents, replies: &mut mpsc::Receiver<Reply>) -> Ended {
        let mut pings = pings();
        let mut farewell = Farewell::ENDED;
        loop {
            let written = tokio::select! {
                // Replies first: a farewell is announced before the last texts, and an error before what came after it.
                biased;
                Some(reply) = replies.recv() => match reply {
                    Reply::CloseAfterAll(words) => {
                        farewell = words;
                        Ok(())
                    }
                    Reply::CloseNow(fault, words) => {
                        let told = self.write(ServerEvent::Error { error: fault }).await;
                        return told.map_or(Ended::Gone, |()| Ended::Closing(words));
                    }
                    reply => self.answer(reply).await,
                },
                event = events.recv() => match event {
                    Some(event) => {
                        if matches!(event, SessionEvent::Deaf(_)) {
                            farewell = Farewell::DEAF;
                        }
                        self.tell(event).await
                    }
                    None => return Ended::Closing(farewell),
                },
                _ = pings.tick() => self.send(Message::Ping(Vec::new().into())).await,
            };
            if written.is_err() {
                return Ended::Gone;
            }
        }
    }

    async fn tell(&mut self, event: SessionEvent) -> Result<(), Gone> {
        for event in self.conversation.tell(event) {
            self.write(event).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, reply: Reply) -> Result<(), Gone> {
        let (answer, event_id) = match reply {
            Reply::Event(event) => (Ok(event), None),
            Reply::Retrieve { item_id, event_id } => (self.conversation.retrieve(&item_id), event_id),
            Reply::Delete { item_id, event_id } => (self.conversation.delete(&item_id), event_id),
            Reply::Ping | Reply::CloseAfterAll(_) | Reply::CloseNow(..) => {
                return self.send(Message::Ping(Vec::new().into())).await;
            }
        };
        let event = answer.unwrap_or_else(|fault| ServerEvent::Error { error: fault.answering(event_id) });
        self.write(event).await
    }

    /// Writes one event.
    pub(super) async fn write(&mut self, event: ServerEvent) -> Result<(), Gone> {
        let text = self.scribe.write(&event);
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

fn pings() -> Interval {
    let mut pings = interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick of an interval comes at once; the first ping need not.
    pings.reset();
    pings
}
