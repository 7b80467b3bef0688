//! One virtual person: a microphone that is always on, an ear, and a diary of both.

mod agenda;
mod microphone;

use super::board::{Board, Lag};
use super::clips::Clip;
use super::diary::{Diary, PersonOutcome};
use super::protocol::{Connection, Heard, Listener, Lost, Speaker};
pub(super) use agenda::Topics;
use agenda::{Agenda, Reply, Rules, Step, View};
use futures_util::future::join;
use microphone::{FRAME, Microphone};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How long a server may take to close after it was told that nothing more comes.
const FAREWELL: Duration = Duration::from_secs(2);

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
        self.converse(connection, &book).await;
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
            heard = &mut listening => Err(heard.err().unwrap_or_else(closed_early)),
            () = stop.cancelled() => Ok(None),
        };
        match outcome {
            // What a server flushes at the end counts, too.
            Ok(Some(speaker)) => drop(join(speaker.hang_up(), timeout(FAREWELL, listening)).await),
            Ok(None) => {}
            Err(lost) => {
                board.error();
                book.note(lost.code, lost.reason);
            }
        }
    }

    /// Sends a frame every [`FRAME`], of a recording or of silence, until the agenda says that it is over. Gives the
    /// speaker back for a farewell.
    async fn speak(self, mut speaker: Box<dyn Speaker>, book: &Book) -> Result<Box<dyn Speaker>, Lost> {
        let mut microphone = Microphone::new(self.clips[0].rate);
        let mut agenda = Agenda::new(self.manners.rules(book.began), self.topics);
        let mut pace = Pace::new(book.began);
        let mut speaking = None;
        loop {
            let due = pace.next_frame(&self.board.lag).await;
            match agenda.step(due, book.read(due)) {
                Step::Leave => break,
                Step::Say(clip) => {
                    let clip = Arc::clone(&self.clips[clip]);
                    book.write(|page| page.begin_turn(Arc::clone(&clip), microphone.position()));
                    speaker.begin_turn();
                    microphone.play(clip);
                    speaking = Some(self.board.speaking());
                }
                Step::Continue => {}
            }
            let (frame, over) = microphone.next_frame();
            speaker.say(frame).await?;
            let position = microphone.position();
            book.write(|page| page.diary.said(position, due));
            if over {
                speaker.end_turn().await?;
                agenda.turn_ended(due);
                speaking = None;
            }
            pace.sent();
        }
        drop(speaking);
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

/// The server closed the connection although nobody had asked it to.
fn closed_early() -> Lost {
    Lost { code: "connection_lost".into(), reason: "the server closed the connection".into() }
}

/// Writes down everything that is heard, until the server closes.
async fn listen(listener: &mut dyn Listener, book: &Book, board: &Board) -> Result<(), Lost> {
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

    fn close(self, steady_from: Instant) -> PersonOutcome {
        let steady_from = steady_from.saturating_duration_since(self.began);
        self.page.into_inner().unwrap_or_else(PoisonError::into_inner).diary.close(steady_from)
    }
}

impl Page {
    fn begin_turn(&mut self, clip: Arc<Clip>, position: Duration) {
        self.reply = Reply::default();
        self.diary.begin_turn(clip, position);
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

/// Keeps the pace of real time.
///
/// A frame is due when it has been spoken, which is when a microphone delivers it. Latencies count from there, so that
/// a server that holds a frame up does not hide what that costs.
struct Pace {
    began: Instant,
    due: Duration,
    /// When the last frame was out.
    sent: Instant,
}

impl Pace {
    fn new(began: Instant) -> Self {
        Self { began, due: Duration::ZERO, sent: began }
    }

    /// Waits until the next frame has been spoken, and says when that was, since the stream began.
    ///
    /// Notes how late this generator is: what came later than the frame was due *and* later than the server had taken
    /// the one before it.
    async fn next_frame(&mut self, lag: &Lag) -> Duration {
        self.due += FRAME;
        let due = self.began + self.due;
        sleep_until(due).await;
        lag.record(Instant::now().saturating_duration_since(due.max(self.sent)));
        self.due
    }

    fn sent(&mut self) {
        self.sent = Instant::now();
    }
}
