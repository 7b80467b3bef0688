//! How many people fit on how many slots: people and measured decodes in, slots, memory and waits out, by a simulation
//! that runs the real [`Ledger`](crate::pool::Ledger).
//!
//! People speak as they do in a load test: each is a flow of its own, thinks for a heavy-tailed time and speaks on,
//! whether its text has come or not. What it leaves out: interims, files, people who come and go, devices that fail.

mod device;
mod drift;
mod error;
mod figures;
mod fit;
mod live;
mod people;
mod repertoire;
mod search;
mod service;
mod sources;
mod table;
#[cfg(test)]
mod tests;

pub use device::Length;
pub use error::PlanError;
pub use figures::{Figures, PlusMinus, TierFigures, WaitFigures};
pub use live::read_pool;
pub use search::SimulationStep;
pub use service::{Point, Reach, Sample, Service};
pub use sources::Known;

use crate::pool::Weight;
use crate::vad::EndpointSettings;
use device::Device;
use search::{MOST_PEOPLE, Search};
use serde::Serialize;
use std::time::Duration;

/// What the voice detector lags behind when speech ends: about two of its frames.
const DETECTOR_LAG: Duration = Duration::from_millis(60);
/// Where nobody says how many slots a device has, it has as many as a server takes at most by itself.
const SLOTS_PER_DEVICE: u16 = 16;

/// People who are treated alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Tier {
    /// What it is called.
    pub name: String,
    /// What each of them gets when all wait, relative to others.
    pub weight: Weight,
    /// How many of all people they are, relative to the shares of the other tiers.
    pub share: f64,
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// How many people there are; `None` for as many as one device serves.
    pub people: Option<u64>,
    /// The part of the time for which each speaks; more than 0 and less than 1.
    pub duty: f64,
    /// Who counts for more. Without any, all count the same.
    pub tiers: Vec<Tier>,
    /// Of 100 texts, 95 should come within this time after the end of the speech.
    pub target: Duration,
    /// So many slots, one device; `None` for as few as it takes, and as many devices.
    pub slots: Option<u16>,
    /// Slots that a device has room for; `None` for what the sources say.
    pub slots_per_device: Option<u16>,
    /// What of the final latency is neither waiting nor decoding; `None` for what the sources say.
    pub overhead: Option<Duration>,
    /// Where chance begins.
    pub seed: u64,
    /// How long each simulation is.
    pub length: Length,
}

impl Question {
    /// What every device is like that is simulated for it.
    fn device<'a>(&'a self, service: &'a Service) -> Device<'a> {
        Device {
            service,
            duty: self.duty,
            tiers: &self.tiers,
            overhead: self.overhead.or(service.overhead()).unwrap_or_else(usual_overhead),
            seed: self.seed,
            length: self.length,
        }
    }

    fn target_ms(&self) -> f64 {
        self.target.as_secs_f64() * 1e3
    }

    /// # Errors
    ///
    /// [`PlanError::Setting`] for a figure that makes no sense.
    fn check(&self) -> Result<(), PlanError> {
        let wrong = |what, value: String, expected| {
            Err(PlanError::Setting { what, value, expected: String::from(expected) })
        };
        if !(self.duty > 0.0 && self.duty < 1.0) {
            return wrong("the duty", self.duty.to_string(), "a part of the time: more than 0, less than 1");
        }
        if self.people == Some(0) {
            return wrong("the number of people", "0".into(), "1 or more");
        }
        if self.slots == Some(0) || self.slots_per_device == Some(0) {
            return wrong("the number of slots", "0".into(), "1 or more");
        }
        if self.target.is_zero() {
            return wrong("the target", "0 ms".into(), "more than 0 ms");
        }
        if matches!(self.length, Length::Utterances(0) | Length::Time(Duration::ZERO)) {
            return wrong("the simulated time", "0".into(), "more than 0");
        }
        if let Some(tier) = self.tiers.iter().find(|tier| !(tier.share > 0.0 && tier.share.is_finite())) {
            return wrong("the share of a tier", tier.share.to_string(), "more than 0");
        }
        Ok(())
    }
}

