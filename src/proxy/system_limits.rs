//! What the system leaves to the clients, after what uploading needs: threads and descriptors.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, getuid};

use crate::cgroup::{self, Controller};

const MAX_TASKS: Controller = Controller {
    name: "pids",
    version1: "pids.max",
    version2: "pids.max",
};

/// Threads for clients that there are in any case, if there are any at all.
const FEW: u64 = 2;

/// Where there are so many more threads than needed, it is looked again after this time only.
const PLENTY: u64 = 256;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long a count of the user's tasks is taken for true. Counting reads a file for each process.
const COUNT_AGE: Duration = Duration::from_secs(1);

/// After the system has refused a thread, this long fewer run at once.
const REFUSED: Duration = Duration::from_secs(10);

/// Descriptors that are taken to be in use where they cannot be counted.
const USUAL_DESCRIPTORS: u64 = 16;

/// Threads that may be started for clients.
#[derive(Debug)]
pub(super) struct ThreadRoom {
    /// Threads that uploading may start, beside those that this process had at first.
    reserved: u64,
    at_first: u64,
    /// The directory of this process in `/proc`.
    process: PathBuf,
    /// Files of the control groups that may have a limit: the limit and the number of tasks.
    groups: Vec<(PathBuf, PathBuf)>,
    /// Where the user's number of tasks is limited.
    user: Option<UserTasks>,
    /// Threads that run for clients.
    running: u64,
    /// Until when fewer of them may run, and how many.
    refused: Option<(Instant, u64)>,
    /// There was plenty at the last look, and until then it is not looked again.
    plenty_until: Option<Instant>,
}

#[derive(Debug)]
struct UserTasks {
    limit: u64,
    counted: Instant,
    /// At the last count, and those started since.
    tasks: u64,
}

impl ThreadRoom {
    /// Leaves `reserved` threads to uploading, and a few to clients where there are not as many.
    pub(super) fn new(reserved: usize) -> Self {
        let files = cgroup::files(MAX_TASKS);
        let groups = files.into_iter().filter(|file| file.exists());
        let groups = groups.map(|max| (max.clone(), max.with_file_name("pids.current")));
        let limit = getrlimit(Resource::Nproc).current;
        // The limit does not hold for root.
        let user = limit
            .filter(|_| !getuid().is_root())
            .map(|limit| UserTasks {
                limit,
                counted: Instant::now(),
                tasks: tasks_of_user(),
            });
        let process = PathBuf::from("/proc/self");
        let mut room = ThreadRoom {
            reserved: 0,
            at_first: threads_of(&process),
            process,
            groups: groups.collect(),
            user,
            running: 0,
            refused: None,
            plenty_until: None,
        };
        let left = room.left(Instant::now());
        room.reserved = (reserved as u64).min(left.saturating_sub(FEW));
        room
    }

    /// Takes a thread. `false` when too few are left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if let Some((until, most)) = self.refused
            && now < until
            && self.running >= most
        {
            return false;
        }
        if self.plenty_until.is_none_or(|until| now >= until) {
            let left = self.left(now);
            if left <= self.still_reserved() {
                return false;
            }
            let is_plenty = left > self.reserved + PLENTY;
            self.plenty_until = is_plenty.then(|| now + LOOK_AGAIN);
        }
        self.running += 1;
        if let Some(user) = &mut self.user {
            user.tasks += 1;
        }
        true
    }

    /// A thread that was taken has ended, or was not to be had.
    pub(super) fn give_back(&mut self) {
        self.running -= 1;
    }

    /// The system refused the thread taken last, for a limit that cannot be seen from here: fewer
    /// run at once for a while, so that uploading gets one.
    pub(super) fn refused(&mut self, now: Instant) {
        let most = self.running.saturating_sub(1 + self.reserved).max(1);
        self.refused = Some((now + REFUSED, most));
    }

    /// Of the reserved threads, those that uploading has not started yet.
    fn still_reserved(&self) -> u64 {
        let started = threads_of(&self.process).saturating_sub(self.at_first + self.running);
        self.reserved.saturating_sub(started)
    }

    /// How many more tasks the system allows.
    fn left(&mut self, now: Instant) -> u64 {
        let groups = self.groups.iter().filter_map(|(max, current)| {
            let (max, current) = (cgroup::number(max)?, cgroup::number(current)?);
            Some(max.saturating_sub(current))
        });
        let user = self.user.as_mut().map(|user| {
            if now.saturating_duration_since(user.counted) >= COUNT_AGE {
                user.tasks = tasks_of_user();
                user.counted = now;
            }
            user.limit.saturating_sub(user.tasks)
        });
        groups.chain(user).min().unwrap_or(u64::MAX)
    }
}

/// How many tasks this process's user has, as far as they can be seen.
fn tasks_of_user() -> u64 {
    let user = getuid().as_raw();
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    let own = processes.filter_map(Result::ok).filter(|entry| {
        let name = entry.file_name();
        let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        is_process && entry.metadata().is_ok_and(|found| found.uid() == user)
    });
    own.map(|process| threads_of(&process.path())).sum()
}

