use proptest::prelude::*;

use super::*;

/// Everything a stream of bytes amounts to: its requests, then a refusal or silence.
fn read(pieces: &[&[u8]]) -> (Vec<Request>, Option<RequestRefusal>, usize) {
    read_by(pieces, RequestReader::feed)
}

/// The same, but received straight into a body where one is to come.
fn read_in_place(pieces: &[&[u8]]) -> (Vec<Request>, Option<RequestRefusal>, usize) {
    read_by(pieces, |reader, piece| match reader.body() {
        Some(body) => body.extend_from_slice(piece),
        None => reader.feed(piece),
    })
}

fn read_by(
    pieces: &[&[u8]],
    receive: impl Fn(&mut RequestReader, &[u8]),
) -> (Vec<Request>, Option<RequestRefusal>, usize) {
    let mut reader = RequestReader::default();
    let (mut requests, mut continues) = (Vec::new(), 0);
    for piece in pieces {
        receive(&mut reader, piece);
        loop {
            match reader.step() {
                Ok(ReadStep::Request(request)) => requests.push(request),
                Ok(ReadStep::Continue) => continues += 1,
                Ok(ReadStep::NeedMore) => break,
                Err(refusal) => return (requests, Some(refusal), continues),
            }
        }
    }
    (requests, None, continues)
}

#[track_caller]
fn one(stream: &str) -> Request {
    let (mut requests, refusal, _) = read(&[stream.as_bytes()]);
    assert_eq!(refusal, None, "{stream:?}");
    assert_eq!(requests.len(), 1, "{stream:?}");
    requests.remove(0)
}

#[track_caller]
fn refused(stream: &str, status: u16) {
    let (requests, refusal, _) = read(&[stream.as_bytes()]);
    assert_eq!(
        refusal.map(RequestRefusal::status),
        Some(status),
        "{stream:?}"
    );
    assert!(requests.is_empty(), "{stream:?}");
}

#[test]
fn bodies_are_delimited_as_the_head_says() {
    let rows: &[(&str, &str)] = &[
        // ureq-proto and others wait for a chunked body here; RFC 9112, 6.3 says it is empty.
        ("POST / HTTP/1.1\r\nHost: h\r\n\r\n", ""),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            "",
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
            "{}",
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: 002\r\n\r\n{}",
            "{}",
        ),
        ("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", "{}"),
        // Typed by a person; what follows the head is the body, whatever it looks like.
        (
            "POST / HTTP/1.1\nHost: h\nContent-Length: 4\n\n{\r\n}",
            "{\r\n}",
        ),
        ("\nPOST / HTTP/1.0\nContent-Length: 2\n\n{}", "{}"),
        // A line feed in the body is no line end.
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n\na\n",
            "\na\n",
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n\
             1\r\n{\r\n00A;x=\"y\"\r\n0123456789\r\n1\r\n}\r\n0\r\n\r\n",
            "{0123456789}",
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\n{}\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n",
            "{}",
        ),
        (
            "\r\n\r\nPOST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}",
            "{}",
        ),
    ];
    for (stream, body) in rows {
        assert_eq!(*one(stream).body, body.as_bytes(), "{stream:?}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(MAX_HEAD));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
    let big_body = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        MAX_BODY + 1
    );
    let big_chunk = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        MAX_BODY + 1
    );
    let rows: &[(&str, u16)] = &[
        ("\x16\x03\x01\x02\x00\x01\x00", 400),
        ("GET /\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", 400),
        ("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("\r\nGET / HTTP/1.1\nHost: h\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\nA: b\r\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: h\nA: b\rc\n\n", 400),
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET index HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2, 2\r\n\r\n{}",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +2\r\n\r\n{}",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -2\r\n\r\n{}",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x2\r\n\r\n{}",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n{}",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            413,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            501,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n",
            501,
        ),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\n",
            417,
        ),
        (&long_target, 431),
        (&many_headers, 431),
        (&big_body, 413),
        (&big_chunk, 413),
    ];
    for (stream, status) in rows {
        refused(stream, *status);
    }
}

