//! Drives servers from outside, and the real [`Ledger`](crate::pool::Ledger) in simulation.
//!
//! [`Scenario`] is an hour of many sessions on a few slots, played in virtual time through the ledger that also serves
//! real sessions, and through a plain queue for comparison.

mod simulation;

pub use simulation::{Comparison, Discipline, Report, Scenario, Waits};
