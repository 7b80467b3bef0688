//! A long load with bad company: people who behave well talk all the time, while others come and go beside them who do
//! not. At the end nobody who behaved well has lost anything, and the server holds no more than before.

mod culprit;
mod garbage;
mod levels;
mod mischief;
mod report;
mod rest;
#[cfg(test)]
mod tests;

pub use levels::{Growth, Levels};
pub use report::SoakReport;

use super::clips::Clip;
use super::protocol::Protocol;
use super::report::LoadReport;
use super::run::Course;
use super::server_watch::ServerWatch;
use culprit::Culprit;
use mischief::{ANYBODY, Acts, OURS};
use rest::{Rest, at_rest, still, usage};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// How often the server's memory is noted under load.
const SAMPLE: Duration = Duration::from_secs(10);

/// What is done to which server, and for how long.
#[derive(Clone)]
pub struct SoakSettings {
    /// The address of the server: nothing else is reached.
    pub url: String,
    /// The key, if it wants one.
    pub key: Option<String>,
    /// How to talk to it.
    pub protocol: Arc<dyn Protocol>,
    /// Which rubbish to send it.
    pub rubbish: Rubbish,
    /// How long the people talk.
    pub duration: Duration,
    /// How long they talk before, so that what a server allocates once is not taken for growth.
    pub warm_up: Duration,
    /// Somebody misbehaves so often, on average.
    pub pause: Duration,
    /// At most so many do at once.
    pub at_once: usize,
    /// The same seed gives the same mischief.
    pub seed: u64,
}

impl SoakSettings {
    /// A quarter of an hour beside ten at most who misbehave, three times in a second.
    pub fn new(url: String, key: Option<String>, protocol: Arc<dyn Protocol>, rubbish: Rubbish) -> Self {
        Self {
            url,
            key,
            protocol,
            rubbish,
            duration: Duration::from_secs(900),
            warm_up: Duration::from_secs(60),
            pause: Duration::from_millis(300),
            at_once: 10,
            seed: 1,
        }
    }
}

/// What a server is sent that no protocol knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rubbish {
    /// Malformed frames and events, to our realtime WebSocket.
    Realtime,
    /// Malformed requests, to our endpoint for recordings.
    Rest,
    /// None: who is not ours gets people who vanish, stay silent and reconnect.
    Never,
}

impl Rubbish {
    /// Whether it is sent to a server of ours, which says what it holds.
    fn is_for_ours(self) -> bool {
        self != Self::Never
    }
}

/// Lets people talk beside others who misbehave, twice: to warm up, and for `duration`. After each, everybody leaves and
/// what the server then holds is read. Whoever misbehaves leaves as soon as a run says that it is over.
///
/// `run` drives the people who behave well for a time, and ends early when it is told to stop. Nothing is begun once
/// `stop` is cancelled, and nothing is said of growth then.
///
/// # Errors
///
/// What `run` says when nobody could connect.
///
/// # Cancel safety
///
/// Dropping the future closes all connections of those who misbehave; cancel `stop` to keep the report.
pub async fn soak<E>(
    settings: &SoakSettings,
    clips: &[Arc<Clip>],
    run: impl AsyncFn(Duration, Course) -> Result<LoadReport, E>,
    stop: &CancellationToken,
) -> Result<SoakReport, E> {
    let watch = Arc::new(ServerWatch::of(&settings.url).with_key(settings.key.clone()));
    let company =
        Company { culprit: Culprit::new(settings, clips), settings, watch: Arc::clone(&watch), stop };
    let ours = settings.rubbish.is_for_ours();
    let warm = company.beside(settings.seed, settings.warm_up, &run).await;
    let warm_up = warm.report?;
    let baseline = at_rest(&watch, ours, stop, still()).await;
    if stop.is_cancelled() {
        let rests = [baseline, Rest::default()];
        return Ok(SoakReport::new(warm_up, None, rests, warm.misbehaved, warm.rss_series).stopped());
    }
    // Other acts than before, so that more is tried.
    let together = company.beside(settings.seed.wrapping_add(1), settings.duration, &run).await;
    let load = together.report?;
    let is_back = |levels: &Levels| levels.is_back_at(&baseline.levels);
    let after = at_rest(&watch, ours, stop, is_back).await;
    let rests = [baseline, after];
    let report = SoakReport::new(warm_up, Some(load), rests, together.misbehaved, together.rss_series);
    Ok(if stop.is_cancelled() { report.stopped() } else { report })
}

/// Those who misbehave, and whoever looks at the server meanwhile.
struct Company<'a> {
    culprit: Culprit,
    settings: &'a SoakSettings,
    watch: Arc<ServerWatch>,
    stop: &'a CancellationToken,
}

/// What came of people and their company.
struct Together<R> {
    report: R,
    misbehaved: BTreeMap<String, u64>,
    rss_series: Vec<[f64; 2]>,
}

impl Company<'_> {
    /// Misbehaves until the people whom `run` drives have spoken.
    async fn beside<R>(
        &self,
        seed: u64,
        duration: Duration,
        run: &impl AsyncFn(Duration, Course) -> R,
    ) -> Together<R> {
        let course = Course { stop: self.stop.child_token(), over: CancellationToken::new() };
        let leave = course.over.clone();
        let talking = async {
            let report = run(duration, course).await;
            // A run that does not say when it is over is over now.
            leave.cancel();
            report
        };
        let (report, misbehaved, rss_series) =
            tokio::join!(talking, self.misbehave(seed, &leave), note_memory(&self.watch, &leave));
        Together { report, misbehaved, rss_series }
    }

    /// Sends one after the other on their way, and takes all of them back in the end.
    async fn misbehave(&self, seed: u64, leave: &CancellationToken) -> BTreeMap<String, u64> {
        let kinds = if self.settings.rubbish.is_for_ours() { OURS } else { ANYBODY };
        let (mut culprits, mut counts) = (JoinSet::new(), BTreeMap::new());
        for act in Acts::new(seed, kinds, self.settings.pause) {
            if leave.run_until_cancelled(sleep(act.pause)).await.is_none() {
                break;
            }
            while culprits.try_join_next().is_some() {}
            if culprits.len() < self.settings.at_once {
                *counts.entry(act.mischief.as_str().to_owned()).or_default() += 1;
                culprits.spawn(self.culprit.clone().misbehave(act));
            }
        }
        culprits.shutdown().await;
        counts
    }
}

/// The server's resident memory again and again: seconds, bytes.
async fn note_memory(watch: &Arc<ServerWatch>, leave: &CancellationToken) -> Vec<[f64; 2]> {
    let (began, mut series) = (Instant::now(), Vec::new());
    let mut ticks = interval(SAMPLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while leave.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Some(usage) = usage(watch).await {
            series.push([began.elapsed().as_secs_f64(), usage.rss_bytes as f64]);
        }
    }
    series
}
