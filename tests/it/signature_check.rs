//! The fake X-Ray's own check of signatures: those that three AWS SDKs agree on, and what it refuses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xray_test_support::http::Request;
use xray_test_support::keys::Keys;
use xray_test_support::sigv4::{SignatureError, verify};

const BODY: &str = r#"{"TraceSegmentDocuments":["{\"trace_id\":\"1-5759e988-bd862e3fe1be46a994272793\",\"id\":\"defdfd9912dc5a56\",\"start_time\":1461096053.37518,\"end_time\":1461096053.4042,\"name\":\"test.elasticbeanstalk.com\"}"]}"#;
const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLE==";
const SIGNED: &str = "content-type;host;x-amz-date";
const GOLDEN: &str = "6e28ff2a6f0f0b3ca7a516880341a943cc8fe2c4f25652ae136b8d82dd318510";

/// 20150830T123600Z, when the golden requests were signed.
fn then() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_440_938_160)
}

fn keys(token: Option<&str>) -> [Keys; 1] {
    [Keys::new(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        token,
    )]
}

fn signed(headers: &[(&str, &str)], scope: &str, names: &str, signature: &str) -> Request {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/{scope}/aws4_request, SignedHeaders={names}, Signature={signature}"
    );
    let all = headers
        .iter()
        .copied()
        .chain([
            ("x-amz-date", "20150830T123600Z"),
            ("authorization", &authorization),
        ])
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Request {
        method: "POST".to_owned(),
        target: "/TraceSegments".to_owned(),
        headers: all.collect(),
        body: BODY.as_bytes().to_vec(),
    }
}

fn golden() -> Request {
    let headers = [
        ("Host", "xray.us-east-1.amazonaws.com"),
        ("Content-Type", "application/json"),
    ];
    signed(&headers, "us-east-1/xray", SIGNED, GOLDEN)
}

fn check(request: &Request) -> Result<(), SignatureError> {
    verify(request, &keys(None), "us-east-1", "xray", then())
}

#[test]
fn accepts_the_golden_signatures() {
    assert_eq!(check(&golden()), Ok(()));

    let headers = [
        ("Host", "xray.eu-west-1.amazonaws.com"),
        ("Content-Type", "application/json"),
        ("X-Amzn-Xray-Timestamp", "1440938160.000000000"),
        ("X-Amz-Security-Token", TOKEN),
        ("User-Agent", "not signed"),
    ];
    let with_token = signed(
        &headers,
        "eu-west-1/xray",
        "content-type;host;x-amz-date;x-amz-security-token;x-amzn-xray-timestamp",
        "b52de3c412500dad1aa37202444da0a699eac200a227f2cd9f7421d2bed8830f",
    );
    let keys = keys(Some(TOKEN));
    assert_eq!(
        verify(&with_token, &keys, "eu-west-1", "xray", then()),
        Ok(())
    );

    let headers = [
        ("Host", "127.0.0.1:8080"),
        ("Content-Type", "application/json"),
    ];
    let mut empty = signed(
        &headers,
        "us-west-2/xray",
        SIGNED,
        "11a2423d63abb698d9a7e7644fb54a4ae2e037212ddb7b83e02111b02116ccdc",
    );
    empty.target = "/GetSamplingRules".to_owned();
    empty.body.clear();
    let keys = self::keys(None);
    assert_eq!(verify(&empty, &keys, "us-west-2", "xray", then()), Ok(()));
}

#[test]
fn refuses_what_is_wrong() {
    type Spoil = fn(&mut Request);
    let cases: [(&str, Spoil); 8] = [
        ("a changed body", |r| r.body.push(b' ')),
        ("another path", |r| r.target.push('s')),
        ("a query", |r| r.target.push_str("?a=1")),
        ("another method", |r| r.method = "PUT".to_owned()),
        ("another host", |r| {
            r.headers[0].1 = "localhost".to_owned();
        }),
        ("an unsigned x-amz header", |r| {
            r.headers
                .push(("X-Amz-Content-Sha256".to_owned(), "0".to_owned()));
        }),
        ("two Authorization headers", |r| {
            let authorization = r.headers[3].clone();
            r.headers.push(authorization);
        }),
        ("two dates", |r| {
            let date = r.headers[2].clone();
            r.headers.push(date);
        }),
    ];
    for (what, spoil) in cases {
        let mut request = golden();
        spoil(&mut request);
        assert!(
            matches!(check(&request), Err(SignatureError::Bad(_))),
            "{what}"
        );
    }
}

#[test]
fn names_what_time_or_another_key_would_mend() {
    let mut unsigned = golden();
    unsigned.headers.pop();
    assert_eq!(check(&unsigned), Err(SignatureError::Unsigned));

    let stranger = [Keys::new("AKIDOTHER", "secret", None)];
    let verdict = verify(&golden(), &stranger, "us-east-1", "xray", then());
    assert!(matches!(verdict, Err(SignatureError::UnknownKey(_))));
    let verdict = verify(&golden(), &keys(Some(TOKEN)), "us-east-1", "xray", then());
    assert!(matches!(verdict, Err(SignatureError::UnknownKey(_))));

    let ended = |end| [keys(None)[0].clone().until(end)];
    let verdict = verify(&golden(), &ended(then()), "us-east-1", "xray", then());
    assert_eq!(verdict, Ok(()));
    let past = ended(then() - Duration::from_secs(1));
    let verdict = verify(&golden(), &past, "us-east-1", "xray", then());
    assert!(matches!(verdict, Err(SignatureError::Expired(_))));

    for (apart, tolerated) in [(300, true), (301, false)] {
        let apart = Duration::from_secs(apart);
        for now in [then() + apart, then() - apart] {
            let verdict = verify(&golden(), &keys(None), "us-east-1", "xray", now);
            assert_eq!(verdict.is_ok(), tolerated, "{apart:?}: {verdict:?}");
        }
    }
}
