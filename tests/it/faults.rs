//! Nothing lost: a load runs through every kind of outage, and every segment arrives.
//!
//! The faults last two seconds; with `XRAY_FAULTS=full` (`make faults`) as long as the tables in
//! docs/reliability.md say.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::otlp::{accepted, spans};

use xray_test_support::daemon::{Launch, Running};
use xray_test_support::http::Response;
use xray_test_support::keys::Keys;
use xray_test_support::load::{UdpClient, segment};
use xray_test_support::totals::Totals;
use xray_test_support::xray::Fault;
use xray_test_support::xray::{FakeXray, KEY_ID, SECRET, State};

/// Segments a second during a fault.
pub const RATE: u32 = 500;

/// Segments before a fault, and as many after it: a few batches, the last of them incomplete.
const LOAD_AROUND: usize = 120;

/// How long the way back may take: the longest pause between two tries is 20 s, and what was held
/// goes out after it.
pub const RECOVERY: Duration = Duration::from_secs(90);

pub const NONSENSE: Fault = Fault::Bytes(b"\0\xff\xfe SMTP? no: \r\r\n\n\x1b[2J{}");

pub fn seconds(short: usize, full: usize) -> usize {
    match std::env::var("XRAY_FAULTS") {
        Ok(value) if value == "full" => full,
        _ => short,
    }
}

/// An exporter of OpenTelemetry: requests with a span each, ten a second, until it is ended.
struct Exporter {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<u8>>>,
}

impl Exporter {
    fn start(daemon: SocketAddr) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let run = move || {
            let mut all = Vec::new();
            while !over.load(Relaxed) {
                let body = spans(1, &format!("span {}", all.len()));
                accepted(daemon, &body);
                all.push(body);
                thread::sleep(Duration::from_millis(100));
            }
            all
        };
        Exporter {
            is_over,
            thread: thread::spawn(run),
        }
    }

    /// Every request that was accepted arrives, once.
    #[track_caller]
    fn end(self, fake: &FakeXray) {
        self.is_over.store(true, Relaxed);
        let mut accepted = self.thread.join().unwrap();
        fake.wait_at_most(RECOVERY, "every span delivered", |state| {
            state.exports.len() >= accepted.len()
        });
        let exports = |state: &State| state.exports.iter().map(|one| one.body.clone()).collect();
        let mut delivered: Vec<_> = fake.read(exports);
        delivered.sort();
        accepted.sort();
        assert_eq!(delivered, accepted, "each once");
    }
}

/// Load before, during and after a fault: 0 lost, 0 rejected, 0 twice, of segments and of spans.
fn ride_through(launch: impl Fn(&FakeXray) -> Launch, begin: impl Fn(&mut FakeXray)) {
    let mut fake = FakeXray::start();
    let daemon = launch(&fake).start();
    let client = UdpClient::new(daemon.udp);
    let exporter = Exporter::start(daemon.tcp);
    let begun = LOAD_AROUND;
    let healed = begun + seconds(2, 10) * RATE as usize;
    let all = healed + LOAD_AROUND;

    client.load(0..begun, RATE);
    fake.wait_for("the load before", |state| state.accepted.len() == begun);
    begin(&mut fake);
    client.load(begun..healed, RATE);
    fake.read(|state| assert_eq!(state.accepted.len(), begun, "no fault at all"));
    fake.recover();
    fake.update(heal);
    client.load(healed..all, RATE);
    exporter.end(&fake);
    all_arrived(&fake, daemon, all);
}

pub fn heal(state: &mut xray_test_support::xray::State) {
    state.keys = vec![Keys::new(KEY_ID, SECRET, None)];
    state.clock_offset = 0;
}

/// Waits for segments `0..all`, stops the daemon, and compares everybody's counts.
#[track_caller]
pub fn all_arrived(fake: &FakeXray, daemon: Running, all: usize) {
    fake.wait_at_most(RECOVERY, "every segment delivered", |state| {
        state.different() >= all
    });
    let ended = daemon.stop();
    let complaints = ended.log.iter().filter(|line| {
        let levels = ["[Error]", "[Warn]"];
        levels.iter().any(|level| line.contains(level))
    });
    let complaints: Vec<_> = complaints.collect();
    assert!(
        complaints.len() < 20,
        "a flood of log lines: {complaints:#?}"
    );
    let totals = Totals::at_the_end_of(&ended.log);
    fake.read(|state| {
        let expected: HashSet<String> = (0..all).map(segment).collect();
        let times = state.times_accepted();
        assert!(expected.iter().all(|d| times.contains_key(d.as_str())));
        assert_eq!(state.accepted.len(), all, "some came twice");
    });
    let all = all as u64;
    let expected = Totals {
        received: all,
        sent: all,
        ..Totals::default()
    };
    assert_eq!(totals, expected);
}