#[test]
fn chunked_bodies_that_could_be_read_in_two_ways_are_refused() {
    let long_extension = format!("1;{}\r\n", "x".repeat(300));
    let long_trailers = format!("0\r\n{}", "A: b\r\n".repeat(MAX_HEAD / 6 + 1));
    for coded in [
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        "0x1\r\n",
        " 1\r\n",
        "1 \r\n",
        "1\n",
        "1\r\r\n",
        "1\r\nab",
        "1\r\na\n",
        "1\r\na\rx",
        "1;a\0\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\n: nameless\r\n\r\n",
        "0\r\nA: b\r\n folded\r\n\r\n",
        "0\r\n\n",
        &long_extension,
        &long_trailers,
    ] {
        let stream =
            format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{coded}");
        refused(&stream, 400);
    }
    // Digits that overflow a machine word are a size like any other.
    refused(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\n",
        413,
    );
}

#[test]
fn a_smaller_limit_for_bodies_holds_for_both_framings() {
    for stream in [
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n",
    ] {
        for (limit, expected) in [
            (10, Err(RequestRefusal::BodyTooLarge)),
            (11, Ok(ReadStep::NeedMore)),
        ] {
            let mut reader = RequestReader::new(limit, Arc::default());
            reader.feed(stream.as_bytes());
            assert_eq!(reader.step(), expected, "{limit} {stream:?}");
        }
    }
}

#[test]
fn the_body_limit_is_exact() {
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {MAX_BODY}\r\n\r\n");
    let body = vec![b'x'; MAX_BODY];
    let (requests, refusal, _) = read(&[head.as_bytes(), &body]);
    assert_eq!((requests.len(), refusal), (1, None));

    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let size = format!("{MAX_BODY:x}\r\n");
    let pieces = [head.as_bytes(), size.as_bytes(), &body];
    let (requests, refusal, _) = read(&[&pieces[..], &[b"\r\n0\r\n\r\n"]].concat());
    assert_eq!((requests.len(), refusal), (1, None));
    let (_, refusal, _) = read(&[&pieces[..], &[b"\r\n1\r\n"]].concat());
    assert_eq!(refusal, Some(RequestRefusal::BodyTooLarge));
}

/// Otherwise many clients that send a head only could hold much memory.
#[test]
fn spare_memory_counts_from_the_first_byte() {
    let spare = Arc::new(SpareBody::default());
    spare.keep(&Arc::new(vec![b'x'; 100_000]));
    let mut reader = RequestReader::new(MAX_BODY, spare);
    for expected in [100_000..110_000, 0..10_000] {
        reader.feed(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 150000\r\n\r\n");
        assert_eq!(reader.step(), Ok(ReadStep::NeedMore));
        assert!(expected.contains(&reader.memory()), "{}", reader.memory());
        reader.feed(&[b'y'; 150_000]);
        assert!(matches!(reader.step(), Ok(ReadStep::Request(_))));
        reader.spare.clear();
    }
}

#[test]
fn a_client_of_http2_is_known_by_its_preface() {
    for (stream, expected) in [
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", RequestRefusal::Http2),
        ("GET / HTTP/2.0\r\n", RequestRefusal::Version),
    ] {
        let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
        for pieces in [&[stream.as_bytes()][..], &bytes] {
            assert_eq!(read(pieces).1, Some(expected), "{stream:?}");
        }
    }
}

#[test]
fn the_connection_stays_open_as_version_and_header_say() {
    let rows: &[(&str, bool)] = &[
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", true),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            false,
        ),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: TE, Close\r\n\r\n",
            false,
        ),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, close\r\n\r\n",
            false,
        ),
        (
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            true,
        ),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        (
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
            false,
        ),
    ];
    for (stream, keep_alive) in rows {
        assert_eq!(one(stream).keep_alive, *keep_alive, "{stream:?}");
    }
}

