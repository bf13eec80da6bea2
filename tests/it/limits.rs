//! The limits of what can be kept: long outages, poison, overload, and a soak of random faults.

use std::time::Duration;

use crate::faults::{NONSENSE, RATE, RECOVERY, all_arrived, heal, seconds};
use xray_test_support::daemon::{Launch, Running};
use xray_test_support::load::{UdpClient, noisy_segment, segment};
use xray_test_support::totals::Totals;
use xray_test_support::watch::wait_until;
use xray_test_support::xray::FakeXray;
use xray_test_support::xray::Fault;

#[test]
fn a_long_outage_within_the_byte_limit() {
    let mut fake = FakeXray::start();
    let daemon = Launch::against(&fake).args(["-m", "100"]).start();
    let client = UdpClient::new(daemon.udp);
    let all = 1_000 * seconds(3, 60);
    fake.inject(Fault::Gone);
    client.load(0..all, 1_000);
    fake.recover();
    all_arrived(&fake, daemon, all);
}

/// What a burst or an outage took is given back.
#[test]
fn memory_falls_back_after_an_outage() {
    const HELD_KB: u64 = 40_000;
    let mut fake = FakeXray::start();
    // glibc keeps small freed blocks for itself; the shipped binary's allocator does not.
    let daemon = Launch::against(&fake)
        .args(["-m", "100"])
        .env("MALLOC_MMAP_THRESHOLD_", "16384")
        .env("MALLOC_TRIM_THRESHOLD_", "16384")
        .start();
    let client = UdpClient::new(daemon.udp);
    fake.inject(Fault::Gone);
    let mut sent = 0;
    while daemon.resident_kb() < HELD_KB {
        client.load_of(noisy_segment, sent..sent + 1_000, 5_000);
        sent += 1_000;
        assert!(sent < 100_000, "{} KB only", daemon.resident_kb());
    }
    fake.recover();
    // Drops are no matter of this test, on a machine that is busy with others.
    let arrived = sent - daemon.kernel_drops() as usize;
    fake.wait_at_most(RECOVERY, "every segment delivered", |state| {
        state.different() >= arrived
    });
    wait_until("most of the memory is given back", || {
        daemon.resident_kb() < HELD_KB / 2
    });
}

