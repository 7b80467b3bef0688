//! One virtual person: a microphone that is always on, an ear, and a diary of both.

mod agenda;
mod microphone;

use super::board::Board;
use super::clips::Clip;
use super::diary::{Diary, PersonOutcome};
use super::pace::Pace;
use super::protocol::{Connection, Disconnected, FAREWELL, Heard, Listener, Speaker};
pub(super) use agenda::Topics;
use agenda::{Agenda, Reply, Rules, Step, View};
use futures_util::future::join;
use microphone::{FRAME, Microphone};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long we look for the server's last word when it takes nothing any more.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What a person has to say, and how it behaves.
pub(super) struct Person {
    /// What it can say, at the protocol's rate.
    pub(super) clips: Vec<Arc<Clip>>,
    /// What it says when.
    pub(super) topics: Topics,
    pub(super) manners: Arc<Manners>,
    pub(super) board: Arc<Board>,
}

/// How all people of a run behave.
#[derive(Debug, Clone)]
pub(super) struct Manners {
    /// No turn begins from then on.
    pub(super) until: Instant,
    /// Latencies count of turns that begin from then on.
    pub(super) steady_from: Instant,
    /// How long to wait for the last texts, and for each text or reply before speaking again.
    pub(super) patience: Duration,
    /// Whether to wait for the text of what was said before speaking again.
    pub(super) waits_for_text: bool,
    /// Whether to listen to a spoken reply before speaking again, or to interrupt it.
    pub(super) converses: bool,
    /// Whether the protocol says which part of the audio a text is of.
    pub(super) tells_positions: bool,
    /// Cancelled when the run is given up.
    pub(super) stop: CancellationToken,
}

impl Person {
    /// Speaks and listens until all is said, the connection is lost, or the run is given up.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the connection and the diary.
    pub(super) async fn talk(self, connection: Connection) -> PersonOutcome {
        let steady_from = self.manners.steady_from;
        let book = Book::new(Diary::new(self.manners.tells_positions, self.manners.patience));
        // A run waits for somebody in person, too, and is to stay small itself.
        Box::pin(self.converse(connection, &book)).await;
        book.close(steady_from)
    }

    async fn converse(self, connection: Connection, book: &Book) {
        let (stop, board) = (self.manners.stop.clone(), Arc::clone(&self.board));
        let _present = board.connected();
        let Connection { speaker, mut listener } = connection;
        let listening = listen(&mut *listener, book, &board);
        tokio::pin!(listening);
        let outcome = tokio::select! {
            spoken = self.speak(speaker, book) => spoken.map(Some),
            heard = &mut listening => {
                return book.lose(heard.err().unwrap_or_else(closed_early), &board);
            }
            () = stop.cancelled() => Ok(None),
        };
        match outcome {
            // What a server flushes at the end counts, too.
            Ok(Some(speaker)) => drop(join(speaker.hang_up(), timeout(FAREWELL, listening)).await),
            Ok(None) => {}
            // It knows better why, and what it had still said counts.
            Err(lost) => match timeout(LAST_WORD, listening).await {
                Ok(Err(last_word)) => book.lose(last_word, &board),
                _ => book.lose(lost, &board),
            },
        }
    }

    /// Sends a frame every [`FRAME`], of a recording or of silence, until the agenda says that it is over. Gives the
    /// speaker back for a farewell.
    async fn speak(
        self,
        mut speaker: Box<dyn Speaker>,
        book: &Book,
    ) -> Result<Box<dyn Speaker>, Disconnected> {
        let mut microphone = Microphone::new(self.clips[0].rate);
        let mut agenda = Agenda::new(self.manners.rules(book.began), self.topics);
        let mut pace = Pace::new(book.began, FRAME);
        let mut speaking = None;
        let patience = self.manners.patience;
        loop {
            let due = pace.next_frame(&self.board.lag).await;
            match agenda.step(due, book.read(due)) {
                Step::Leave => break,
                Step::Say(clip) => {
                    let clip = Arc::clone(&self.clips[clip]);
                    book.write(|page| page.begin_turn(Arc::clone(&clip), microphone.position()));
                    speaker.begin_turn();
                    speaking = Some((self.board.speaking(), !clip.text.is_empty()));
                    microphone.play(clip);
                }
                Step::Continue => {}
            }
            let (frame, over) = microphone.next_frame();
            let from = Instant::now();
            let kept = taken_within(patience, speaker.say(frame)).await?;
            let position = microphone.position().saturating_sub(kept);
            book.write(|page| page.said(position, due));
            if over {
                taken_within(patience, speaker.end_turn()).await?;
            }
            pace.sent(from);
            if let Some((_, has_text)) = speaking.take_if(|_| over) {
                agenda.turn_ended(due, has_text);
            }
        }
        for _ in 0..agenda.missed_replies {
            book.note("no_reply".into(), "the reply did not come, or not to its end".into());
        }
        Ok(speaker)
    }
}

