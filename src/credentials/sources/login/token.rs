//! What the cache file of an `aws login` session holds, and how a renewal changes it. Pure.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use serde_json::{Map, Value, json};

use crate::credentials::{date, json as answers};

/// The longest life that is accepted.
const LONGEST: Duration = Duration::from_secs(86_400);

/// A session.
pub struct LoginToken {
    /// The keys, with their expiry.
    pub credentials: Credentials,
    /// Whom to renew for.
    pub(crate) client_id: String,
    /// What to renew with, once.
    pub refresh_token: String,
    /// The key to prove with that the session is ours.
    pub proof_key: String,
    /// Where the session began; `None` in files of older tools.
    pub region: Option<String>,
    /// The whole content of the file. Unknown fields are written back unchanged.
    file: Map<String, Value>,
}

/// The names of its fields only: nearly all are secret.
impl fmt::Debug for LoginToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.file.keys()).finish()
    }
}

impl LoginToken {
    /// Reads a cache file.
    ///
    /// # Errors
    /// What is wrong with it, without any value of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file = answers::object(text.as_bytes()).map_err(|e| format!("is {e}"))?;
        let field = |name: &str| match file.get(name).and_then(Value::as_str) {
            Some(value) if !value.trim().is_empty() => Ok(value.to_owned()),
            _ => Err(format!("has no {name}")),
        };
        let keys = file.get("accessToken").ok_or("has no accessToken")?;
        let text = |name: &str| keys[name].as_str().unwrap_or_default();
        let expires = date::parse(text("expiresAt")).ok_or("says no expiry")?;
        let credentials = answers::new(
            text("accessKeyId"),
            text("secretAccessKey"),
            text("sessionToken"),
            Some(expires),
            "login",
        )
        .map_err(|why| format!("holds no keys: {why}"))?;
        Ok(Self {
            credentials,
            client_id: field("clientId")?,
            refresh_token: field("refreshToken")?,
            proof_key: field("dpopKey")?,
            region: field("signInRegion").ok(),
            file,
        })
    }

    /// The body of the request for newer keys.
    pub fn renewal(&self) -> String {
        json!({
            "clientId": self.client_id,
            "grantType": "refresh_token",
            "refreshToken": self.refresh_token,
        })
        .to_string()
    }

    /// The session after `answer` to that request, which came at `now`.
    ///
    /// # Errors
    /// What is wrong with the answer, without quoting it.
    pub fn renewed(&self, answer: &[u8], now: SystemTime) -> Result<Self, String> {
        let answer = answers::object(answer).map_err(|e| e.to_string())?;
        let keys = answer.get("accessToken").unwrap_or(&Value::Null);
        let expires = answers::expires_in(&answer, LONGEST, now)?;
        let mut file = self.file.clone();
        let mut access = match file.get("accessToken") {
            Some(Value::Object(access)) => access.clone(),
            _ => Map::new(),
        };
        for name in ["accessKeyId", "secretAccessKey", "sessionToken"] {
            access.insert(name.to_owned(), keys[name].clone());
        }
        access.insert("expiresAt".to_owned(), date::format(expires).into());
        file.insert("accessToken".to_owned(), access.into());
        let refresh_token = answer.get("refreshToken").unwrap_or(&Value::Null);
        file.insert("refreshToken".to_owned(), refresh_token.clone());
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
    use std::time::Duration;

    const FILE: &str = r#"{"accessToken":{"accessKeyId":"ASIA","secretAccessKey":"hush",
        "sessionToken":"t","accountId":"1","expiresAt":"2025-09-14T04:05:45Z"},
        "tokenType":"aws_sigv4","clientId":"arn:aws:signin:::devtools/same-device",
        "refreshToken":"once","idToken":"who","dpopKey":"pem","later":{"x":[1]}}"#;
    const ANSWER: &str = r#"{"accessToken":{"accessKeyId":"ASIB","secretAccessKey":"shh",
        "sessionToken":"u"},"tokenType":"aws_sigv4","expiresIn":900,"refreshToken":"twice"}"#;

    #[test]
    fn a_renewal_changes_what_it_must_and_nothing_else() {
        let token = LoginToken::parse(FILE).unwrap();
        assert_eq!(token.credentials.access_key_id(), "ASIA");
        assert_eq!(token.region, None);
        let body: Value = serde_json::from_str(&token.renewal()).unwrap();
        assert_eq!(
            body,
            json!({"clientId": "arn:aws:signin:::devtools/same-device",
                   "grantType": "refresh_token", "refreshToken": "once"})
        );
        let now = date::parse("2025-11-19T00:00:00Z").unwrap();
        let renewed = token.renewed(ANSWER.as_bytes(), now).unwrap();
        assert_eq!(renewed.credentials.session_token(), Some("u"));
        assert_eq!(
            renewed.credentials.expiry(),
            Some(now + Duration::from_secs(900))
        );
        let mut expected: Value = serde_json::from_str(FILE).unwrap();
        expected["accessToken"] = json!({"accessKeyId": "ASIB", "secretAccessKey": "shh",
            "sessionToken": "u", "accountId": "1", "expiresAt": "2025-11-19T00:15:00Z"});
        expected["refreshToken"] = "twice".into();
        let written: Value = serde_json::from_str(&renewed.text()).unwrap();
        assert_eq!(written, expected);
        assert!(!format!("{token:?}").contains("hush"));
    }

    #[test]
    fn files_and_answers_that_are_none() {
        for (text, why) in [
            ("", "is not a JSON object: empty"),
            (&FILE.replace("once", " "), "has no refreshToken"),
            (&FILE.replace("clientId", "x"), "has no clientId"),
            (&FILE.replace("dpopKey", "x"), "has no dpopKey"),
            (&FILE.replace("accessToken", "x"), "has no accessToken"),
            (
                &FILE.replace("hush", ""),
                "holds no keys: SecretAccessKey is missing or empty",
            ),
            (&FILE.replace("2025", "soon"), "says no expiry"),
        ] {
            assert_eq!(
                LoginToken::parse(text).err().as_deref(),
                Some(why),
                "{text}"
            );
        }
        let token = LoginToken::parse(FILE).unwrap();
        for (answer, why) in [
            ("<html>".to_owned(), "not a JSON object: HTML or XML"),
            ("{}".to_owned(), "expiresIn is missing or no time"),
            (
                ANSWER.replace("900", "-1"),
                "expiresIn is missing or no time",
            ),
            (
                ANSWER.replace("900", "1e300"),
                "expiresIn is missing or no time",
            ),
            (ANSWER.replace("twice", ""), "has no refreshToken"),
            (
                ANSWER.replace("shh", ""),
                "holds no keys: SecretAccessKey is missing or empty",
            ),
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
            let _ = LoginToken::parse(&text);
            let token = LoginToken::parse(FILE).unwrap();
            let _ = token.renewed(&answer, SystemTime::UNIX_EPOCH);
        }
    }
}
