//! Drives the engine and the pool: opens as many slots as fit and pay, rebuilds those that were lost, follows the
//! memory, tries slots that nobody uses, and closes them all at the end.

mod canary;
mod capacity;
mod keeper;
mod knee;
mod opener;
mod roster;
mod settings;
#[cfg(test)]
mod tests;
mod trial;

pub use capacity::{Alerts, Capacity};
pub use knee::KneeFound;
pub use settings::{Device, Knee, StartError, SupervisorSettings};

use super::{Engine, Lanes, ModelInfo};
use crate::gpu::{
    DeviceMemory, Elasticity, ElasticitySettings, Footprint, Loaded, MemoryBudget, ProbeThread, Sizing,
};
use crate::pool::{Allocator, SlotId};
use keeper::{Keeper, opening_limit, trial_limit};
use opener::Opener;
use roster::Roster;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};
use trial::Trial;

/// What is decoded when a slot is opened.
const WIDEST: Duration = Duration::from_secs(30);

/// How long closing the slots may take: as long as a decode that is still under way, but not for ever.
const CLOSING_LIMIT: Duration = Duration::from_secs(60);

/// Keeps the slots open, for as long as it lives.
pub struct Supervisor {
    engine: Arc<dyn Engine>,
    lanes: Lanes,
    capacity: watch::Receiver<Capacity>,
    knee_found: Option<KneeFound>,
    /// Slots have numbers below this.
    most_slots: u16,
    probe: Option<ProbeThread>,
    /// Rebuilding, news for those who wait, canaries.
    tasks: JoinSet<()>,
}

impl Supervisor {
    /// Opens the first slot (blocking work, done off the runtime), sizes the pool by what it took, measures the knee if
    /// that is asked for, and returns; the other slots follow one by one in the background.
    ///
    /// A slot that cannot be opened stays out, with an error in the log, and is tried again after a second, then two, and
    /// so on up to a minute.
    ///
    /// # Errors
    ///
    /// [`StartError`] when the first slot cannot be opened or does not fit, or the memory cannot be read. All slots are
    /// closed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future leaves the slots open that it had opened; they end with the engine.
    pub async fn start(
        engine: Arc<dyn Engine>,
        model: ModelInfo,
        settings: SupervisorSettings,
    ) -> Result<Self, StartError> {
        let pool = Pool::open(engine, &settings).await?;
        let probe = Arc::clone(&settings.device.probe);
        let reading = |every| ProbeThread::start(probe, pool.sizing.memory, every);
        let thread = match settings.readings.map(reading).transpose() {
            Ok(thread) => thread,
            Err(error) => {
                pool.opener.close_all(0..pool.open).await;
                return Err(error.into());
            }
        };
        let readings = thread.as_ref().map(ProbeThread::readings);
        Ok(Self { probe: thread, ..pool.keep(model, &settings, readings) })
    }

    /// Lanes to the slots.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// What opens, runs and closes its slots, for whoever measures one.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// What carries the pool; it changes with the memory and with every alert.
    pub fn capacity(&self) -> watch::Receiver<Capacity> {
        self.capacity.clone()
    }

    /// How many slots there are to be, and why.
    pub fn sizing(&self) -> Sizing {
        self.capacity.borrow().sizing
    }

    /// The knee, if it was measured at the start.
    pub fn knee_found(&self) -> Option<KneeFound> {
        self.knee_found
    }

    /// Serves nobody any more, closes all slots and waits for their threads, and so for the decodes that still run. One
    /// that does not end within a minute is left behind.
    ///
    /// # Cancel safety
    ///
    /// Once this future was polled nobody is served any more; dropping it before its end leaves the slots to be closed in
    /// the background, or to end with the engine.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.lanes.allocator().close();
        let closing = move || {
            (0..self.most_slots).for_each(|slot| self.engine.close(SlotId(slot)));
            self.probe.into_iter().for_each(ProbeThread::stop);
        };
        match timeout(CLOSING_LIMIT, tokio::task::spawn_blocking(closing)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(%error, "closing the slots failed"),
            Err(_) => warn!("a slot does not close, and is left behind"),
        }
    }
}

/// A pool with its first slots, before anybody looks after it.
struct Pool {
    opener: Opener,
    retired: mpsc::UnboundedReceiver<SlotId>,
    trial: Trial,
    budget: MemoryBudget,
    sizing: Sizing,
    /// The slots below this are open.
    open: u16,
    knee_found: Option<KneeFound>,
    /// How long it took to open the first.
    warm_up: Duration,
}