fn through(behaviour: Fault) {
    ride_through(Launch::against, move |fake| fake.inject(behaviour.clone()));
}

#[test]
fn service_unavailable() {
    through(Fault::error(503, "ServiceUnavailable"));
}

#[test]
fn internal_error_without_a_code() {
    through(Fault::error(500, ""));
}

#[test]
fn throttled() {
    through(Fault::throttle(1));
}

/// Some services throttle with a 400.
#[test]
fn throttled_by_code() {
    through(Fault::error(400, "ThrottlingException"));
}

#[test]
fn hanging() {
    through(Fault::Hang);
}

#[test]
fn closing_at_once() {
    through(Fault::CloseOnAccept);
}

#[test]
fn closing_after_the_request() {
    through(Fault::CloseAfterReading);
}

#[test]
fn gone() {
    through(Fault::Gone);
}

#[test]
fn trickling() {
    through(Fault::trickle());
}

#[test]
fn talking_nonsense() {
    through(NONSENSE);
}

/// What says 200 and is not X-Ray has taken nothing, and the log says what it may be.
#[test]
fn behind_a_captive_portal() {
    let mut fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    fake.inject(Fault::Answer(Response::new(200, "<html>log in</html>")));
    UdpClient::new(daemon.udp).load(0..1, RATE);
    daemon.wait_log("HTTP 200, but the answer is not X-Ray's");
    fake.recover();
    all_arrived(&fake, daemon, 1);
}

#[test]
fn closing_in_the_middle_of_an_answer() {
    through(Fault::Bytes(b"HTTP/1.1 20"));
}

#[test]
fn answering_without_an_end_to_the_header() {
    through(Fault::endless_header());
}

#[test]
fn answering_interim_after_interim() {
    through(Fault::endless_interim());
}

#[test]
fn access_denied() {
    through(Fault::error(403, "AccessDeniedException"));
}

#[test]
fn expired_token() {
    through(Fault::error(403, "ExpiredTokenException"));
}

#[test]
fn keys_that_are_not_known_yet() {
    ride_through(Launch::against, |fake| {
        fake.update(|state| state.keys = vec![Keys::new("AKIDOTHER", "other", None)]);
    });
}

/// A wrong clock on this side is a shifted clock on the other. It is learnt: the load goes through
/// while the clocks still differ.
#[test]
fn clocks_twenty_minutes_apart() {
    for offset in [1_200, -1_200] {
        let fake = FakeXray::start();
        let daemon = Launch::against(&fake).start();
        let client = UdpClient::new(daemon.udp);
        client.load(0..500, RATE);
        fake.wait_for("the load before", |state| state.accepted.len() == 500);
        fake.update(|state| state.clock_offset = offset);
        client.load(500..1_000, RATE);
        fake.wait_at_most(RECOVERY, "delivered while the clocks differ", |state| {
            state.accepted.len() == 1_000
        });
        fake.update(|state| state.clock_offset = 0);
        client.load(1_000..1_500, RATE);
        all_arrived(&fake, daemon, 1_500);
    }
}

/// Nobody follows: a redirect would carry the session token to whoever answers.
#[test]
fn redirecting() {
    let mut trap = FakeXray::start();
    let mut fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    fake.inject(Fault::redirect(&format!("{}/TraceSegments", trap.url())));
    let client = UdpClient::new(daemon.udp);
    client.load(0..500, RATE);
    fake.wait_for("a redirect answered", |state| !state.batches.is_empty());
    fake.recover();
    all_arrived(&fake, daemon, 500);
    trap.recover();
    trap.read(|state| assert_eq!(state.connections, 0, "followed the redirect"));
}

/// An answer of gigabytes is not read to its end, let alone kept.
#[cfg(target_os = "linux")]
#[test]
fn answering_gigabytes() {
    let mut fake = FakeXray::start();
    let daemon = Launch::against(&fake).start();
    fake.inject(Fault::gigabytes());
    let client = UdpClient::new(daemon.udp);
    client.load(0..1_000, RATE);
    fake.recover();
    client.load(1_000..1_500, RATE);
    fake.wait_at_most(RECOVERY, "what came after the fault", |state| {
        (1_000..1_500).all(|n| state.has_accepted(&segment(n)))
    });
    assert!(daemon.peak_kb() < 64 * 1024, "{} KB", daemon.peak_kb());
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!((totals.received, totals.spilled), (1_500, 0));
}

/// Latency is no fault: requests overlap, and nothing is sent twice.
#[test]
fn slow_but_well() {
    let mut fake = FakeXray::start();
    fake.inject(Fault::Delay(Duration::from_millis(300)));
    let daemon = Launch::against(&fake).start();
    UdpClient::new(daemon.udp).load(0..3_000, 1_000);
    all_arrived(&fake, daemon, 3_000);
}
