//! The processes behind a port of this machine, by procfs.

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, Process, Stat, all_processes};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Programs that listen for somebody else: what they use is not what the server behind them uses.
const FORWARDERS: [&str; 7] =
    ["docker-proxy", "rootlessport", "ssh", "sshd", "sshd-session", "socat", "kubectl"];

/// What processes use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Processor time since they began, that of children which have ended included.
    pub cpu: Duration,
    /// Resident memory in bytes; what several processes share counts in each.
    pub rss_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Threads.
    pub threads: u64,
}

/// The processes that listen on a port, each as when it was found: a number that is given to another process later is
/// not taken for it.
#[derive(Debug)]
pub(super) struct Processes {
    listening: Vec<Identity>,
}

/// Which process, and when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    pid: i32,
    began: u64,
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self { pid: stat.pid, began: stat.starttime }
    }
}

impl Processes {
    /// Those that listen on `port` for connections from this machine; `None` when none is seen, or one that only
    /// forwards them.
    pub(super) fn listening_on(port: u16) -> Option<Self> {
        let sockets = listening_sockets(port);
        if sockets.is_empty() {
            return None;
        }
        let owns = |process: &Process| {
            let mut targets = process.fd().into_iter().flatten().flatten();
            targets.any(|fd| matches!(fd.target, FDTarget::Socket(inode) if sockets.contains(&inode)))
        };
        let owners = all_processes().ok()?.flatten().filter(owns);
        Self::serving(&owners.filter_map(|process| process.stat().ok()).collect::<Vec<_>>())
    }

    /// Of those that listen; `None` of none and of forwarders.
    fn serving(owners: &[Stat]) -> Option<Self> {
        let forwards = owners.iter().any(|stat| FORWARDERS.contains(&stat.comm.as_str()));
        let listening = owners.iter().map(Identity::from).collect();
        (!owners.is_empty() && !forwards).then_some(Self { listening })
    }

    /// What they and their children use now; `None` when none of them is left or they may not be looked at.
    pub(super) fn usage(&self) -> Option<Usage> {
        let now = stats_of_all()?;
        let each = self.tree(&now).into_iter().filter_map(|pid| used_by(&now[&pid]));
        each.reduce(Usage::plus)
    }

    /// Those of them that are still there, and their descendants.
    fn tree(&self, now: &BTreeMap<i32, Stat>) -> BTreeSet<i32> {
        let same =
            |found: &&Identity| now.get(&found.pid).is_some_and(|stat| Identity::from(stat) == **found);
        let alive = self.listening.iter().filter(same).map(|found| found.pid).collect();
        with_descendants(alive, &now.iter().map(|(pid, stat)| (*pid, stat.ppid)).collect())
    }
}

/// Every process of this machine; those that end meanwhile are left out.
fn stats_of_all() -> Option<BTreeMap<i32, Stat>> {
    let stats = all_processes().ok()?.flatten().filter_map(|process| process.stat().ok());
    Some(stats.map(|stat| (stat.pid, stat)).collect())
}

impl Usage {
    fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            rss_bytes: self.rss_bytes + other.rss_bytes,
            open_fds: self.open_fds + other.open_fds,
            threads: self.threads + other.threads,
        }
    }
}

/// `None` for a process that has just ended, or whose descriptors are not ours to count.
fn used_by(stat: &Stat) -> Option<Usage> {
    let open_fds = Process::new(stat.pid).ok()?.fd_count().ok()? as u64;
    let ticks = stat.utime + stat.stime + ended_children(stat);
    Some(Usage {
        cpu: Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64),
        rss_bytes: stat.rss * procfs::page_size(),
        open_fds,
        threads: u64::try_from(stat.num_threads).unwrap_or_default(),
    })
}

/// Processor time of children that were waited for: those that live count themselves.
fn ended_children(stat: &Stat) -> u64 {
    u64::try_from(stat.cutime + stat.cstime).unwrap_or_default()
}

/// Inodes of the sockets that take connections to this port of the loopback.
fn listening_sockets(port: u16) -> BTreeSet<u64> {
    let all = procfs::net::tcp().into_iter().chain(procfs::net::tcp6()).flatten();
    let listens = |socket: &TcpNetEntry| {
        let ip = socket.local_address.ip().to_canonical();
        let reachable = ip.is_loopback() || ip.is_unspecified();
        socket.state == TcpState::Listen && socket.local_address.port() == port && reachable
    };
    all.filter(listens).map(|socket| socket.inode).collect()
}

/// The processes, and all that descend from them.
fn with_descendants(mut found: BTreeSet<i32>, parents: &BTreeMap<i32, i32>) -> BTreeSet<i32> {
    loop {
        let before = found.len();
        let children: Vec<i32> =
            parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid).collect();
        found.extend(children);
        if found.len() == before {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_of_children_belong_to_a_server_and_its_parents_do_not() {
        // 1 ─ 10 ─ 20 ─ 5, and 1 ─ 11.
        let parents = BTreeMap::from([(1, 0), (10, 1), (20, 10), (5, 20), (11, 1)]);
        assert_eq!(with_descendants(BTreeSet::from([10]), &parents), BTreeSet::from([5, 10, 20]));
        assert_eq!(with_descendants(BTreeSet::new(), &parents), BTreeSet::new());
    }

    #[test]
    fn a_process_that_ended_is_not_taken_for_the_one_that_got_its_number() {
        let stat = Process::myself().unwrap().stat().unwrap();
        let ours = Identity::from(&stat);
        assert!(Processes { listening: vec![ours] }.usage().is_some());
        let earlier = Identity { began: ours.began - 1, ..ours };
        assert_eq!(Processes { listening: vec![earlier] }.usage(), None);
    }

    #[test]
    fn a_forwarder_is_not_taken_for_the_server_behind_it() {
        let named = |name: &str| {
            let mut stat = Process::myself().unwrap().stat().unwrap();
            stat.comm = name.into();
            stat
        };
        for (name, serves) in
            [("stenopool", true), ("docker-proxy", false), ("ssh", false), ("sshd-session", false)]
        {
            assert_eq!(Processes::serving(&[named(name)]).is_some(), serves, "{name}");
        }
        assert!(Processes::serving(&[named("stenopool"), named("socat")]).is_none());
        assert!(Processes::serving(&[]).is_none());
    }

    #[test]
    fn a_child_of_the_server_counts_with_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = Processes::listening_on(listener.local_addr().unwrap().port()).unwrap();
        let mut child = std::process::Command::new("cat");
        let mut child =
            child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
        assert!(found.tree(&stats_of_all().unwrap()).contains(&(child.id() as i32)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
