//! The world around the line: sessions that speak, think or push, decodes that take their time, and what is noted.

use super::Utterance;
use super::crowd::{Crowd, Habit};
use super::line::Line;
use super::notes::{Notes, Served};
use crate::pool::{Cost, FlowId, Grant, Ticket};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A session has said something.
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
    said: Duration,
    since: Duration,
}

/// What a session has waiting.
#[derive(Debug, Clone, Default)]
struct Place {
    waiting: VecDeque<Ticket>,
    /// Since when the first of them is the first.
    head_since: Duration,
    /// Whether something is waiting or being decoded, for who has one thing decoded at a time.
    busy: bool,
    /// What waits for that, and since when.
    behind: VecDeque<(Utterance, Duration)>,
}

/// A crowd, a line, and the time.
pub(in crate::load) struct World<C> {
    crowd: C,
    line: Box<dyn Line>,
    now: Duration,
    /// What comes next; the number keeps the order of what comes at the same time.
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    scheduled: u64,
    places: Vec<Place>,
    /// Sessions that wait, by how long their first ticket is the first.
    heads: BTreeSet<(Duration, usize)>,
    asked: BTreeMap<Ticket, Asked>,
    decodes: BTreeMap<Ticket, Decode>,
    notes: Notes,
}

impl<C: Crowd> World<C> {
    /// Nobody has said anything yet.
    pub(in crate::load) fn new(crowd: C, line: Box<dyn Line>, starvation: Duration) -> Self {
        let sessions = crowd.sessions();
        Self {
            crowd,
            line,
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            scheduled: 0,
            places: vec![Place::default(); sessions],
            heads: BTreeSet::new(),
            asked: BTreeMap::new(),
            decodes: BTreeMap::new(),
            notes: Notes::new(sessions, starvation),
        }
    }

    /// Lets `duration` pass and gives what was noted.
    pub(in crate::load) fn run(mut self, duration: Duration) -> Notes {
        self.begin();
        self.serve();
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            if time > duration {
                break;
            }
            self.now = time;
            match event {
                Event::Said(session) => self.said(session),
                Event::Decoded(ticket) => self.decoded(ticket),
            }
            self.serve();
        }
        self.now = duration;
        self.end()
    }

    fn begin(&mut self) {
        for session in 0..self.places.len() {
            if let Habit::Pushes(depth) = self.crowd.habit(session) {
                (0..depth).for_each(|_| self.say(session));
            } else {
                let arrival = self.crowd.arrival(session);
                self.schedule(arrival, Event::Said(session));
            }
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((self.now + after, self.scheduled, event)));
    }

    fn said(&mut self, session: usize) {
        self.say(session);
        if self.crowd.habit(session) == Habit::SpeaksOn {
            self.speak_again(session);
        }
    }

    fn speak_again(&mut self, session: usize) {
        let pause = self.crowd.pause(session);
        self.schedule(pause, Event::Said(session));
    }

    fn say(&mut self, session: usize) {
        let utterance = self.crowd.say(session, self.now);
        if self.places[session].busy {
            self.places[session].behind.push_back((utterance, self.now));
        } else {
            self.ask(session, utterance, self.now);
        }
    }

    fn ask(&mut self, session: usize, utterance: Utterance, said: Duration) {
        let ticket = self.line.enqueue(FlowId(session as u64), utterance.estimate, self.now);
        let one_at_a_time = self.crowd.habit(session) == Habit::SpeaksOn;
        let place = &mut self.places[session];
        place.busy = one_at_a_time;
        if place.waiting.is_empty() {
            place.head_since = self.now;
            self.heads.insert((self.now, session));
        }
        place.waiting.push_back(ticket);
        self.asked.insert(ticket, Asked { utterance, said, since: self.now });
    }

    fn serve(&mut self) {
        while let Some(grant) = self.line.grant(self.now) {
            let asked = self.asked.remove(&grant.ticket).expect("who is served has asked");
            self.note_grant(grant, asked);
            self.decodes.insert(grant.ticket, Decode { grant, since: self.now });
            self.schedule(asked.utterance.truth, Event::Decoded(grant.ticket));
            let session = grant.flow.0 as usize;
            if matches!(self.crowd.habit(session), Habit::Pushes(_)) {
                self.say(session);
            }
        }
    }

    fn note_grant(&mut self, grant: Grant, asked: Asked) {
        let session = grant.flow.0 as usize;
        let Asked { utterance, said, since } = asked;
        let decode = utterance.truth;
        self.notes.served(
            Served { session, said, since, granted: self.now, decode },
            self.heads.iter().map(|(since, _)| *since),
        );
        let place = &mut self.places[session];
        assert_eq!(place.waiting.pop_front(), Some(grant.ticket), "a session is served in its own order");
        self.notes.head_wait(self.now.saturating_sub(place.head_since));
        self.heads.remove(&(place.head_since, session));
        place.head_since = self.now;
        if !place.waiting.is_empty() {
            self.heads.insert((self.now, session));
        }
    }

    fn decoded(&mut self, ticket: Ticket) {
        let Decode { grant, since } = self.decodes.remove(&ticket).expect("what ends has begun");
        let session = grant.flow.0 as usize;
        let held = self.now.saturating_sub(since);
        self.notes.work(session, held);
        self.line.release(grant, Cost(held));
        match self.crowd.habit(session) {
            Habit::Converses => self.speak_again(session),
            Habit::SpeaksOn => self.go_on(session),
            Habit::Pushes(_) => {}
        }
    }

    /// What waited behind is next.
    fn go_on(&mut self, session: usize) {
        let place = &mut self.places[session];
        place.busy = false;
        if let Some((utterance, said)) = place.behind.pop_front() {
            self.ask(session, utterance, said);
        }
    }

    /// Those who still wait and decodes that still run count as far as they came.
    fn end(mut self) -> Notes {
        for (since, _) in &self.heads {
            self.notes.head_wait(self.now.saturating_sub(*since));
        }
        for decode in self.decodes.values() {
            self.notes.work(decode.grant.flow.0 as usize, self.now.saturating_sub(decode.since));
        }
        self.notes
    }
}
