//! Credentials in JSON, as the container endpoint, the EC2 metadata service and credential
//! processes give them.

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use serde_json::{Map, Value};

use super::date;

/// Why a JSON answer holds no credentials. Never carries a value of the answer, except the
/// error code and message of an answer that says it is an error.
#[derive(Debug, PartialEq, Eq)]
pub enum JsonError {
    /// Not a JSON object; the reason.
    Syntax(String),
    /// A `Code` other than `Success`, which comes with HTTP status 200.
    Code {
        /// The code.
        code: String,
        /// The `Message`; may be empty.
        message: String,
    },
    /// A field is missing or empty.
    Missing(&'static str),
    /// A field has a value that cannot be used.
    Bad(&'static str),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(why) => write!(f, "not a JSON object: {why}"),
            Self::Code { code, message } if message.is_empty() => f.write_str(code),
            Self::Code { code, message } => write!(f, "{code}: {message}"),
            Self::Missing(field) => write!(f, "{field} is missing or empty"),
            Self::Bad(field) => write!(f, "{field} has an impossible value"),
        }
    }
}

impl std::error::Error for JsonError {}

/// Reads credentials. Keys in any case, as the Go and Rust SDKs read them; `SessionToken` for
/// `Token` and `ExpiresAt` for `Expiration` too. Token and expiration are optional.
///
/// # Errors
/// When the keys are not there; see [`JsonError`].
pub fn credentials(body: &[u8], provider: &'static str) -> Result<Credentials, JsonError> {
    let fields = object(body)?;
    if let Some(code) = text(&fields, &["Code"]).filter(|c| !c.eq_ignore_ascii_case("success")) {
        return Err(JsonError::Code {
            code: super::plain(code, &[]),
            message: super::plain(text(&fields, &["Message"]).unwrap_or_default(), &[]),
        });
    }
    let id = text(&fields, &["AccessKeyId"]).unwrap_or_default();
    let secret = text(&fields, &["SecretAccessKey"]).unwrap_or_default();
    let token = text(&fields, &["Token", "SessionToken"]).unwrap_or_default();
    let mut credentials = new(id, secret, token, None, provider)?;
    if let Some(value) = find(&fields, &["Expiration", "ExpiresAt"]) {
        let expires = expiration(value).ok_or(JsonError::Bad("Expiration"))?;
        *credentials.expiry_mut() = Some(expires);
    }
    Ok(credentials)
}

/// Credentials that can be sent in headers, and whose blank token is no token: an empty one would
/// be signed and sent, and refused.
///
/// # Errors
/// When a key is empty, or anything cannot be sent in a header.
pub fn new(
    id: &str,
    secret: &str,
    token: &str,
    expires: Option<SystemTime>,
    provider: &'static str,
) -> Result<Credentials, JsonError> {
    let token = token.trim();
    let in_header = |value: &str| value.bytes().all(|b| b.is_ascii_graphic());
    // The secret is not sent; but a line end in it can only be a mistake in a file.
    let is_line = |value: &str| !value.contains(char::is_control);
    for (field, value, good) in [
        ("AccessKeyId", id, in_header(id)),
        ("SecretAccessKey", secret, is_line(secret)),
    ] {
        if value.is_empty() {
            return Err(JsonError::Missing(field));
        }
        if !good {
            return Err(JsonError::Bad(field));
        }
    }
    if !in_header(token) {
        return Err(JsonError::Bad("Token"));
    }
    let token = (!token.is_empty()).then(|| token.to_owned());
    Ok(Credentials::new(id, secret, token, expires, provider))
}

/// An expiry: RFC 3339, or seconds since 1970 as a JSON number.
pub fn expiration(value: &Value) -> Option<SystemTime> {
    match value {
        Value::String(text) => date::parse(text),
        Value::Number(seconds) => date::from_epoch(seconds.as_f64()?),
        _ => None,
    }
}

/// A body as a JSON object.
///
/// # Errors
/// [`JsonError::Syntax`], without any of the body's text.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, JsonError> {
    let syntax = |why: &str| Err(JsonError::Syntax(why.to_owned()));
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => syntax("another kind of JSON"),
        Err(_) if body.trim_ascii().is_empty() => syntax("empty"),
        Err(_) if body.trim_ascii_start().starts_with(b"<") => syntax("HTML or XML"),
        Err(error) => syntax(&error.to_string()),
    }
}

/// A text field by any of its names, in any case.
pub fn text<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a str> {
    find(fields, names)?.as_str()
}

/// A field by any of its names, in any case; `null` is absent.
pub(super) fn find<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    let named = |name: &&str| {
        fields
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let (_, value) = names.iter().find_map(named)?;
    (!value.is_null()).then_some(value)
}

