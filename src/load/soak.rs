//! A long load with bad company: people who behave well talk all the time, while others come and go beside them who do
//! not. At the end nobody who behaved well has lost anything, and the server holds no more than before.

mod culprit;
mod garbage;
mod levels;
mod mischief;
mod report;

pub use levels::{Growth, Levels};
pub use report::SoakReport;

use super::clips::Clip;
use super::protocol::Protocol;
use super::report::Report;
use super::run::Course;
use super::server_watch::{ServerWatch, Usage};
use culprit::Culprit;
use mischief::{ANYBODY, Acts, OURS};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// How long a server may take to become quiet once everybody has left.
const QUIET: Duration = Duration::from_secs(90);

/// How often it is looked at meanwhile, and how many looks alike make a baseline.
const LOOK: Duration = Duration::from_millis(500);
const ALIKE: u32 = 4;

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

/// Lets people talk beside others who misbehave, twice: to warm up, and for `duration`. After each, everybody leaves and
/// what the server then holds is read.
///
/// `run` drives the people who behave well for a time, and ends early when its token is cancelled.
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
    run: impl AsyncFn(Duration, Course) -> Result<Report, E>,
    stop: &CancellationToken,
) -> Result<SoakReport, E> {
    let watch = Arc::new(ServerWatch::of(&settings.url).with_key(settings.key.clone()));
    let company = Company { culprit: Culprit::new(settings, clips), settings, watch: Arc::clone(&watch) };
    company.beside(settings.seed, run(settings.warm_up, course(stop))).await.report?;
    let baseline = at_rest(&watch, stop, still()).await;
    // Other acts than before, so that more is tried.
    let seed = settings.seed.wrapping_add(1);
    let together = company.beside(seed, run(settings.duration, course(stop))).await;
    let load = together.report?;
    let back = |levels: &Levels| levels.growth(&baseline).iter().all(|growth| growth.passed != Some(false));
    let after = at_rest(&watch, stop, back).await;
    Ok(SoakReport::new(load, [baseline, after], together.misbehaved, together.rss_series))
}

fn course(stop: &CancellationToken) -> Course {
    Course { stop: stop.child_token(), over: CancellationToken::new() }
}

/// Those who misbehave, and whoever looks at the server meanwhile.
struct Company<'a> {
    culprit: Culprit,
    settings: &'a SoakSettings,
    watch: Arc<ServerWatch>,
}

/// What came of people and their company.
struct Together<R> {
    report: R,
    misbehaved: BTreeMap<String, u64>,
    rss_series: Vec<[f64; 2]>,
}

impl Company<'_> {
    /// Misbehaves for as long as `people` takes.
    async fn beside<R>(&self, seed: u64, people: impl Future<Output = R>) -> Together<R> {
        let leave = CancellationToken::new();
        let talking = async {
            let report = people.await;
            leave.cancel();
            report
        };
        let (report, misbehaved, rss_series) =
            tokio::join!(talking, self.misbehave(seed, &leave), note_memory(&self.watch, &leave));
        Together { report, misbehaved, rss_series }
    }

    /// Sends one after the other on their way, and takes all of them back in the end.
    async fn misbehave(&self, seed: u64, leave: &CancellationToken) -> BTreeMap<String, u64> {
        let kinds = if self.settings.rubbish == Rubbish::Never { ANYBODY } else { OURS };
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

/// Looks until nobody is there and `is_settled` says that it is enough, or the server had its time, or `stop` is cancelled.
async fn at_rest(
    watch: &Arc<ServerWatch>,
    stop: &CancellationToken,
    mut is_settled: impl FnMut(&Levels) -> bool,
) -> Levels {
    let deadline = Instant::now() + QUIET;
    loop {
        let pool = watch.pool().await;
        let levels = Levels::new(usage(watch).await, pool.as_ref(), watch.tasks().await);
        if (levels.is_quiet() && is_settled(&levels)) || Instant::now() >= deadline {
            return levels;
        }
        if stop.run_until_cancelled(sleep(LOOK)).await.is_none() {
            return levels;
        }
    }
}

/// Whether tasks, descriptors and threads have been the same for some looks.
fn still() -> impl FnMut(&Levels) -> bool {
    let (mut last, mut alike) = (None, 0);
    move |levels| {
        let now = Some([levels.tasks, levels.open_fds, levels.threads]);
        alike = if now == last { alike + 1 } else { 1 };
        last = now;
        alike >= ALIKE
    }
}

/// Looking through processes takes milliseconds, which those who talk on this thread would notice.
async fn usage(watch: &Arc<ServerWatch>) -> Option<Usage> {
    let watch = Arc::clone(watch);
    tokio::task::spawn_blocking(move || watch.usage()).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_still_when_nothing_changes_for_some_looks() {
        let mut still = still();
        let levels = |tasks| Levels { tasks: Some(tasks), ..Levels::default() };
        let seen = [5, 5, 5, 4, 4, 4, 4, 4].map(|tasks| still(&levels(tasks)));
        assert_eq!(seen, [false, false, false, false, false, false, true, true]);
    }
}
