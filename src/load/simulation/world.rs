//! The world around the line: sessions that speak, think or push, decodes that take their time, and what is noted.

use super::line::{self, Line};
use super::report::{Notes, Report};
use super::{Chance, Discipline, Scenario, Utterance};
use crate::pool::{Cost, FlowId, Grant, Ticket};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::time::Duration;

/// Ordinary sessions begin within this time, not all at once.
const ARRIVAL: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A session has said something and waits for its text.
    Said(usize),
    /// A decode is over.
    Decoded(Ticket),
}

#[derive(Debug, Clone, Copy)]
struct Decode {
    grant: Grant,
    since: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    utterance: Utterance,
    since: Duration,
}

/// One session.
#[derive(Debug)]
struct Session {
    /// Tickets that it keeps waiting; 0 for an ordinary one.
    depth: usize,
    waiting: VecDeque<Ticket>,
    /// Since when the first of them is the first.
    head_since: Duration,
    /// What it will say next.
    next: Utterance,
    chance: Chance,
}

impl Session {
    fn new(depth: usize, mut chance: Chance) -> Self {
        let next = Utterance::random(&mut chance);
        Self { depth, waiting: VecDeque::new(), head_since: Duration::ZERO, next, chance }
    }

    fn say(&mut self) -> Utterance {
        std::mem::replace(&mut self.next, Utterance::random(&mut self.chance))
    }
}

pub(super) struct World<'a> {
    scenario: &'a Scenario,
    line: Box<dyn Line>,
    now: Duration,
    /// What comes next; the number keeps the order of what comes at the same time.
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    scheduled: u64,
    sessions: Vec<Session>,
    asked: BTreeMap<Ticket, Asked>,
    decodes: BTreeMap<Ticket, Decode>,
    mean_pause: Duration,
    notes: Notes,
}

impl<'a> World<'a> {
    pub(super) fn new(scenario: &'a Scenario, discipline: Discipline) -> Self {
        let depths = scenario.backlogged.iter().copied().chain((0..scenario.ordinary).map(|_| 0));
        // Each session has chances of its own, so that it says the same under every discipline.
        let chance = |number| Chance::new(scenario.seed.wrapping_mul(1_000_003).wrapping_add(number));
        let sessions: Vec<Session> =
            (0..).zip(depths).map(|(number, depth)| Session::new(depth, chance(number))).collect();
        let line = match discipline {
            Discipline::Fair => line::fair(scenario.slots, sessions.len() as u64, scenario.ledger),
            Discipline::FirstCome => line::first_come(scenario.slots),
        };
        Self {
            scenario,
            line,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            scheduled: 0,
            notes: Notes::new(sessions.len(), scenario.ledger.starvation),
            sessions,
            asked: BTreeMap::new(),
            decodes: BTreeMap::new(),
            mean_pause: scenario.mean_pause(),
        }
    }

    pub(super) fn run(mut self) -> Report {
        self.begin();
        self.serve();
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            if time > self.scenario.duration {
                break;
            }
            self.now = time;
            match event {
                Event::Said(session) => self.ask(session),
                Event::Decoded(ticket) => self.decoded(ticket),
            }
            self.serve();
        }
        self.end()
    }

    fn begin(&mut self) {
        for index in 0..self.sessions.len() {
            let session = &mut self.sessions[index];
            if session.depth == 0 {
                let arrival = ARRIVAL.mul_f64(session.chance.unit());
                self.schedule(arrival, Event::Said(index));
            }
            (0..self.sessions[index].depth).for_each(|_| self.ask(index));
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((self.now + after, self.scheduled, event)));
    }

    fn ask(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        let utterance = session.say();
        let ticket = self.line.enqueue(FlowId(index as u64), utterance.estimate, self.now);
        if session.waiting.is_empty() {
            session.head_since = self.now;
        }
        session.waiting.push_back(ticket);
        self.asked.insert(ticket, Asked { utterance, since: self.now });
    }

    fn serve(&mut self) {
        while let Some(grant) = self.line.grant(self.now) {
            let asked = self.asked[&grant.ticket];
            self.note_grant(grant, asked);
            self.decodes.insert(grant.ticket, Decode { grant, since: self.now });
            self.schedule(asked.utterance.truth, Event::Decoded(grant.ticket));
            let index = grant.flow.0 as usize;
            if self.sessions[index].depth > 0 {
                self.ask(index);
            }
        }
    }

    fn note_grant(&mut self, grant: Grant, asked: Asked) {
        let heads = self.sessions.iter().filter(|session| !session.waiting.is_empty());
        self.notes.grant(self.now, heads.map(|session| session.head_since));
        let session = &mut self.sessions[grant.flow.0 as usize];
        assert_eq!(session.waiting.pop_front(), Some(grant.ticket), "a session is served in its own order");
        self.notes.head_wait(self.now.saturating_sub(session.head_since));
        session.head_since = self.now;
        if session.depth == 0 {
            self.notes.wait(self.now.saturating_sub(asked.since));
        }
    }

    fn decoded(&mut self, ticket: Ticket) {
        let Decode { grant, since } = self.decodes.remove(&ticket).expect("what ends has begun");
        let index = grant.flow.0 as usize;
        self.asked.remove(&ticket);
        self.notes.work(index, self.now.saturating_sub(since));
        self.line.release(grant, Cost(self.now.saturating_sub(since)));
        let session = &mut self.sessions[index];
        if session.depth == 0 {
            let pause = session.chance.pause(self.mean_pause);
            let speech = session.next.speech;
            self.schedule(pause + speech, Event::Said(index));
        }
    }

    /// Those who still wait and decodes that still run count as far as they came.
    fn end(mut self) -> Report {
        self.now = self.scenario.duration;
        for session in self.sessions.iter().filter(|session| !session.waiting.is_empty()) {
            self.notes.head_wait(self.now.saturating_sub(session.head_since));
        }
        for decode in self.decodes.values() {
            self.notes.work(decode.grant.flow.0 as usize, self.now.saturating_sub(decode.since));
        }
        let capacity = self.now * u32::from(self.scenario.slots);
        self.notes.report(self.scenario.backlogged.len(), capacity)
    }
}
