use super::*;
use proptest::prelude::*;

/// Feeds `pieces`, then says that no more will come.
fn read(pieces: &[&[u8]]) -> Result<(Answer, bool), BadAnswer> {
    let mut reader = Reader::default();
    for piece in pieces {
        reader.feed(piece);
        if let Step::Answer(answer, is_reusable) = reader.step(false)? {
            return Ok((answer, is_reusable));
        }
    }
    match reader.step(true)? {
        Step::Answer(answer, is_reusable) => Ok((answer, is_reusable)),
        Step::NeedMore => panic!("nothing more can come"),
    }
}

fn read_text(text: &str) -> Result<(Answer, bool), BadAnswer> {
    read(&[text.replace('\n', "\r\n").as_bytes()])
}

#[test]
fn every_framing() {
    for (text, status, body, is_reusable) in [
        ("HTTP/1.1 200 OK\ncontent-length: 2\n\nok", 200, "ok", true),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", 200, "", true),
        ("HTTP/1.1 400 \ncontent-length: 2, 2\n\nno", 400, "no", true),
        (
            "HTTP/1.1 200 OK\ncontent-length: 2\ncontent-length: 2\n\nok",
            200,
            "ok",
            true,
        ),
        ("HTTP/1.1 204 None\ncontent-length: 9\n\n", 204, "", true),
        ("HTTP/1.1 304 Same\n\n", 304, "", true),
        (
            "HTTP/1.1 200 OK\ntransfer-encoding: Chunked\n\n2\nok\n1;x\n!\n0\na: b\n\n",
            200,
            "ok!",
            true,
        ),
        (
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\ncontent-length: 1\n\n2\nok\n0\n\n",
            200,
            "ok",
            false,
        ),
        (
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n2  \nok\n0 \n\n",
            200,
            "ok",
            true,
        ),
        ("HTTP/1.1 200 OK\n\nto the end", 200, "to the end", false),
        ("HTTP/1.0 200 OK\ncontent-length: 2\n\nok", 200, "ok", false),
        (
            "HTTP/1.1 200 OK\nconnection: x, Close\ncontent-length: 2\n\nok",
            200,
            "ok",
            false,
        ),
        (
            "HTTP/1.1 200 OK\ncontent-length: 2\n\nok and more",
            200,
            "ok",
            false,
        ),
        (
            "HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Hints\na: b\n\nHTTP/1.1 200 OK\ncontent-length: 2\n\nok",
            200,
            "ok",
            true,
        ),
    ] {
        let (answer, reusable) = read_text(text).unwrap_or_else(|bad| panic!("{text}: {bad}"));
        assert_eq!(answer.status, status, "{text}");
        assert_eq!(answer.body.escape_ascii().to_string(), body, "{text}");
        assert_eq!(reusable, is_reusable, "{text}");
    }
}

#[test]
fn the_headers_that_matter() {
    let (answer, _) = read_text(
        "HTTP/1.1 429 Too Many\nX-Amzn-ErrorType: ThrottledException:\nRETRY-AFTER: 7\n\
         Date: Wed, 25 Nov 2026 03:00:00 GMT\nAge: 3\ncontent-length: 0\n\n",
    )
    .unwrap();
    assert_eq!(answer.error_type.as_deref(), Some("ThrottledException:"));
    assert_eq!(answer.retry_after.as_deref(), Some("7"));
    assert_eq!(
        answer.date.as_deref(),
        Some("Wed, 25 Nov 2026 03:00:00 GMT")
    );
    assert!(answer.aged);
}

#[test]
fn what_is_no_answer_says_why() {
    let long = |what: &str, length| what.repeat(length / what.len() + 1);
    let endless_head = format!("HTTP/1.1 200 OK\na: {}", long("b", MAX_HEAD));
    let many_headers = format!(
        "HTTP/1.1 200 OK\n{}\n",
        long("a: b\n", 5 * (MAX_HEADERS + 1))
    );
    let long_body = format!("HTTP/1.1 200 OK\n\n{}", long("b", MAX_BODY));
    let long_chunk = format!(
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n{:x}\n{}",
        MAX_BODY + 1,
        long("b", MAX_BODY)
    );
    let malformed = "the answer is not HTTP";
    let cut_off = "closed in the middle";
    let too_long = "is longer than";
    for (text, expected) in [
        ("", "closed without an answer"),
        ("HTTP/1.1 200", cut_off),
        ("HTTP/1.1 200 OK\ncontent-length: 3\n\nok", cut_off),
        (
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n2\nok\n",
            cut_off,
        ),
        ("HTTP/1.1 100 Continue\n\n", "closed without an answer"),
        ("SSH-2.0-OpenSSH_9.2\n", malformed),
        ("HTTP/1.1 2000 OK\n\n", malformed),
        ("HTTP/1.1 200 OK\ncontent-length: -1\n\n", malformed),
        ("HTTP/1.1 200 OK\ncontent-length:\n\n", malformed),
        ("HTTP/1.1 200 OK\ncontent-length: 1, 2\n\n", malformed),
        (
            "HTTP/1.1 200 OK\ncontent-length: 1\ncontent-length: 2\n\n",
            malformed,
        ),
        ("HTTP/1.1 200 OK\ntransfer-encoding: gzip\n\n", malformed),
        (
            "HTTP/1.1 200 OK\ntransfer-encoding: gzip\ntransfer-encoding: chunked\n\n0\n\n",
            malformed,
        ),
        (
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\nx\n",
            malformed,
        ),
        (
            "HTTP/1.1 200 OK\ncontent-length: 99999999999999999999\n\n",
            too_long,
        ),
        (&endless_head, too_long),
        (&many_headers, too_long),
        (&long_body, too_long),
        (&long_chunk, too_long),
    ] {
        let bad = read_text(text).unwrap_err().to_string();
        assert!(bad.contains(expected), "{:.60}: {bad}", text);
    }
}

fn answers() -> impl Strategy<Value = Vec<u8>> {
    let head = prop_oneof![
        Just("HTTP/1.1 200 OK\r\n"),
        Just("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\n"),
        Just("HTTP/1.0 503 Gone\r\n"),
        Just("garbage\r\n"),
    ];
    let header = prop_oneof![
        Just("content-length: 5\r\n"),
        Just("transfer-encoding: chunked\r\n"),
        Just("date: today\r\n"),
        Just("connection: close\r\n"),
        Just(": nobody\r\n"),
    ];
    let body = prop_oneof![
        Just("hello".to_owned()),
        Just("5\r\nhello\r\n0\r\n\r\n".to_owned()),
        "[0-9a-f\r\n;:]{0,12}",
    ];
    let headers = proptest::collection::vec(header, 0..4);
    (head, headers, body).prop_map(|(head, headers, body)| {
        format!("{head}{}\r\n{body}", headers.concat()).into_bytes()
    })
}

proptest! {
    #[test]
    fn says_the_same_however_it_is_cut(
        bytes in answers(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces.push(&bytes[from..]);
        // Whether more follows than belongs to the answer may not be there to be seen yet.
        let said = |read: Result<(Answer, bool), BadAnswer>| read.map(|(answer, _)| format!("{answer:?}"));
        prop_assert_eq!(said(read(&pieces)), said(read(&[&bytes])));
    }

    #[test]
    fn nothing_makes_it_panic(bytes: Vec<u8>) {
        let _ = read(&[&bytes]);
        let _ = read(&[b"HTTP/1.1 200 OK\r\n", &bytes]);
        let _ = read(&[b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &bytes]);
    }
}
