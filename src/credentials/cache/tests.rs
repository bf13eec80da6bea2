use super::*;
use crate::credentials::{Renewal, SourceError};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::UNIX_EPOCH;

/// Long enough for any machine; reached only when the test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A source that announces each fetch and answers when the test says what.
struct Asked {
    asked: Sender<()>,
    answers: Receiver<Result<Credentials, SourceError>>,
    renewal: Renewal,
}

impl Source for Asked {
    fn name(&self) -> String {
        "test source".into()
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        self.asked.send(()).unwrap();
        self.answers.recv().unwrap()
    }

    fn renewal(&self) -> Renewal {
        self.renewal
    }
}

struct Harness {
    cache: Arc<CredentialCache>,
    /// Seconds that have passed, and by how many the wall clock is wrong.
    clock: Arc<Mutex<(u64, u64)>>,
    /// Each look of the cache's thread at the clock.
    looks: Receiver<()>,
    asked: Receiver<()>,
    answers: Sender<Result<Credentials, SourceError>>,
    reports: Receiver<CredentialSnapshot>,
    thread: JoinHandle<()>,
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn creds(id: &str, expires: Option<u64>) -> Credentials {
    Credentials::new(id, "hush", None, expires.map(at), "test")
}

fn id(issued: &IssuedCredentials) -> String {
    issued.credentials.access_key_id().to_owned()
}

fn harness(renewal: Renewal) -> Harness {
    let clock = Arc::new(Mutex::new((1_000, 0)));
    let start = Instant::now();
    let (asked_here, asked) = channel();
    let (answers, answers_here) = channel();
    let (report, reports) = channel();
    let (look, looks) = channel();
    let timing = Timing {
        now: {
            let clock = Arc::clone(&clock);
            Arc::new(move || at(clock.lock().unwrap().0))
        },
        reading: {
            let clock = Arc::clone(&clock);
            Arc::new(move || {
                if thread::current().name() == Some("credentials") {
                    // The test may be over.
                    let _ = look.send(());
                }
                let (passed, wrong) = *clock.lock().unwrap();
                Reading {
                    wall: at(passed + wrong),
                    monotonic: start + Duration::from_secs(passed),
                }
            })
        },
        sleep: Arc::new(|_| panic!("the cache sleeps by its condition only")),
        random: Arc::new(|| 0.0),
    };
    let source = Asked {
        asked: asked_here,
        answers: answers_here,
        renewal,
    };
    let cache = CredentialCache::new(Box::new(source), timing);
    let thread = thread::Builder::new().name("credentials".into()).spawn({
        let cache = Arc::clone(&cache);
        move || {
            cache.run(&move |snapshot| {
                // The test may be over.
                let _ = report.send(snapshot);
            })
        }
    });
    let thread = thread.unwrap();
    Harness {
        cache,
        clock,
        looks,
        asked,
        answers,
        reports,
        thread,
    }
}

impl Harness {
    fn answer(&self, answer: Result<Credentials, SourceError>) {
        self.asked.recv_timeout(PATIENCE).unwrap();
        self.answers.send(answer).unwrap();
    }

    fn set_clock(&self, now: u64) {
        self.clock.lock().unwrap().0 = now;
    }

    fn report(&self) -> CredentialSnapshot {
        self.reports.recv_timeout(PATIENCE).unwrap()
    }

    fn id(&self) -> Option<String> {
        self.cache.current().as_ref().map(id)
    }