#[test]
fn nothing_is_read_behind_a_request_that_closes() {
    let (requests, refusal, _) = read(&[b"GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n\xff"]);
    assert_eq!((requests.len(), refusal), (1, None));
}

#[test]
fn targets_become_a_path_and_a_query() {
    let rows: &[(&str, &str, &str)] = &[
        (
            "/GetSamplingRules",
            "/GetSamplingRules",
            "/GetSamplingRules",
        ),
        ("/a%20b?c=d?e", "/a%20b?c=d?e", "/a%20b"),
        ("//h/x", "//h/x", "//h/x"),
        ("http://h:2000/x?y", "/x?y", "/x"),
        ("HTTPS://h", "/", "/"),
        ("http://h?y", "/?y", "/"),
    ];
    for (sent, target, path) in rows {
        let request = one(&format!("GET {sent} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!((request.target.as_str(), request.path()), (*target, *path));
    }
}

#[test]
fn headers_are_found_in_any_case_and_may_be_empty() {
    let request = one("GET / HTTP/1.1\r\nhost: h\r\nAccept-Encoding: \r\nB:1\r\nb: 2 \r\n\r\n");
    assert_eq!(request.header("Host").as_deref(), Some(&b"h"[..]));
    assert_eq!(request.header("accept-encoding").as_deref(), Some(&b""[..]));
    assert_eq!(request.header("b").as_deref(), Some(&b"1, 2"[..]));
    assert_eq!(request.header("c"), None);
}

#[test]
fn continue_is_asked_for_only_when_a_body_is_to_come() {
    let rows: &[(&str, usize)] = &[
        ("HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n", 1),
        ("HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n", 1),
        ("HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n", 0),
        ("HTTP/1.1\r\nHost: h\r\n", 0),
        ("HTTP/1.0\r\nContent-Length: 2\r\n", 0),
    ];
    for (rest, expected) in rows {
        let stream = format!("POST / {rest}Expect: 100-Continue\r\n\r\n");
        let (_, refusal, continues) = read(&[stream.as_bytes()]);
        assert_eq!((refusal, continues), (None, *expected), "{stream:?}");
    }
    // Refused before the client sends what would be thrown away.
    refused(
        "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n",
        413,
    );
}

#[test]
fn no_buffer_is_held_between_requests() {
    let mut reader = RequestReader::default();
    reader.feed(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n12345");
    assert_eq!(reader.step(), Ok(ReadStep::NeedMore));
    assert!(!reader.is_idle());
    assert!(reader.memory() >= 5);
    reader.feed(b"6789");
    assert!(matches!(reader.step(), Ok(ReadStep::Request(_))));
    assert!(reader.is_idle());
    assert_eq!(reader.memory(), 0);
}

#[test]
fn a_declared_length_takes_no_memory_until_bytes_come() {
    let mut reader = RequestReader::default();
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {MAX_BODY}\r\n\r\nab");
    reader.feed(head.as_bytes());
    assert_eq!(reader.step(), Ok(ReadStep::NeedMore));
    assert!(reader.memory() < 512, "{}", reader.memory());
}

#[test]
fn debug_is_short_and_shows_no_secrets() {
    let request = one("GET /p?token=s3cret HTTP/1.1\r\nHost: h\r\nAuthorization: s3cret\r\n\r\n");
    assert_eq!(format!("{request:?}"), "GET /p (2 headers, 0 bytes)");
    let long = "a".repeat(5000);
    let request = one(&format!("{long} /{long} HTTP/1.0\r\n\r\n"));
    assert!(format!("{request:?}").len() < 300);
}

#[test]
fn response_heads_are_as_the_client_needs_them() {
    let headers = [("X-A".to_owned(), b"\xe9".to_vec())];
    let rows: &[(u16, BodyFraming, Persistence, &[u8])] = &[
        (
            200,
            BodyFraming::Length(2),
            Persistence::Open,
            b"HTTP/1.1 200 OK\r\nX-A: \xe9\r\nContent-Length: 2\r\n\r\n",
        ),
        (
            200,
            BodyFraming::Chunked,
            Persistence::Close,
            b"HTTP/1.1 200 OK\r\nX-A: \xe9\r\nTransfer-Encoding: chunked\r\n\
              Connection: close\r\n\r\n",
        ),
        (
            204,
            BodyFraming::Absent,
            Persistence::KeepAlive,
            b"HTTP/1.1 204 No Content\r\nX-A: \xe9\r\nConnection: keep-alive\r\n\r\n",
        ),
        (
            599,
            BodyFraming::UntilClose,
            Persistence::Close,
            b"HTTP/1.1 599 \r\nX-A: \xe9\r\nConnection: close\r\n\r\n",
        ),
    ];
    for (status, framing, persistence, expected) in rows {
        let mut out = Vec::new();
        response_head(&mut out, *status, &headers, *framing, *persistence);
        assert_eq!(out, *expected);
    }
}

/// Streams made of the pieces that decide how HTTP is read, valid and not.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"POST /GetSamplingRules HTTP/1.1\r\nHost: h\r\n",
        b"GET / HTTP/1.0\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: keep-alive\r\n",
        b"Expect: 100-continue\r\n",
        b"A: b\r\n",
        b"\r\n",
        b"abc",
        b"3\r\nabc\r\n",
        b"0\r\n",
        b"\n",
        b"POST / HTTP/1.1\nHost: h\n",
        b"Content-Length: 3\n",
        b"\r",
        b" ",
        b":",
        b"HTTP/2.0",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    let piece = prop_oneof![
        20 => prop::sample::select(PIECES).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..6),
        1 => (0usize..3).prop_map(|n| vec![b'a'; n * MAX_HEAD / 2]),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_cuts_between_reads_change_nothing(
        stream in stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = read(&[&stream]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().rev() {
            let (front, piece) = rest.split_at(*cut);
            pieces.insert(0, piece);
            rest = front;
        }
        pieces.insert(0, rest);
        prop_assert_eq!(&read(&pieces), &whole);
        prop_assert_eq!(&read_in_place(&pieces), &whole);
        if stream.len() < 2000 {
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(&read(&bytes), &whole);
            prop_assert_eq!(&read_in_place(&bytes), &whole);
        }
    }

    #[test]
    fn a_valid_request_comes_through_whole(
        body in prop::collection::vec(any::<u8>(), 0..600),
        sizes in prop::option::of(prop::collection::vec(1usize..50, 1..20)),
    ) {
        let mut stream = b"POST /x HTTP/1.1\r\nHost: h\r\n".to_vec();
        match sizes {
            None => {
                stream.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                stream.extend_from_slice(&body);
            }
            Some(sizes) => {
                stream.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                let mut rest = &body[..];
                for size in sizes.iter().cycle() {
                    if rest.is_empty() {
                        break;
                    }
                    let (chunk, tail) = rest.split_at((*size).min(rest.len()));
                    chunk_start(&mut stream, chunk.len());
                    stream.extend_from_slice(chunk);
                    stream.extend_from_slice(b"\r\n");
                    rest = tail;
                }
                chunk_end(&mut stream);
            }
        }
        let twice = [&stream[..], &stream[..]].concat();
        let (first, rest) = twice.split_at(stream.len() - body.len() / 2);
        for (requests, refusal, _) in [read(&[&twice]), read_in_place(&[first, rest])] {
            prop_assert_eq!(refusal, None);
            prop_assert_eq!(requests.len(), 2);
            prop_assert!(requests.iter().all(|request| *request.body == body));
        }
    }
}
