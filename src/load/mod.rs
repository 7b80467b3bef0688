//! Drives servers from outside, and the real [`Ledger`](crate::pool::Ledger) in simulation.
//!
//! [`Scenario`] is an hour of many sessions on a few slots, played in virtual time through the ledger that also serves
//! real sessions, and through a plain queue for comparison.

mod clips;
mod plan;
mod protocol;
mod simulation;

pub use clips::Clip;
pub use plan::{
    Figures, Known, Length, Memory, Plan, PlanError, PlusMinus, Point, Question, Reach, Sample, Service,
    Step, Tier, TierFigures, WaitFigures, plan, read_pool,
};
pub use protocol::{ConnectError, Connection, Final, Heard, Listener, Lost, Protocol, Speaker, Stretch};
pub use simulation::{Comparison, Discipline, Report, Scenario, Waits};
