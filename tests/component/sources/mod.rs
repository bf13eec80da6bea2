//! The credential sources, each against a fake of what it asks.

mod chain;
mod container;
mod imds;
mod sessions;
mod sts;
mod through_proxy;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use xray::aws::clock::Reading;
use xray::credentials::{Timing, date};

/// A clock that a test sets, and sleep that is written down instead of slept.
#[derive(Clone)]
struct Time {
    now: Arc<Mutex<SystemTime>>,
    start: (SystemTime, Instant),
    slept: Arc<Mutex<Vec<Duration>>>,
}

impl Time {
    fn at(now: &str) -> Self {
        let now = date::parse(now).unwrap();
        Self {
            now: Arc::new(Mutex::new(now)),
            start: (now, Instant::now()),
            slept: Arc::default(),
        }
    }

    fn pass(&self, seconds: u64) {
        *self.now.lock().unwrap() += Duration::from_secs(seconds);
    }

    fn pauses(&self) -> usize {
        self.slept.lock().unwrap().len()
    }

    fn timing(&self) -> Timing {
        let (now, slept) = (self.now.clone(), self.slept.clone());
        let (wall, monotonic) = self.start;
        Timing {
            now: Arc::new({
                let now = now.clone();
                move || *now.lock().unwrap()
            }),
            reading: Arc::new(move || {
                let now = *now.lock().unwrap();
                Reading {
                    wall: now,
                    monotonic: monotonic + now.duration_since(wall).unwrap(),
                }
            }),
            sleep: Arc::new(move |pause| slept.lock().unwrap().push(pause)),
            random: Arc::new(|| 0.5),
        }
    }
}

const NOW: &str = "2025-01-01T00:00:00Z";
const LATER: &str = "2025-01-01T06:00:00Z";

type Var<'a> = (&'a str, String);

/// An environment of these variables alone.
fn env_of(vars: &[Var<'_>]) -> impl Fn(&str) -> Option<String> + Send + Sync + 'static {
    let vars: Vec<_> = vars
        .iter()
        .map(|(n, v)| ((*n).to_owned(), v.clone()))
        .collect();
    move |name| {
        let var = vars.iter().find(|(n, _)| n == name);
        var.map(|(_, value)| value.clone())
    }
}