impl Pool {
    async fn open(engine: Arc<dyn Engine>, settings: &SupervisorSettings) -> Result<Self, StartError> {
        let (allocator, retired) = Allocator::new(settings.pool);
        let probe = Arc::clone(&settings.device.probe);
        let opener = Opener { engine: Arc::clone(&engine), allocator: allocator.clone(), probe };
        let begun = Instant::now();
        let footprint = opener.open_alone(SlotId(0)).await?;
        let warm_up = begun.elapsed();
        let limit = trial_limit(warm_up);
        let budget = budget(settings);
        let sizing = match size(&opener, &budget, footprint).await {
            Ok(sizing) => sizing,
            Err(error) => {
                opener.close_all(0..1).await;
                return Err(error);
            }
        };
        allocator.add(SlotId(0));
        let trial = Trial { engine, allocator, limit, abort_grace: settings.lanes.limits.abort_grace };
        let mut pool = Self { opener, retired, trial, budget, sizing, open: 1, knee_found: None, warm_up };
        if matches!(settings.knee, Knee::Measure { beyond } if sizing.slots > beyond.max(1)) {
            pool.settle_at_the_knee().await?;
        }
        info!("pool sized: {}", pool.sizing);
        Ok(pool)
    }

    /// Measures the knee, sizes the pool anew, and closes the slots that were opened only for that; all of them, if the
    /// pool cannot be sized.
    async fn settle_at_the_knee(&mut self) -> Result<(), StartError> {
        let (found, open) = knee::find(&self.opener, &self.trial, &self.sizing).await;
        self.knee_found = Some(found);
        let sized = self.size_anew(found);
        self.open = if sized.is_ok() { open.min(self.sizing.slots) } else { 0 };
        self.opener.close_all(self.open..open).await;
        sized
    }

    fn size_anew(&mut self, found: KneeFound) -> Result<(), StartError> {
        if let Some(knee) = found.knee {
            self.budget = self.budget.with_knee(knee);
            let Sizing { memory, footprint, .. } = self.sizing;
            self.sizing = self.budget.size(memory, footprint, Loaded::Weights { slots: 1 })?;
        }
        Ok(())
    }

    /// Looks after the pool from now on.
    fn keep(
        self,
        model: ModelInfo,
        settings: &SupervisorSettings,
        readings: Option<watch::Receiver<DeviceMemory>>,
    ) -> Supervisor {
        let Self { opener, retired, trial, budget, sizing, open, knee_found, warm_up } = self;
        let most_slots = sizing.max_slots.min(sizing.knee.unwrap_or(u16::MAX));
        let (engine, allocator) = (Arc::clone(&opener.engine), opener.allocator.clone());
        let (capacity, watched) = watch::channel(Capacity::new(&settings.device, sizing));
        let elasticity = settings.elastic.then(|| {
            let slot = sizing.footprint.slot;
            Elasticity::new(ElasticitySettings::new(sizing.reserve, slot, 1, most_slots))
        });
        let (roster, begun) = (Roster::new(open, sizing.slots), Instant::now());
        let (limit, late) = (opening_limit(warm_up), JoinSet::new());
        let keeper =
            Keeper { opener, retired, readings, elasticity, budget, roster, capacity, begun, limit, late };
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper.run());
        tasks.spawn(allocator.clone().keep_informed());
        settings.canary.map(|period| tasks.spawn(canary::run(trial, period)));
        let lanes = Lanes::new(Arc::clone(&engine), allocator, model).with_settings(settings.lanes.clone());
        lanes.guess_cost(WIDEST, warm_up);
        Supervisor { engine, lanes, capacity: watched, knee_found, most_slots, probe: None, tasks }
    }
}

fn budget(settings: &SupervisorSettings) -> MemoryBudget {
    let max_slots = NonZeroU16::new(settings.max_slots).unwrap_or(NonZeroU16::MIN);
    let budget = MemoryBudget::up_to(max_slots, settings.reserve);
    match settings.knee {
        Knee::Known(knee) => budget.with_knee(knee),
        Knee::Off | Knee::Measure { .. } => budget,
    }
}

/// Sizes the pool with its first slot open.
async fn size(opener: &Opener, budget: &MemoryBudget, footprint: Footprint) -> Result<Sizing, StartError> {
    let memory = opener.memory().await?;
    Ok(budget.size(memory, footprint, Loaded::Weights { slots: 1 })?)
}