/// Exactly the poison is lost; its neighbours arrive.
#[test]
fn poison() {
    let poison = |n: usize| {
        format!(r#"{{"id":"{n:016x}","trace_id":"1-6a1b2c3d-{n:024x}","name":"POISON"}}"#)
    };
    let mut fake = FakeXray::start();
    fake.inject(Fault::RejectContaining("POISON"));
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    for n in [74, 149, 224, 299] {
        client.load(n - 74..n + 1, 50_000);
        client.document(poison(n));
    }
    fake.wait_for("the good ones", |state| state.accepted.len() >= 300);
    let ended = daemon.stop();
    fake.read(|state| assert_eq!(state.different(), 300));
    let totals = Totals::at_the_end_of(&ended.log);
    let expected = Totals {
        received: 304,
        sent: 300,
        rejected: 4,
        ..Totals::default()
    };
    assert_eq!(totals, expected);
    for n in [74, 149, 224, 299] {
        let id = format!("{n:016x}");
        assert!(ended.log.iter().any(|l| l.contains(&id)), "{id} not named");
    }
}

/// A limit on the size of a request costs the one document above it, and splits the rest.
#[test]
fn too_large() {
    let mut fake = FakeXray::start();
    fake.inject(Fault::TooLarge(20_000));
    let daemon = Launch::against(&fake).start();
    let client = UdpClient::new(daemon.udp);
    for n in 0..100 {
        client.document(segment(n));
        if n == 50 {
            client.document("x".repeat(30_000));
        }
    }
    fake.wait_for("the small ones", |state| state.accepted.len() >= 100);
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!((totals.sent, totals.rejected), (100, 1));
    fake.read(|state| assert_eq!(state.different(), 100));
}

/// More than the cap holds: the oldest go first, each counted, and memory stays bounded.
#[test]
fn overload_past_the_cap_keeps_the_newest() {
    const ALL: usize = 12_000;
    let mut fake = FakeXray::start();
    fake.inject(Fault::error(503, ""));
    let daemon = Launch::against(&fake).args(["-m", "3"]).start();
    let client = UdpClient::new(daemon.udp);
    client.load_of(noisy_segment, 0..ALL - 1, 4_000);
    assert!(daemon.peak_kb() < 24 * 1024, "{} KB", daemon.peak_kb());
    // The newest one is sent until the kernel has room for it: the machine may be busy.
    let newest = noisy_segment(ALL - 1);
    let mut sent = ALL as u64 - 1;
    let drops = loop {
        let drops = daemon.kernel_drops();
        client.document(&newest);
        sent += 1;
        if daemon.kernel_drops() == drops {
            break drops;
        }
    };
    fake.recover();
    fake.wait_at_most(RECOVERY, "the newest segment", |state| {
        state.has_accepted(&newest)
    });
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    assert_eq!(totals.received + drops, sent);
    assert_eq!((totals.rejected, totals.held), (0, 0));
    fake.read(|state| {
        let times = state.times_accepted();
        assert_eq!(times.len() as u64, totals.sent);
        // 3 MB hold more than 2,000 of these documents, compressed or not, and fewer than 4,000; what
        // was in flight when the room ran out may be older.
        let newest = (ALL - 2_000..ALL).map(noisy_segment);
        let missing = newest.filter(|d| !times.contains_key(d.as_str())).count();
        assert!(missing as u64 <= drops, "{missing} of the newest missing");
        // What the kernel's own buffer held meanwhile comes on top.
        assert!(times.len() < 7_000, "{} held in 3 MB", times.len());
    });
}

/// Random faults, one after the other, under load: in the end the totals balance.
///
/// Five seconds; `make soak` sets `XRAY_SOAK_SECONDS=600`.
#[test]
fn soak() {
    let time = std::env::var("XRAY_SOAK_SECONDS").map_or(5, |text| text.parse().unwrap());
    let seed = std::env::var("XRAY_SOAK_SEED").map_or_else(
        |_| u64::from(std::process::id()) | 1,
        |text| text.parse().unwrap(),
    );
    println!("XRAY_SOAK_SEED={seed}");
    let mut random = seed;
    let mut below = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n as u64) as usize
    };
    let mut fake = FakeXray::start();
    let daemon = Launch::against(&fake).args(["-m", "100"]).start();
    let client = UdpClient::new(daemon.udp);
    let mut sent = 0;
    while sent < RATE as usize * time {
        let fault = match below(12) {
            0 => Fault::error(503, ""),
            1 => Fault::throttle(1),
            2 => Fault::Hang,
            3 => Fault::CloseOnAccept,
            4 => Fault::CloseAfterReading,
            5 => Fault::Gone,
            6 => Fault::trickle(),
            7 => NONSENSE,
            8 => Fault::error(403, "ExpiredTokenException"),
            9 => Fault::Delay(Duration::from_millis(200)),
            _ => Fault::None,
        };
        fake.inject(fault);
        fake.update(|state| state.clock_offset = [0, 0, 0, 900, -900][below(5)]);
        let next = sent + 1 + below(3 * RATE as usize);
        client.load(sent..next, RATE);
        sent = next;
    }
    fake.recover();
    fake.update(heal);
    assert_totals_balance(&fake, daemon, sent);
}

/// Whatever was lost for lack of room: the newest came, and both sides count the same.
#[track_caller]
fn assert_totals_balance(fake: &FakeXray, daemon: Running, all: usize) {
    let newest = segment(all - 1);
    fake.wait_at_most(RECOVERY, "the newest segment delivered", |state| {
        state.has_accepted(&newest)
    });
    let totals = Totals::at_the_end_of(&daemon.stop().log);
    fake.read(|state| assert_eq!(totals.sent, state.different() as u64, "{totals:?}"));
    assert_eq!(
        totals.received + totals.kernel_drops,
        all as u64,
        "{totals:?}"
    );
    assert_eq!((totals.rejected, totals.held), (0, 0), "{totals:?}");
}
