use super::*;
use std::sync::mpsc::{Receiver, Sender, channel};

const LONG: Duration = Duration::from_secs(20);

/// A look-up that tells when it has begun and waits for its answer.
struct Server {
    asked: Receiver<String>,
    answer: Sender<io::Result<Vec<SocketAddr>>>,
}

fn resolver() -> (Resolver, Server) {
    let (ask, asked) = channel();
    let (answer, answers) = channel();
    let resolver = Resolver::start_with(move |host| {
        // The test may have gone.
        let _ = ask.send(host.to_owned());
        answers.recv().unwrap_or_else(|_| Ok(Vec::new()))
    });
    (resolver.unwrap(), Server { asked, answer })
}

fn address(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], port))
}

/// Lets the last answer grow old.
fn age(resolver: &Resolver) {
    for name in &mut resolver.handle.shared.lock().names {
        name.told = name.told.and_then(|told| told.checked_sub(FRESH));
    }
}

fn is_looking_up(resolver: &Resolver) -> bool {
    let state = resolver.handle.shared.lock();
    state.names.iter().any(|name| name.asked.is_some())
}

#[test]
fn addresses_need_no_look_up() {
    let (resolver, server) = resolver();
    for (host, expected) in [
        ("127.0.0.1", "127.0.0.1:80"),
        ("[fd00:ec2::23]", "[fd00:ec2::23]:80"),
        ("::1", "[::1]:80"),
    ] {
        let found = resolver.addresses(host, 80, Duration::ZERO).unwrap();
        assert_eq!(found, [expected.parse().unwrap()]);
    }
    assert!(server.asked.try_recv().is_err());
}

#[test]
fn an_answer_is_used_for_a_while_and_whatever_the_case() {
    let (resolver, server) = resolver();
    server.answer.send(Ok(vec![address(1, 0)])).unwrap();
    for host in ["xray.test", "XRAY.test"] {
        let found = resolver.addresses(host, 443, LONG).unwrap();
        assert_eq!(found, [address(1, 443)]);
    }
    assert_eq!(server.asked.try_iter().count(), 1);
    // Another port has a memory of its own, because it has servers of its own.
    server.answer.send(Ok(vec![address(2, 0)])).unwrap();
    let found = resolver.addresses("xray.test", 80, LONG).unwrap();
    assert_eq!(found, [address(2, 80)]);
}

#[test]
fn one_look_up_serves_all_who_wait() {
    let (resolver, server) = resolver();
    let waiters: Vec<_> = (0..4)
        .map(|_| {
            let resolver = resolver.clone();
            thread::spawn(move || resolver.addresses("xray.test", 443, LONG))
        })
        .collect();
    assert_eq!(server.asked.recv().unwrap(), "xray.test");
    server.answer.send(Ok(vec![address(1, 0)])).unwrap();
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap().unwrap(), [address(1, 443)]);
    }
    assert!(server.asked.try_recv().is_err());
}

#[test]
fn a_look_up_that_hangs_ends_with_the_waiters_limit() {
    let (resolver, server) = resolver();
    let error = resolver.addresses("a.test", 443, Duration::from_millis(1));
    assert!(error.unwrap_err().contains("no name server"));
    // It still runs; another name waits behind it, within its own limit.
    assert_eq!(server.asked.recv().unwrap(), "a.test");
    let error = resolver.addresses("b.test", 443, Duration::from_millis(1));
    assert!(error.is_err());
    assert!(server.asked.try_recv().is_err());
    server.answer.send(Ok(vec![address(1, 0)])).unwrap();
    assert_eq!(server.asked.recv().unwrap(), "b.test");
    let found = resolver.addresses("a.test", 443, Duration::ZERO);
    assert_eq!(found, Ok(vec![address(1, 443)]));
}

#[test]
fn the_last_addresses_serve_while_nobody_answers() {
    let (resolver, server) = resolver();
    server.answer.send(Ok(vec![address(1, 0)])).unwrap();
    resolver.addresses("xray.test", 443, LONG).unwrap();
    age(&resolver);
    // The first waits for the new look-up a moment, later ones do not.
    let before = Instant::now();
    let found = resolver.addresses("xray.test", 443, LONG);
    assert_eq!(found, Ok(vec![address(1, 443)]));
    assert!(before.elapsed() >= PATIENCE && before.elapsed() < LONG);
    assert!(is_looking_up(&resolver));
    let found = resolver.addresses("xray.test", 443, Duration::ZERO);
    assert_eq!(found, Ok(vec![address(1, 443)]));
    for _ in 0..2 {
        assert_eq!(server.asked.recv().unwrap(), "xray.test");
    }
    assert!(server.asked.try_recv().is_err());
    // Its answer counts from then on.
    server.answer.send(Ok(vec![address(2, 0)])).unwrap();
    while is_looking_up(&resolver) {
        thread::yield_now();
    }
    let found = resolver.addresses("xray.test", 443, Duration::ZERO);
    assert_eq!(found, Ok(vec![address(2, 443)]));
}

#[test]
fn the_last_addresses_serve_when_the_name_is_not_found_any_more() {
    let (resolver, server) = resolver();
    server.answer.send(Ok(vec![address(1, 0)])).unwrap();
    resolver.addresses("xray.test", 443, LONG).unwrap();
    age(&resolver);
    let broken = || io::Error::other("failed to lookup address information: Try again");
    server.answer.send(Err(broken())).unwrap();
    let found = resolver.addresses("xray.test", 443, LONG);
    assert_eq!(found, Ok(vec![address(1, 443)]));
    // A name that never had an address has none now.
    for (answer, reason) in [
        (Err(broken()), "Try again"),
        (Ok(Vec::new()), "it has no address"),
    ] {
        server.answer.send(answer).unwrap();
        let found = resolver.addresses("other.test", 443, LONG);
        assert_eq!(found, Err(reason.to_owned()));
    }
}

#[test]
fn names_are_few_and_one_that_is_waited_for_is_not_forgotten() {
    let (resolver, server) = resolver();
    let ask = |port| resolver.addresses("host.test", port, Duration::ZERO);
    for port in 1..=16 {
        assert!(ask(port).unwrap_err().contains("no name server"));
    }
    assert!(ask(17).unwrap_err().contains("too many"));
    server.answer.send(Ok(vec![address(1, 0)])).unwrap();
    server.asked.recv().unwrap();
    // The second look-up has begun, so the first has ended.
    server.asked.recv().unwrap();
    assert_eq!(ask(1), Ok(vec![address(1, 1)]));
    assert!(ask(17).unwrap_err().contains("no name server"));
    assert_eq!(resolver.handle.shared.lock().names.len(), MAX_NAMES);
    assert!(ask(1).unwrap_err().contains("too many"));
}

#[test]
fn the_address_that_works_is_the_first_next_time() {
    let (resolver, server) = resolver();
    let answer = vec![address(1, 0), address(2, 0)];
    server.answer.send(Ok(answer)).unwrap();
    resolver.addresses("xray.test", 443, LONG).unwrap();
    resolver.record("Xray.test", address(2, 443), true);
    let found = resolver.addresses("xray.test", 443, LONG);
    assert_eq!(found, Ok(vec![address(2, 443), address(1, 443)]));
}

#[test]
fn the_thread_ends_with_the_last_handle() {
    let (resolver, server) = resolver();
    let clone = resolver.clone();
    drop(resolver);
    server.answer.send(Ok(vec![address(1, 0)])).unwrap();
    clone.addresses("xray.test", 443, LONG).unwrap();
    server.asked.recv().unwrap();
    drop(clone);
    assert!(server.asked.recv().is_err(), "the thread still runs");
}