/// An answer. Shown as a table with the sentences that it needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// How many people there are.
    pub people: u64,
    /// The part of the time for which each speaks.
    pub duty: f64,
    /// Mean length of an utterance.
    pub utterance_s: f64,
    /// How long a person takes from one utterance to the next, on average.
    pub cycle_s: f64,
    /// Mean decode, with so many people on a device.
    pub decode_ms: f64,
    /// What of the final latency is neither waiting nor decoding.
    pub overhead_ms: f64,
    /// What 95 of 100 final latencies should not exceed.
    pub target_p95_ms: f64,
    /// Whether 95 of 100 texts come no later than that, on every device.
    pub meets_target: bool,
    /// How many devices it takes.
    pub devices: u64,
    /// How many people each of them serves, at most.
    pub people_on_each_device: u32,
    /// How many slots each of them needs.
    pub slots_per_device: u16,
    /// How many slots that is.
    pub slots: u64,
    /// What each device is like.
    pub figures: Figures,
    /// The most people on one device of `full_device_slots` slots.
    pub most_people_per_device: u32,
    /// Slots that a device has room for.
    pub full_device_slots: u16,
    /// The part of their time for which slots work with that many people.
    pub full_device_utilization: f64,
    /// What it takes of memory, as far as that is known.
    pub memory: MemoryNeed,
    /// Where chance began: the same question with the same seed has the same answer.
    pub seed: u64,
    /// What the answer takes for granted.
    pub assumptions: Vec<String>,
}

/// Memory of a device, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MemoryNeed {
    /// The weights, once for each device.
    pub weights_bytes: Option<u64>,
    /// Each slot.
    pub slot_bytes: Option<u64>,
    /// A device.
    pub device_bytes: Option<u64>,
    /// All devices.
    pub total_bytes: Option<u64>,
}

impl MemoryNeed {
    fn new(known: &Known, devices: u64, slots: u16) -> Self {
        let device = known.weights_bytes.zip(known.slot_bytes);
        let device = device.map(|(weights, slot)| weights + slot * u64::from(slots));
        Self {
            weights_bytes: known.weights_bytes,
            slot_bytes: known.slot_bytes,
            device_bytes: device,
            total_bytes: device.map(|bytes| bytes.saturating_mul(devices)),
        }
    }
}

/// How people are spread.
struct Layout {
    devices: u64,
    people: u32,
    slots: u16,
}

/// A device with all the slots that it has room for, and the most people whom they serve in time; 0 where they serve
/// nobody.
struct Full {
    people: u32,
    slots: u16,
}

/// Answers a question by simulation. The same question has the same answer.
///
/// # Errors
///
/// [`PlanError::Setting`] for a question without sense, [`PlanError::Overloaded`] when the slots are given and cannot do
/// the work, [`PlanError::Hopeless`] when slots and devices are to be found and none would do.
pub fn plan(
    question: &Question,
    service: &Service,
    known: &Known,
    progress: &mut dyn FnMut(SimulationStep),
) -> Result<Plan, PlanError> {
    question.check()?;
    let room = room(question, known);
    let mut search = Search::new(question.device(service), question.target_ms(), progress);
    if let (Some(people), Some(slots)) = (question.people, question.slots) {
        can_work(&search, people, slots)?;
    }
    let most = search.most_people(room);
    let layout = lay_out(&mut search, question, room, most)?;
    Ok(describe(&mut search, question, known, &layout, &Full { people: most, slots: room }))
}

/// Slots that a device has room for.
fn room(question: &Question, known: &Known) -> u16 {
    let said = question.slots.or(question.slots_per_device).or(known.slots);
    said.unwrap_or(SLOTS_PER_DEVICE).max(1)
}

/// The answer, once it is known who is where.
fn describe(
    search: &mut Search<'_>,
    question: &Question,
    known: &Known,
    layout: &Layout,
    full: &Full,
) -> Plan {
    let figures = search.figures(layout.people, layout.slots).cloned();
    let figures = figures.expect("who is laid out can be served");
    let busy = search.figures(full.people.max(1), full.slots).map_or(0.0, |figures| figures.utilization);
    let device = search.device();
    let service = device.service;
    let demand = device.demand(layout.people);
    Plan {
        people: question.people.unwrap_or(u64::from(full.people)),
        duty: question.duty,
        utterance_s: demand.speech / demand.utterances,
        cycle_s: device.cycle(layout.people).as_secs_f64(),
        decode_ms: demand.work / demand.utterances * 1e3,
        overhead_ms: device.overhead.as_secs_f64() * 1e3,
        target_p95_ms: search.target_ms(),
        meets_target: figures.waits.final_p95_ms <= search.target_ms(),
        devices: layout.devices,
        people_on_each_device: layout.people,
        slots_per_device: layout.slots,
        slots: layout.devices.saturating_mul(u64::from(layout.slots)),
        figures,
        most_people_per_device: full.people,
        full_device_slots: full.slots,
        full_device_utilization: busy,
        memory: MemoryNeed::new(known, layout.devices, layout.slots),
        seed: question.seed,
        assumptions: assumptions(question, service, known, layout.people.max(full.people)),
    }
}

