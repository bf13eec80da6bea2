use super::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

const BODY: &str = r#"{"TraceSegmentDocuments":["{\"trace_id\":\"1-5759e988-bd862e3fe1be46a994272793\",\"id\":\"defdfd9912dc5a56\",\"start_time\":1461096053.37518,\"end_time\":1461096053.4042,\"name\":\"test.elasticbeanstalk.com\"}"]}"#;
const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLE==";
const JSON: (&str, &str) = ("content-type", "application/json");

fn keys(token: Option<&str>) -> Credentials {
    Credentials::new(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        token.map(str::to_owned),
        None,
        "test",
    )
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A case of the table below: what is signed, and the signature that botocore, the Go SDK and
/// aws-sigv4 all make of it.
struct Golden<'a> {
    request: SignRequest<'a>,
    signed_headers: &'a str,
    signature: &'a str,
}

fn check(golden: &Golden<'_>) {
    let signed = sign(&golden.request).unwrap();
    let value = |name: &str| {
        let found = signed.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(
        value("authorization").unwrap(),
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/{}/{}/aws4_request, \
             SignedHeaders={}, Signature={}",
            golden.request.region, golden.request.service, golden.signed_headers, golden.signature
        )
    );
    assert_eq!(value("x-amz-date"), Some("20150830T123600Z"));
    let token = golden.request.credentials.session_token();
    assert_eq!(value("x-amz-security-token"), token);
}

#[test]
fn golden_signatures() {
    let (plain, session) = (keys(None), keys(Some(TOKEN)));
    let base = || SignRequest {
        method: "POST",
        url: "https://xray.us-east-1.amazonaws.com/TraceSegments",
        headers: &[JSON],
        body: BodyToSign::Bytes(BODY.as_bytes()),
        region: "us-east-1",
        service: "xray",
        time: at(1_440_938_160),
        credentials: &plain,
    };
    let with_timestamp = "content-type;host;x-amz-date;x-amz-security-token;x-amzn-xray-timestamp";
    let timestamp = ("x-amzn-xray-timestamp", "1440938160.000000000");
    for golden in [
        Golden {
            request: base(),
            signed_headers: "content-type;host;x-amz-date",
            signature: "6e28ff2a6f0f0b3ca7a516880341a943cc8fe2c4f25652ae136b8d82dd318510",
        },
        Golden {
            request: SignRequest {
                body: BodyToSign::Hash(Sha256::digest(BODY).into()),
                ..base()
            },
            signed_headers: "content-type;host;x-amz-date",
            signature: "6e28ff2a6f0f0b3ca7a516880341a943cc8fe2c4f25652ae136b8d82dd318510",
        },
        Golden {
            request: SignRequest {
                url: "https://xray.us-east-1.amazonaws.com:443/TraceSegments",
                ..base()
            },
            signed_headers: "content-type;host;x-amz-date",
            signature: "6e28ff2a6f0f0b3ca7a516880341a943cc8fe2c4f25652ae136b8d82dd318510",
        },
        Golden {
            request: SignRequest {
                url: "https://xray.eu-west-1.amazonaws.com/TraceSegments",
                region: "eu-west-1",
                headers: &[JSON, timestamp],
                credentials: &session,
                ..base()
            },
            signed_headers: with_timestamp,
            signature: "b52de3c412500dad1aa37202444da0a699eac200a227f2cd9f7421d2bed8830f",
        },
        Golden {
            request: SignRequest {
                url: "https://xray.eu-west-1.amazonaws.com/TraceSegments",
                region: "eu-west-1",
                // neither of the last two is signed: hops change them
                headers: &[
                    JSON,
                    timestamp,
                    ("user-agent", "x"),
                    ("x-amzn-trace-id", "y"),
                ],
                credentials: &session,
                ..base()
            },
            signed_headers: with_timestamp,
            signature: "b52de3c412500dad1aa37202444da0a699eac200a227f2cd9f7421d2bed8830f",
        },
        Golden {
            request: SignRequest {
                url: "http://127.0.0.1:8080/GetSamplingRules",
                region: "us-west-2",
                body: BodyToSign::Bytes(b""),
                ..base()
            },
            signed_headers: "content-type;host;x-amz-date",
            signature: "11a2423d63abb698d9a7e7644fb54a4ae2e037212ddb7b83e02111b02116ccdc",
        },
        Golden {
            request: SignRequest {
                url: "https://sts.cn-north-1.amazonaws.com.cn/",
                region: "cn-north-1",
                service: "sts",
                headers: &[
                    (
                        "content-type",
                        "application/x-www-form-urlencoded; charset=utf-8",
                    ),
                    ("accept", "application/json"),
                ],
                body: BodyToSign::Bytes(
                    b"Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A\
                    123456789012%3Arole%2Fxray&RoleSessionName=xray-daemon&DurationSeconds=900",
                ),
                credentials: &session,
                ..base()
            },
            signed_headers: "accept;content-type;host;x-amz-date;x-amz-security-token",
            signature: "0cba2bccdeb8e5752c212d249663371faa425e0b7751138b09a9806892976dd6",
        },
    ] {
        check(&golden);
    }
}

#[test]
fn what_cannot_be_signed_is_an_error_without_secrets() {
    let keys = keys(Some(TOKEN));
    let base = || SignRequest {
        method: "POST",
        url: "https://xray.us-east-1.amazonaws.com/",
        headers: &[],
        body: BodyToSign::Bytes(b""),
        region: "us-east-1",
        service: "xray",
        time: at(0),
        credentials: &keys,
    };
    let bad = [
        SignRequest { url: "", ..base() },
        SignRequest {
            url: "/TraceSegments",
            ..base()
        },
        SignRequest {
            url: "xray.us-east-1.amazonaws.com",
            ..base()
        },
        SignRequest {
            url: "https://a b/",
            ..base()
        },
        SignRequest {
            time: SystemTime::UNIX_EPOCH - Duration::from_secs(1),
            ..base()
        },
        SignRequest {
            time: SystemTime::UNIX_EPOCH + LAST_DAY,
            ..base()
        },
        SignRequest {
            headers: &[("x-bad", "a\nb")],
            ..base()
        },
        SignRequest {
            headers: &[("bad name", "a")],
            ..base()
        },
    ];
    for request in &bad {
        let error = sign(request).unwrap_err().to_string();
        assert!(!error.contains("wJal") && !error.contains(TOKEN), "{error}");
    }
    let last = LAST_DAY - Duration::from_secs(1);
    assert!(
        sign(&SignRequest {
            time: SystemTime::UNIX_EPOCH + last,
            ..base()
        })
        .is_ok()
    );
}

proptest! {
    #[test]
    fn no_request_panics(
        url in "(https?://)?[a-zA-Z0-9:/?=&%#@.\\[\\]é -]{0,40}",
        name in "[ -~é\n]{0,12}", value in "[ -~é\r\n\t]{0,20}",
        body: Vec<u8>, seconds in 0u64..300_000_000_000,
    ) {
        let keys = keys(None);
        let _ = sign(&SignRequest {
            method: "POST",
            url: &url,
            headers: &[(&name, &value)],
            body: BodyToSign::Bytes(&body),
            region: "us-east-1",
            service: "xray",
            time: at(seconds),
            credentials: &keys,
        });
    }
}
