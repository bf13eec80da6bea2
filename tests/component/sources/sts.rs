use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use xray::aws::clock::Clock;
use xray::aws::endpoint::{Endpoints, StsFallback};
use xray::credentials::sources::roles::{AssumedRole, Role, WebIdentity, WebIdentityRole};
use xray::credentials::sources::sts::{StsClient, on_behalf};
use xray::credentials::{Source, SourceError, date};
use xray::http::client::{HttpClientConfig, HttpClientFactory, ServiceUrls};
use xray::http::dns::Resolver;

use super::{LATER, NOW, Time, env_of};
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http::{Request, Response};
use xray_test_support::keys::Keys;
use xray_test_support::scratch::ScratchFile;
use xray_test_support::sigv4::verify;
use xray_test_support::sts::{form, sts_error, sts_json, sts_xml};

const ROLE: &str = "arn:aws:iam::123456789012:role/a b";
const ASSUME: &str = "AssumeRole";
const WEB: &str = "AssumeRoleWithWebIdentity";

pub fn client(url: &str, time: &Time) -> StsClient {
    let service = HttpClientFactory::new(HttpClientConfig {
        resolver: Resolver::start().unwrap(),
        proxy_address: "",
        no_verify_ssl: false,
        profile_ca_bundle: None,
        connections: 0,
        user_agent: "test",
        env: &|_| None,
    });
    StsClient {
        service: Arc::new(service.unwrap()),
        endpoints: Endpoints {
            xray: ServiceUrls::only("http://127.0.0.1:9".to_owned()),
            sts: ServiceUrls::only(url.to_owned()),
            sts_region: "eu-west-1".to_owned(),
            sts_fallback: None,
        },
        clock: Arc::new(Clock::new(false)),
        timing: time.timing(),
        on_behalf: Vec::new(),
        has_no_route: false,
        use_fallback_region: false,
    }
}

/// Hands out these one after the other, the last one for ever.
struct Base {
    answers: Mutex<Vec<Result<Credentials, SourceError>>>,
    asked: Arc<Mutex<usize>>,
}

impl Base {
    fn new(answers: Vec<Result<Credentials, SourceError>>) -> (Box<Self>, Arc<Mutex<usize>>) {
        let asked = Arc::new(Mutex::new(0));
        let base = Self {
            answers: Mutex::new(answers),
            asked: asked.clone(),
        };
        (Box::new(base), asked)
    }
}

impl Source for Base {
    fn name(&self) -> String {
        "the base".to_owned()
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        *self.asked.lock().unwrap() += 1;
        let mut answers = self.answers.lock().unwrap();
        match answers.len() {
            1 => answers[0].clone(),
            _ => answers.remove(0),
        }
    }
}

fn base_keys(id: &str, expires: Option<&str>) -> Credentials {
    let token = format!("{id}/token==");
    let expires = expires.map(|text| date::parse(text).unwrap());
    Credentials::new(id, "base secret", Some(token), expires, "test")
}

fn fake_keys(id: &str) -> Keys {
    Keys::new(id, "base secret", Some(&format!("{id}/token==")))
}

fn assumed(base: Box<dyn Source>, fake: &Endpoint, time: &Time) -> AssumedRole {
    AssumedRole::new(base, Role::new(ROLE), client(&fake.url(), time))
}

fn signed_by(request: &Request, id: &str, region: &str) -> bool {
    verify(request, &[fake_keys(id)], region, "sts", SystemTime::now()).is_ok()
}

#[test]
fn a_role_is_assumed_as_the_official_daemon_does() {
    for body in [
        sts_json(ASSUME, "ASIA", "1735711200"),
        sts_json(ASSUME, "ASIA", "1.7357112E9"),
        sts_json(ASSUME, "ASIA", &format!("\"{LATER}\"")),
        sts_xml(ASSUME, "ASIA", LATER),
    ] {
        let fake = Endpoint::start(move |_, _| Reply::json(body.clone()));
        let (base, _) = Base::new(vec![Ok(base_keys("BASE", None))]);
        let mut source = assumed(base, &fake, &Time::at(NOW));
        let credentials = source.fetch().unwrap();
        assert_eq!(credentials.access_key_id(), "ASIA");
        assert_eq!(credentials.session_token(), Some("token/of+sts=="));
        assert_eq!(
            credentials.expiry().map(date::format).as_deref(),
            Some(LATER)
        );

        let request = &fake.requests()[0];
        verify(
            request,
            &[fake_keys("BASE")],
            "eu-west-1",
            "sts",
            SystemTime::now(),
        )
        .unwrap();
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            ("POST", "/")
        );
        assert_eq!(request.header("accept"), Some("application/json"));
        let form: Vec<_> = form(request).into_iter().collect();
        let expected = [
            ("Action", ASSUME),
            ("DurationSeconds", "900"),
            ("RoleArn", ROLE),
            ("RoleSessionName", "xray-daemon"),
            ("Version", "2011-06-15"),
        ];
        assert_eq!(form, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }
}

