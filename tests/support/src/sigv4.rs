//! AWS Signature Version 4, from the specification and from the bytes received: on purpose not
//! the package that the daemon signs with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::http::Request;
use crate::keys::Keys;

/// Why a request was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub enum SignatureError {
    /// No `Authorization` header.
    Unsigned,
    /// Signed by a key the service does not know, or with a token that is not the key's.
    UnknownKey(String),
    /// Signed by keys that are past their end.
    Expired(String),
    /// The signing time is more than five minutes from the service's clock.
    Skewed(String),
    /// A wrong signature or scope: never right, whatever the circumstances.
    Bad(String),
}

/// Clock difference that the service tolerates.
const TOLERANCE: Duration = Duration::from_secs(300);

/// Headers that a hop may change: a client that signs them breaks behind the first proxy.
const UNSTABLE: [&str; 11] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-forwarded-for",
];

/// Recomputes the signature of `request` as the service would at `now`.
pub fn verify(
    request: &Request,
    known: &[Keys],
    region: &str,
    service: &str,
    now: SystemTime,
) -> Result<(), SignatureError> {
    let bad = |text: String| Err(SignatureError::Bad(text));
    let authorizations: Vec<_> = values(request, "authorization").collect();
    let [authorization] = authorizations[..] else {
        return match authorizations.len() {
            0 => Err(SignatureError::Unsigned),
            n => bad(format!("{n} Authorization headers")),
        };
    };
    let field = |name: &str| {
        authorization
            .split([' ', ','])
            .find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_default()
    };
    let (credential, signed, signature) = (
        field("Credential"),
        field("SignedHeaders"),
        field("Signature"),
    );
    let [id, day, scope_region, scope_service, "aws4_request"] =
        credential.split('/').collect::<Vec<_>>()[..]
    else {
        return bad(format!("not a credential scope: {credential}"));
    };
    if !authorization.starts_with("AWS4-HMAC-SHA256 ") {
        return bad("another algorithm".to_owned());
    }
    if (scope_region, scope_service) != (region, service) {
        return bad(format!("scope {scope_region}/{scope_service}"));
    }
    let dates: Vec<_> = values(request, "x-amz-date").collect();
    let [date] = dates[..] else {
        return bad(format!("{} X-Amz-Date headers", dates.len()));
    };
    let Some(signed_at) = parse_date(date) else {
        return bad(format!("not a date: {date}"));
    };
    if !date.starts_with(day) {
        return bad(format!("scope of {day}, signed at {date}"));
    }

    let names: Vec<&str> = signed.split(';').collect();
    if !names.is_sorted() {
        return bad(format!("unsorted SignedHeaders: {signed}"));
    }
    if let Some(name) = names.iter().find(|name| UNSTABLE.contains(name)) {
        return bad(format!("signed {name}, which a hop may change"));
    }
    let missing = request
        .headers
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .find(|name| {
            (name == "host" || name.starts_with("x-amz-")) && !names.contains(&name.as_str())
        });
    if let Some(name) = missing {
        return bad(format!("{name} is not signed"));
    }

    let Some(keys) = known.iter().find(|keys| keys.id == id) else {
        return Err(SignatureError::UnknownKey(id.to_owned()));
    };
    let expected = signature_of(request, keys, &names, date, &[day, region, service]);
    if signature != expected {
        return bad(format!("signature {signature}, expected {expected}"));
    }
    if request.header("x-amz-security-token") != keys.token.as_deref() {
        return Err(SignatureError::UnknownKey(format!(
            "{id} with another token"
        )));
    }
    if keys.expires.is_some_and(|end| end < now) {
        return Err(SignatureError::Expired(id.to_owned()));
    }
    let apart = now
        .duration_since(signed_at)
        .unwrap_or_else(|early| early.duration());
    if apart > TOLERANCE {
        return Err(SignatureError::Skewed(format!(
            "{date} is {apart:?} from now"
        )));
    }
    Ok(())
}

/// The id of the keys that `request` claims to be signed with.
pub fn signer(request: &Request) -> Option<&str> {
    let (_, credential) = request.header("authorization")?.split_once("Credential=")?;
    credential.split('/').next()
}

fn signature_of(
    request: &Request,
    keys: &Keys,
    names: &[&str],
    date: &str,
    scope: &[&str],
) -> String {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let mut canonical = format!(
        "{}\n{}\n{}\n",
        request.method,
        canonical_path(path),
        canonical_query(query)
    );
    for name in names {
        let joined: Vec<String> = values(request, name)
            .map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        canonical.push_str(&format!("{name}:{}\n", joined.join(",")));
    }
    canonical.push_str(&format!(
        "\n{}\n{}",
        names.join(";"),
        hex(&Sha256::digest(&request.body))
    ));
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{}/aws4_request\n{}",
        scope.join("/"),
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let mut key = format!("AWS4{}", keys.secret).into_bytes();
    for part in scope.iter().chain(&["aws4_request"]) {
        key = mac(&key, part);
    }
    hex(&mac(&key, &to_sign))
}

fn values<'a>(request: &'a Request, name: &'a str) -> impl Iterator<Item = &'a str> {
    request
        .headers
        .iter()
        .filter(move |(have, _)| have.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Dot segments and double slashes removed, then every segment percent-encoded once more: the
/// rule for every service but S3.
fn canonical_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut canonical = String::new();
    for part in &parts {
        canonical.push('/');
        canonical.push_str(&percent_encode(part.as_bytes()));
    }
    if canonical.is_empty() || path.ends_with('/') {
        canonical.push('/');
    }
    canonical
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let again = |text| percent_encode(&percent_decode(text));
            (again(name), again(value))
        })
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
    pairs.join("&")
}

fn percent_encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(byte.into());
            }
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// A plus is a blank, as in a query.
pub fn percent_decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok())
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        rest = match (byte, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                &after[2..]
            }
            (b'+', _) => {
                bytes.push(b' ');
                after
            }
            _ => {
                bytes.push(byte);
                after
            }
        };
    }
    bytes
}

/// `YYYYMMDDTHHMMSSZ`.
pub fn parse_date(date: &str) -> Option<SystemTime> {
    let number = |range: std::ops::Range<usize>| date.get(range)?.parse::<u64>().ok();
    if date.len() != 16 || &date[8..9] != "T" || !date.ends_with('Z') {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let seconds = number(9..11)? * 3600 + number(11..13)? * 60 + number(13..15)?;
    // Days from the civil calendar: years start in March, so that the leap day is the last.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;
    let epoch_days = days.checked_sub(719_468)?;
    Some(UNIX_EPOCH + Duration::from_secs(epoch_days * 86_400 + seconds))
}
