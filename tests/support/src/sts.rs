//! A fake of STS, and single answers of it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::endpoint::Reply;
use crate::http::{Request, Response};
use crate::keys::Keys;
use crate::sigv4::{percent_decode, verify};

/// Gives the keys of a role to whoever signs with known ones, or has a web identity.
pub fn assume(
    request: &Request,
    known: &[Keys],
    region: &str,
    give: impl FnOnce() -> Keys,
) -> Response {
    let form = form(request);
    let action = form["Action"].as_str();
    let refusal = match action {
        "AssumeRole" => verify(request, known, region, "sts", SystemTime::now())
            .err()
            .map(|fault| format!("{fault:?}")),
        "AssumeRoleWithWebIdentity" if form["WebIdentityToken"].is_empty() => {
            Some("no web identity".to_owned())
        }
        "AssumeRoleWithWebIdentity" => None,
        _ => Some(format!("no action {action}")),
    };
    if let Some(why) = refusal {
        return error(403, "AccessDenied", &why);
    }
    let keys = give();
    let end = keys.expires.expect("a session has an end");
    let end = end.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    Response::new(200, session(action, &keys, &json!(end)))
}

fn session(action: &str, keys: &Keys, expiration: &Value) -> String {
    json!({
        format!("{action}Response"): {
            format!("{action}Result"): {
                "Credentials": {
                    "AccessKeyId": keys.id,
                    "SecretAccessKey": keys.secret,
                    "SessionToken": keys.token,
                    "Expiration": expiration,
                },
                "PackedPolicySize": null,
            },
            "ResponseMetadata": {"RequestId": "r"},
        }
    })
    .to_string()
}

/// What STS answers to `action`, in JSON.
pub fn sts_json(action: &str, id: &str, expiration: &str) -> String {
    let keys = Keys::new(id, "hush", Some("token/of+sts=="));
    session(action, &keys, &serde_json::from_str(expiration).unwrap())
}

/// The same in XML.
pub fn sts_xml(action: &str, id: &str, expiration: &str) -> String {
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
         <Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>hush</SecretAccessKey>\
         <SessionToken>token/of+sts==</SessionToken><Expiration>{expiration}</Expiration>\
         </Credentials></{action}Result></{action}Response>"
    )
}

/// An error of STS, in JSON.
pub fn sts_error(status: u16, code: &str, message: &str) -> Reply {
    Reply::Send(error(status, code, message))
}

fn error(status: u16, code: &str, message: &str) -> Response {
    let body = json!({
        "Error": {"Code": code, "Message": message, "Type": "Sender"},
        "RequestId": "r",
    });
    Response::new(status, body.to_string())
}

/// The parameters of a form.
pub fn form(request: &Request) -> BTreeMap<String, String> {
    let body = std::str::from_utf8(&request.body).unwrap();
    let pairs = body.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs
        .map(|(name, value)| {
            let value = String::from_utf8(percent_decode(value)).unwrap();
            (name.to_owned(), value)
        })
        .collect()
}
