//! A load test: so many people, a ramp, a while of talking, and what came of it.

use super::board::{Board, Progress};
use super::clips::Clip;
use super::diary::PersonOutcome;
use super::leaks::Leak;
use super::mishearing;
use super::person::{Manners, Person};
use super::protocol::{ConnectError, Connection, Protocol, ProtocolName, Target};
use super::report::{Report as LoadReport, RunFacts, ServerUsage, leaks_among};
use super::server_watch::{ServerWatch, Usage};
use super::turns::{Turn, TurnSettings, Turns, assign};
use std::collections::BTreeMap;
use std::iter;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// How often the progress is told.
const TICK: Duration = Duration::from_millis(500);

/// How often the server's processes are looked at, which takes some milliseconds.
const LOOK: Duration = Duration::from_secs(5);

/// What to do to which server.
#[derive(Debug, Clone)]
pub struct LoadSettings {
    /// Where the server is, and as whom to come.
    pub target: Target,
    /// What to speak with it.
    pub protocol: ProtocolName,
    /// How many people talk at once, 1 or more.
    pub clients: u32,
    /// How long they talk, the ramp included; who is speaking then finishes.
    pub duration: Duration,
    /// Over how long they arrive. Latencies are of turns that begin later.
    pub ramp: Duration,
    /// How much each of them talks.
    pub turns: TurnSettings,
    /// Whether each waits for the text of what it said before it speaks again.
    pub waits_for_text: bool,
    /// How long to wait for a text or a reply.
    pub patience: Duration,
}

impl LoadSettings {
    /// The same for another duration; the ramp takes half of that at most.
    pub fn lasting(self, duration: Duration) -> Self {
        Self { ramp: self.ramp.min(duration / 2), duration, ..self }
    }
}

/// How a run hears that it is to end, and how others hear that it has.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// Cancel it to end the run early, with what there is.
    pub stop: CancellationToken,
    /// Cancelled when everybody has spoken. What is said again then, to see whether words leaked or were misheard, is
    /// said when nobody else is connected: whoever keeps the people company leaves now.
    pub over: CancellationToken,
}

/// Why there was no load test.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The first person could not connect.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is nothing to say.
    #[error("there are no recordings to say")]
    NothingToSay,
}

impl LoadError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Connect(error) => error.hint(),
            Self::NothingToSay => "name a folder with recordings and their transcripts.tsv",
        }
    }
}

/// Lets people talk to a server, and reports what came of it.
///
/// `clips` are at the rate of the protocol. A run that is stopped, and one whose server dies, is reported as far as it
/// came.
///
/// # Errors
///
/// [`LoadError`] when it could not even begin.
///
/// # Cancel safety
///
/// Dropping the future ends all connections.
pub async fn run(
    settings: &LoadSettings,
    clips: &[Arc<Clip>],
    progress: &(dyn Fn(Progress) + Sync),
    course: &Course,
) -> Result<LoadReport, LoadError> {
    let stop = &course.stop;
    if clips.is_empty() {
        return Err(LoadError::NothingToSay);
    }
    let protocol = settings.protocol.protocol(settings.target.clone())?;
    let first = protocol.connect(0).await?;
    let mut watched = Watched::new(&settings.target);
    let crowd = Crowd::new(settings, protocol, clips, stop);
    let board = Arc::clone(&crowd.board);
    let alone = Alone {
        protocol: Arc::clone(&crowd.protocol),
        board: Arc::clone(&board),
        patience: settings.patience,
    };
    let (people, turned_away) = watched.during(&board, progress, crowd.talk(first)).await;
    let elapsed = board.progress().elapsed;
    course.over.cancel();
    let misheard = watched.during(&board, progress, alone.misheard(&people, stop)).await;
    let facts = RunFacts {
        protocol: settings.protocol.as_str().to_owned(),
        url: settings.target.url.clone(),
        clients: settings.clients,
        duration: elapsed,
        duty: settings.turns.duty,
        rejected: turned_away.rejected,
        connection_errors: turned_away.errors,
        lag_p99: board.lag.p99(),
        slots: watched.slots().await,
        server: watched.used().await,
        misheard,
        interrupted: stop.is_cancelled(),
    };
    Ok(LoadReport::of(facts, &people))
}

/// Those who could not get in.
#[derive(Debug, Default)]
struct TurnedAway {
    rejected: u64,
    errors: BTreeMap<String, u64>,
}

impl TurnedAway {
    fn note(&mut self, error: &ConnectError) {
        match error {
            ConnectError::Rejected { .. } => self.rejected += 1,
            other => *self.errors.entry(other.code().to_owned()).or_default() += 1,
        }
    }
}

/// Everybody who is going to talk.
struct Crowd {
    protocol: Arc<dyn Protocol>,
    people: Vec<Person>,
    ramp: Duration,
    board: Arc<Board>,
}

