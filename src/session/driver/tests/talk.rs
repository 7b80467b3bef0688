//! Conversations: a scripted model writes, a scripted voice speaks, and somebody interrupts.

mod bad_days;
mod echoes;
mod interruptions;
mod turns;

use super::*;
use crate::llm::fake::{Play, ScriptedModel};
use crate::llm::{LlmError, Message};
use crate::session::talk::{
    Body, Content, EchoSettings, Input, Item, ItemStatus, Manners, Place, Reason, ReplyEvent, ReplyRequest,
    ReplyStatus, Role, TalkSettings, TalkTerms,
};
use crate::tts::fake::{Act as Saying, FakeStudio};
use crate::tts::{TtsError, Voice};

/// How a session replies: 24 kHz, with everything else as it is by default.
fn talk() -> TalkSettings {
    TalkSettings {
        instructions: "Be brief.".into(),
        spoken: true,
        voice: Voice { name: "fake".into(), speed: 1.0 },
        voice_name: "fake".into(),
        output: StreamFormat::pcm16(24_000).unwrap(),
        language: None,
        tools: Vec::new(),
        tool_choice: crate::llm::ToolChoice::Auto,
        max_tokens: None,
        temperature: None,
        manners: Manners::default(),
        terms: TalkTerms::default(),
    }
}

/// Lets the clock move on, millisecond by millisecond, until this is so.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn talking(automatic: bool, talk: TalkSettings) -> SessionSettings {
    SessionSettings { talk: Some(Box::new(talk)), ..settings(automatic) }
}

/// A conversation with its model and its voice.
struct Scene {
    stage: Stage,
    model: ScriptedModel,
    studio: FakeStudio,
    settings: SessionSettings,
}

impl Scene {
    fn new(model: ScriptedModel, studio: FakeStudio, settings: SessionSettings) -> Self {
        // Reading takes no time, so that what takes some is the reply.
        let engine = FakeEngine::new(|_, _| Act::Say("words".into(), Duration::from_millis(1)));
        Self::on(engine, model, studio, settings)
    }

    fn on(engine: FakeEngine, model: ScriptedModel, studio: FakeStudio, settings: SessionSettings) -> Self {
        let assistant = Assistant { model: Arc::new(model.clone()), studio: Some(Arc::new(studio.clone())) };
        let stage = Stage::with_assistant(engine, assistant, settings.clone());
        Self { stage, model, studio, settings }
    }

    /// A model that says this, a voice that is quick, and a session that is set like this.
    fn saying(text: &'static str, settings: SessionSettings) -> Self {
        Self::new(ScriptedModel::saying(text), FakeStudio::default(), settings)
    }

    /// Somebody writes something.
    async fn write(&self, text: &str) {
        let body = Body::Message { role: Role::User, content: vec![Content::InputText(text.into())] };
        let item = Item { id: ItemId::mint().to_string(), body, status: ItemStatus::Completed };
        self.stage.command(Command::AddItem(Place::End, Box::new(item))).await;
    }

    /// A client wants a reply.
    async fn ask(&self) {
        let settings = self.settings.talk.clone().unwrap();
        let request = ReplyRequest { settings, input: None, outside: false, metadata: Vec::new() };
        self.stage.command(Command::Reply(Box::new(request))).await;
    }

    /// What is told until the reply has ended, in words.
    async fn reply(&mut self) -> String {
        self.until(|event| matches!(event, ReplyEvent::Ended(_))).await
    }

    /// What is told up to this, in words.
    async fn until(&mut self, is_last: impl Fn(&ReplyEvent) -> bool) -> String {
        let mut told = Told::default();
        loop {
            let event = self.stage.event().await;
            let last = matches!(&event, SessionEvent::Reply(event) if is_last(event));
            told.note(&mut self.stage.items, event);
            if last {
                return told.in_words();
            }
        }
    }

