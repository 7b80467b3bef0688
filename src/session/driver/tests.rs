//! A driver between a scripted engine and a loud or silent stream. The frontend's thread is real, the clock is not: it
//! moves only when everybody waits for it.

mod live;
mod talk;

use super::*;
use crate::asr::fake::{Act, FakeEngine};
use crate::asr::{DecodeOptions, EncoderWindow, LaneEvent, Lanes, ModelInfo};
use crate::llm::Echo;
use crate::pool::{Allocator, Ask, Class, Cost, FlowInfo, Lease, PoolSettings, SlotId};
use crate::session::{Keeping, LiveSettings};
use crate::vad::EndpointSettings;
use crate::vad::fake::FakeDetector;
use std::sync::Arc;
use tokio::task::JoinHandle;

const PCM16: StreamFormat = StreamFormat::Pcm16 { rate: SampleRate::SPEECH };

/// A session on one slot.
struct Stage {
    allocator: Allocator,
    session: Session,
    events: SessionEvents,
    driving: JoinHandle<()>,
    abandon: CancellationToken,
    items: Vec<ItemId>,
}

/// Settings of a session that keeps two seconds of audio.
fn settings(automatic: bool) -> SessionSettings {
    SessionSettings {
        format: PCM16,
        endpoint: EndpointSettings { automatic, ..EndpointSettings::default() },
        decode: Some(DecodeOptions::default()),
        lease: LeaseScope::Utterance,
        keeping: Keeping { audio: Duration::from_secs(2), patience: Duration::from_secs(3) },
        live: LiveSettings::OFF,
        patience: None,
        idle_timeout: None,
        talk: None,
    }
}

impl Stage {
    /// Whose decodes take so long.
    fn new(decode: Duration, settings: SessionSettings) -> Self {
        Self::with(move || Act::Say("words".into(), decode), settings)
    }

    fn with(act: impl Fn() -> Act + Send + Sync + 'static, settings: SessionSettings) -> Self {
        Self::on(FakeEngine::new(move |_, _| act()), settings)
    }

    fn on(engine: FakeEngine, settings: SessionSettings) -> Self {
        Self::with_assistant(engine, Assistant { model: Arc::new(Echo), studio: None }, settings)
    }

    fn with_assistant(engine: FakeEngine, assistant: Assistant, settings: SessionSettings) -> Self {
        let (allocator, _retired) = Allocator::new(PoolSettings::default());
        allocator.add(SlotId(0));
        let model = ModelInfo { name: "fake".into(), multilingual: false, window: EncoderWindow::Fit };
        let lane = Lanes::new(Arc::new(engine), allocator.clone(), model).open(FlowInfo::session("sess_1"));
        let frontend = Frontend::start(vec![Box::new(FakeDetector)]);
        let (session, events, driver) = open(frontend, lane, assistant, settings);
        let abandon = CancellationToken::new();
        let driving = tokio::spawn(driver.run(abandon.clone()));
        Self { allocator, session, events, driving, abandon, items: Vec::new() }
    }

    /// Takes the slot away.
    async fn occupied(&self) -> Lease {
        let other = self.allocator.enroll(FlowInfo::request("other"));
        self.allocator.acquire(&other, Ask::new(Class::Final, Cost::default()), None).await.unwrap()
    }

    async fn command(&self, command: Command) {
        self.session.send(Request { command, origin: None }).await.unwrap();
    }

    /// A loud or a silent second.
    async fn second(&self, loud: bool) {
        let sample = if loud { 20_000_i16 } else { 0 };
        for command in Command::appends(&sample.to_le_bytes().repeat(16_000)) {
            self.command(command).await;
        }
    }

    /// A loud second that is committed by hand.
    async fn utterance(&self) {
        self.second(true).await;
        self.command(Command::Commit).await;
    }

    async fn event(&mut self) -> SessionEvent {
        self.events.recv().await.expect("the session goes on")
    }

    /// The names of the next events.
    async fn told(&mut self, n: usize) -> String {
        let mut told = Vec::new();
        for _ in 0..n {
            let event = self.event().await;
            told.push(named(&mut self.items, &event));
        }
        told.join(" ")
    }

    /// Hangs up, and waits for all that was still to be told.
    async fn rest(mut self) -> String {
        drop(self.session);
        let mut told = Vec::new();
        while let Some(event) = self.events.recv().await {
            told.push(named(&mut self.items, &event));
        }
        self.driving.await.unwrap();
        told.join(" ")
    }

    fn speaking(&self) -> usize {
        self.allocator.snapshot().sessions.speaking
    }
}

