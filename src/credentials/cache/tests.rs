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

struct House {
    keeper: Arc<Keeper>,
    clock: Arc<Mutex<u64>>,
    /// Each look of the keeper's thread at the clock.
    looks: Receiver<()>,
    asked: Receiver<()>,
    answers: Sender<Result<Credentials, SourceError>>,
    changes: Receiver<()>,
    thread: JoinHandle<()>,
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn creds(id: &str, expires: Option<u64>) -> Credentials {
    Credentials::new(id, "hush", None, expires.map(at), "test")
}

fn house(renewal: Renewal) -> House {
    let clock = Arc::new(Mutex::new(1_000));
    let (asked_here, asked) = channel();
    let (answers, answers_here) = channel();
    let (changed, changes) = channel();
    let (look, looks) = channel();
    let timing = Timing {
        now: {
            let clock = Arc::clone(&clock);
            Arc::new(move || {
                if thread::current().name() == Some("credentials") {
                    // The test may be over.
                    let _ = look.send(());
                }
                at(*clock.lock().unwrap())
            })
        },
        sleep: Arc::new(|_| panic!("the keeper sleeps by its condition only")),
        random: Arc::new(|| 0.0),
    };
    let source = Asked {
        asked: asked_here,
        answers: answers_here,
        renewal,
    };
    let keeper = Keeper::new(Box::new(source), timing);
    let thread = thread::Builder::new().name("credentials".into()).spawn({
        let keeper = Arc::clone(&keeper);
        move || keeper.run(Box::new(move || changed.send(()).unwrap()))
    });
    let thread = thread.unwrap();
    House {
        keeper,
        clock,
        looks,
        asked,
        answers,
        changes,
        thread,
    }
}

impl House {
    fn answer(&self, answer: Result<Credentials, SourceError>) {
        self.asked.recv_timeout(PATIENCE).unwrap();
        self.answers.send(answer).unwrap();
    }

    fn set_clock(&self, now: u64) {
        *self.clock.lock().unwrap() = now;
    }

    fn id(&self) -> Option<String> {
        let credentials = self.keeper.current()?;
        Some(credentials.access_key_id().to_owned())
    }

    fn end(self) -> Status {
        self.keeper.stop();
        self.thread.join().unwrap();
        assert!(self.asked.try_recv().is_err(), "an attempt too many");
        self.keeper.status()
    }
}

fn broken(why: &str) -> Result<Credentials, SourceError> {
    Err(SourceError::Setting(why.into()))
}

#[test]
fn fixed_credentials_end_the_thread() {
    let house = house(Renewal::Fixed);
    assert_eq!(house.id(), None);
    house.answer(Ok(creds("A", None)));
    house.changes.recv_timeout(PATIENCE).unwrap();
    house.thread.join().unwrap();
    let held = house.keeper.current().unwrap();
    assert!(!house.keeper.reject(&held));
    assert!(house.keeper.wait(PATIENCE).is_some());
    let status = house.keeper.status();
    assert_eq!(
        (status.source.as_str(), status.successes),
        ("test source", 1)
    );
}

#[test]
fn eight_threads_share_one_attempt() {
    let house = house(Renewal::Timed);
    let waiters: Vec<_> = (0..8)
        .map(|_| {
            let keeper = Arc::clone(&house.keeper);
            thread::spawn(move || keeper.wait(PATIENCE))
        })
        .collect();
    house.answer(Ok(creds("A", Some(4_600))));
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap().unwrap().access_key_id(), "A");
    }
    assert!(house.keeper.status().available);
    let status = house.end();
    assert_eq!((status.successes, status.failures), (1, 0));
    assert_eq!(
        (status.fetched, status.expires),
        (Some(at(1_000)), Some(at(4_600)))
    );
}

#[test]
fn a_refusal_is_one_refresh_and_wait_sees_its_result() {
    let house = house(Renewal::Timed);
    house.answer(Ok(creds("A", Some(4_600))));
    let old = house.keeper.wait(PATIENCE).unwrap();
    assert!(house.keeper.reject(&old));
    let waiters: Vec<_> = (0..8)
        .map(|_| {
            let keeper = Arc::clone(&house.keeper);
            let old = old.clone();
            thread::spawn(move || {
                assert!(keeper.reject(&old));
                keeper.wait(PATIENCE)
            })
        })
        .collect();
    house.answer(Ok(creds("B", Some(4_600))));
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap().unwrap().access_key_id(), "B");
    }
    assert_eq!(house.end().successes, 2);
}

#[test]
fn old_credentials_serve_while_a_refresh_is_under_way_and_after_it_failed() {
    let house = house(Renewal::Timed);
    house.answer(Ok(creds("A", Some(4_600))));
    house.changes.recv_timeout(PATIENCE).unwrap();
    house.set_clock(4_400);
    assert_eq!(house.id().as_deref(), Some("A"));
    house.asked.recv_timeout(PATIENCE).unwrap();
    assert_eq!(
        house.id().as_deref(),
        Some("A"),
        "current must not wait for the attempt"
    );
    house.answers.send(broken("the endpoint is away")).unwrap();
    while house.keeper.status().failures == 0 {
        thread::yield_now();
    }
    assert_eq!(house.id().as_deref(), Some("A"));
    house.set_clock(4_600);
    assert!(!house.keeper.status().available);
    assert_eq!(house.id(), None);
    house.answer(Ok(creds("B", Some(9_000))));
    house.changes.recv_timeout(PATIENCE).unwrap();
    assert_eq!(house.id().as_deref(), Some("B"));
    let status = house.end();
    assert_eq!(
        (status.successes, status.failures, status.error),
        (2, 1, None)
    );
}

/// The thread sleeps by the computer's clock; a suspended computer, or a corrected clock, is seen
/// by the next who asks for credentials.
#[test]
fn a_clock_that_jumps_is_seen_by_who_asks() {
    let house = house(Renewal::Timed);
    house.answer(Ok(creds("A", Some(4_600))));
    // Before the attempt, after it, and before going to sleep, for an hour, holding the lock.
    for _ in 0..3 {
        house.looks.recv_timeout(PATIENCE).unwrap();
    }
    house.set_clock(4_400);
    assert_eq!(house.id().as_deref(), Some("A"));
    house.answer(Ok(creds("B", Some(9_000))));
    for _ in 0..2 {
        house.changes.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(house.id().as_deref(), Some("B"));
    house.end();
}

#[test]
fn a_failure_is_told_and_wait_does_not_outstay_the_next_attempt() {
    let house = house(Renewal::Timed);
    house.answer(broken("no role here"));
    while house.keeper.status().failures == 0 {
        thread::yield_now();
    }
    assert_eq!(house.keeper.status().error.as_deref(), Some("no role here"));
    // The next attempt is a second away by a clock that stands still.
    assert_eq!(house.keeper.wait(Duration::from_millis(500)), None);
    house.end();
}

#[test]
fn credentials_that_come_expired_are_a_failure_that_says_so() {
    let house = house(Renewal::Timed);
    house.answer(Ok(creds("A", Some(999))));
    while house.keeper.status().failures == 0 {
        thread::yield_now();
    }
    assert_eq!(house.id(), None);
    assert_eq!(
        house.end().error.as_deref(),
        Some("test source gave credentials that expired at 1970-01-01T00:16:39Z")
    );
}