fn threads_of(process: &Path) -> u64 {
    thread_count(&fs::read_to_string(process.join("status")).unwrap_or_default())
}

/// The number of threads in the text of `/proc/PID/status`; 0 where it does not say.
pub fn thread_count(status: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

/// How many connections and how many requests may be open at once: each connection has one
/// descriptor, each request that is forwarded has another. `reserved` are left to uploading, but
/// not more than half of those that are left now.
pub(super) fn connections_and_calls(reserved: usize) -> (usize, usize) {
    let Some(limit) = getrlimit(Resource::Nofile).current else {
        return (usize::MAX, usize::MAX);
    };
    let used = match fs::read_dir("/proc/self/fd") {
        Ok(open) => open.count() as u64,
        Err(_) => USUAL_DESCRIPTORS,
    };
    share(limit.saturating_sub(used), reserved as u64)
}

/// Connections and calls of `left` descriptors, after what uploading keeps.
pub fn share(left: u64, reserved: u64) -> (usize, usize) {
    let left = left - reserved.min(left / 2);
    let calls = (left / 4).max(1);
    let connections = left.saturating_sub(calls).max(1);
    let number = |n| usize::try_from(n).unwrap_or(usize::MAX);
    (number(connections), number(calls))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process of files that had two threads at first, in a control group of files with room
    /// for `limit` tasks of which `current` are there.
    fn room(name: &str, limit: &str, current: &str, reserved: u64) -> (ThreadRoom, PathBuf) {
        let directory = std::env::temp_dir().join(format!("xray-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (max, tasks) = (directory.join("pids.max"), directory.join("pids.current"));
        fs::write(&max, limit).unwrap();
        fs::write(&tasks, current).unwrap();
        has_threads(&directory, 2);
        let room = ThreadRoom {
            reserved,
            at_first: 2,
            process: directory.clone(),
            groups: vec![(max, tasks)],
            user: None,
            running: 0,
            refused: None,
            plenty_until: None,
        };
        (room, directory)
    }

    fn has_threads(process: &Path, threads: u64) {
        let status = format!("Name:\txray\nThreads:\t{threads}\n");
        fs::write(process.join("status"), status).unwrap();
    }

    #[test]
    fn threads_are_left_to_uploading() {
        let now = Instant::now();
        for (limit, current, expected) in [
            ("24", "15", true),
            ("24", "16", false),
            ("24", "24", false),
            ("max", "9999", true),
            ("nonsense", "1", true),
        ] {
            let (mut room, directory) = room("room", limit, current, 8);
            assert_eq!(room.take(now), expected, "{limit} {current}");
            fs::remove_dir_all(directory).unwrap();
        }
    }

    #[test]
    fn what_uploading_has_started_is_reserved_no_more() {
        let now = Instant::now();
        let (mut room, directory) = room("started", "24", "16", 8);
        assert!(!room.take(now));
        // Three threads for clients are none of uploading's.
        room.running = 3;
        for (threads, expected) in [(5, false), (6, true)] {
            has_threads(&directory, threads);
            assert_eq!(room.take(now), expected, "{threads}");
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn where_there_is_plenty_it_is_not_looked_each_time() {
        let now = Instant::now();
        let (mut room, directory) = room("plenty", "9999", "1", 8);
        assert!(room.take(now));
        fs::write(directory.join("pids.max"), "1").unwrap();
        assert!(room.take(now) && !room.take(now + LOOK_AGAIN));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_refused_thread_means_fewer_for_a_while() {
        let (mut room, directory) = room("refused", "max", "1", 4);
        let now = Instant::now();
        for (running, most) in [(10, 5), (2, 1)] {
            room.running = running;
            room.refused(now);
            room.running = most - 1;
            assert!(room.take(now), "{running}");
            assert!(!room.take(now) && room.take(now + REFUSED), "{running}");
            room.give_back();
            room.give_back();
            assert!(room.take(now), "{running}");
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn tasks_of_the_user_are_counted_again_when_old() {
        let now = Instant::now();
        let mut room = ThreadRoom {
            reserved: 1,
            at_first: 0,
            process: PathBuf::new(),
            groups: Vec::new(),
            user: Some(UserTasks {
                limit: 1_000_000,
                counted: now,
                tasks: 999_998,
            }),
            running: 0,
            refused: None,
            plenty_until: None,
        };
        assert!(room.take(now));
        assert!(!room.take(now));
        // There are not really so many.
        assert!(room.take(now + COUNT_AGE));
        assert!(tasks_of_user() >= 1);
    }

    #[test]
    fn descriptors_are_shared() {
        for (left, reserved, expected) in [
            (22, 16, (9, 2)),
            (1000, 16, (738, 246)),
            (2, 16, (1, 1)),
            (0, 0, (1, 1)),
        ] {
            assert_eq!(share(left, reserved), expected, "{left} {reserved}");
        }
        let (connections, calls) = connections_and_calls(0);
        assert!(connections >= calls && calls >= 1);
    }
}
