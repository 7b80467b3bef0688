//! A load test: so many people, a ramp, a while of talking, and what came of it.

mod alone;
mod watched;

use super::board::{Board, Progress};
use super::clips::Clip;
use super::descriptors::{TooFewDescriptors, descriptors_for};
use super::diary::PersonOutcome;
use super::mishearing::Isolation;
use super::person::{Manners, Person};
use super::protocol::{ConnectError, Connection, Protocol, ProtocolName, Target};
use super::report::{LoadReport, RunFacts};
use super::turns::{TurnSettings, Turns, assign};
use alone::Alone;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use watched::Watched;

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
    /// This process may not open that many connections.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// It was to end before anybody was connected.
    #[error("stopped before anybody was connected")]
    Stopped,
}

impl LoadError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Connect(error) => error.hint().to_owned(),
            Self::NothingToSay => "name a folder with recordings and their transcripts.tsv".to_owned(),
            Self::Descriptors(error) => error.hint(),
            Self::Stopped => "nothing was measured".to_owned(),
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
    let clips = &settings.turns.as_said(clips)[..];
    if clips.is_empty() {
        return Err(LoadError::NothingToSay);
    }
    descriptors_for(settings.clients)?;
    let protocol = settings.protocol.protocol(settings.target.clone())?;
    let first = tokio::select! {
        first = protocol.connect(0) => first?,
        () = course.stop.cancelled() => return Err(LoadError::Stopped),
    };
    let mut watched = Watched::new(&settings.target).await;
    let attendance = Attendance::new(settings, Arc::clone(&protocol), clips, &course.stop);
    let board = Arc::clone(&attendance.board);
    let (people, turned_away) = watched.during(&board, progress, attendance.talk(first)).await;
    let facts = RunFacts {
        protocol: settings.protocol.as_str().to_owned(),
        url: settings.target.url.clone(),
        clients: settings.clients,
        duration: board.progress().elapsed,
        steady: settings.duration.min(board.progress().elapsed).saturating_sub(settings.ramp),
        duty: settings.turns.duty,
        rejected: turned_away.rejected,
        connection_errors: turned_away.errors,
        lag_p99: board.lag.p99(),
        stopped: course.stop.is_cancelled(),
        broke_off: board.progress().elapsed < settings.duration,
        slots: watched.slots().await,
        server: watched.used().await,
        clips: clips.to_vec(),
        isolation: Isolation::default(),
    };
    course.over.cancel();
    watched.until_empty().await;
    let alone = Alone::new(protocol, settings.patience, &course.stop);
    let isolation = watched.during(alone.board(), progress, alone.judge(&people)).await;
    Ok(LoadReport::of(RunFacts { isolation, ..facts }, &people))
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
struct Attendance {
    protocol: Arc<dyn Protocol>,
    people: Vec<Person>,
    ramp: Duration,
    board: Arc<Board>,
}

impl Attendance {
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