/// When what was answered at `now` ends, by its `expiresIn` in seconds, which is at most `longest`.
///
/// # Errors
/// When there is none, or it is no such time.
pub(crate) fn expires_in(
    answer: &Map<String, Value>,
    longest: Duration,
    now: SystemTime,
) -> Result<SystemTime, String> {
    let seconds = answer.get("expiresIn").and_then(Value::as_f64);
    seconds
        .filter(|seconds| (1.0..=longest.as_secs_f64()).contains(seconds))
        .map(|seconds| now + Duration::from_secs_f64(seconds))
        .ok_or_else(|| "expiresIn is missing or no time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &str) -> Result<Credentials, JsonError> {
        credentials(body.as_bytes(), "test")
    }

    #[test]
    fn answers_of_every_kind_of_endpoint() {
        let full = |token: Option<&str>, expires: Option<&str>| {
            let expires = expires.map(|text| date::parse(text).unwrap());
            Ok(Credentials::new(
                "AKID",
                "hush",
                token.map(str::to_owned),
                expires,
                "test",
            ))
        };
        let date = Some("2025-09-21T04:16:53Z");
        for (body, expected) in [
            // ECS agent
            (
                r#"{"RoleArn":"arn","AccessKeyId":"AKID","SecretAccessKey":"hush","Token":"t","Expiration":"2025-09-21T04:16:53Z"}"#,
                full(Some("t"), date),
            ),
            // EC2
            (
                r#"{"Code":"success","LastUpdated":"2025-09-20T21:42:26Z","Type":"AWS-HMAC","AccessKeyId":"AKID","SecretAccessKey":"hush","Token":"t","Expiration":"2025-09-21T04:16:53Z"}"#,
                full(Some("t"), date),
            ),
            // EKS Pod Identity agent
            (
                r#"{"AccessKeyId":"AKID","SecretAccessKey":"hush","Token":"t","AccountId":"1","Expiration":"2025-09-21T04:16:53.000000000Z"}"#,
                full(Some("t"), date),
            ),
            // other spellings
            (
                r#"{"accesskeyid":"AKID","SECRETACCESSKEY":"hush","sessionToken":"t","expiresAt":"2025-09-21T04:16:53+00:00"}"#,
                full(Some("t"), date),
            ),
            (
                r#"{"AccessKeyId":"AKID","SecretAccessKey":"hush","Expiration":1758428213}"#,
                full(None, date),
            ),
            (
                r#"{"AccessKeyId":"AKID","SecretAccessKey":"hush","Token":"","Expiration":null}"#,
                full(None, None),
            ),
            (
                r#"{"AccessKeyId":"AKID","SecretAccessKey":"hush","Token":" "}"#,
                full(None, None),
            ),
        ] {
            assert_eq!(read(body), expected, "{body}");
        }
    }

    #[test]
    fn answers_without_credentials() {
        let keys = r#""AccessKeyId":"AKID","SecretAccessKey":"hush""#;
        for (body, expected) in [
            (String::new(), "not a JSON object: empty"),
            ("<html>hush</html>".into(), "not a JSON object: HTML or XML"),
            ("[]".into(), "not a JSON object: another kind of JSON"),
            (r#"{"AccessKeyId":"AKID","SecretAcc"#.into(), "not a JSON object: EOF while parsing a string at line 1 column 32"),
            ("{}".into(), "AccessKeyId is missing or empty"),
            (r#"{"AccessKeyId":"AKID"}"#.into(), "SecretAccessKey is missing or empty"),
            (r#"{"AccessKeyId":"AKID","Expiration":"soon"}"#.into(), "SecretAccessKey is missing or empty"),
            (r#"{"AccessKeyId":"","SecretAccessKey":"hush"}"#.into(), "AccessKeyId is missing or empty"),
            (r#"{"AccessKeyId":7,"SecretAccessKey":"hush"}"#.into(), "AccessKeyId is missing or empty"),
            (r#"{"AccessKeyId":"AK\nID","SecretAccessKey":"hush"}"#.into(), "AccessKeyId has an impossible value"),
            (r#"{"AccessKeyId":"AKID","SecretAccessKey":"hu\nsh"}"#.into(), "SecretAccessKey has an impossible value"),
            (format!(r#"{{{keys},"Token":"t\r\nX-Evil: 1"}}"#), "Token has an impossible value"),
            (format!(r#"{{{keys},"Token":"é"}}"#), "Token has an impossible value"),
            (format!(r#"{{{keys},"Expiration":"soon"}}"#), "Expiration has an impossible value"),
            (format!(r#"{{{keys},"Expiration":""}}"#), "Expiration has an impossible value"),
            (format!(r#"{{{keys},"Expiration":1e300}}"#), "Expiration has an impossible value"),
            (r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume\nthe role"}"#.into(), "AssumeRoleUnauthorizedAccess: EC2 cannot assume the role"),
            (format!(r#"{{"Code":"Failed",{keys}}}"#), "Failed"),
        ] {
            let error = read(&body).unwrap_err().to_string();
            assert_eq!(error, expected, "{body}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic_or_gives_a_key_that_cannot_be_sent(
            body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "\\{\"AccessKeyId\":\"\\PC{0,9}\",\"SecretAccessKey\":\"\\PC{0,9}\",\"Token\":\"\\PC{0,9}\"\\}"
                    .prop_map(String::into_bytes),
            ],
        ) {
            if let Ok(found) = credentials(&body, "test") {
                let graphic = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_graphic());
                prop_assert!(graphic(found.access_key_id()));
                prop_assert!(!found.secret_access_key().is_empty());
                prop_assert!(found.session_token().is_none_or(graphic));
            }
        }
    }
}
