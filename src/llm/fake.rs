//! A scripted model for tests: it takes time, fails when it is told to, and knows what became of its requests.

use super::{ChatModel, ChatRequest, Delta, Finish, LlmError};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How one reply goes.
#[derive(Debug, Clone)]
pub struct Play {
    /// From the request to the first delta.
    pub first_token: Duration,
    /// From one delta to the next.
    pub pace: Duration,
    /// What comes, in order. Nothing comes after an error or [`Delta::End`]; without either, the stream falls silent and
    /// never ends.
    pub deltas: Vec<Result<Delta, LlmError>>,
}

impl Play {
    /// Says the text word by word, all at once, and ends.
    pub fn saying(text: &str) -> Self {
        let words = text.split_inclusive(' ').map(|word| Ok(Delta::Text(word.to_owned())));
        let end = Ok(Delta::End { finish: Finish::Stop, usage: None });
        let deltas = words.chain([end]).collect();
        Self { first_token: Duration::ZERO, pace: Duration::ZERO, deltas }
    }

    /// Calls a function and ends.
    pub fn calling(id: &str, name: &str, arguments: &str) -> Self {
        let deltas = vec![
            Ok(Delta::Call { index: 0, id: id.into(), name: name.into() }),
            Ok(Delta::Arguments { index: 0, piece: arguments.into() }),
            Ok(Delta::End { finish: Finish::Calls, usage: None }),
        ];
        Self { first_token: Duration::ZERO, pace: Duration::ZERO, deltas }
    }

    /// Fails before the first delta.
    pub fn failing(error: LlmError) -> Self {
        Self { first_token: Duration::ZERO, pace: Duration::ZERO, deltas: vec![Err(error)] }
    }

    /// Never says anything.
    pub fn silent() -> Self {
        Self { first_token: Duration::ZERO, pace: Duration::ZERO, deltas: Vec::new() }
    }

    /// The same, with so much time before the first delta.
    pub fn after(self, first_token: Duration) -> Self {
        Self { first_token, ..self }
    }

    /// The same at so many deltas per second.
    pub fn at(self, deltas_per_second: f64) -> Self {
        Self { pace: Duration::from_secs_f64(1.0 / deltas_per_second), ..self }
    }

    /// The same up to its delta `n`, where it breaks off with this error.
    pub fn breaking_at(mut self, n: usize, error: LlmError) -> Self {
        self.deltas.truncate(n);
        self.deltas.push(Err(error));
        self
    }
}

type Script = dyn Fn(&ChatRequest) -> Play + Send + Sync;

#[derive(Default)]
struct Books {
    requests: Mutex<Vec<ChatRequest>>,
    open: AtomicUsize,
    cancelled: AtomicUsize,
}

/// A [`ChatModel`] that acts out a script, in virtual time when tokio's clock is paused. Clones share their books.
#[derive(Clone)]
pub struct ScriptedModel {
    script: Arc<Script>,
    books: Arc<Books>,
}

impl ScriptedModel {
    /// A model that asks `script` about every request.
    pub fn new(script: impl Fn(&ChatRequest) -> Play + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), books: Arc::default() }
    }

    /// A model that always says the same, at once.
    pub fn saying(text: &'static str) -> Self {
        Self::new(move |_| Play::saying(text))
    }

    /// A model that acts out these one after the other, and the last of them again and again.
    pub fn in_turn(plays: Vec<Play>) -> Self {
        let next = AtomicUsize::new(0);
        Self::new(move |_| {
            let at = next.fetch_add(1, Ordering::Relaxed).min(plays.len().saturating_sub(1));
            plays.get(at).cloned().unwrap_or_else(Play::silent)
        })
    }

    /// All requests so far, oldest first: those whose stream was polled.
    pub fn requests(&self) -> Vec<ChatRequest> {
        self.books.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests are open.
    pub fn open(&self) -> usize {
        self.books.open.load(Ordering::SeqCst)
    }

    /// How many were dropped before their end.
    pub fn cancelled(&self) -> usize {
        self.books.cancelled.load(Ordering::SeqCst)
    }
}

impl ChatModel for ScriptedModel {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn reply(&self, request: ChatRequest) -> BoxStream<'static, Result<Delta, LlmError>> {
        let Self { script, books } = self.clone();
        async_stream::stream! {
            let play = script(&request);
            books.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            let mut open = Open::new(books);
            let mut due = Instant::now() + play.first_token;
            for delta in play.deltas {
                tokio::time::sleep_until(due).await;
                due += play.pace;
                let is_last = matches!(delta, Err(_) | Ok(Delta::End { .. }));
                if is_last {
                    open.over();
                }
                yield delta;
                if is_last {
                    return;
                }
            }
            std::future::pending::<()>().await;
        }
        .boxed()
    }
}

/// One open request.
struct Open {
    books: Arc<Books>,
    is_over: bool,
}

impl Open {
    fn new(books: Arc<Books>) -> Self {
        books.open.fetch_add(1, Ordering::SeqCst);
        Self { books, is_over: false }
    }

    fn over(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.books.open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.is_over {
            self.books.cancelled.fetch_add(1, Ordering::SeqCst);
            self.over();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn deltas_come_when_the_script_says() {
        let play = Play::saying("one two three").after(Duration::from_millis(300)).at(10.0);
        let began = Instant::now();
        let replies = ScriptedModel::in_turn(vec![play]).reply(ChatRequest::default());
        let times: Vec<_> = replies.map(|_| began.elapsed().as_millis()).collect().await;
        assert_eq!(times, [300, 400, 500, 600]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_knows_what_became_of_its_requests() {
        let model = ScriptedModel::in_turn(vec![Play::silent(), Play::saying("yes")]);
        let mut dropped = model.reply(ChatRequest::default());
        assert_eq!(model.open(), 0, "nobody polled it");
        assert!(futures_util::poll!(dropped.next()).is_pending());
        assert_eq!((model.open(), model.cancelled()), (1, 0));
        drop(dropped);
        assert_eq!((model.open(), model.cancelled()), (0, 1));
        assert_eq!(model.reply(ChatRequest::default()).count().await, 2);
        assert_eq!((model.open(), model.cancelled(), model.requests().len()), (0, 1, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn it_breaks_off_where_the_script_says() {
        let error = LlmError::CutOff { endpoint: "nowhere".into(), reason: "as scripted".into() };
        let play = Play::saying("one two three").breaking_at(1, error.clone());
        let replies: Vec<_> =
            ScriptedModel::in_turn(vec![play]).reply(ChatRequest::default()).collect().await;
        assert_eq!(replies, [Ok(Delta::Text("one ".into())), Err(error)]);
    }
}