/// One device with as few slots as it takes, or as many full devices as it takes, with the people spread evenly.
fn lay_out(search: &mut Search<'_>, question: &Question, room: u16, most: u32) -> Result<Layout, PlanError> {
    let on_one = question.people.unwrap_or(u64::from(most)).try_into().unwrap_or(u32::MAX);
    if question.slots.is_some() && (question.people.is_some() || most > 0) {
        return Ok(Layout { devices: 1, people: on_one, slots: room });
    }
    if most == 0 {
        return Err(hopeless(search, room));
    }
    if on_one <= most
        && let Some(slots) = search.fewest_slots(on_one, room)
    {
        return Ok(Layout { devices: 1, people: on_one, slots });
    }
    let people = question.people.unwrap_or(u64::from(most));
    let devices = people.div_ceil(u64::from(most));
    // No more than `most`.
    let people = people.div_ceil(devices) as u32;
    Ok(Layout { devices, people, slots: room })
}

/// # Errors
///
/// [`PlanError::Overloaded`] when so many people bring more work than the slots can do, [`PlanError::Setting`] when they
/// are more than anybody plans for one device.
fn can_work(search: &Search<'_>, people: u64, slots: u16) -> Result<(), PlanError> {
    let load = search.device().load(people.try_into().unwrap_or(u32::MAX), slots);
    if load >= 1.0 {
        return Err(PlanError::Overloaded { people, slots, load });
    }
    if people > u64::from(MOST_PEOPLE) {
        let (what, value) = ("the number of people on one device", people.to_string());
        return Err(PlanError::Setting {
            what,
            value,
            expected: format!("at most {MOST_PEOPLE}, or no --slots"),
        });
    }
    Ok(())
}

fn hopeless(search: &mut Search<'_>, slots: u16) -> PlanError {
    let target_ms = search.target_ms();
    let alone_ms = search.figures(1, slots).map(|figures| figures.waits.final_p95_ms);
    match alone_ms {
        Some(alone_ms) => PlanError::Hopeless { alone_ms, slots, target_ms },
        None => PlanError::Overloaded { people: 1, slots, load: search.device().load(1, slots) },
    }
}

/// Finding the end of the speech, where the server has its own settings and nobody measured it.
fn usual_overhead() -> Duration {
    EndpointSettings::default().end_silence + DETECTOR_LAG
}

/// What nobody measured.
fn assumptions(question: &Question, service: &Service, known: &Known, most: u32) -> Vec<String> {
    let mut assumed = Vec::new();
    if service.repertoire().is_some() {
        assumed.push("people say what those of the load test said, each its own recordings".into());
    }
    match service.reach(most) {
        Reach::Assumed => assumed.push("decodes take as long as now, however many people there are".into()),
        Reach::Below(people) | Reach::Beyond(people) => assumed.push(format!(
            "decode times were measured with {people} people at {}, and are extrapolated to {most}",
            if people < most { "most" } else { "least" }
        )),
        Reach::Measured => {}
    }
    if let Some(slots) = known.slots
        && question.slots.or(question.slots_per_device).is_some_and(|wanted| wanted > slots)
    {
        assumed.push(format!("decodes on more slots are as fast as on the {slots} that were measured"));
    }
    if question.slots.or(question.slots_per_device).or(known.slots).is_none() {
        assumed.push(format!("a device has room for {SLOTS_PER_DEVICE} slots"));
    }
    if question.overhead.or(service.overhead()).is_none() {
        let overhead = usual_overhead().as_millis();
        assumed.push(format!("finding the end of the speech, and the network, take {overhead} ms"));
    }
    assumed
}
