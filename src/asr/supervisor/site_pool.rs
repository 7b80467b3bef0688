//! The slots of one device, from the first one until somebody looks after them.

use super::capacity::{Capacity, SiteCapacity};
use super::engines::Banks;
use super::keeper::{Keeper, opening_limit, trial_limit};
use super::knee::{self, KneeFound};
use super::opener::{Opener, Opening};
use super::roster::Roster;
use super::settings::{Device, Knee, Site, StartError, SupervisorSettings};
use super::trial::Trial;
use crate::asr::Engine;
use crate::gpu::{
    Bytes, DeviceInfo, DeviceKind, DeviceMemory, Elasticity, ElasticitySettings, Footprint, Loaded,
    MemoryBudget, ProbeThread, Sizing, deal,
};
use crate::pool::{Allocator, Bank, Departure, SlotId};
use std::num::NonZeroU16;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

/// A device with its first slots, before anybody looks after it.
pub(super) struct SitePool {
    device: Device,
    pub(super) bank: Bank,
    numbers: Range<u16>,
    opener: Opener,
    trial: Trial,
    budget: MemoryBudget,
    sizing: Sizing,
    /// How many slots were open when the memory was read for that.
    read_with: u16,
    /// So many of its numbers, from the first on, are open.
    open: u16,
    knee_found: Option<KneeFound>,
    /// How long it took to open the first.
    pub(super) warm_up: Duration,
}

