use std::time::{Instant, SystemTime};

use serde_json::Value;
use xray::aws::clock::{DatedAnswer, Reading, SigningTime, Skew, SkewEstimate};

/// Replays every operation of every case with the attempts' own times instead of the real clock.
/// No case teaches more than five minutes, so that it does not matter that larger skews need a
/// second sign here.
#[test]
fn clock_skew_cases() {
    let suite: Value =
        serde_json::from_str(include_str!("data/clock-skew-test-cases.json")).unwrap();
    let cases = suite["tests"].as_array().unwrap();
    assert_eq!(cases.len(), 10);
    let start = Instant::now();
    for case in cases {
        let name = case["description"].as_str().unwrap();
        let operations = case["operations"].as_array().unwrap();
        let begin = time(&operations[0]["attempts"][0]["clientTimeAtSend"]);
        let reading = |value: &Value| {
            let wall = time(value);
            Reading {
                wall,
                monotonic: start + wall.duration_since(begin).unwrap(),
            }
        };
        let mut estimate =
            SkewEstimate::new(reading(&operations[0]["attempts"][0]["clientTimeAtSend"]));
        for (index, operation) in operations.iter().enumerate() {
            let initial = operation["initialClientSkew"].as_i64().unwrap();
            let attempts = operation["attempts"].as_array().unwrap();
            let first = reading(&attempts[0]["clientTimeAtSend"]);
            if index == 0 {
                seed(&mut estimate, first, initial);
            }
            assert_eq!(estimate.at(first).0, initial * 1000, "{name}: initial skew");
            let budget = operation["maxAttempts"].as_u64().unwrap_or(3) as usize;
            let mut made = 0;
            let outcome = loop {
                let attempt = &attempts[made];
                made += 1;
                let at = reading(&attempt["clientTimeAtSend"]);
                let signed = SigningTime {
                    at,
                    skew: estimate.at(at),
                };
                assert_eq!(
                    signed.time(),
                    time(&attempt["expectedSigningTime"]),
                    "{name}: signing time of attempt {made}"
                );
                let response = &attempt["response"];
                let lesson = estimate.learn(
                    signed,
                    &DatedAnswer {
                        received: reading(&attempt["clientTimeAtReceive"]),
                        date: response["headers"]["Date"].as_str(),
                        has_age: !response["headers"]["Age"].is_null(),
                        has_request_id: true,
                        code: response["errorCode"].as_str().unwrap_or_default(),
                    },
                );
                if response["statusCode"].as_u64().unwrap() < 300 {
                    break "success";
                }
                if made == budget || !lesson.refused_time {
                    break "error";
                }
            };
            assert_eq!(made, attempts.len(), "{name}: attempts made");
            assert_eq!(operation["expectedOutcome"], outcome, "{name}");
            let expected = operation["expectedClientSkew"].as_i64().unwrap();
            let last = reading(&attempts[made - 1]["clientTimeAtReceive"]);
            assert_eq!(estimate.at(last).0, expected * 1000, "{name}: skew learnt");
        }
    }
}

/// Teaches a skew the only way there is: by an answer.
fn seed(estimate: &mut SkewEstimate, at: Reading, seconds: i64) {
    let date = httpdate::fmt_http_date(Skew(seconds * 1000).correct(at.wall));
    let signed = SigningTime { at, skew: Skew(0) };
    estimate.learn(
        signed,
        &DatedAnswer {
            received: at,
            date: Some(&date),
            has_age: false,
            has_request_id: true,
            code: "",
        },
    );
}

fn time(value: &Value) -> SystemTime {
    let text = value.as_str().unwrap();
    let format = aws_smithy_types::date_time::Format::DateTime;
    let parsed = aws_smithy_types::DateTime::from_str(text, format).unwrap();
    SystemTime::try_from(parsed).unwrap()
}
