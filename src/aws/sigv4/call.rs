//! The signature of the daemon's own calls, whose shape never changes: POST, a plain path, no query,
//! and always the same headers in the same order. So its canonical request is one template, which
//! takes a third of the time that a general one does.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use sha2::{Digest, Sha256};

use super::{SignError, since_1970};
use crate::credentials::date;

/// Service of the credential scope.
const SERVICE: &str = "xray";

const CONTENT_TYPE: &str = "application/json";

/// A call as it will be sent, and what to sign it with.
pub struct Call<'a> {
    /// The `host` header: with the port, where it is not the scheme's own.
    pub host: &'a str,
    /// Absolute, percent-encoded path without dot segments and empty ones.
    pub path: &'a str,
    /// The body, byte for byte.
    pub body: &'a [u8],
    /// Region of the credential scope.
    pub region: &'a str,
    /// Signing time, already corrected for clock skew.
    pub time: SystemTime,
    /// Keys to sign with.
    pub credentials: &'a Credentials,
}

/// Names and values of headers. Secret: a signature and perhaps a session token are among them.
pub type Headers<'a> = Vec<(&'static str, Cow<'a, str>)>;

/// All headers of the call but `host` and those that frame the body.
///
/// # Errors
/// When a key or a token cannot stand in a header, or the time is no date.
pub fn headers<'a>(call: &Call<'a>) -> Result<Headers<'a>, SignError> {
    let since_1970 = since_1970(call.time)?;
    let key_id = graphic("access key id", call.credentials.access_key_id())?;
    let token = match call.credentials.session_token() {
        None | Some("") => None,
        Some(token) => Some(graphic("session token", token)?),
    };
    let mut date = date::format(call.time);
    date.retain(|letter| !matches!(letter, '-' | ':'));
    // `X-Amzn-Xray-Timestamp`, as the official daemon sends it.
    let stamp = format!("{}.{:09}", since_1970.as_secs(), since_1970.subsec_nanos());

    // Hashed part by part: with a session token it is long, and nobody reads it.
    let mut canonical = Sha256::new();
    let mut add = |parts: &[&str]| parts.iter().for_each(|part| canonical.update(part));
    add(&["POST\n", &canonical_path(call.path), "\n\n"]);
    add(&["content-type:", CONTENT_TYPE, "\n"]);
    add(&["host:", call.host, "\n"]);
    add(&["x-amz-date:", &date, "\n"]);
    let names = match token {
        Some(token) => {
            add(&["x-amz-security-token:", token, "\n"]);
            "content-type;host;x-amz-date;x-amz-security-token;x-amzn-xray-timestamp"
        }
        None => "content-type;host;x-amz-date;x-amzn-xray-timestamp",
    };
    add(&["x-amzn-xray-timestamp:", &stamp, "\n\n", names, "\n"]);
    canonical.update(in_hex(Sha256::digest(call.body).into()));

    let scope = [&date[..8], "/", call.region, "/", SERVICE, "/aws4_request"].concat();
    let head = ["AWS4-HMAC-SHA256\n", &date, "\n", &scope, "\n"].concat();
    let to_sign = [head.as_bytes(), &in_hex(canonical.finalize().into())].concat();
    let secret = call.credentials.secret_access_key();
    let key = generate_signing_key(secret, call.time, call.region, SERVICE);
    let authorization = [
        "AWS4-HMAC-SHA256 Credential=",
        key_id,
        "/",
        &scope,
        ", SignedHeaders=",
        names,
        ", Signature=",
        &calculate_signature(key, &to_sign),
    ]
    .concat();
    let mut headers = Vec::with_capacity(5);
    headers.extend([
        ("content-type", CONTENT_TYPE.into()),
        ("x-amzn-xray-timestamp", stamp.into()),
        ("x-amz-date", date.into()),
        ("authorization", authorization.into()),
    ]);
    headers.extend(token.map(|token| ("x-amz-security-token", token.into())));
    Ok(headers)
}

