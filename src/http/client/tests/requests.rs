//! What requests and answers look like.

use std::io::Read;

use super::servers::*;
use super::*;

const LARGE: usize = 300_000;

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 % 251) as u8).collect()
}

#[test]
fn a_request_has_no_header_that_nobody_asked_for() {
    let (url, seen) = answer_once("HTTP/1.1 307 x\r\nLocation: /y\r\nContent-Length: 2\r\n\r\nhi");
    let agent = factory("", &nothing).agent(&url).unwrap();
    let mut response = agent
        .post(&url)
        .header("x-a", "b")
        .send(&b"{}"[..])
        .unwrap();
    assert_eq!(response.status(), 307);
    assert_eq!(response.body_mut().read_to_string().unwrap(), "hi");
    let head = seen.join().unwrap().remove(0).to_ascii_lowercase();
    let mut names: Vec<_> = head
        .lines()
        .filter_map(|line| Some(line.split_once(": ")?.0))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "host", "user-agent", "x-a"]);
    assert!(head.contains("user-agent: xray/test\r\n"), "{head}");
}

#[test]
fn metadata_answers_as_they_are() {
    let (url, seen) = answer_once("HTTP/1.1 302 x\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n");
    let agent = metadata_agent(&Resolver::start().unwrap());
    assert_eq!(agent.get(&url).call().unwrap().status(), 302);
    assert!(seen.join().unwrap()[0].starts_with("GET / HTTP/1.1\r\n"));
}

#[test]
fn metadata_is_never_asked_with_tls() {
    let agent = metadata_agent(&Resolver::start().unwrap());
    let (port, server) = serve(1, |_| ());
    let error = status(agent.get(format!("https://127.0.0.1:{port}/")).call()).unwrap_err();
    server.join().unwrap();
    assert_eq!(error.kind, TransportErrorKind::Tls, "{error}");
}

#[test]
fn headers_may_be_long_but_not_too_long() {
    for (length, is_fine) in [(7_000, true), (9_000, false), (100_000, false)] {
        let long = "x".repeat(length);
        let answer = format!("HTTP/1.1 200 OK\r\nX: {long}\r\nContent-Length: 0\r\n\r\n");
        let (url, seen) = answer_once(answer);
        let answer = ask(&factory("", &nothing), &url);
        assert_eq!(answer.is_ok(), is_fine, "{answer:?}");
        if let Err(error) = answer {
            assert!(
                error.to_string().contains("longer than 8192 bytes"),
                "{error}"
            );
        }
        seen.join().unwrap();
    }
}

#[test]
fn bodies_go_and_come_whole() {
    let authority = Authority::new("A");
    let config = server_config(authority.issue("localhost"));
    let echo = |request: (String, Vec<u8>)| {
        let body = request.1;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    };
    for scheme in ["http", "https"] {
        let config = Arc::clone(&config);
        let (port, server) = serve(1, move |stream| {
            let mut stream: Box<dyn Stream> = match scheme {
                "http" => Box::new(stream),
                _ => Box::new(tls(&config, stream)),
            };
            let mut count = 0;
            while let Some(request) = request(&mut stream) {
                stream.write_all(&echo(request)).unwrap();
                stream.flush().unwrap();
                count += 1;
            }
            count
        });
        let url = format!("{scheme}://localhost:{port}");
        let agent = trusting(&authority).agent(&url).unwrap();
        let lengths = [0, 1, 30_000, 33_000, 65_536, LARGE, 1_000_000];
        for length in lengths {
            let body = body(length);
            let mut response = agent.post(&url).send(&body[..]).unwrap();
            let mut came = Vec::new();
            response
                .body_mut()
                .as_reader()
                .read_to_end(&mut came)
                .unwrap();
            assert!(came == body, "{scheme} {length}");
        }
        drop(agent);
        assert_eq!(
            server.join().unwrap(),
            [lengths.len()],
            "{scheme}: one connection"
        );
    }
}

trait Stream: Read + std::io::Write {}
impl<T: Read + std::io::Write> Stream for T {}

/// Head and body in one piece, so that one system call writes them and one reads them.
#[test]
fn a_small_request_is_one_write() {
    let (port, server) = serve(1, |mut stream| {
        let mut piece = vec![0; 64 * 1024];
        let amount = stream.read(&mut piece).unwrap();
        piece.truncate(amount);
        std::io::Write::write_all(&mut stream, EMPTY_OK).unwrap();
        piece
    });
    let url = format!("http://127.0.0.1:{port}/");
    let agent = factory("", &nothing).agent(&url).unwrap();
    let body = body(30_000);
    assert_eq!(agent.post(&url).send(&body[..]).unwrap().status(), 200);
    let piece = server.join().unwrap().remove(0);
    assert!(piece.starts_with(b"POST / HTTP/1.1\r\n"));
    assert!(piece.ends_with(&body), "{} bytes came", piece.len());
}

/// Who accepts it then cannot know what was in it.
#[test]
fn who_refuses_before_the_end_of_the_body_is_heard() {
    // More than all buffers between the two hold.
    let body = body(16_000_000);
    for (status_line, expected) in [("413 Too Large", Some(413)), ("200 OK", None)] {
        let (port, server) = serve(1, move |mut stream| {
            // Closing with something unread resets the connection.
            stream.read_exact(&mut [0; 1000]).unwrap();
            let answer = format!("HTTP/1.1 {status_line}\r\nContent-Length: 0\r\n\r\n");
            std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
        });
        let url = format!("http://127.0.0.1:{port}/");
        let agent = factory("", &nothing).agent(&url).unwrap();
        assert_eq!(status(agent.post(&url).send(&body[..])).ok(), expected);
        server.join().unwrap();
    }
}

#[test]
fn no_answer_is_an_error_that_names_the_host() {
    for (answer, text) in [
        ("", "the host closed the connection before its answer ended"),
        ("HTTP/1.1 200 OK\r\n", "the host closed the connection"),
        (
            "SSH-2.0-OpenSSH\r\n\r\n",
            "the host does not answer as an HTTP server does",
        ),
    ] {
        let (url, seen) = answer_once(answer);
        let error = ask(&factory("", &nothing), &url).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.kind, TransportErrorKind::Other);
        seen.join().unwrap();
    }
}