    /// What is told from now on until the session has ended.
    async fn rest(mut self) -> String {
        let mut told = Told::default();
        drop(self.stage.session);
        while let Some(event) = self.stage.events.recv().await {
            told.note(&mut self.stage.items, event);
        }
        told.in_words()
    }

    /// What the model was shown last, letter by letter as in `s` system, `u` user, `a` assistant, `t` tool.
    fn shown(&self) -> Vec<String> {
        let requests = self.model.requests();
        let message = |message: &Message| match message {
            Message::System(text) => format!("s:{text}"),
            Message::User(text) => format!("u:{text}"),
            Message::Assistant { text, calls } if calls.is_empty() => format!("a:{text}"),
            Message::Assistant { text, calls } => format!("a:{text}[{}]", calls[0].name),
            Message::Tool { output, .. } => format!("t:{output}"),
        };
        requests.last().map(|request| request.messages.iter().map(message).collect()).unwrap_or_default()
    }

    /// Waits until neither the model nor the voice does anything for anybody.
    async fn quiet(&self) {
        until(|| self.model.open() + self.studio.open() == 0).await;
    }
}

/// What was told, with sound summed up.
#[derive(Default)]
struct Told {
    words: Vec<String>,
    sound: Duration,
}

impl Told {
    fn note(&mut self, items: &mut Vec<ItemId>, event: SessionEvent) {
        match event {
            SessionEvent::Reply(event) => match *event {
                ReplyEvent::Audio { bytes, .. } => {
                    self.sound += Duration::from_millis(bytes.len() as u64 / 48);
                }
                event => self.push(in_words(event)),
            },
            SessionEvent::ItemAdded { .. } => self.push("kept".into()),
            // What happens to leases is told elsewhere.
            SessionEvent::Lease(_) => {}
            SessionEvent::Refused { refusal, .. } => self.push(format!("refused:{}", refusal.code())),
            event => {
                let name = named(items, &event);
                self.push(name);
            }
        }
    }

    fn push(&mut self, word: String) {
        let sound = std::mem::take(&mut self.sound);
        if !sound.is_zero() {
            self.words.push(format!("♪{}", sound.as_millis()));
        }
        self.words.push(word);
    }

    fn in_words(mut self) -> String {
        let sound = std::mem::take(&mut self.sound);
        if !sound.is_zero() {
            self.words.push(format!("♪{}", sound.as_millis()));
        }
        self.words.join(" ")
    }
}

fn in_words(event: ReplyEvent) -> String {
    match event {
        ReplyEvent::Began(_) => "began".into(),
        ReplyEvent::ItemAdded { item, .. } => match item.body {
            Body::Call(call) => format!("+call:{}", call.name),
            _ => "+message".into(),
        },
        ReplyEvent::Text { delta, spoken, .. } => {
            format!("{}{delta:?}", if spoken { "says" } else { "writes" })
        }
        ReplyEvent::Audio { .. } => unreachable!("sound is summed up"),
        ReplyEvent::Arguments { delta, .. } => format!("args{delta}"),
        ReplyEvent::ItemDone { item, .. } => {
            format!("-{}", if item.status == ItemStatus::Completed { "whole" } else { "broken" })
        }
        ReplyEvent::Truncated { heard, .. } => format!("cut@{}", heard.as_millis()),
        ReplyEvent::OutputCleared { .. } => "hushed".into(),
        ReplyEvent::Unsaid { code, .. } => format!("unsaid:{code}"),
        ReplyEvent::Ended(view) => match view.status {
            ReplyStatus::Completed => "completed".into(),
            ReplyStatus::Cancelled(Reason::Interrupted) => "interrupted".into(),
            ReplyStatus::Cancelled(Reason::Cancelled) => "cancelled".into(),
            ReplyStatus::Incomplete { .. } => "incomplete".into(),
            ReplyStatus::Failed { code, .. } => format!("failed:{code}"),
            ReplyStatus::InProgress => "in progress".into(),
        },
    }
}
