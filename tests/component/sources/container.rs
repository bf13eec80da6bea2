use xray::credentials::Source;
use xray::credentials::date;
use xray::credentials::sources::container::{Container, settings};
use xray::http::client::metadata_agent;
use xray::http::dns::Resolver;

use super::{LATER, NOW, Time, Var, env_of};
use xray_test_support::ec2::keys;
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http::Response;
use xray_test_support::scratch::ScratchFile;
use xray_test_support::server::closed_address;

const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

fn container(fake: &Endpoint, time: &Time, vars: &[Var<'_>]) -> Container {
    let mut vars = vars.to_vec();
    vars.push((FULL, format!("{}/v1/credentials?a=1", fake.url())));
    let settings = settings(&env_of(&vars)).unwrap();
    Container::new(
        settings,
        metadata_agent(&Resolver::start().unwrap()),
        time.timing(),
    )
}

#[test]
fn asks_as_the_agents_want_it() {
    let fake = Endpoint::start(|_, _| Reply::json(keys("AKID", "2025-01-01T06:00:00.123456789Z")));
    let time = Time::at(NOW);
    let mut source = container(&fake, &time, &[(TOKEN, "Basic with blank".into())]);
    let credentials = source.fetch().unwrap();
    assert_eq!(credentials.access_key_id(), "AKID");
    assert_eq!(credentials.session_token(), Some("session/token/of/fakes"));
    assert_eq!(
        credentials.expiry().map(date::format).as_deref(),
        Some(LATER)
    );
    assert_eq!(fake.request_lines(), ["GET /v1/credentials?a=1"]);
    let request = &fake.requests()[0];
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("authorization"), Some("Basic with blank"));
}

/// A name that is this host goes to its address, under its name.
#[test]
fn asks_localhost_by_its_address() {
    let fake = Endpoint::start(|_, _| Reply::json(keys("AKID", LATER)));
    let host = format!("localhost:{}", fake.address().port());
    let vars = [(FULL, format!("http://{host}/keys"))];
    let settings = settings(&env_of(&vars)).unwrap();
    let mut source = Container::new(
        settings,
        metadata_agent(&Resolver::start().unwrap()),
        Time::at(NOW).timing(),
    );
    source.fetch().unwrap();
    let request = &fake.requests()[0];
    assert_eq!(request.target, "/keys");
    let hosts = request
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"));
    assert_eq!(
        hosts.map(|(_, value)| value.as_str()).collect::<Vec<_>>(),
        [host]
    );
}

/// EKS Pod Identity on IPv6 clusters.
#[test]
fn asks_an_ipv6_address() {
    let fake = Endpoint::on("[::1]:0", None, |_, _| Reply::json(keys("AKID", LATER)));
    container(&fake, &Time::at(NOW), &[]).fetch().unwrap();
    assert_eq!(
        fake.requests()[0].header("host"),
        Some(fake.address().to_string().as_str())
    );
}

#[test]
fn the_token_file_is_read_at_each_request() {
    let fake = Endpoint::start(|_, _| Reply::json(keys("AKID", LATER)));
    let file = ScratchFile::new("first");
    let vars = [(TOKEN_FILE, file.text()), (TOKEN, "not this".into())];
    let mut source = container(&fake, &Time::at(NOW), &vars);
    source.fetch().unwrap();
    file.write("second");
    source.fetch().unwrap();
    let requests = fake.requests();
    let sent: Vec<_> = requests
        .iter()
        .map(|r| r.header("authorization").unwrap())
        .collect();
    assert_eq!(sent, ["first", "second"]);
}

