//! Credentials and dates of answers: only what can be sent in a header comes out, it survives being
//! written and read again, and an error quotes nothing of an answer that is not an error itself. Of
//! metadata, only a region that can be part of a host name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use xray::aws::endpoint::is_region;
use xray::aws::region::{identity_region, task_region};
use xray::credentials::date;
use xray::credentials::json::{JsonError, credentials};
use xray::credentials::sources::sts::answer::{StsError, read};

fn in_a_header(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

fuzz_target!(|data: &[u8]| {
    match credentials(data, "fuzz") {
        Ok(found) => {
            let (id, secret) = (found.access_key_id(), found.secret_access_key());
            let token = found.session_token();
            for sent in [Some(id), token].into_iter().flatten() {
                assert!(in_a_header(sent));
            }
            assert!(!secret.is_empty() && !secret.contains(char::is_control));
            let expiry = found.expiry().map(date::format);
            let body = json!({
                "Code": "Success", "AccessKeyId": id, "SecretAccessKey": secret,
                "Token": token, "Expiration": expiry,
            });
            let again = credentials(body.to_string().as_bytes(), "fuzz").expect("was read before");
            assert_eq!(again.access_key_id(), id);
            assert_eq!(again.secret_access_key(), secret);
            assert_eq!(again.session_token(), token);
            assert_eq!(again.expiry().map(date::format), expiry);
        }
        Err(error @ JsonError::Code { .. }) => {
            let text = error.to_string();
            assert!(!text.chars().any(char::is_control) && text.chars().count() <= 404);
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.is_ascii() && text.len() < 120, "{text}");
        }
    }
    match read("AssumeRole", true, data) {
        Ok(found) => {
            assert!(in_a_header(found.access_key_id()) && found.expiry().is_some());
            assert!(found.session_token().is_some_and(in_a_header));
        }
        Err(StsError::Unusable(why)) => assert!(why.is_ascii() && why.len() < 120, "{why}"),
        Err(error) => panic!("{error:?} with success"),
    }
    assert!(read("AssumeRole", false, data).is_err());
    for region in [task_region(data), identity_region(data)]
        .into_iter()
        .flatten()
    {
        assert!(is_region(&region), "{region}");
    }
    if let Some(time) = str::from_utf8(data).ok().and_then(date::parse) {
        let text = date::format(time);
        assert_eq!(date::parse(&text).map(date::format), Some(text));
    }
    if let Ok(seconds) = <[u8; 8]>::try_from(data)
        && let Some(time) = date::from_epoch(f64::from_le_bytes(seconds))
    {
        assert!(date::parse(&date::format(time)).is_some_and(|read| read <= time));
    }
});