impl Crowd {
    fn new(
        settings: &LoadSettings,
        protocol: Arc<dyn Protocol>,
        clips: &[Arc<Clip>],
        stop: &CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let board = Arc::new(Board::new());
        let manners = Arc::new(Manners {
            until: now + settings.duration,
            steady_from: now + settings.ramp,
            patience: settings.patience,
            waits_for_text: settings.waits_for_text || !protocol.tells_positions(),
            converses: settings.target.conversation,
            tells_positions: protocol.tells_positions(),
            stop: stop.clone(),
        });
        let lengths: Vec<_> = clips.iter().map(|clip| clip.duration()).collect();
        let sets = assign(&lengths, settings.clients, settings.turns.seed);
        let person = |(number, set): (u32, Vec<usize>)| {
            let clips: Vec<_> = set.into_iter().map(|clip| Arc::clone(&clips[clip])).collect();
            let lengths: Vec<_> = clips.iter().map(|clip| clip.duration()).collect();
            let turns = Turns::new(&settings.turns, number, &lengths);
            Person {
                clips,
                topics: Box::new(turns),
                manners: Arc::clone(&manners),
                board: Arc::clone(&board),
            }
        };
        let people = (0..).zip(sets).map(person).collect();
        Self { protocol, people, ramp: settings.ramp, board }
    }

    /// All arrive one after the other, talk and leave.
    async fn talk(self, first: Connection) -> (Vec<PersonOutcome>, TurnedAway) {
        let every = self.ramp / self.people.len() as u32;
        let mut first = Some(first);
        let mut talking = JoinSet::new();
        for (number, person) in (0..).zip(self.people) {
            let (protocol, connection) = (Arc::clone(&self.protocol), first.take());
            let visit = visit(protocol, connection, person, number, every * number);
            talking.spawn(async move { (number, visit.await) });
        }
        let mut outcomes = BTreeMap::new();
        let mut turned_away = TurnedAway::default();
        while let Some(visit) = talking.join_next().await {
            match visit.expect("people do not panic") {
                (number, Ok(outcome)) => drop(outcomes.insert(number, outcome)),
                (_, Err(error)) => turned_away.note(&error),
            }
        }
        (outcomes.into_values().collect(), turned_away)
    }
}

/// Comes when it is time, talks, and leaves. Whoever has not come yet when the run is stopped has nothing to tell.
async fn visit(
    protocol: Arc<dyn Protocol>,
    connection: Option<Connection>,
    person: Person,
    number: u32,
    after: Duration,
) -> Result<PersonOutcome, ConnectError> {
    let stop = person.manners.stop.clone();
    let arrive = async {
        sleep(after).await;
        match connection {
            Some(connection) => Ok(connection),
            None => protocol.connect(number).await,
        }
    };
    let connection = tokio::select! {
        connection = arrive => connection.inspect_err(|_| person.board.error())?,
        () = stop.cancelled() => return Ok(PersonOutcome::default()),
    };
    Ok(person.talk(connection).await)
}

/// Somebody who says recordings again when everybody else has gone.
struct Alone {
    protocol: Arc<dyn Protocol>,
    board: Arc<Board>,
    patience: Duration,
}

impl Alone {
    /// Which of the words that look like leaks the recognizer reads when nobody else is there, too.
    async fn misheard(&self, people: &[PersonOutcome], stop: &CancellationToken) -> Vec<Leak> {
        let found = leaks_among(people);
        let mut again = BTreeMap::new();
        for clip in mishearing::suspects(&found, people) {
            if let (false, Ok(connection)) = (stop.is_cancelled(), self.protocol.connect(0).await) {
                let file = clip.file.clone();
                again.insert(file, self.say(clip, connection, stop).await);
            }
        }
        mishearing::misheard(&found, people, &again)
    }

    /// The final texts of one recording.
    async fn say(&self, clip: Arc<Clip>, connection: Connection, stop: &CancellationToken) -> Vec<String> {
        let now = Instant::now();
        let turn = Turn { pause: Duration::from_secs(1), clip: 0, interrupts: None };
        let manners = Manners {
            // It is under way then, and over before another one could begin.
            until: now + turn.pause * 3 / 2,
            steady_from: now,
            patience: self.patience,
            waits_for_text: true,
            converses: false,
            tells_positions: self.protocol.tells_positions(),
            stop: stop.clone(),
        };
        let topics = Box::new(iter::repeat(turn));
        let person =
            Person { clips: vec![clip], topics, manners: Arc::new(manners), board: Arc::clone(&self.board) };
        person.talk(connection).await.finals.into_iter().map(|heard| heard.told.text).collect()
    }
}

/// The server while it is under load.
struct Watched {
    server: ServerWatch,
    before: Option<Usage>,
    rss_bytes: Option<u64>,
}

impl Watched {
    fn new(target: &Target) -> Self {
        let server = ServerWatch::of(&target.url).with_key(target.key.clone());
        let before = server.usage();
        Self { server, before, rss_bytes: before.map(|usage| usage.rss_bytes) }
    }

    /// Tells how it goes, and looks at what the server uses, while `work` goes on.
    async fn during<T>(
        &mut self,
        board: &Board,
        progress: &(dyn Fn(Progress) + Sync),
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        let mut tick = interval(TICK);
        let mut look = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = tick.tick() => progress(board.progress()),
                _ = look.tick() => self.look(),
            }
        }
    }

    fn look(&mut self) {
        self.rss_bytes = self.rss_bytes.max(self.server.usage().map(|usage| usage.rss_bytes));
    }

    async fn slots(&self) -> Option<u16> {
        self.server.pool().await.map(|pool| pool.slots.total)
    }

    async fn used(&mut self) -> ServerUsage {
        self.look();
        let cpu = |after: Usage| Some(after.cpu.saturating_sub(self.before?.cpu).as_secs_f64());
        ServerUsage {
            cpu_seconds: self.server.usage().and_then(cpu),
            rss_bytes: self.rss_bytes,
            device_memory_bytes: self.server.pool().await.and_then(|pool| pool.device_memory_used()),
        }
    }
}