fn in_hex(hash: [u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    hex::encode_to_slice(hash, &mut text).expect("two letters for each byte");
    text
}

/// What a header can carry without being changed on the way. A line break in it would be a header
/// of somebody else's.
fn graphic<'a>(what: &str, value: &'a str) -> Result<&'a str, SignError> {
    match value.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(value),
        false => Err(SignError(format!(
            "the {what} has a character that is not printable ASCII"
        ))),
    }
}

/// The path, encoded once more than it is sent, as every service but S3 has it.
fn canonical_path(path: &str) -> String {
    let mut canonical = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => canonical.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => canonical.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(canonical, "%{byte:02X}")),
        }
    }
    canonical
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::sigv4::{LAST_DAY, SignRequest, sign};
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn value<'a>(headers: &'a Headers<'_>, name: &str) -> Option<&'a str> {
        let found = headers.iter().find(|(found, _)| *found == name);
        found.map(|(_, value)| &**value)
    }

    fn keys(key_id: &str, token: Option<&str>) -> Credentials {
        let token = token.map(str::to_owned);
        Credentials::new(key_id, "wJalrXUtnFEMI/K7MDENG", token, None, "test")
    }

    proptest! {
        /// What the library makes of the same request.
        #[test]
        fn is_that_of_any_request(
            host in "[a-z]{1,8}(\\.[a-z]{1,8}){0,3}(:[1-9][0-9]{3})?",
            path in "(/[A-Za-z0-9._~!$&'()*+,;=:@%-]{1,8}){1,3}",
            body: Vec<u8>,
            region in "[a-z]{2}-[a-z]{4}-[0-9]",
            nanos in 0..253_402_214_400_000_000_000u128,
            token in proptest::option::of("[!-~]{0,40}"),
        ) {
            // A dot segment is none of ours.
            prop_assume!(!path.split('/').any(|segment| matches!(segment, "." | "..")));
            let credentials = keys("AKIDEXAMPLE", token.as_deref());
            let since = Duration::from_nanos_u128(nanos);
            let time = UNIX_EPOCH + since;
            let own = headers(&Call {
                host: &host,
                path: &path,
                body: &body,
                region: &region,
                time,
                credentials: &credentials,
            }).unwrap();
            let stamp = value(&own, "x-amzn-xray-timestamp").unwrap();
            prop_assert_eq!(stamp, format!("{}.{:09}", since.as_secs(), since.subsec_nanos()));
            let library = sign(&SignRequest {
                method: "POST",
                url: &format!("https://{host}{path}"),
                headers: &[("content-type", "application/json"), ("x-amzn-xray-timestamp", stamp)],
                body: &body,
                region: &region,
                service: "xray",
                time,
                credentials: &credentials,
            }).unwrap();
            for (name, expected) in &library {
                prop_assert_eq!(value(&own, name), Some(expected.as_str()), "{}", name);
            }
            prop_assert_eq!(own.len(), library.len() + 2);
        }
    }

    #[test]
    fn what_cannot_be_signed_is_an_error_without_secrets() {
        let now = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        for (key_id, token, time, expected) in [
            ("AKID", Some("to\r\nken"), now, "the session token has"),
            ("AK\nID", Some("token"), now, "the access key id has"),
            ("AKID", Some("tökén"), now, "the session token has"),
            ("AKID", None, UNIX_EPOCH + LAST_DAY, "the clock is not"),
            (
                "AKID",
                None,
                UNIX_EPOCH - Duration::from_secs(1),
                "the clock is not",
            ),
        ] {
            let error = headers(&Call {
                host: "xray.us-east-1.amazonaws.com",
                path: "/TraceSegments",
                body: b"",
                region: "us-east-1",
                time,
                credentials: &keys(key_id, token),
            })
            .unwrap_err()
            .to_string();
            assert!(error.contains(expected), "{error}");
            assert!(
                !error.contains("ken") || error.contains("session token has"),
                "{error}"
            );
            assert!(!error.contains("wJal") && !error.contains("AK"), "{error}");
        }
    }
}
