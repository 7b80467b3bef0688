//! Drives the engines and the pool: opens as many slots as fit and pay, rebuilds those that were lost, follows the
//! memory, tries slots that nobody uses, and closes them all at the end.
//!
//! Each device is a [`Site`] with an engine of its own. Its slots are one [`Bank`](crate::pool::Bank): a stretch of the
//! numbers that the one ledger of the pool has for all.

mod canary;
mod capacity;
mod engines;
mod keeper;
mod knee;
mod opener;
mod roster;
mod settings;
mod site_pool;
#[cfg(test)]
mod tests;
mod trial;

pub use capacity::{Alerts, Capacity, SiteCapacity};
pub use knee::KneeFound;
pub use settings::{Device, Knee, Site, StartError, SupervisorSettings};

use super::{Engine, Lanes, ModelInfo};
use crate::gpu::{DeviceInfo, DeviceMemory, ProbeThread, Sizing};
use crate::pool::{Allocator, Bank, Departure, LedgerSettings, PoolSettings, SlotId};
use engines::{Banks, Engines};
use keeper::trial_limit;
use site_pool::SitePool;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, warn};
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
    knees_found: Vec<(DeviceInfo, KneeFound)>,
    /// All numbers that slots may have.
    slots: Vec<SlotId>,
    probes: Vec<ProbeThread>,
    /// Rebuilding, news for those who wait, canaries.
    tasks: JoinSet<()>,
}

impl Supervisor {
    /// Opens the first slot of each device (blocking work, done off the runtime), sizes the pool by what it took, measures
    /// the knee if that is asked for, and returns; the other slots follow one by one in the background.
    ///
    /// A slot that cannot be opened stays out, with an error in the log, and is tried again after a second, then two, and
    /// so on up to a minute. A device whose first slot cannot be opened is left out, as long as there is another one.
    ///
    /// # Errors
    ///
    /// [`StartError`] when on no device the first slot can be opened or fits, or the memory cannot be read. All slots are
    /// closed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future leaves the slots open that it had opened; they end with their engines.
    ///
    /// # Panics
    ///
    /// Without a site.
    pub async fn start(
        sites: Vec<Site>,
        model: ModelInfo,
        settings: SupervisorSettings,
    ) -> Result<Self, StartError> {
        let pool = Pool::open(sites, &settings).await?;
        match pool.read_again(settings.readings) {
            Ok(probes) => {
                let readings = probes.iter().map(ProbeThread::readings).collect();
                Ok(Self { probes, ..pool.keep(model, settings, readings) })
            }
            Err(error) => {
                site_pool::close_all(pool.sites).await;
                Err(error)
            }
        }
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
        self.capacity.borrow().sizing()
    }

    /// The knees that were measured at the start, each with its device.
    pub fn knees_found(&self) -> &[(DeviceInfo, KneeFound)] {
        &self.knees_found
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
            self.slots.into_iter().for_each(|slot| self.engine.close(slot));
            self.probes.into_iter().for_each(ProbeThread::stop);
        };
        match timeout(CLOSING_LIMIT, tokio::task::spawn_blocking(closing)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(%error, "closing the slots failed"),
            Err(_) => warn!("a slot does not close, and is left behind"),
        }
    }
}

/// The pool with the first slots of its devices, before anybody looks after it.
struct Pool {
    sites: Vec<SitePool>,
    /// Of all devices as one.
    engine: Arc<dyn Engine>,
    allocator: Allocator,
    departed: mpsc::UnboundedReceiver<Departure>,
    banks: Banks,
}

impl Pool {
    async fn open(sites: Vec<Site>, settings: &SupervisorSettings) -> Result<Self, StartError> {
        let banks = Banks::new(sites.len(), settings.max_slots);
        let ledger = LedgerSettings { bank: banks.size, ..settings.pool.ledger };
        let (allocator, departed) = Allocator::new(PoolSettings { ledger, ..settings.pool });
        let sites = site_pool::open_all(sites, &allocator, banks, settings).await?;
        let engine = Engines::of(sites.iter().map(|site| (site.bank, site.engine())).collect(), banks);
        Ok(Self { sites, engine, allocator, departed, banks })
    }

    /// Reads the memory of all devices from now on.
    fn read_again(&self, every: Option<Duration>) -> Result<Vec<ProbeThread>, StartError> {
        let Some(every) = every else { return Ok(Vec::new()) };
        self.sites.iter().map(|site| site.read_every(every)).collect()
    }

    /// Looks after the pool from now on. `readings` are of the devices in their order, or there are none.
    fn keep(
        self,
        model: ModelInfo,
        settings: SupervisorSettings,
        readings: Vec<watch::Receiver<DeviceMemory>>,
    ) -> Supervisor {
        let Self { sites, engine, allocator, departed, banks } = self;
        let warm_up = sites.iter().map(|site| site.warm_up).max().unwrap_or_default();
        let knees_found = sites.iter().filter_map(SitePool::knee_found).collect();
        let slots = sites.iter().flat_map(SitePool::numbers).map(SlotId).collect();
        let mut tasks = JoinSet::new();
        let capacity = look_after(&mut tasks, sites, readings, (departed, banks), settings.elastic);
        tasks.spawn(allocator.clone().keep_informed());
        let (limit, abort_grace) = (trial_limit(warm_up), settings.lanes.limits.abort_grace);
        let trial = Trial { engine: Arc::clone(&engine), allocator: allocator.clone(), limit, abort_grace };
        settings.canary.map(|period| tasks.spawn(canary::run(trial, period)));
        let lanes = Lanes::new(Arc::clone(&engine), allocator, model).with_settings(settings.lanes);
        lanes.guess_cost(WIDEST, warm_up);
        Supervisor { engine, lanes, capacity, knees_found, slots, probes: Vec::new(), tasks }
    }
}

/// Sets a keeper over each device, and tells what they know.
fn look_after(
    tasks: &mut JoinSet<()>,
    sites: Vec<SitePool>,
    readings: Vec<watch::Receiver<DeviceMemory>>,
    (departed, banks): (mpsc::UnboundedReceiver<Departure>, Banks),
    elastic: bool,
) -> watch::Receiver<Capacity> {
    let (capacity, watched) =
        watch::channel(Capacity { sites: sites.iter().map(SitePool::capacity).collect() });
    let mut readings = readings.into_iter();
    let mut desks = HashMap::new();
    for (at, site) in sites.into_iter().enumerate() {
        // As bounded as the channel that it is filled from.
        let (desk, departed) = mpsc::unbounded_channel();
        desks.insert(site.bank, desk);
        tasks.spawn(site.keeper(departed, readings.next(), (capacity.clone(), at), elastic).run());
    }
    tasks.spawn(send_on(departed, desks, banks));
    watched
}

/// Tells each keeper of its own slots.
async fn send_on(
    mut departed: mpsc::UnboundedReceiver<Departure>,
    desks: HashMap<Bank, mpsc::UnboundedSender<Departure>>,
    banks: Banks,
) {
    while let Some(departure) = departed.recv().await {
        if let Some(desk) = desks.get(&banks.of(departure.slot())) {
            // A keeper lives as long as this does.
            let _ = desk.send(departure);
        }
    }
}
