//! What the cache file of an `aws sso login` holds, and how a renewal changes it. Pure.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::credentials::{date, json as answers};

/// The longest life that is accepted.
const LONGEST: Duration = Duration::from_secs(31_536_000);

/// The token of a session with IAM Identity Center.
pub struct SsoToken {
    /// The token that the portal expects.
    pub access_token: String,
    /// Until when.
    pub expires: SystemTime,
    renewal: Option<TokenRenewal>,
    /// The whole content of the file. Unknown fields are written back unchanged.
    file: Map<String, Value>,
}

/// What it takes to renew a token: only sessions that a section `[sso-session]` names have it.
struct TokenRenewal {
    client_id: String,
    client_secret: String,
    refresh_token: String,
    /// When the registration of the client ends.
    registered_until: SystemTime,
}

/// The names of its fields only: nearly all are secret.
impl fmt::Debug for SsoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.file.keys()).finish()
    }
}

impl SsoToken {
    /// Reads a cache file.
    ///
    /// # Errors
    /// What is wrong with it, without any value of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file = answers::object(text.as_bytes()).map_err(|e| format!("is {e}"))?;
        let field = |name: &str| Some(file.get(name)?.as_str()?.to_owned());
        let expires = field("expiresAt").and_then(|text| date::parse(&text));
        let access_token = field("accessToken").unwrap_or_default();
        if access_token.is_empty() || !access_token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("holds no token".to_owned());
        }
        let renewal = || {
            Some(TokenRenewal {
                client_id: field("clientId")?,
                client_secret: field("clientSecret")?,
                refresh_token: field("refreshToken")?,
                registered_until: date::parse(&field("registrationExpiresAt")?)?,
            })
        };
        Ok(Self {
            access_token,
            expires: expires.ok_or("says no expiry")?,
            renewal: renewal(),
            file,
        })
    }

    /// The body of the request for a newer token. `None` where the file does not hold what it
    /// takes, or the registration of the client that was logged in with has ended by `now`.
    pub fn renewal(&self, now: SystemTime) -> Option<String> {
        let renewal = self.renewal.as_ref()?;
        let body = json!({
            "clientId": renewal.client_id,
            "clientSecret": renewal.client_secret,
            "grantType": "refresh_token",
            "refreshToken": renewal.refresh_token,
        });
        (renewal.registered_until > now).then(|| body.to_string())
    }

    /// What an error message about a renewal must not quote.
    pub fn secrets(&self) -> Vec<&str> {
        let renewal = self.renewal.iter();
        renewal
            .flat_map(|r| [r.refresh_token.as_str(), r.client_secret.as_str()])
            .chain([self.access_token.as_str()])
            .collect()
    }

    /// The token after `answer` to that request, which came at `now`.
    ///
    /// # Errors
    /// What is wrong with the answer, without quoting it.
    pub fn renewed(&self, answer: &[u8], now: SystemTime) -> Result<Self, String> {
        let answer = answers::object(answer).map_err(|e| e.to_string())?;
        let expires = answers::expires_in(&answer, LONGEST, now)?;
        let mut file = self.file.clone();
        file.insert(
            "accessToken".to_owned(),
            answer.get("accessToken").cloned().unwrap_or_default(),
        );
        file.insert("expiresAt".to_owned(), date::format(expires).into());
        // Without a new refresh token the old one stays valid (RFC 6749, section 6).
        if let Some(token @ Value::String(_)) = answer.get("refreshToken") {
            file.insert("refreshToken".to_owned(), token.clone());
        }
        Self::parse(&Value::from(file).to_string())
    }

    /// The content of the cache file.
    pub fn text(&self) -> String {
        Value::from(self.file.clone()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = r#"{"startUrl":"https://x/start","region":"eu-west-1","accessToken":"hush",
        "expiresAt":"2025-01-01T00:00:01Z","clientId":"id","clientSecret":"shh",
        "registrationExpiresAt":"2025-03-01T00:00:00Z","refreshToken":"once","later":[1]}"#;

    fn at(text: &str) -> SystemTime {
        date::parse(text).unwrap()
    }

    #[test]
    fn a_renewal_changes_what_it_must_and_nothing_else() {
        let token = SsoToken::parse(FILE).unwrap();
        assert_eq!(token.access_token, "hush");
        let now = at("2025-01-01T00:00:00Z");
        let body: Value = serde_json::from_str(&token.renewal(now).unwrap()).unwrap();
        assert_eq!(
            body,
            json!({"clientId": "id", "clientSecret": "shh", "grantType": "refresh_token",
                   "refreshToken": "once"})
        );
        for (answer, refresh_token) in [
            (
                r#"{"accessToken":"new","expiresIn":3600,"refreshToken":"twice"}"#,
                "twice",
            ),
            (r#"{"accessToken":"new","expiresIn":3600}"#, "once"),
        ] {
            let renewed = token.renewed(answer.as_bytes(), now).unwrap();
            assert_eq!(renewed.expires, at("2025-01-01T01:00:00Z"));
            let mut expected: Value = serde_json::from_str(FILE).unwrap();
            expected["accessToken"] = "new".into();
            expected["expiresAt"] = "2025-01-01T01:00:00Z".into();
            expected["refreshToken"] = refresh_token.into();
            let written: Value = serde_json::from_str(&renewed.text()).unwrap();
            assert_eq!(written, expected);
        }
        assert!(!format!("{token:?}").contains("hush"));
    }

    #[test]
    fn when_a_token_can_be_renewed() {
        let now = at("2025-01-01T00:00:00Z");
        for (file, expected) in [
            (FILE.to_owned(), true),
            (FILE.replace("2025-03", "2024-12"), false),
            (FILE.replace("registrationExpiresAt", "x"), false),
            (FILE.replace("clientId", "x"), false),
            (FILE.replace("clientSecret", "x"), false),
            (FILE.replace("refreshToken", "x"), false),
        ] {
            let token = SsoToken::parse(&file).unwrap();
            assert_eq!(token.renewal(now).is_some(), expected, "{file}");
        }
    }

    #[test]
    fn files_and_answers_that_are_none() {
        for (text, why) in [
            ("", "is not a JSON object: empty"),
            (
                r#"{"accessToken":"hush","expi"#,
                "is not a JSON object: EOF while parsing a string at line 1 column 27",
            ),
            (r#"{"accessToken":"hush"}"#, "says no expiry"),
            (&FILE.replace("\"hush\"", "\"hu\\nsh\""), "holds no token"),
            (&FILE.replace("accessToken", "x"), "holds no token"),
        ] {
            assert_eq!(SsoToken::parse(text).err().as_deref(), Some(why), "{text}");
        }
        let token = SsoToken::parse(FILE).unwrap();
        for (answer, why) in [
            ("<html>", "not a JSON object: HTML or XML"),
            (
                r#"{"accessToken":"new"}"#,
                "expiresIn is missing or no time",
            ),
            (
                r#"{"accessToken":"new","expiresIn":0}"#,
                "expiresIn is missing or no time",
            ),
            (r#"{"expiresIn":3600}"#, "holds no token"),
        ] {
            let error = token
                .renewed(answer.as_bytes(), SystemTime::UNIX_EPOCH)
                .err();
            assert_eq!(error.as_deref(), Some(why), "{answer}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}", answer in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = SsoToken::parse(&text);
            let _ = SsoToken::parse(FILE).unwrap().renewed(&answer, SystemTime::UNIX_EPOCH);
        }
    }
}
