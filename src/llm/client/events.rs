//! Server-sent events out of a response, in bounded memory.

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use sse_stream::{Sse, SseByteStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The largest event. A token takes some 200 bytes; a whole function call in one piece may take many of them.
const LARGEST: usize = 1 << 20;

/// Why there are no more events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EventError {
    /// The connection broke.
    #[error("{0}")]
    Broken(String),
    /// More bytes without an end of the event than any event has.
    #[error("an event has more than {LARGEST} bytes")]
    Endless,
    /// It is no text.
    #[error("an event is no UTF-8")]
    NoText,
}

/// The events of one response.
pub(super) struct Events {
    events: SseByteStream<BoxStream<'static, Result<Bytes, EventError>>>,
    /// Bytes since the last event that was whole.
    pending: Arc<AtomicUsize>,
}

impl Events {
    /// Reads them from `body`.
    pub(super) fn new(body: impl Stream<Item = Result<Bytes, EventError>> + Send + 'static) -> Self {
        let pending = Arc::new(AtomicUsize::new(0));
        let counted = pending.clone();
        let bounded = body.and_then(move |bytes| {
            let n = counted.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
            std::future::ready(if n > LARGEST { Err(EventError::Endless) } else { Ok(bytes) })
        });
        Self { events: SseByteStream::new(bounded.boxed()), pending }
    }

    /// The next event; `None` when the response has ended as it should.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Result<Sse, EventError>> {
        let event = self.events.next().await?;
        self.pending.store(0, Ordering::Relaxed);
        Some(event.map_err(|error| match error {
            sse_stream::Error::Body(source) => match source.downcast::<EventError>() {
                Ok(error) => *error,
                Err(source) => EventError::Broken(source.to_string()),
            },
            _ => EventError::NoText,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    type Chunk = Result<Bytes, EventError>;

    async fn read(chunks: Vec<Chunk>) -> Vec<Result<String, EventError>> {
        let mut events = Events::new(stream::iter(chunks));
        let mut read = Vec::new();
        while let Some(event) = events.next().await {
            read.push(event.map(|event| event.data.unwrap_or_default()));
        }
        read
    }

    fn chunks<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Chunk> {
        texts.into_iter().map(|text| Ok(Bytes::copy_from_slice(text.as_bytes()))).collect()
    }

    #[tokio::test]
    async fn events_are_read_however_they_are_cut() {
        let chunks = chunks(["da", "ta: on", "e\n", "\n: alive\n\ndata:two\r\n\r\ndata: x"]);
        assert_eq!(read(chunks).await, [Ok("one".into()), Ok("two".into())]);
    }

    #[tokio::test]
    async fn an_event_without_end_is_given_up() {
        let line = "data: ".repeat(1 << 10);
        let lines = std::iter::repeat_n(line.as_str(), 1 << 10);
        let endless = chunks(std::iter::once("data: one\n\n").chain(lines));
        assert_eq!(read(endless).await, [Ok("one".into()), Err(EventError::Endless)]);
    }

    #[tokio::test]
    async fn many_events_may_be_larger_than_one() {
        let event = format!("data: {}\n\n", "x".repeat(LARGEST / 2));
        assert_eq!(read(chunks([event.as_str(); 5])).await.into_iter().flatten().count(), 5);
    }

    #[tokio::test]
    async fn a_broken_connection_is_no_end() {
        let broken = EventError::Broken("reset".into());
        let mut cut_off = chunks(["data: x\n"]);
        cut_off.push(Err(broken.clone()));
        assert_eq!(read(cut_off).await, [Err(broken)]);
        assert_eq!(read(vec![Ok(Bytes::from_static(b"data: \xff\n\n"))]).await, [Err(EventError::NoText)]);
    }
}
