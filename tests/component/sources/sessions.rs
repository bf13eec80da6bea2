//! Sessions of people, with `aws login` and with IAM Identity Center, and how they are renewed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_smithy_types::base64;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use xray::aws::clock::Clock;
use xray::aws::endpoint::IdentityEndpoints;
use xray::aws::profile::Profiles;
use xray::credentials::sources::login::{Login, LoginSettings};
use xray::credentials::sources::sso::{Sso, SsoSettings};
use xray::credentials::sources::token_service::TokenService;
use xray::credentials::{Source, date};
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http::{Request, Response};
use xray_test_support::scratch::ScratchDir;

use super::sts::client;
use super::{NOW, Time, env_of};

/// All services of sessions are at `url`.
fn endpoints(url: &str) -> IdentityEndpoints {
    let env = env_of(&[("AWS_ENDPOINT_URL", url.to_owned())]);
    let read = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
    IdentityEndpoints::load(&env, &Profiles::load(&env, &read).unwrap())
}

fn service(url: &str, time: &Time) -> TokenService {
    TokenService {
        endpoints: endpoints(url),
        http: client(url, time).service,
        clock: Arc::new(Clock::new(true)),
        timing: time.timing(),
    }
}

fn login(cache: PathBuf, url: &str, now: &str) -> Login {
    let time = Time::at(now);
    Login {
        settings: LoginSettings {
            profile: "dev".to_owned(),
            cache,
        },
        region: "eu-west-1".to_owned(),
        service: service(url, &time),
    }
}

fn sso(cache: PathBuf, url: &str) -> Sso {
    let time = Time::at(NOW);
    Sso {
        settings: SsoSettings {
            profile: "dev".to_owned(),
            cache,
            region: "eu-west-1".to_owned(),
            account_id: "123456789012".to_owned(),
            role_name: "dev".to_owned(),
        },
        service: service(url, &time),
    }
}

/// A file whose folder takes no file with a longer name: then none can be made beside it.
fn irreplaceable(scratch: &ScratchDir, content: &str) -> PathBuf {
    scratch.file(&format!("{}.json", "a".repeat(245)), content)
}

