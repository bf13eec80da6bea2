//! Which connections are kept, and how they end.

use std::io::Write;
use std::sync::Barrier;
use std::sync::mpsc::channel;
use std::thread;

use super::servers::*;
use super::*;

#[test]
fn connections_are_used_again_and_no_more_are_kept_than_allowed() {
    // With a body, the connection is busy until it has been read.
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (accepted, accepts) = channel();
    let (port, _server) = serve(usize::MAX, move |mut stream| {
        let _ = accepted.send(());
        thread::spawn(move || answer_all(&mut stream, ANSWER));
    });
    let url = format!("http://127.0.0.1:{port}/");
    // Two idle connections are kept.
    let agent = factory("", &nothing).agent(&url).unwrap();
    let together = |senders| {
        let barrier = Barrier::new(senders);
        thread::scope(|scope| {
            for _ in 0..senders {
                scope.spawn(|| {
                    let mut response = agent.post(&url).send(&b"x"[..]).unwrap();
                    barrier.wait();
                    response.body_mut().read_to_vec().unwrap();
                });
            }
        });
        accepts.try_iter().count()
    };
    assert_eq!(together(1), 1);
    assert_eq!(together(1), 0);
    assert_eq!(together(4), 3);
    assert_eq!(together(2), 0);
    assert_eq!(together(4), 2);
}

#[test]
fn an_idle_connection_that_the_other_side_closed_is_not_used() {
    let (closed, has_closed) = channel();
    let (port, server) = serve(2, move |mut stream| {
        request(&mut stream).unwrap();
        stream.write_all(EMPTY_OK).unwrap();
        drop(stream);
        closed.send(()).unwrap();
    });
    let url = format!("http://127.0.0.1:{port}/");
    let agent = factory("", &nothing).agent(&url).unwrap();
    assert_eq!(status(agent.get(&url).call()), Ok(200));
    has_closed.recv().unwrap();
    assert_eq!(status(agent.get(&url).call()), Ok(200));
    server.join().unwrap();
}

/// It may close just when the next request is on its way. The caller may ask once more then.
#[test]
fn a_connection_closed_at_the_next_request_is_an_error_of_its_own() {
    let authority = Authority::new("A");
    let config = server_config(authority.issue("localhost"));
    for scheme in ["http", "https"] {
        let config = Arc::clone(&config);
        let (port, server) = serve(1, move |mut stream| {
            let one_answer = |stream: &mut dyn ReadWrite| {
                let mut stream = stream;
                request(&mut stream).unwrap();
                stream.write_all(EMPTY_OK).unwrap();
                stream.flush().unwrap();
                request(&mut stream).unwrap();
            };
            match scheme {
                "http" => one_answer(&mut stream),
                _ => one_answer(&mut tls(&config, stream)),
            }
        });
        let url = format!("{scheme}://localhost:{port}/");
        let agent = trusting(&authority).agent(&url).unwrap();
        assert_eq!(status(agent.get(&url).call()), Ok(200));
        let error = status(agent.get(&url).call()).unwrap_err();
        assert_eq!(error.kind, TransportErrorKind::ClosedIdle, "{error}");
        assert!(error.to_string().starts_with("localhost:"), "{error}");
        server.join().unwrap();
    }
}

trait ReadWrite: std::io::Read + Write {}
impl<T: std::io::Read + Write> ReadWrite for T {}

#[test]
fn a_stopped_agent_lets_a_request_that_waits_fail_at_once() {
    let authority = Authority::new("A");
    let config = server_config(authority.issue("localhost"));
    let (asked, has_asked) = channel();
    let (port, server) = serve(1, move |stream| {
        let mut tls = tls(&config, stream);
        request(&mut tls).unwrap();
        asked.send(()).unwrap();
        // Until the client hangs up.
        request(&mut tls).is_none()
    });
    let url = format!("https://localhost:{port}/");
    let agent = trusting(&authority).agent(&url).unwrap();
    let waiting = thread::spawn({
        let (agent, url) = (agent.clone(), url.clone());
        move || status(agent.get(&url).call())
    });
    has_asked.recv().unwrap();
    agent.shutdown();
    assert!(waiting.join().unwrap().is_err());
    assert_eq!(server.join().unwrap(), [true]);
}
