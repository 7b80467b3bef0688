//! The book of one person: when it said what, and what came back. Pure.

mod outcome;

pub use outcome::{Fate, FinalOutcome, PersonOutcome, Score, TurnOutcome};