/// What a profile says of the session, and for whom a service acts.
#[test]
fn a_role_is_assumed_as_it_is_told_to_be() {
    let fake = Endpoint::start(|_, _| sts_error(403, "AccessDenied", "not with hush"));
    let role = Role {
        arn: ROLE.to_owned(),
        session_name: "me".to_owned(),
        external_id: Some("hush".to_owned()),
        duration: 3600,
    };
    let vars = [
        ("AMZ_SOURCE_ACCOUNT", "123456789012".to_owned()),
        ("AMZ_SOURCE_ARN", "arn:aws:ecs:x".to_owned()),
    ];
    assert_eq!(on_behalf(&env_of(&vars[..1])), []);
    let mut client = client(&fake.url(), &Time::at(NOW));
    client.on_behalf = on_behalf(&env_of(&vars));
    let (base, _) = Base::new(vec![Ok(base_keys("BASE", None))]);
    let mut source = AssumedRole::new(base, role, client);
    let error = source.fetch().unwrap_err().to_string();
    assert!(
        error.ends_with("AccessDenied: not with [hidden]"),
        "{error}"
    );

    let request = &fake.requests()[0];
    assert!(signed_by(request, "BASE", "eu-west-1"));
    let account = request.header("x-amz-source-account");
    assert_eq!(account, Some("123456789012"));
    assert_eq!(request.header("x-amz-source-arn"), Some("arn:aws:ecs:x"));
    let form = form(request);
    assert_eq!(form["ExternalId"], "hush");
    assert_eq!(form["RoleSessionName"], "me");
    assert_eq!(form["DurationSeconds"], "3600");
}

#[test]
fn a_web_identity_is_sent_unsigned_and_read_each_time() {
    let fake = Endpoint::start(|_, _| Reply::json(sts_json(WEB, "ASIA", "1735711200")));
    let file = ScratchFile::new("first.jwt\n");
    let identity = WebIdentity {
        token_file: file.path().into(),
        role_arn: ROLE.to_owned(),
        session_name: None,
    };
    let mut source = WebIdentityRole::new(identity.clone(), client(&fake.url(), &Time::at(NOW)));
    source.fetch().unwrap();
    file.write("second.jwt");
    source.fetch().unwrap();
    let requests = fake.requests();
    for (request, token) in requests.iter().zip(["first.jwt", "second.jwt"]) {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.header("x-amz-security-token"), None);
        let form = form(request);
        assert_eq!(form["Action"], WEB);
        assert_eq!(form["WebIdentityToken"], token);
        assert_eq!(form["RoleArn"], ROLE);
        assert_eq!(form["RoleSessionName"], "xray-daemon-1735689600");
        assert_eq!(form.get("DurationSeconds"), None);
    }

    for (text, why) in [
        ("", "is empty"),
        (" \n", "is empty"),
        ("a\r\nb", "holds more than one"),
    ] {
        file.write(text);
        let error = source.fetch().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    std::fs::remove_file(file.path()).unwrap();
    let error = source.fetch().unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    assert_eq!(
        fake.request_lines().len(),
        2,
        "nothing is sent without a token"
    );
}

