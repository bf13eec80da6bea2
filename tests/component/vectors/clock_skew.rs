use std::time::{Duration, SystemTime};

use serde_json::Value;
use xray::aws::clock::{Clock, Exchange, is_skew_error};

/// Replays every operation of every case with the attempts' own times instead of the real clock.
#[test]
fn clock_skew_cases() {
    let suite: Value =
        serde_json::from_str(include_str!("data/clock-skew-test-cases.json")).unwrap();
    let cases = suite["tests"].as_array().unwrap();
    assert_eq!(cases.len(), 10);
    for case in cases {
        let name = case["description"].as_str().unwrap();
        let clock = Clock::new(false);
        for (index, operation) in case["operations"].as_array().unwrap().iter().enumerate() {
            let initial = operation["initialClientSkew"].as_i64().unwrap();
            if index == 0 {
                seed(&clock, initial);
            }
            assert_eq!(clock.skew().0, initial * 1000, "{name}: initial skew");
            let attempts = operation["attempts"].as_array().unwrap();
            let budget = operation["maxAttempts"].as_u64().unwrap_or(3) as usize;
            let mut made = 0;
            let outcome = loop {
                let attempt = &attempts[made];
                made += 1;
                let signed_with = clock.skew();
                let sent = time(&attempt["clientTimeAtSend"]);
                assert_eq!(
                    signed_with.correct(sent),
                    time(&attempt["expectedSigningTime"]),
                    "{name}: signing time of attempt {made}"
                );
                let response = &attempt["response"];
                let measured = clock.observe(&Exchange {
                    sent,
                    received: time(&attempt["clientTimeAtReceive"]),
                    date: response["headers"]["Date"].as_str(),
                    has_age: !response["headers"]["Age"].is_null(),
                });
                if response["statusCode"].as_u64().unwrap() < 300 {
                    break "success";
                }
                let code = response["errorCode"].as_str().unwrap_or_default();
                if made == budget || !is_skew_error(code, signed_with, measured) {
                    break "error";
                }
            };
            assert_eq!(made, attempts.len(), "{name}: attempts made");
            assert_eq!(operation["expectedOutcome"], outcome, "{name}");
            let expected = operation["expectedClientSkew"].as_i64().unwrap();
            assert_eq!(clock.skew().0, expected * 1000, "{name}: skew learnt");
        }
    }
}

/// Teaches a skew the only way there is: by an answer.
fn seed(clock: &Clock, seconds: i64) {
    let local = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let date = httpdate::fmt_http_date(xray::aws::clock::Skew(seconds * 1000).correct(local));
    clock.observe(&Exchange {
        sent: local,
        received: local,
        date: Some(&date),
        has_age: false,
    });
}

fn time(value: &Value) -> SystemTime {
    let text = value.as_str().unwrap();
    let format = aws_smithy_types::date_time::Format::DateTime;
    let parsed = aws_smithy_types::DateTime::from_str(text, format).unwrap();
    SystemTime::try_from(parsed).unwrap()
}