/// The name of an event; items are numbered in order of appearance.
fn named(items: &mut Vec<ItemId>, event: &SessionEvent) -> String {
    let (name, item) = match event {
        SessionEvent::SpeechStarted { item, .. } => ("started", item),
        SessionEvent::SpeechStopped { item, .. } => ("stopped", item),
        SessionEvent::Committed { item, .. } => ("committed", item),
        SessionEvent::Discarded { item } => ("discarded", item),
        SessionEvent::TimedOut { item, .. } => ("timed_out", item),
        SessionEvent::Read { item, .. } => ("read", item),
        SessionEvent::Unread { item, .. } => ("unread", item),
        SessionEvent::Dropped { item, .. } => ("dropped", item),
        SessionEvent::Lease(LaneEvent::Waiting(at)) => return format!("waiting#{}", at.position),
        SessionEvent::Lease(LaneEvent::Granted { .. }) => return "granted".into(),
        SessionEvent::Lease(LaneEvent::Released { .. }) => return "released".into(),
        SessionEvent::Cleared => return "cleared".into(),
        other => return format!("{other:?}"),
    };
    if !items.contains(item) {
        items.push(*item);
    }
    let number = items.iter().position(|known| known == item).expect("it was just added");
    format!("{name}{number}")
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_the_lease_of_an_item_is_told_between_its_commit_and_its_text() {
    let mut stage = Stage::new(Duration::from_secs(1), settings(false));
    let lease = stage.occupied().await;
    stage.utterance().await;
    assert_eq!(stage.told(2).await, "committed0 waiting#1");
    drop(lease);
    assert_eq!(stage.told(3).await, "granted released read0");
    stage.utterance().await;
    assert_eq!(stage.rest().await, "committed1 granted released read1");
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_the_next_item_comes_after_the_text_of_the_one_before() {
    let mut stage = Stage::new(Duration::from_secs(1), settings(false));
    let lease = stage.occupied().await;
    stage.utterance().await;
    assert_eq!(stage.told(2).await, "committed0 waiting#1");
    stage.utterance().await;
    assert_eq!(stage.told(1).await, "committed1");
    drop(lease);
    assert_eq!(stage.rest().await, "granted released read0 granted released read1");
}

#[tokio::test(start_paused = true)]
async fn while_the_line_blocks_what_does_not_fit_is_dropped_and_the_rest_is_read_in_its_turn() {
    let mut stage = Stage::new(Duration::from_secs(1), settings(false));
    let lease = stage.occupied().await;
    // One stands in line, two seconds wait behind it, and that is all that is kept.
    stage.utterance().await;
    assert_eq!(stage.told(2).await, "committed0 waiting#1");
    stage.utterance().await;
    stage.utterance().await;
    assert_eq!(stage.told(2).await, "committed1 committed2");
    let full = Instant::now();
    stage.utterance().await;
    assert_eq!(stage.told(1).await, "committed3");
    assert_eq!(full.elapsed(), Duration::from_secs(3), "until then it could have been the decoder");
    let SessionEvent::Dropped { dropped, .. } = stage.event().await else { panic!("it does not fit") };
    assert_eq!((dropped.span.start_seconds(), dropped.span.end_seconds()), (3.0, 4.0));
    assert_eq!((dropped.waiting, dropped.n_waiting), (Duration::from_secs(3), 3));
    stage.utterance().await;
    assert_eq!(stage.told(2).await, "committed4 dropped4");
    drop(lease);
    let told = stage.told(9).await;
    assert_eq!(told, "granted released read0 granted released read1 granted released read2");
    stage.utterance().await;
    assert_eq!(stage.rest().await, "committed5 granted released read5");
}

#[tokio::test(start_paused = true)]
async fn while_it_is_the_decoder_that_is_behind_the_sender_waits_however_long_that_takes() {
    let mut stage = Stage::with(|| Act::Never, settings(false));
    let lease = stage.occupied().await;
    stage.utterance().await;
    assert_eq!(stage.told(2).await, "committed0 waiting#1");
    stage.utterance().await;
    stage.utterance().await;
    assert_eq!(stage.told(2).await, "committed1 committed2");
    drop(lease);
    assert_eq!(stage.told(1).await, "granted");
    stage.utterance().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    // An append and a commit still wait to be taken; nothing was dropped instead.
    assert_eq!(stage.session.requests.capacity(), COMMANDS - 2);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_session_ends_every_item_once_also_those_that_were_dropped() {
    let mut stage = Stage::new(Duration::from_secs(1), settings(false));
    let _lease = stage.occupied().await;
    stage.utterance().await;
    assert_eq!(stage.told(2).await, "committed0 waiting#1");
    for _ in 0..3 {
        stage.utterance().await;
    }
    assert_eq!(stage.told(4).await, "committed1 committed2 committed3 dropped3");
    stage.abandon.cancel();
    assert_eq!(stage.rest().await, "unread0 unread1 unread2");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_keeps_its_lease_asks_for_it_before_anybody_speaks() {
    let settings = settings(false);
    let mut stage =
        Stage::new(Duration::from_secs(1), SessionSettings { lease: LeaseScope::Session, ..settings });
    assert_eq!(stage.told(1).await, "granted");
    for told in ["committed0 read0", "committed1 read1"] {
        stage.utterance().await;
        assert_eq!(stage.told(2).await, told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_kept_is_given_back_when_the_session_is_told_to() {
    let mut stage = Stage::new(Duration::from_secs(1), settings(false));
    for (lease, told) in [(LeaseScope::Session, "granted"), (LeaseScope::Utterance, "released")] {
        stage.command(Command::Configure(Box::new(SessionSettings { lease, ..settings(false) }))).await;
        assert_eq!(stage.told(1).await, told);
    }
    assert_eq!(stage.allocator.slots().idle, 1);
}

#[tokio::test(start_paused = true)]
async fn the_pool_knows_who_speaks_from_the_first_speech_to_the_end_of_the_item() {
    let mut stage = Stage::new(Duration::ZERO, settings(true));
    stage.second(true).await;
    assert_eq!(stage.told(1).await, "started0");
    assert_eq!(stage.speaking(), 1);
    stage.second(false).await;
    assert_eq!(stage.told(2).await, "stopped0 committed0");
    assert_eq!(stage.speaking(), 0);
    stage.second(true).await;
    stage.command(Command::Clear).await;
    assert_eq!(stage.told(5).await, "granted released read0 started1 cleared");
    assert_eq!(stage.speaking(), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_speaks_whose_audio_has_ceased_in_the_middle_of_a_word() {
    let mut stage = Stage::new(Duration::ZERO, settings(true));
    stage.second(true).await;
    assert_eq!(stage.told(1).await, "started0");
    assert_eq!(stage.speaking(), 1);
    tokio::time::sleep(SPEECH_LINGERS * 2).await;
    assert_eq!(stage.speaking(), 0);
}

#[tokio::test(start_paused = true)]
async fn where_the_client_cuts_all_audio_is_speech_until_it_does() {
    let mut stage = Stage::new(Duration::ZERO, settings(false));
    assert_eq!(stage.speaking(), 0);
    stage.second(false).await;
    stage.command(Command::Append(vec![0])).await;
    assert!(matches!(stage.event().await, SessionEvent::Refused { .. }));
    assert_eq!(stage.speaking(), 1);
    stage.command(Command::Commit).await;
    assert_eq!(stage.told(1).await, "committed0");
    assert_eq!(stage.speaking(), 0);
}

impl Stage {
    fn leased(&self) -> usize {
        self.allocator.snapshot().slots.leased
    }

    /// What was sent so far is heard: a commit of nothing is answered behind it.
    async fn heard(&mut self) {
        self.command(Command::Append(vec![0])).await;
        assert!(matches!(self.event().await, SessionEvent::Refused { .. }));
    }
}

/// A change that comes within a virtual second.
async fn within<T, E: std::fmt::Debug>(change: impl Future<Output = Result<T, E>>) {
    tokio::time::timeout(Duration::from_secs(1), change).await.expect("it comes").unwrap();
}

/// Settings of a session that keeps its lease.
fn dedicated(automatic: bool) -> SessionSettings {
    SessionSettings { lease: LeaseScope::Session, ..settings(automatic) }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_keeps_its_lease_is_busy_for_others_wait_for_its_slot() {
    let mut stage = Stage::new(Duration::ZERO, dedicated(true));
    assert_eq!(stage.told(1).await, "granted");
    let mut busy = stage.session.busy();
    within(busy.wait_for(|busy| *busy)).await;
    stage.command(Command::Configure(Box::new(settings(true)))).await;
    assert_eq!(stage.told(1).await, "released");
    within(busy.wait_for(|busy| !*busy)).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_does_not_read_takes_no_slot_until_it_does() {
    let deaf = SessionSettings { decode: None, ..dedicated(false) };
    let mut stage = Stage::new(Duration::ZERO, deaf.clone());
    stage.utterance().await;
    assert_eq!(stage.told(1).await, "committed0");
    assert_eq!((stage.leased(), *stage.session.busy().borrow()), (0, false));
    stage.command(Command::Configure(Box::new(dedicated(false)))).await;
    assert_eq!(stage.told(1).await, "granted");
    stage.command(Command::Configure(Box::new(deaf))).await;
    assert_eq!(stage.told(1).await, "released");
    assert_eq!(stage.leased(), 0);
}

#[tokio::test(start_paused = true)]
async fn audio_that_nobody_commits_does_not_keep_a_lease_for_ever() {
    let mut stage = Stage::new(Duration::ZERO, dedicated(false));
    assert_eq!(stage.told(1).await, "granted");
    stage.second(false).await;
    stage.heard().await;
    assert_eq!((stage.speaking(), stage.leased()), (1, 1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((stage.speaking(), stage.leased()), (0, 1), "its audio has ceased");
    assert_eq!(stage.told(1).await, "released");
    assert_eq!(stage.leased(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_its_audio_in_pieces_speaks_all_the_while() {
    let mut stage = Stage::new(Duration::ZERO, settings(false));
    for _ in 0..10 {
        stage.command(Command::Append(vec![0; 320])).await;
        stage.heard().await;
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(stage.speaking(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn audio_that_the_detector_finds_silent_is_not_speech_once_it_is_in_charge() {
    let mut stage = Stage::new(Duration::ZERO, settings(false));
    stage.second(false).await;
    stage.heard().await;
    assert_eq!(stage.speaking(), 1);
    stage.command(Command::Configure(Box::new(settings(true)))).await;
    stage.heard().await;
    assert_eq!(stage.speaking(), 0);
}