#[test]
fn what_may_pass_is_asked_again_three_times_in_all() {
    let web = |fake: &Endpoint, time: &Time| {
        let file = ScratchFile::new("hush.jwt");
        let identity = WebIdentity {
            token_file: file.path().into(),
            role_arn: ROLE.to_owned(),
            session_name: Some("me".to_owned()),
        };
        WebIdentityRole::new(identity, client(&fake.url(), time)).fetch()
    };
    for (status, code, times) in [
        (400, "InvalidIdentityToken", 3),
        (400, "IDPCommunicationError", 3),
        (400, "Throttling", 3),
        (500, "InternalFailure", 3),
        (503, "", 3),
        (429, "", 3),
        (403, "AccessDenied", 1),
        (400, "ExpiredTokenException", 1),
        (302, "", 1),
    ] {
        let fake = Endpoint::start(move |_, _| sts_error(status, code, "refused hush.jwt"));
        let time = Time::at(NOW);
        let error = web(&fake, &time).unwrap_err().to_string();
        let code = if code.is_empty() {
            String::new()
        } else {
            format!("{code}: ")
        };
        let url = fake.url();
        assert_eq!(
            error,
            format!("STS {url} answered {status}: {code}refused [hidden]")
        );
        assert_eq!(
            (fake.request_lines().len(), time.pauses()),
            (times, times - 1),
            "{error}"
        );
    }
    for broken in ["", "{\"AssumeRoleW", "<html>hush</html>", "{}"] {
        let fake = Endpoint::start(move |number, _| match number {
            0 => Reply::json(broken),
            _ => Reply::json(sts_json(WEB, "ASIA", "1735711200")),
        });
        assert_eq!(web(&fake, &Time::at(NOW)).unwrap().access_key_id(), "ASIA");
        assert_eq!(fake.request_lines().len(), 2);
    }
    // A session without an end, or without a token, is none.
    let fake = Endpoint::start(|_, _| Reply::json(sts_json(WEB, "ASIA", "null")));
    let error = web(&fake, &Time::at(NOW)).unwrap_err().to_string();
    assert!(
        error.contains("Expiration is missing or no date"),
        "{error}"
    );
    let xml = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
    let fake = Endpoint::start(move |_, _| Reply::text(403, xml));
    let error = web(&fake, &Time::at(NOW)).unwrap_err().to_string();
    assert!(error.ends_with("answered 403: AccessDenied: no"), "{error}");
}

/// Many listen at that address, so TCP has no route to it.
const NO_ROUTE: &str = "http://255.255.255.255";

#[test]
fn a_host_without_a_route_asks_the_dual_stack_name() {
    let answer = |_: usize, _: &Request| Reply::json(sts_json(ASSUME, "ASIA", "1735711200"));
    let dual_stack = Endpoint::start(answer);
    let mut client = client(NO_ROUTE, &Time::at(NOW));
    client.endpoints.sts.dual_stack = Some(dual_stack.url());
    let (base, _) = Base::new(vec![Ok(base_keys("BASE", None))]);
    let mut source = AssumedRole::new(base, Role::new(ROLE), client);
    assert_eq!(source.fetch().unwrap().access_key_id(), "ASIA");
    source.fetch().unwrap();
    for _ in 0..2 {
        let request = dual_stack.next_request();
        let host = dual_stack.url().replace("http://", "");
        assert_eq!(request.header("host"), Some(host.as_str()));
    }
}

#[test]
fn a_region_without_sts_is_left_for_good() {
    let here = Endpoint::start(|_, _| sts_error(403, "RegionDisabledException", "not here"));
    let main = Endpoint::start(|_, _| Reply::json(sts_json(ASSUME, "ASIA", "1735711200")));
    let mut client = client(&here.url(), &Time::at(NOW));
    client.endpoints.sts_fallback = Some(StsFallback {
        urls: ServiceUrls::only(main.url()),
        region: "us-east-1",
    });
    let (base, _) = Base::new(vec![Ok(base_keys("BASE", None))]);
    let mut source = AssumedRole::new(base, Role::new(ROLE), client);
    source.fetch().unwrap();
    source.fetch().unwrap();
    assert_eq!(
        (here.request_lines().len(), main.request_lines().len()),
        (1, 2)
    );
    assert!(signed_by(&here.requests()[0], "BASE", "eu-west-1"));
    assert!(signed_by(&main.requests()[0], "BASE", "us-east-1"));

    // Nowhere else to go.
    let (base, _) = Base::new(vec![Ok(base_keys("BASE", None))]);
    let error = assumed(base, &here, &Time::at(NOW))
        .fetch()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("RegionDisabledException: not here"),
        "{error}"
    );
}

/// A host whose clock is wrong could otherwise never assume its role, and so never reach X-Ray,
/// which would have taught it the time.
#[test]
fn a_wrong_clock_is_corrected_by_the_first_answer() {
    const MINUTES: Duration = Duration::from_secs(20 * 60);
    let ahead: fn(SystemTime) -> SystemTime = |now| now + MINUTES;
    let behind: fn(SystemTime) -> SystemTime = |now| now - MINUTES;
    for there in [ahead, behind] {
        let fake = Endpoint::start(move |_, request| {
            let now = there(SystemTime::now());
            let date = httpdate::fmt_http_date(now);
            let dated = |answer: Reply| match answer {
                Reply::Send(response) => {
                    Reply::Send(response.with("Date", &date).with("x-amzn-RequestId", "id"))
                }
                other => other,
            };
            match verify(request, &[fake_keys("BASE")], "eu-west-1", "sts", now) {
                Ok(()) => dated(Reply::json(sts_json(ASSUME, "ASIA", "1735711200"))),
                Err(_) => dated(sts_error(403, "SignatureDoesNotMatch", "expired")),
            }
        });
        let (base, _) = Base::new(vec![Ok(base_keys("BASE", None))]);
        let mut source = assumed(base, &fake, &Time::at(NOW));
        source.fetch().unwrap();
        assert_eq!(fake.request_lines().len(), 2);
        source.fetch().unwrap();
        assert_eq!(fake.request_lines().len(), 3, "learnt");
    }
}