fn parsed(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn body(request: &Request) -> Value {
    assert_eq!(request.header("content-type"), Some("application/json"));
    serde_json::from_slice(&request.body).unwrap()
}

fn decode(text: &str) -> Vec<u8> {
    let mut text = text.replace('-', "+").replace('_', "/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    base64::decode(text).unwrap()
}

/// As AWS Sign-In checks the proof (RFC 9449, section 4.3).
fn check_proof(request: &Request, url: &str) {
    let proof = request.header("dpop").unwrap();
    let (message, signature) = proof.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    let payload: Value = serde_json::from_slice(&decode(payload)).unwrap();
    assert_eq!(
        (&header["typ"], &header["alg"]),
        (&json!("dpop+jwt"), &json!("ES256"))
    );
    assert_eq!(
        (&payload["htm"], &payload["htu"]),
        (&json!("POST"), &json!(url))
    );
    assert!(payload["iat"].is_u64() && payload["jti"].is_string());
    let mut point = vec![4];
    for coordinate in ["x", "y"] {
        point.extend(decode(header["jwk"][coordinate].as_str().unwrap()));
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(message.as_bytes(), &decode(signature))
        .unwrap();
}

/// The SDKs' published cases of `aws login`.
#[test]
fn login_provider_cases() {
    let suite = include_str!("../vectors/data/login-provider-test-cases.json");
    let suite: Value = serde_json::from_str(suite).unwrap();
    let cases = suite.as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let name = case["documentation"].as_str().unwrap();
        let calls = case["mockApiCalls"].as_array().cloned().unwrap_or_default();
        let expected_calls = calls.len();
        let fake = Endpoint::start(move |number, request| {
            let call = &calls[number];
            assert_eq!(request.line(), "POST /v1/token");
            assert_eq!(body(request), call["request"]["tokenInput"]);
            match call["responseCode"].as_u64() {
                Some(status) => Reply::text(status as u16, "{}"),
                None => Reply::json(call["response"]["tokenOutput"].to_string()),
            }
        });
        let scratch = ScratchDir::new();
        let file = "4b0ba8f99f075c0633e122fd73346ce203a3faf18ea0310eb2d29df1bab2e255.json";
        if let Some(content) = case["cacheContents"].get(file) {
            scratch.file(file, content.to_string());
        }
        let cache = scratch.path().join(file);
        let mut source = login(cache.clone(), &fake.url(), "2025-11-19T00:00:00Z");
        let found = source.fetch();
        assert_eq!(fake.requests().len(), expected_calls, "{name}");
        for request in fake.requests() {
            check_proof(&request, &format!("{}/v1/token", fake.url()));
        }
        for outcome in case["outcomes"].as_array().unwrap() {
            match (outcome["result"].as_str().unwrap(), &found) {
                ("credentials", Ok(found)) => {
                    let text = |key: &str| outcome[key].as_str().unwrap();
                    assert_eq!(found.access_key_id(), text("accessKeyId"), "{name}");
                    assert_eq!(found.secret_access_key(), text("secretAccessKey"), "{name}");
                    assert_eq!(found.session_token(), Some(text("sessionToken")), "{name}");
                    assert_eq!(found.expiry(), date::parse(text("expiresAt")), "{name}");
                }
                ("cacheContents", Ok(_)) => {
                    let mut expected = outcome[file].clone();
                    // The case was written eight hours from UTC.
                    expected["accessToken"]["expiresAt"] = "2025-11-19T00:15:00Z".into();
                    assert_eq!(parsed(&cache), expected, "{name}");
                }
                ("error", Err(error)) => {
                    let error = error.to_string();
                    for secret in ["refresh_token", "EXAMPLEKEY", "oldExpired", "PRIVATE"] {
                        assert!(!error.contains(secret), "{name}: {error}");
                    }
                }
                (expected, found) => panic!("{name}: {expected}, but {found:?}"),
            }
        }
    }
}

/// A session whose keys live until then. `region` is where it began.
fn login_file(expires: &str, region: Option<&str>) -> String {
    let suite = include_str!("../vectors/data/login-provider-test-cases.json");
    let suite: Value = serde_json::from_str(suite).unwrap();
    let (_, content) = suite[0]["cacheContents"]
        .as_object()
        .unwrap()
        .iter()
        .next()
        .unwrap();
    let mut content = content.clone();
    content["accessToken"]["expiresAt"] = expires.into();
    content["accessToken"]["accessKeyId"] = "ASIAOLD".into();
    if let Some(region) = region {
        content["signInRegion"] = region.into();
    }
    content.to_string()
}

fn login_answer() -> Reply {
    let keys = json!({"accessKeyId": "ASIANEW", "secretAccessKey": "hush", "sessionToken": "t"});
    let answer = json!({"accessToken": keys, "tokenType": "aws_sigv4", "expiresIn": 900,
                        "refreshToken": "next"});
    Reply::json(answer.to_string())
}

fn id(found: &Credentials) -> &str {
    found.access_key_id()
}

#[test]
fn keys_of_a_login_are_renewed_five_minutes_ahead() {
    for (expires, asked) in [
        ("2025-01-01T00:05:01Z", false),
        ("2025-01-01T00:05:00Z", true),
        ("2024-12-31T00:00:00Z", true),
    ] {
        let fake = Endpoint::start(|_, _| login_answer());
        let scratch = ScratchDir::new();
        let cache = scratch.file("session.json", login_file(expires, None));
        let found = login(cache, &fake.url(), NOW).fetch().unwrap();
        let expected = if asked { "ASIANEW" } else { "ASIAOLD" };
        assert_eq!(id(&found), expected, "{expires}");
        assert_eq!(fake.requests().len(), usize::from(asked), "{expires}");
    }
}

/// A renewal makes the refresh token worthless: without a place for the next one, nothing is asked.
#[test]
fn what_cannot_be_written_back_is_not_renewed() {
    let fake = Endpoint::start(|_, _| login_answer());
    let scratch = ScratchDir::new();
    let cache = irreplaceable(&scratch, &login_file("2025-01-01T00:04:00Z", None));
    let found = login(cache.clone(), &fake.url(), NOW).fetch().unwrap();
    assert_eq!(id(&found), "ASIAOLD", "they live for four minutes more");
    fs::write(&cache, login_file(NOW, None)).unwrap();
    let error = login(cache, &fake.url(), NOW)
        .fetch()
        .unwrap_err()
        .to_string();
    assert!(error.contains("its file cannot be replaced"), "{error}");
    assert!(error.ends_with("run: aws login --profile dev"), "{error}");

    let token = json!({"accessToken": "hush", "expiresAt": NOW, "clientId": "id",
        "clientSecret": "shh", "refreshToken": "once",
        "registrationExpiresAt": "2026-01-01T00:00:00Z"});
    let cache = irreplaceable(&scratch, &token.to_string());
    let error = sso(cache, &fake.url()).fetch().unwrap_err().to_string();
    assert!(
        error.contains("cannot be renewed, because it cannot be replaced"),
        "{error}"
    );
    assert!(fake.requests().is_empty());
}

#[test]
fn what_aws_sign_in_says() {
    let over = "is over (TOKEN_EXPIRED); run: aws login --profile dev";
    for (answers, expected) in [
        (
            vec![(403, r#"{"error":"TOKEN_EXPIRED","message":"m"}"#)],
            Err(over),
        ),
        (
            vec![(
                403,
                r#"{"error":"INSUFFICIENT_PERMISSIONS","message":"refresh_token m"}"#,
            )],
            Err("answered 403: INSUFFICIENT_PERMISSIONS: [hidden] m"),
        ),
        (
            // It may have been carried out: it is not repeated at once.
            vec![(503, "busy")],
            Err("answered 503: busy"),
        ),
        (vec![(200, "")], Ok(())),
    ] {
        let count = answers.len();
        let answers: Vec<_> = answers.iter().map(|(s, b)| (*s, (*b).to_owned())).collect();
        let fake = Endpoint::start(move |number, _| match &answers[number] {
            (200, _) => login_answer(),
            (status, body) => Reply::Send(Response::new(*status, body.as_str())),
        });
        let scratch = ScratchDir::new();
        let cache = scratch.file("session.json", login_file(NOW, None));
        let before = fs::read_to_string(&cache).unwrap();
        let found = login(cache.clone(), &fake.url(), NOW).fetch();
        assert_eq!(fake.requests().len(), count);
        match (found, expected) {
            (Ok(found), Ok(())) => assert_eq!(id(&found), "ASIANEW"),
            (Err(error), Err(why)) => {
                assert!(error.to_string().ends_with(why), "{error}");
                assert_eq!(fs::read_to_string(&cache).unwrap(), before);
            }
            (found, _) => panic!("{found:?}"),
        }
        let files = fs::read_dir(scratch.path()).unwrap().count();
        assert_eq!(files, 1, "a temporary file is left");
    }
}

/// A request that was received may have been carried out.
#[test]
fn a_renewal_that_hangs_is_not_repeated_at_once() {
    let fake = Endpoint::start(|_, _| Reply::RawThenClose(Vec::new()));
    let scratch = ScratchDir::new();
    let cache = scratch.file("session.json", login_file(NOW, None));
    let error = login(cache, &fake.url(), NOW).fetch().unwrap_err();
    assert!(
        error.to_string().contains("AWS Sign-In http://127"),
        "{error}"
    );
    assert_eq!(fake.requests().len(), 1);
}

/// A session says where it began; sessions of older tools do not.
#[test]
fn a_session_is_renewed_where_it_began() {
    for (region, host) in [
        (None, "eu-west-1.signin.aws.amazon.com"),
        (Some("us-west-2"), "us-west-2.signin.aws.amazon.com"),
        (Some("cn-north-1"), "cn-north-1.signin.amazonaws.cn"),
    ] {
        let proxy = super::through_proxy::Proxy::to(
            host,
            match login_answer() {
                Reply::Send(response) => response,
                _ => unreachable!("it is JSON"),
            },
        );
        let scratch = ScratchDir::new();
        let cache = scratch.file("session.json", login_file(NOW, region));
        let mut source = login(cache, "http://127.0.0.1:9", NOW);
        source.service.endpoints = IdentityEndpoints::default();
        source.service.http = proxy.service.clone();
        assert_eq!(id(&source.fetch().unwrap()), "ASIANEW", "{host}");
        let (_, request) = proxy.seen();
        check_proof(&request, &format!("https://{host}/v1/token"));
    }
}

/// IAM Identity Center: the answers of the token service and of the portal.
fn center(token: Reply, portal: Reply) -> Endpoint {
    Endpoint::start(move |_, request| match request.path() {
        "/token" => token.clone(),
        _ => portal.clone(),
    })
}

fn portal() -> Reply {
    let keys = json!({"accessKeyId": "ASIASSO", "secretAccessKey": "hush", "sessionToken": "t",
                      "expiration": 1_735_711_200_000_u64});
    Reply::json(json!({"roleCredentials": keys}).to_string())
}

#[test]
fn a_token_of_the_identity_center_is_renewed_and_written_back() {
    let answer = json!({"accessToken": "new", "expiresIn": 3600, "refreshToken": "twice",
                        "tokenType": "Bearer"});
    let fake = center(Reply::json(answer.to_string()), portal());
    let scratch = ScratchDir::new();
    let token = json!({"startUrl": "https://x", "region": "eu-west-1", "accessToken": "old",
        "expiresAt": "2025-01-01T00:05:00Z", "clientId": "id", "clientSecret": "shh",
        "registrationExpiresAt": "2025-03-01T00:00:00Z", "refreshToken": "once"});
    let cache = scratch.file("token.json", token.to_string());
    let mut source = sso(cache.clone(), &fake.url());
    assert_eq!(id(&source.fetch().unwrap()), "ASIASSO");
    let requests = fake.requests();
    assert_eq!(requests[0].line(), "POST /token");
    assert_eq!(
        body(&requests[0]),
        json!({"clientId": "id", "clientSecret": "shh", "grantType": "refresh_token",
               "refreshToken": "once"})
    );
    assert_eq!(requests[1].header("x-amz-sso_bearer_token"), Some("new"));
    let mut expected = token;
    expected["accessToken"] = "new".into();
    expected["expiresAt"] = "2025-01-01T01:00:00Z".into();
    expected["refreshToken"] = "twice".into();
    assert_eq!(parsed(&cache), expected);
    // It is new enough now.
    source.fetch().unwrap();
    assert_eq!(fake.requests().len(), 3);
}

#[test]
fn tokens_that_cannot_be_renewed_are_tried_and_the_portal_decides() {
    let bare = json!({"accessToken": "old", "expiresAt": "2024-12-31T00:00:00Z"});
    let mut whole = bare.clone();
    for (key, value) in [
        ("clientId", "id"),
        ("clientSecret", "shh"),
        ("registrationExpiresAt", "2025-03-01T00:00:00Z"),
        ("refreshToken", "once"),
    ] {
        whole[key] = value.into();
    }
    let mut nearly = whole.clone();
    nearly["expiresAt"] = "2025-01-01T00:01:00Z".into();
    let over = || {
        let body = r#"{"error":"invalid_grant","error_description":"once is no grant"}"#;
        Reply::Send(Response::new(400, body))
    };
    let refused = || Reply::text(401, "{}");
    let end = "is refused: the session is over (expiry: 2024-12-31T00:00:00Z); \
               run: aws sso login --profile dev";
    for (token, portal, expected) in [
        (&bare, portal(), Ok(1)),
        (&bare, refused(), Err(end)),
        (&nearly, portal(), Ok(2)),
        (
            &whole,
            portal(),
            Err("is over (invalid_grant); run: aws sso login --profile dev"),
        ),
    ] {
        let fake = center(over(), portal);
        let scratch = ScratchDir::new();
        let cache = scratch.file("token.json", token.to_string());
        match (sso(cache.clone(), &fake.url()).fetch(), expected) {
            (Ok(found), Ok(requests)) => {
                assert_eq!(id(&found), "ASIASSO");
                assert_eq!(fake.requests().len(), requests);
            }
            (Err(error), Err(why)) => assert!(error.to_string().ends_with(why), "{error}"),
            (found, _) => panic!("{token}: {found:?}"),
        }
        assert_eq!(&parsed(&cache), token);
    }
    let mut missing = sso(PathBuf::from("/nonexistent"), "http://127.0.0.1:9");
    let error = missing.fetch().unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
}
