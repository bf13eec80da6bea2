use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};
use xray::aws::sigv4::{BodyToSign, SignRequest, sign};

/// What is not run, and why. Paths: `sign` offers what the services that this daemon calls want.
const SKIPPED: [(&str, &str); 11] = [
    ("get-relative-relative-unnormalized", UNNORMALIZED),
    ("get-relative-unnormalized", UNNORMALIZED),
    ("get-slash-dot-slash-unnormalized", UNNORMALIZED),
    ("get-slash-pointless-dot-unnormalized", UNNORMALIZED),
    ("get-slash-unnormalized", UNNORMALIZED),
    ("get-slashes-unnormalized", UNNORMALIZED),
    ("get-space-normalized", ENCODED_ONCE),
    ("get-space-unnormalized", ENCODED_ONCE),
    ("get-utf8", ENCODED_ONCE),
    ("double-encode-path", NO_SIGNATURE),
    ("double-url-encode", NO_SIGNATURE),
];
const UNNORMALIZED: &str = "only S3 signs a path as it is written";
const ENCODED_ONCE: &str = "only S3 wants the path encoded once";
const NO_SIGNATURE: &str = "has no signature: see double_encoding";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/component/vectors/data/sigv4")
}

#[test]
fn signing_suite() {
    let mut run = 0;
    let mut skipped = 0;
    for entry in fs::read_dir(data()).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        if SKIPPED.iter().any(|(skip, _)| *skip == name) {
            skipped += 1;
            continue;
        }
        let context: Value = serde_json::from_str(&read(&dir, "context.json")).unwrap();
        let signature = signature(&request(&dir), &Context::of(&context));
        assert_eq!(signature, read(&dir, "header-signature.txt"), "{name}");
        run += 1;
    }
    assert_eq!((run, skipped), (29, SKIPPED.len()));
}

/// These two cases come as canonical requests: what the signature over them must be is worked out
/// here, from the definition of Signature Version 4.
#[test]
fn double_encoding() {
    for name in ["double-encode-path", "double-url-encode"] {
        let dir = data().join(name);
        let canonical = read(&dir, "header-canonical-request.txt");
        let context = Context {
            key: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            token: None,
            region: "us-east-1".to_owned(),
            service: "service".to_owned(),
            time: "2021-05-11T15:40:45Z".to_owned(),
            signs_body: false,
        };
        let scope = "20210511/us-east-1/service/aws4_request";
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n20210511T154045Z\n{scope}\n{}",
            hex(&Sha256::digest(&canonical))
        );
        let mut key = format!("AWS4{}", context.secret).into_bytes();
        for part in scope.split('/') {
            key = hmac(&key, part);
        }
        let expected = hex(&hmac(&key, &to_sign));
        assert_eq!(signature(&request(&dir), &context), expected, "{name}");
    }
}

struct Context {
    key: String,
    secret: String,
    token: Option<String>,
    region: String,
    service: String,
    time: String,
    signs_body: bool,
}

impl Context {
    fn of(json: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let keys = &json["credentials"];
        // The token that is added after signing is not there while signing.
        let token = keys["token"]
            .as_str()
            .filter(|_| json["omit_session_token"] != true);
        Self {
            key: text(&keys["access_key_id"]),
            secret: text(&keys["secret_access_key"]),
            token: token.map(str::to_owned),
            region: text(&json["region"]),
            service: text(&json["service"]),
            time: text(&json["timestamp"]),
            signs_body: json["sign_body"] == true,
        }
    }
}

struct Request {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn request(dir: &Path) -> Request {
    let text = read(dir, "request.txt");
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    // A folded header is one line with a space, as an HTTP parser hands it on.
    let head = head.replace("\n  ", " ");
    let mut lines = head.lines();
    let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
    let path = rest.strip_suffix(" HTTP/1.1").unwrap();
    let mut host = "";
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        match name.to_ascii_lowercase().as_str() {
            "host" => host = value,
            // Signing adds the time it is told.
            "x-amz-date" => {}
            _ => headers.push((name.to_owned(), value.to_owned())),
        }
    }
    Request {
        method: method.to_owned(),
        url: format!("https://{host}{}", encoded(path)),
        headers,
        body: body.to_owned(),
    }
}

/// A URL on the wire is ASCII; some of the suite's are not.
fn encoded(path: &str) -> String {
    path.bytes()
        .map(|b| match b {
            0x21..=0x7e => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

fn signature(request: &Request, context: &Context) -> String {
    let mut headers = request.headers.clone();
    if context.signs_body {
        let hash = hex(&Sha256::digest(&request.body));
        headers.push(("x-amz-content-sha256".to_owned(), hash));
    }
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let format = aws_smithy_types::date_time::Format::DateTime;
    let time = aws_smithy_types::DateTime::from_str(&context.time, format).unwrap();
    let signed = sign(&SignRequest {
        method: &request.method,
        url: &request.url,
        headers: &headers,
        body: BodyToSign::Bytes(request.body.as_bytes()),
        region: &context.region,
        service: &context.service,
        time: SystemTime::try_from(time).unwrap(),
        credentials: &Credentials::new(
            context.key.as_str(),
            context.secret.as_str(),
            context.token.clone(),
            None,
            "test",
        ),
    })
    .unwrap();
    let (_, authorization) = signed.iter().find(|(n, _)| n == "authorization").unwrap();
    let (_, signature) = authorization.split_once("Signature=").unwrap();
    signature.to_owned()
}

fn read(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