/// STS explains a bad signature by quoting the request that it received.
#[test]
fn an_error_does_not_quote_the_token() {
    let fake = Endpoint::start(|_, request| {
        let token = request.header("x-amz-security-token").unwrap();
        sts_error(
            403,
            "SignatureDoesNotMatch",
            &format!("x-amz-security-token:{token}"),
        )
    });
    let (base, _) = Base::new(vec![Ok(base_keys("BASE", None))]);
    let error = assumed(base, &fake, &Time::at(NOW))
        .fetch()
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("x-amz-security-token:[hidden]"), "{error}");
}

#[test]
fn the_base_is_kept_and_renewed_apart() {
    let fake = Endpoint::start(|_, _| Reply::json(sts_json(ASSUME, "ASIA", "1735711200")));
    let time = Time::at(NOW);
    let (base, asked) = Base::new(vec![
        Ok(base_keys("ONE", Some("2025-01-01T01:00:00Z"))),
        Ok(base_keys("TWO", Some(LATER))),
    ]);
    let mut source = assumed(base, &fake, &time);
    for (pass, expected) in [(0, "ONE"), (900, "ONE"), (2500, "TWO")] {
        time.pass(pass);
        source.fetch().unwrap();
        assert!(
            signed_by(fake.requests().last().unwrap(), expected, "eu-west-1"),
            "{pass}"
        );
    }
    assert_eq!(*asked.lock().unwrap(), 2);
}

#[test]
fn a_base_that_sts_calls_expired_is_renewed_and_the_call_repeated() {
    let fake = Endpoint::start(|_, request| match signed_by(request, "OLD", "eu-west-1") {
        true => sts_error(403, "ExpiredTokenException", "expired"),
        false => Reply::json(sts_json(ASSUME, "ASIA", "1735711200")),
    });
    let (base, asked) = Base::new(vec![Ok(base_keys("OLD", None)), Ok(base_keys("NEW", None))]);
    assumed(base, &fake, &Time::at(NOW)).fetch().unwrap();
    assert_eq!((*asked.lock().unwrap(), fake.request_lines().len()), (2, 2));

    // One that stays expired is not asked for again and again.
    let fake = Endpoint::start(|_, _| sts_error(403, "ExpiredToken", "expired"));
    let (base, asked) = Base::new(vec![Ok(base_keys("OLD", None))]);
    let mut source = assumed(base, &fake, &Time::at(NOW));
    source.fetch().unwrap_err();
    source.fetch().unwrap_err();
    assert_eq!((*asked.lock().unwrap(), fake.request_lines().len()), (2, 3));
}

#[test]
fn without_a_base_nothing_is_sent() {
    let fake = Endpoint::start(|_, _| Reply::Send(Response::new(500, "")));
    let wrong = SourceError::Setting("the base has none".to_owned());
    let (base, asked) = Base::new(vec![Err(wrong)]);
    let time = Time::at(NOW);
    let mut source = assumed(base, &fake, &time);
    let mut tell = || source.fetch().unwrap_err().to_string();
    assert_eq!(tell(), "the base has none");
    assert_eq!(tell(), "the base has none");
    assert_eq!(*asked.lock().unwrap(), 1, "the base has its pauses");
    assert!(fake.request_lines().is_empty());
}

/// Whether the clock of this host is right, STS knows.
#[test]
fn a_base_that_seems_to_have_expired_is_left_to_sts() {
    let fake = Endpoint::start(|number, _| match number {
        0 => sts_error(403, "ExpiredToken", "over"),
        _ => Reply::json(sts_json(ASSUME, "ASIA", "1735711200")),
    });
    let (base, asked) = Base::new(vec![
        Ok(base_keys("OLD", Some("2024-12-31T23:00:00Z"))),
        Ok(base_keys("NEW", Some(LATER))),
    ]);
    let mut source = assumed(base, &fake, &Time::at(NOW));
    assert_eq!(source.fetch().unwrap().access_key_id(), "ASIA");
    assert_eq!((*asked.lock().unwrap(), fake.request_lines().len()), (2, 2));
}
