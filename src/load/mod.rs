//! Drives servers from outside, and the real [`Ledger`](crate::pool::Ledger) in simulation.
//!
//! [`run`] lets virtual people talk to a server over a [`Protocol`], each with a microphone that is always on and a
//! diary of what it said and heard; [`find_knee`] and [`soak`] do so again and again, and for long. [`plan()`] answers
//! how many people fit without a server. [`Scenario`] is an hour of many sessions on a few slots, played in virtual time
//! through the ledger that also serves real sessions, and through a plain queue for comparison.

mod board;
pub mod chart;
mod clips;
mod descriptors;
mod diary;
mod health;
mod http;
mod idle;
mod knee;
mod leaks;
mod mishearing;
mod pace;
mod person;
mod plan;
mod protocol;
mod report;
mod run;
mod server_watch;
mod simulation;
mod soak;
mod turns;
mod words;

pub use board::Progress;
pub use clips::{Clip, ClipsError, read_clips, speech_spans};
pub use descriptors::{TooFewDescriptors, descriptors_for};
pub use diary::{Diary, Fate, FinalOutcome, PersonOutcome, Score, TurnOutcome};
pub use health::health;
pub use idle::{IdleReport, IdleSettings, Silence, idle};
pub use knee::{Climb, Curve, Ended, KneeSettings, Verdict, find_knee, settled};
pub use leaks::{Leak, Spoken, leaks};
pub use plan::{
    Figures, Known, Length, MemoryNeed, Plan, PlanError, PlusMinus, Point, Question, Reach, Sample, Service,
    SimulationStep, Tier, TierFigures, WaitFigures, plan, read_pool,
};
pub use protocol::{
    ConnectError, Connection, Dictation, DictationEvent, DictationReceiver, DictationSender,
    DictationSettings, Disconnected, Final, Heard, Listener, Protocol, ProtocolName, Speaker, Stretch,
    Target, Told,
};
pub use report::{ClipTakes, Lag, LoadReport, Quantiles, RunFacts, ServerUsage, Take};
pub use run::{Course, LoadError, LoadSettings, run};
pub use server_watch::{Decodes, PoolReading, ServerWatch, SizingReading, SlotsReading, Usage};
pub use simulation::{Comparison, Discipline, Scenario, ScenarioReport, Waits};
pub use soak::{Growth, Levels, Rubbish, SoakReport, SoakSettings, soak};
pub use turns::{Turn, TurnSettings, Turns, assign};
pub use words::{word_errors, words};
