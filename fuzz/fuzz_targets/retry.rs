//! The verdict on an answer: documents are refused only where X-Ray says that they are at fault,
//! delivered only where it says that it has them, and held in every other case.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use xray::upload::response::{Answer, Verdict, judge};

fuzz_target!(|input: (u16, Option<String>, Option<String>, &[u8])| {
    let (status, error_type, retry_after, body) = input;
    let answer = Answer {
        status: 100 + status % 500,
        error_type,
        retry_after,
        body: body.to_vec(),
        ..Answer::default()
    };
    let status = answer.status;
    match judge(&answer) {
        Verdict::Delivered(unprocessed) => {
            assert!((200..300).contains(&status));
            let body = body.trim_ascii();
            if !body.is_empty() {
                let body: Value = serde_json::from_slice(body).expect("X-Ray answers JSON");
                let named = body["UnprocessedTraceSegments"]
                    .as_array()
                    .map_or(0, Vec::len);
                assert_eq!(unprocessed.len(), named);
            }
        }
        Verdict::Refused => assert!(status == 400 || status == 413),
        Verdict::Hold { after, credentials } => {
            assert!(after.is_none_or(|after| after <= Duration::from_secs(60)));
            assert!(!credentials || !(200..300).contains(&status));
            // Nothing but a code of AWS saves a 400 or 413.
            assert!(status != 400 && status != 413 || answer.error_code().is_some());
        }
    }
    if let Some(code) = answer.error_code() {
        assert!(!code.is_empty() && !code.contains([':', '#']) && code.trim() == code);
    }
});