impl Manners {
    /// The same for a stream that began at that time.
    fn rules(&self, began: Instant) -> Rules {
        Rules {
            until: self.until.saturating_duration_since(began),
            patience: self.patience,
            waits_for_text: self.waits_for_text,
            converses: self.converses,
        }
    }
}

/// What sending comes to. Who takes nothing for so long never will: it was stopped, or nobody is there any more.
async fn taken_within<T>(
    patience: Duration,
    sending: impl Future<Output = Result<T, Disconnected>>,
) -> Result<T, Disconnected> {
    let stalled = || Disconnected {
        code: "stalled".into(),
        reason: format!("the server has taken nothing for {patience:?}"),
    };
    timeout(patience, sending).await.unwrap_or_else(|_| Err(stalled()))
}

/// The server closed the connection although nobody had asked it to.
fn closed_early() -> Disconnected {
    Disconnected { code: "connection_lost".into(), reason: "the server closed the connection".into() }
}

/// Writes down everything that is heard, until the server closes.
async fn listen(listener: &mut dyn Listener, book: &Book, board: &Board) -> Result<(), Disconnected> {
    while let Some(heard) = listener.next().await? {
        board.heard(&heard);
        let now = book.began.elapsed();
        book.write(|page| page.hear(now, heard));
    }
    Ok(())
}

/// What speaking and listening both write in.
struct Book {
    /// When the stream began.
    began: Instant,
    page: Mutex<Page>,
}

struct Page {
    diary: Diary,
    /// The reply to what was said last.
    reply: Reply,
}

impl Book {
    fn new(diary: Diary) -> Self {
        let page = Page { diary, reply: Reply::default() };
        Self { began: Instant::now(), page: Mutex::new(page) }
    }

    fn write<T>(&self, write: impl FnOnce(&mut Page) -> T) -> T {
        write(&mut self.page.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read(&self, now: Duration) -> View {
        self.write(|page| View { awaits_text: page.diary.awaits_text(now), reply: page.reply })
    }

    /// Writes down what went wrong on this side of the connection.
    fn note(&self, code: String, message: String) {
        let now = self.began.elapsed();
        self.write(|page| page.hear(now, Heard::Trouble { code, message }));
    }

    /// Writes down how the connection ended.
    fn lose(&self, lost: Disconnected, board: &Board) {
        board.error();
        self.note(lost.code, lost.reason);
    }

    fn close(self, steady_from: Instant) -> PersonOutcome {
        let now = self.began.elapsed();
        let diary = self.page.into_inner().unwrap_or_else(PoisonError::into_inner).diary;
        let mut outcome = diary.close(now, steady_from.saturating_duration_since(self.began));
        // Who comes when everybody is at their pace already counts from then, too.
        let came_later = self.began.saturating_duration_since(steady_from);
        outcome.finals.iter_mut().for_each(|heard| heard.at += came_later);
        outcome
    }
}

impl Page {
    fn begin_turn(&mut self, clip: Arc<Clip>, position: Duration) {
        self.reply = Reply::default();
        self.diary.begin_turn(clip, position);
    }

    /// What was heard of a reply while somebody spoke is of the one before: nobody answers what is not said yet.
    fn said(&mut self, position: Duration, now: Duration) {
        if self.diary.said(position, now) {
            self.reply = Reply::default();
        }
    }

    fn hear(&mut self, now: Duration, heard: Heard) {
        match &heard {
            Heard::ReplyAudio(length) => self.reply.hear(now, *length),
            Heard::ReplyDone => self.reply.complete = true,
            _ => {}
        }
        self.diary.hear(now, heard);
    }
}

#[cfg(test)]
mod tests;