/// Opens the first slots of all devices, one device after another, and deals out the slots that there may be.
///
/// # Errors
///
/// The last [`StartError`] when there is no device with a slot.
pub(super) async fn open_all(
    sites: Vec<Site>,
    allocator: &Allocator,
    banks: Banks,
    settings: &SupervisorSettings,
) -> Result<Vec<SitePool>, StartError> {
    let (mut pools, mut refused, several) = (Vec::new(), None, sites.len() > 1);
    for (site, bank) in sites.into_iter().zip((0..).map(Bank)) {
        let name = site.device.info.name.clone();
        match SitePool::open(site, allocator, (bank, banks), settings).await {
            Ok(pool) => pools.push(pool),
            Err(error) if several => {
                warn!(device = name, code = error.code(), %error, "device left out");
                refused = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if pools.is_empty() => Err(error),
        _ => Ok(dealt(pools, settings.max_slots).await),
    }
}

/// Closes the slots of all these devices.
pub(super) async fn close_all(pools: Vec<SitePool>) {
    for pool in pools {
        pool.opener.close_all(pool.open_numbers()).await;
    }
}

/// Deals out the slots that there may be: as many as fit and pay on each device, and what is left besides is room to grow.
async fn dealt(pools: Vec<SitePool>, max_slots: u16) -> Vec<SitePool> {
    let most: Vec<u16> = pools.iter().map(|pool| pool.sizing.slots).collect();
    let hands = deal(max_slots, &most);
    let left = max_slots.saturating_sub(hands.iter().sum());
    let room = deal(left, &vec![u16::MAX; pools.len()]);
    let mut kept = Vec::new();
    for (mut pool, (hand, room)) in pools.into_iter().zip(hands.into_iter().zip(room)) {
        if let Some(hand) = NonZeroU16::new(hand) {
            pool.limit(hand.saturating_add(room)).await;
            info!(device = pool.device.info.name, "pool sized: {}", pool.sizing);
            kept.push(pool);
        } else {
            info!(device = pool.device.info.name, "device left out: no slot is left for it");
            pool.opener.close_all(pool.open_numbers()).await;
        }
    }
    kept
}

impl SitePool {
    async fn open(
        site: Site,
        allocator: &Allocator,
        (bank, banks): (Bank, Banks),
        settings: &SupervisorSettings,
    ) -> Result<Self, StartError> {
        let numbers = banks.numbers(bank);
        let probe = Arc::clone(&site.device.probe);
        let opener = Opener { engine: Arc::clone(&site.engine), allocator: allocator.clone(), probe };
        let begun = Instant::now();
        let footprint = opener.open_alone(SlotId(numbers.start)).await?;
        let warm_up = begun.elapsed();
        let budget = budget(&site, numbers.len());
        let sizing = match size(&opener, &budget, footprint, 1).await {
            Ok(sizing) => sizing,
            Err(error) => {
                opener.close_all(numbers.start..numbers.start + 1).await;
                return Err(error);
            }
        };
        allocator.add(SlotId(numbers.start));
        let (allocator, abort_grace) = (allocator.clone(), settings.lanes.limits.abort_grace);
        let trial = Trial { engine: site.engine, allocator, limit: trial_limit(warm_up), abort_grace };
        let mut pool = Self {
            device: site.device,
            bank,
            numbers,
            opener,
            trial,
            budget,
            sizing,
            read_with: 1,
            open: 1,
            knee_found: None,
            warm_up,
        };
        if pool.device.info.kind == DeviceKind::Cuda && pool.most() > 1 {
            pool.weigh_a_second_slot().await;
        }
        if matches!(site.knee, Knee::Measure { beyond } if pool.sizing.slots > beyond.max(1)) {
            pool.settle_at_the_knee().await?;
        }
        Ok(pool)
    }

    /// The most slots, whatever the memory says.
    fn most(&self) -> u16 {
        self.sizing.max_slots.min(self.sizing.knee.unwrap_or(u16::MAX))
    }

    /// Opens a second slot, which shows what each one costs: on a GPU the first one pays for what all of them use.
    ///
    /// Where the device does not tell processes apart, what others give back meanwhile makes a slot look cheap, and too many
    /// would be opened: the dearer of the second and a third counts then, or of the first two where there is no third.
    async fn weigh_a_second_slot(&mut self) {
        let first = self.sizing.footprint;
        let Some(second) = self.weigh_another(first.slot).await else { return };
        let slot = if self.opener.measures_alone().await {
            second
        } else {
            let third = if self.most() > self.open { self.weigh_another(second).await } else { None };
            second.max(third.unwrap_or(first.slot))
        };
        let sized = size(&self.opener, &self.budget, first.with_second(slot), self.open).await;
        if let Ok(sizing) = sized {
            self.sizing = sizing;
            self.read_with = self.open;
        }
    }

    /// What one more slot takes, which is expected to be so much; `None` when it cannot be opened.
    async fn weigh_another(&mut self, expected: Bytes) -> Option<Bytes> {
        let slot = SlotId(self.numbers.start + self.open);
        let needed = self.sizing.reserve.and(expected);
        match self.opener.clone().open(slot, needed).await {
            Opening::Opened(footprint) => {
                self.open += 1;
                Some(footprint.slot)
            }
            Opening::NoRoom(_) => None,
            Opening::Failed(error) => {
                warn!(slot = slot.0, %error, "no other slot can be weighed");
                self.opener.allocator.withdraw_slot(slot);
                None
            }
        }
    }

    /// Measures the knee, sizes the pool anew, and closes the slots that were opened only for that; all of them, if the
    /// pool cannot be sized.
    async fn settle_at_the_knee(&mut self) -> Result<(), StartError> {
        let first = self.numbers.start;
        let (found, open) = knee::find(&self.opener, &self.trial, &self.sizing, first, self.open).await;
        self.knee_found = Some(found);
        let sized = self.size_anew(found);
        self.open = if sized.is_ok() { open.min(self.sizing.slots) } else { 0 };
        self.opener.close_all(first + self.open..first + open).await;
        sized
    }

    fn size_anew(&mut self, found: KneeFound) -> Result<(), StartError> {
        if let Some(knee) = found.knee {
            self.budget = self.budget.with_knee(knee);
            self.resize()?;
        }
        Ok(())
    }

    /// Sizes the pool by what was read before.
    fn resize(&mut self) -> Result<(), StartError> {
        let Sizing { memory, footprint, .. } = self.sizing;
        self.sizing = self.budget.size(memory, footprint, Loaded::Weights { slots: self.read_with })?;
        Ok(())
    }

    /// May have so many slots. What is open beyond that is closed.
    async fn limit(&mut self, max_slots: NonZeroU16) {
        self.budget = self.budget.at_most(max_slots);
        // What fitted before fits.
        let _ = self.resize();
        let (first, open) = (self.numbers.start, self.open);
        self.open = open.min(self.sizing.slots);
        self.opener.close_all(first + self.open..first + open).await;
    }

    fn open_numbers(&self) -> Range<u16> {
        self.numbers.start..self.numbers.start + self.open
    }

    /// All numbers that its slots may have.
    pub(super) fn numbers(&self) -> Range<u16> {
        self.numbers.clone()
    }

    /// What opens and runs its slots.
    pub(super) fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.opener.engine)
    }

    /// What is told of it.
    pub(super) fn capacity(&self) -> SiteCapacity {
        SiteCapacity::new(&self.device, self.sizing)
    }

    /// Its knee, if that was measured.
    pub(super) fn knee_found(&self) -> Option<(DeviceInfo, KneeFound)> {
        self.knee_found.map(|found| (self.device.info.clone(), found))
    }

    /// Reads its memory again and again.
    ///
    /// # Errors
    ///
    /// [`StartError::Device`] when no thread is to be had for that.
    pub(super) fn read_every(&self, interval: Duration) -> Result<ProbeThread, StartError> {
        let probe = Arc::clone(&self.device.probe);
        Ok(ProbeThread::start(probe, self.sizing.memory, interval)?)
    }

    /// Who looks after it from now on, as one of the sites of `capacity`.
    pub(super) fn keeper(
        self,
        departed: mpsc::UnboundedReceiver<Departure>,
        readings: Option<watch::Receiver<DeviceMemory>>,
        (capacity, site): (watch::Sender<Capacity>, usize),
        elastic: bool,
    ) -> Keeper {
        let most = self.most();
        let Self { opener, budget, sizing, bank, .. } = self;
        let elasticity = elastic.then(|| {
            let slot = sizing.footprint.slot;
            Elasticity::new(ElasticitySettings::new(sizing.reserve, slot, 1, most))
        });
        Keeper {
            opener,
            departed,
            readings,
            elasticity,
            budget,
            roster: Roster::new(self.numbers.start, self.open, sizing.slots),
            capacity,
            site,
            bank,
            leaving: false,
            begun: Instant::now(),
            limit: opening_limit(self.warm_up),
            late: JoinSet::new(),
        }
    }
}

fn budget(site: &Site, most: usize) -> MemoryBudget {
    let max_slots = u16::try_from(most).ok().and_then(NonZeroU16::new).unwrap_or(NonZeroU16::MIN);
    let budget = MemoryBudget::up_to(max_slots, site.reserve);
    match site.knee {
        Knee::Known(knee) => budget.with_knee(knee),
        Knee::Off | Knee::Measure { .. } => budget,
    }
}

/// Sizes the pool while so many slots are open.
async fn size(
    opener: &Opener,
    budget: &MemoryBudget,
    footprint: Footprint,
    slots: u16,
) -> Result<Sizing, StartError> {
    let memory = opener.memory().await?;
    Ok(budget.size(memory, footprint, Loaded::Weights { slots })?)
}
