//! The HTTP reader: never panics, reads the same however the bytes are cut, keeps to its limits,
//! and gives only requests that any other server reads in the same way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use xray::http::server::{
    MAX_BODY, MAX_HEAD, MAX_HEADERS, ReadStep, Request, RequestReader, RequestRefusal,
};

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Request>, Option<RequestRefusal>) {
    let mut reader = RequestReader::default();
    let mut requests = Vec::new();
    for piece in pieces {
        reader.feed(piece);
        loop {
            match reader.step() {
                Ok(ReadStep::Request(request)) => requests.push(request),
                Ok(ReadStep::Continue) => {}
                Ok(ReadStep::NeedMore) => break,
                Err(refusal) => {
                    assert_eq!(reader.step(), Err(refusal));
                    assert!(!reader.is_idle() && reader.memory() == 0);
                    return (requests, Some(refusal));
                }
            }
        }
    }
    (requests, None)
}

/// The request as a careful client would write it.
fn written(request: &Request) -> Vec<u8> {
    let version = if request.http10 { "1.0" } else { "1.1" };
    let mut out = format!("{} {} HTTP/{version}\r\n", request.method, request.target).into_bytes();
    for (name, value) in &request.headers {
        let framing = ["content-length", "transfer-encoding", "expect"];
        if framing
            .iter()
            .any(|framing| name.eq_ignore_ascii_case(framing))
        {
            continue;
        }
        out.extend_from_slice(format!("{name}: ").as_bytes());
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", request.body.len()).as_bytes());
    out.extend_from_slice(&request.body);
    out
}

fn check(request: &Request) {
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    assert!(is_token(&request.method));
    assert!(
        request.target.starts_with('/') && request.target.bytes().all(|b| b.is_ascii_graphic())
    );
    assert!(request.headers.len() <= MAX_HEADERS && request.body.len() <= MAX_BODY);
    for (name, value) in &request.headers {
        assert!(is_token(name));
        assert!(!value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
    }
    let again = written(request);
    // The length written out may be longer than the chunks that it replaces.
    if again.len() - request.body.len() < MAX_HEAD && request.headers.len() < MAX_HEADERS {
        let (requests, refusal) = read([again.as_slice()].into_iter());
        assert_eq!(refusal, None);
        assert_eq!(requests.len(), 1);
        let read = &requests[0];
        assert!(read.method == request.method && read.target == request.target);
        assert!(read.body == request.body && read.keep_alive == request.keep_alive);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, stream)) = data.split_first() else {
        return;
    };
    let whole = read([stream].into_iter());
    let cut = read(stream.chunks(usize::from(size).max(1)));
    assert_eq!(whole, cut);
    whole.0.iter().for_each(check);
});