#[test]
fn a_token_that_cannot_be_sent_is_not_sent() {
    let fake = Endpoint::start(|_, _| Reply::json(keys("AKID", LATER)));
    let file = ScratchFile::new("hush\n");
    let large = ScratchFile::new("hush".repeat(20_000));
    for (var, why) in [
        ((TOKEN, "hush\r\nX-Evil: 1".to_owned()), "holds a line end"),
        (
            (TOKEN, "hush\u{e9}".to_owned()),
            "holds characters that no header may",
        ),
        ((TOKEN_FILE, file.text()), "holds a line end"),
        ((TOKEN_FILE, large.text()), "larger than 64 KiB"),
        (
            (TOKEN_FILE, "/nonexistent/token".to_owned()),
            "cannot read the token file /nonexistent",
        ),
    ] {
        let error = container(&fake, &Time::at(NOW), &[var])
            .fetch()
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
    assert!(fake.request_lines().is_empty());
}

#[test]
fn what_may_pass_is_asked_again() {
    let starting = r#"{"code":"CredentialsUninitialized","message":"m","HTTPErrorCode":503}"#;
    for first in [
        || Reply::text(503, r#"{"code":"CredentialsUninitialized"}"#),
        || Reply::text(500, ""),
        || Reply::text(429, "Too Many Requests"),
        || Reply::json(r#"{"AccessKeyId":"AKID","SecretAcc"#),
        || Reply::json(""),
        || Reply::text(200, "<html>starting</html>"),
        || Reply::RawThenClose(Vec::new()),
        || Reply::RawThenClose(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{".to_vec()),
        || Reply::RawThenClose(b"SSH-2.0-dropbear\r\n".to_vec()),
    ] {
        let fake = Endpoint::start(move |number, _| match number {
            0 => first(),
            _ => Reply::json(keys("AKID", LATER)),
        });
        let time = Time::at(NOW);
        let credentials = container(&fake, &time, &[]).fetch().unwrap();
        assert_eq!(credentials.access_key_id(), "AKID");
        assert_eq!((fake.request_lines().len(), time.pauses()), (2, 1));
    }
    let fake = Endpoint::start(move |_, _| Reply::text(503, starting));
    let error = container(&fake, &Time::at(NOW), &[])
        .fetch()
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!("{} answered 503: CredentialsUninitialized: m", fake.url())
    );
    assert_eq!(fake.request_lines().len(), 3);
}

#[test]
fn refusals_are_told_and_not_repeated() {
    for (answer, expected) in [
        (
            Response::new(403, "no association for hush\n"),
            "answered 403: no association for [hidden]",
        ),
        (
            Response::new(
                400,
                r#"{"code":"InvalidIdInRequest","message":"hush\u001b[31m"}"#,
            ),
            "answered 400: InvalidIdInRequest: [hidden] [31m",
        ),
        (Response::new(404, ""), "answered 404"),
        (
            Response::new(307, "").with("Location", "http://127.0.0.1:9/elsewhere"),
            "answered 307",
        ),
        (
            Response::new(403, "x".repeat(300)),
            &format!("answered 403: {}…", "x".repeat(200)),
        ),
    ] {
        let fake = Endpoint::start(move |_, _| Reply::Send(answer.clone()));
        let mut source = container(&fake, &Time::at(NOW), &[(TOKEN, "hush".into())]);
        let error = source.fetch().unwrap_err().to_string();
        assert_eq!(error, format!("{} {expected}", fake.url()));
        assert_eq!(fake.request_lines().len(), 1, "{error}");
    }
}

/// The answer is given up on as soon as it is longer than any credentials are.
#[test]
fn an_endless_body_is_not_read() {
    let fake = Endpoint::start(|_, _| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n{".to_vec();
        bytes.resize(1_000_000, b' ');
        Reply::RawThenClose(bytes)
    });
    let error = container(&fake, &Time::at(NOW), &[])
        .fetch()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the answer is longer than 64 KiB"),
        "{error}"
    );
}

#[test]
fn nobody_there_says_who_was_asked_for() {
    let address = closed_address();
    let settings = settings(&env_of(&[(FULL, format!("http://{address}/secret/path"))])).unwrap();
    let mut source = Container::new(
        settings,
        metadata_agent(&Resolver::start().unwrap()),
        Time::at(NOW).timing(),
    );
    let error = source.fetch().unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("no answer from http://{address}: ")),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
}