    fn end(self) -> CredentialStatus {
        self.cache.stop();
        self.thread.join().unwrap();
        assert!(self.asked.try_recv().is_err(), "an attempt too many");
        self.cache.status()
    }
}

fn broken(why: &str) -> Result<Credentials, SourceError> {
    Err(SourceError::Setting(why.into()))
}

#[test]
fn fixed_credentials_end_the_thread() {
    let harness = harness(Renewal::Fixed);
    assert_eq!(harness.id(), None);
    harness.answer(Ok(creds("A", None)));
    harness.report();
    harness.thread.join().unwrap();
    let held = harness.cache.current().unwrap();
    assert!(!harness.cache.reject(held.generation));
    assert!(harness.cache.wait(PATIENCE).is_some());
    let status = harness.cache.status();
    assert_eq!(
        (status.source.as_str(), status.successes),
        ("test source", 1)
    );
}

/// The uploader gets only these reports and never asks the cache itself.
#[test]
fn every_attempt_and_the_end_of_credentials_are_reported() {
    let harness = harness(Renewal::Timed);
    let told = |snapshot: CredentialSnapshot| {
        let id = snapshot.credentials.map(|c| c.access_key_id().to_owned());
        assert_eq!(snapshot.status.available, id.is_some());
        (snapshot.generation, id, snapshot.status.error)
    };
    let id = |id: &str| Some(id.to_owned());
    harness.answer(broken("no role"));
    assert_eq!(told(harness.report()), (0, None, id("no role")));
    harness.cache.want();
    harness.set_clock(1_010);
    harness.cache.want();
    harness.answer(Ok(creds("A", Some(4_600))));
    assert_eq!(told(harness.report()), (1, id("A"), None));
    harness.set_clock(4_400);
    harness.cache.want();
    // The same keys for longer are no other generation.
    harness.answer(Ok(creds("A", Some(5_000))));
    assert_eq!(told(harness.report()), (1, id("A"), None));
    assert!(harness.cache.reject(1));
    harness.answer(Ok(creds("B", Some(5_000))));
    assert_eq!(told(harness.report()), (2, id("B"), None));
    harness.set_clock(5_000);
    harness.cache.want();
    assert_eq!(told(harness.report()), (2, None, None));
    harness.answer(broken("gone"));
    assert_eq!(told(harness.report()), (2, None, id("gone")));
    harness.end();
}

#[test]
fn a_refusal_of_older_credentials_asks_for_nothing() {
    let harness = harness(Renewal::Timed);
    harness.answer(Ok(creds("A", None)));
    harness.report();
    assert!(harness.cache.reject(1));
    harness.answer(Ok(creds("B", None)));
    harness.report();
    for _ in 0..3 {
        assert!(harness.cache.reject(1), "newer ones are in hand");
    }
    assert_eq!(harness.id().as_deref(), Some("B"));
    // `end` checks that there was no third attempt.
    assert_eq!(harness.end().successes, 2);
}

#[test]
fn eight_threads_share_one_attempt() {
    let harness = harness(Renewal::Timed);
    let waiters: Vec<_> = (0..8)
        .map(|_| {
            let cache = Arc::clone(&harness.cache);
            thread::spawn(move || cache.wait(PATIENCE))
        })
        .collect();
    harness.answer(Ok(creds("A", Some(4_600))));
    for waiter in waiters {
        assert_eq!(id(&waiter.join().unwrap().unwrap()), "A");
    }
    assert!(harness.cache.status().available);
    let status = harness.end();
    assert_eq!((status.successes, status.failures), (1, 0));
    assert_eq!(
        (status.fetched, status.expires),
        (Some(at(1_000)), Some(at(4_600)))
    );
}

#[test]
fn a_refusal_is_one_renewal_and_wait_sees_its_result() {
    let harness = harness(Renewal::Timed);
    harness.answer(Ok(creds("A", Some(4_600))));
    let old = harness.cache.wait(PATIENCE).unwrap();
    assert!(harness.cache.reject(old.generation));
    let waiters: Vec<_> = (0..8)
        .map(|_| {
            let cache = Arc::clone(&harness.cache);
            thread::spawn(move || {
                assert!(cache.reject(old.generation));
                cache.wait(PATIENCE)
            })
        })
        .collect();
    harness.answer(Ok(creds("B", Some(4_600))));
    for waiter in waiters {
        assert_eq!(id(&waiter.join().unwrap().unwrap()), "B");
    }
    assert_eq!(harness.end().successes, 2);
}

#[test]
fn old_credentials_serve_while_a_renewal_is_under_way_and_after_it_failed() {
    let harness = harness(Renewal::Timed);
    harness.answer(Ok(creds("A", Some(4_600))));
    harness.report();
    harness.set_clock(4_400);
    assert_eq!(harness.id().as_deref(), Some("A"));
    harness.asked.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        harness.id().as_deref(),
        Some("A"),
        "current must not wait for the attempt"
    );
    harness
        .answers
        .send(broken("the endpoint is away"))
        .unwrap();
    harness.report();
    assert_eq!(harness.id().as_deref(), Some("A"));
    assert_eq!(harness.cache.status().expires, Some(at(4_600)));
    harness.set_clock(4_600);
    let status = harness.cache.status();
    assert_eq!((status.available, status.expires), (false, None));
    assert_eq!(harness.id(), None);
    harness.answer(Ok(creds("B", Some(9_000))));
    // The end of the old ones is reported too.
    while harness.report().credentials.is_none() {}
    assert_eq!(harness.id().as_deref(), Some("B"));
    let status = harness.end();
    assert_eq!(
        (status.successes, status.failures, status.error),
        (2, 1, None)
    );
}

/// The thread sleeps by the time that passes; that a host was asleep, or that its clock was set,
/// is seen by the next who asks for credentials.
#[test]
fn a_clock_that_jumps_is_seen_by_who_asks() {
    let harness = harness(Renewal::Timed);
    harness.answer(Ok(creds("A", Some(4_600))));
    // Before the attempt, after it, and before going to sleep, for an hour, holding the lock.
    for _ in 0..3 {
        harness.looks.recv_timeout(PATIENCE).unwrap();
    }
    *harness.clock.lock().unwrap() = (1_040, 7_200);
    assert_eq!(harness.id().as_deref(), Some("A"));
    harness.answer(Ok(creds("B", Some(9_000))));
    for _ in 0..2 {
        harness.report();
    }
    assert_eq!(harness.id().as_deref(), Some("B"));
    harness.end();
}

#[test]
fn a_failure_is_told_and_wait_does_not_outstay_the_next_attempt() {
    let harness = harness(Renewal::Timed);
    harness.answer(broken("no role here"));
    harness.report();
    assert_eq!(
        harness.cache.status().error.as_deref(),
        Some("no role here")
    );
    // The next attempt is a second away by a clock that stands still.
    assert_eq!(harness.cache.wait(Duration::from_millis(500)), None);
    harness.end();
}

#[test]
fn credentials_that_come_expired_are_used_but_not_in_place_of_better_ones() {
    let harness = harness(Renewal::Timed);
    harness.answer(Ok(creds("A", Some(999))));
    harness.report();
    assert_eq!(harness.id().as_deref(), Some("A"), "whose clock is right?");
    assert!(harness.cache.reject(1));
    harness.answer(Ok(creds("B", Some(1_900))));
    harness.report();
    harness.set_clock(1_800);
    harness.cache.want();
    harness.answer(Ok(creds("C", Some(999))));
    harness.report();
    assert_eq!(harness.id().as_deref(), Some("B"));
    assert_eq!(
        harness.end().error.as_deref(),
        Some(
            "test source gave credentials that expired at 1970-01-01T00:16:39Z, before the current ones"
        )
    );
}
