//! Drives servers from outside, and the real [`Ledger`](crate::pool::Ledger) in simulation.
//!
//! [`Scenario`] is an hour of many sessions on a few slots, played in virtual time through the ledger that also serves
//! real sessions, and through a plain queue for comparison.

mod clips;
mod http;
mod protocol;
mod server_watch;
mod simulation;

pub use clips::Clip;
pub use protocol::{ConnectError, Connection, Final, Heard, Listener, Lost, Protocol, Speaker, Stretch};
pub use server_watch::{PoolReading, ServerWatch, SizingReading, SlotsReading, Usage};
pub use simulation::{Comparison, Discipline, Report, Scenario, Waits};
