//! Cache files of sessions, their renewal and the key of the proof: what was read is written and
//! read again, what is not known stays, and an error quotes nothing.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use xray::credentials::sources::login::dpop::ProofKey;
use xray::credentials::sources::login::token::LoginToken;
use xray::credentials::sources::sso::token::SsoToken;

/// Of a file that begins with this, the rest is fuzzed.
const LOGIN: &str = r#"{"accessToken":{"accessKeyId":"A","secretAccessKey":"S","sessionToken":"T","expiresAt":"2025-09-14T04:05:45Z"},"clientId":"C","refreshToken":"R","dpopKey":"K","#;
const SSO: &str = r#"{"accessToken":"A","expiresAt":"2025-09-14T04:05:45Z","clientId":"C","clientSecret":"S","refreshToken":"R","registrationExpiresAt":"2025-10-14T04:05:45Z","#;

fn short(why: &str) {
    assert!(why.is_ascii() && why.len() < 160, "{why}");
}

/// All keys but those that a renewal writes.
fn kept(text: &str) -> Vec<(String, Value)> {
    let file: Value = serde_json::from_str(text).expect("written as JSON");
    let file = file.as_object().expect("written as an object").clone();
    let written = ["accessToken", "refreshToken", "expiresAt"];
    file.into_iter()
        .filter(|(key, _)| !written.contains(&key.as_str()))
        .collect()
}

fuzz_target!(|input: (u8, &str, &[u8])| {
    let (kind, text, answer) = input;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let login = match kind {
        0 => text.to_owned(),
        _ => format!("{LOGIN}{text}"),
    };
    match LoginToken::parse(&login) {
        Ok(token) => {
            assert!(!token.refresh_token.trim().is_empty() && token.credentials.expiry().is_some());
            assert!(serde_json::from_str::<Value>(&token.renewal()).is_ok());
            let again = LoginToken::parse(&token.text()).expect("was read before");
            assert_eq!(again.credentials, token.credentials);
            assert_eq!(again.refresh_token, token.refresh_token);
            match token.renewed(answer, now) {
                Ok(renewed) => {
                    assert!(renewed.credentials.expiry() > Some(now - Duration::from_secs(1)));
                    assert_eq!(kept(&renewed.text()), kept(&token.text()));
                }
                Err(why) => short(&why),
            }
            if let Err(why) = ProofKey::from_pem(&token.proof_key) {
                short(why);
            }
        }
        Err(why) => short(&why),
    }
    let sso = match kind {
        0 => text.to_owned(),
        _ => format!("{SSO}{text}"),
    };
    match SsoToken::parse(&sso) {
        Ok(token) => {
            assert!(token.access_token.bytes().all(|b| b.is_ascii_graphic()));
            let again = SsoToken::parse(&token.text()).expect("was read before");
            assert_eq!(again.access_token, token.access_token);
            match token.renewed(answer, now) {
                Ok(renewed) => {
                    assert!(renewed.expires > now - Duration::from_secs(1));
                    assert_eq!(kept(&renewed.text()), kept(&token.text()));
                }
                Err(why) => short(&why),
            }
        }
        Err(why) => short(&why),
    }
    // Any key that is one signs.
    if let Ok(key) = ProofKey::from_pem(text) {
        assert!(key.proof("https://x/v1/token", now).is_some());
    }
});
