use xray::credentials::sources::imds::{ImdsClient, ImdsSettings, settings};
use xray::credentials::sources::instance::InstanceRole;
use xray::credentials::{Renewal, Source};
use xray::http::client::metadata_agent;
use xray::http::dns::Resolver;

use super::{LATER, NOW, Time, Var, env_of};
use xray_test_support::ec2::{Ec2, FakeEc2, ROLES};
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::server::closed_address;

const ID: &str = "meta-data/instance-id";
const PUT: &str = "PUT /latest/api/token";
const GET: &str = "GET /latest/meta-data/instance-id";

fn client(fake: &Endpoint, time: &Time, vars: &[Var<'_>]) -> ImdsClient {
    let mut vars = vars.to_vec();
    vars.push((
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        format!("{}/", fake.url()),
    ));
    let settings = settings(&env_of(&vars), &|_| None).unwrap().unwrap();
    ImdsClient::new(
        settings,
        metadata_agent(&Resolver::start().unwrap()),
        time.timing(),
    )
}

fn without_version_1() -> [Var<'static>; 1] {
    [("AWS_EC2_METADATA_V1_DISABLED", "true".to_owned())]
}

fn host() -> Ec2 {
    Ec2::default().page(ID, 200, "i-1")
}

#[test]
fn one_token_serves_until_shortly_before_its_end() {
    for (life, kept) in [(Some(21600), 21480), (None, 21480), (Some(300), 180)] {
        let ec2 = FakeEc2::start(Ec2 { life, ..host() });
        let time = Time::at(NOW);
        let mut client = client(&ec2.endpoint, &time, &[]);
        assert_eq!(client.get(ID).unwrap(), "i-1");
        time.pass(kept - 1);
        client.get(ID).unwrap();
        assert_eq!(ec2.endpoint.request_lines(), [PUT, GET, GET]);
        time.pass(1);
        client.get(ID).unwrap();
        assert_eq!(
            ec2.endpoint.request_lines(),
            [PUT, GET, GET, PUT, GET],
            "{life:?}"
        );
    }
}

/// Many listen at that address, so TCP has no route to it.
const NO_ROUTE: &str = "http://255.255.255.255";

#[test]
fn a_host_without_ipv4_asks_by_ipv6() {
    let ec2 = FakeEc2::start(host());
    let settings = |url: String, other: Option<String>| ImdsSettings {
        url,
        url_without_ipv4: other,
        ..settings(&|_| None, &|_| None).unwrap().unwrap()
    };
    let client = |settings| {
        let agent = metadata_agent(&Resolver::start().unwrap());
        ImdsClient::new(settings, agent, Time::at(NOW).timing())
    };
    let url = ec2.endpoint.url();
    let mut six = client(settings(NO_ROUTE.to_owned(), Some(url.clone())));
    assert_eq!(six.get(ID).unwrap(), "i-1");
    assert_eq!(six.from(), format!("the EC2 metadata service {url}"));
    // Where nobody is at either, the usual one is the one that is told of.
    let gone = format!("http://{}", closed_address());
    for other in [None, Some(gone.clone())] {
        let error = client(settings(NO_ROUTE.to_owned(), other)).get(ID);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(NO_ROUTE) && error.contains("no route"),
            "{error}"
        );
    }
    // A refusal is no missing route.
    let error = client(settings(gone, Some(url))).get(ID).unwrap_err();
    assert!(error.to_string().contains("connection refused"), "{error}");
}

#[test]
fn hosts_without_version_2_are_asked_by_version_1() {
    for put in [403, 404, 405] {
        let version_1 = Ec2 {
            put,
            version_1: true,
            ..host()
        };
        let ec2 = FakeEc2::start(version_1.clone());
        let mut client_ = client(&ec2.endpoint, &Time::at(NOW), &[]);
        assert_eq!(client_.get(ID).unwrap(), "i-1");
        assert_eq!(client_.get(ID).unwrap(), "i-1");
        assert_eq!(
            ec2.endpoint.request_lines(),
            [PUT, GET, GET],
            "not asked for a token again"
        );
        let requests = ec2.endpoint.requests();
        assert_eq!(requests[1].header("x-aws-ec2-metadata-token"), None);
        // Until version 1 is switched off.
        ec2.update(|ec2| *ec2 = host());
        assert_eq!(client_.get(ID).unwrap(), "i-1");
        assert_eq!(ec2.endpoint.request_lines()[3..], [GET, PUT, GET]);

        let ec2 = FakeEc2::start(version_1);
        let mut client = client(&ec2.endpoint, &Time::at(NOW), &without_version_1());
        let error = client.get(ID).unwrap_err().to_string();
        assert!(error.contains(&format!("answered {put}")), "{error}");
        assert_eq!(ec2.endpoint.request_lines(), [PUT]);
    }
}

/// The answer to a token request does not reach a container whose host allows one hop only.
#[test]
fn a_silent_token_request_means_version_1_for_a_minute() {
    let silent = Ec2 {
        put: 0,
        version_1: true,
        ..host()
    };
    let ec2 = FakeEc2::start(silent.clone());
    let time = Time::at(NOW);
    let mut client_ = client(&ec2.endpoint, &time, &[]);
    assert_eq!(client_.get(ID).unwrap(), "i-1");
    time.pass(59);
    client_.get(ID).unwrap();
    assert_eq!(ec2.endpoint.request_lines(), [PUT, GET, GET]);
    ec2.update(|ec2| ec2.put = 200);
    time.pass(1);
    client_.get(ID).unwrap();
    assert_eq!(ec2.endpoint.request_lines()[3..], [PUT, GET]);

    let ec2 = FakeEc2::start(silent);
    let mut client = client(&ec2.endpoint, &time, &without_version_1());
    let error = client.get(ID).unwrap_err().to_string();
    assert!(error.contains("--http-put-response-hop-limit 2"), "{error}");
    assert_eq!(ec2.endpoint.request_lines(), [PUT]);
}

#[test]
fn a_bad_token_request_is_told() {
    let ec2 = FakeEc2::start(Ec2 {
        put: 400,
        version_1: true,
        ..host()
    });
    let error = client(&ec2.endpoint, &Time::at(NOW), &[])
        .get(ID)
        .unwrap_err()
        .to_string();
    assert!(error.contains("answered 400"), "{error}");
    assert_eq!(ec2.endpoint.request_lines(), [PUT]);
}

#[test]
fn a_failing_token_request_is_repeated_then_version_1_serves_once() {
    let ec2 = FakeEc2::start(Ec2 {
        put: 500,
        version_1: true,
        ..host()
    });
    let time = Time::at(NOW);
    let mut client_ = client(&ec2.endpoint, &time, &[]);
    assert_eq!(client_.get(ID).unwrap(), "i-1");
    assert_eq!(ec2.endpoint.request_lines(), [PUT, PUT, PUT, GET]);
    assert_eq!(time.pauses(), 2);
    ec2.update(|ec2| ec2.put = 200);
    client_.get(ID).unwrap();
    assert_eq!(ec2.endpoint.request_lines()[4..], [PUT, GET]);

    // A token that no header can carry is no token.
    for token in ["", "two\r\nlines", "b\u{e4}d"] {
        let token = token.to_owned();
        let ec2 = FakeEc2::start(Ec2 { token, ..host() });
        let mut client = client(&ec2.endpoint, &time, &without_version_1());
        let error = client.get(ID).unwrap_err().to_string();
        assert!(
            error.contains("a session token that cannot be sent"),
            "{error}"
        );
        assert_eq!(ec2.endpoint.request_lines(), [PUT, PUT, PUT]);
    }
}

#[test]
fn a_refused_token_is_replaced_once() {
    let ec2 = FakeEc2::start(host());
    let mut client_ = client(&ec2.endpoint, &Time::at(NOW), &[]);
    client_.get(ID).unwrap();
    ec2.update(|ec2| ec2.token = "better".to_owned());
    assert_eq!(client_.get(ID).unwrap(), "i-1");
    assert_eq!(ec2.endpoint.request_lines(), [PUT, GET, GET, PUT, GET]);

    // Version 1 refused, and no version 2 either: no loop.
    let ec2 = FakeEc2::start(Ec2 { put: 403, ..host() });
    let mut client = client(&ec2.endpoint, &Time::at(NOW), &[]);
    let error = client.get(ID).unwrap_err().to_string();
    assert!(error.contains("answered 401"), "{error}");
    assert_eq!(ec2.endpoint.request_lines(), [PUT, GET, PUT, GET]);
}

#[test]
fn statuses_that_may_pass_are_repeated() {
    for (status, times) in [
        (500, 3),
        (503, 3),
        (429, 3),
        (400, 1),
        (403, 1),
        (404, 1),
        (302, 1),
    ] {
        let ec2 = FakeEc2::start(Ec2::default().page(ID, status, "no"));
        let error = client(&ec2.endpoint, &Time::at(NOW), &[])
            .get(ID)
            .unwrap_err()
            .to_string();
        assert!(
            error.ends_with(&format!("answered {status}: no")),
            "{error}"
        );
        assert_eq!(ec2.endpoint.request_lines().len(), 1 + times, "{status}");
    }
    // An empty page is one that is being written.
    let ec2 = FakeEc2::start(Ec2::default().page(ID, 200, " \n"));
    let error = client(&ec2.endpoint, &Time::at(NOW), &[])
        .get(ID)
        .unwrap_err()
        .to_string();
    assert!(error.contains("empty"), "{error}");
    assert_eq!(ec2.endpoint.request_lines().len(), 4);
}

/// A service that is slow to fail is not asked for longer than an operation may take.
#[test]
fn an_operation_has_five_seconds() {
    for (put, get, asked) in [
        (0, 0, vec![PUT, GET, GET, GET]),
        (0, 2, vec![PUT, GET, GET]),
        (2, 1, vec![PUT, GET]),
        (1, 1, vec![PUT, GET, GET]),
    ] {
        let time = Time::at(NOW);
        let clock = time.clone();
        let fake = Endpoint::start(move |_, request| match request.method.as_str() {
            "PUT" => {
                clock.pass(put);
                Reply::text(200, "t")
            }
            _ => {
                clock.pass(get);
                Reply::text(503, "busy")
            }
        });
        let error = client(&fake, &time, &[]).get(ID).unwrap_err().to_string();
        assert!(error.ends_with("answered 503: busy"), "{error}");
        assert_eq!(fake.request_lines(), asked, "{put} {get}");
    }
}

/// botocore's variable, for those who have set it.
#[test]
fn attempts_are_as_many_as_asked_for() {
    for (number, times) in [("1", 1), ("2", 2), ("5", 5)] {
        let ec2 = FakeEc2::start(Ec2::default().page(ID, 503, "busy"));
        let vars = [("AWS_METADATA_SERVICE_NUM_ATTEMPTS", number.to_owned())];
        let mut client = client(&ec2.endpoint, &Time::at(NOW), &vars);
        client.get(ID).unwrap_err();
        assert_eq!(ec2.endpoint.request_lines().len(), 1 + times);
    }
}

#[test]
fn the_role_is_looked_up_at_each_fetch() {
    let ec2 = FakeEc2::start(Ec2::with_role("ASIA1", LATER));
    let mut source = InstanceRole(client(&ec2.endpoint, &Time::at(NOW), &[]));
    assert_eq!(source.fetch().unwrap().access_key_id(), "ASIA1");
    assert_eq!(source.renewal(), Renewal::Stable);
    ec2.update(|ec2| {
        let keys = xray_test_support::ec2::keys("ASIA2", LATER);
        *ec2 = Ec2::default()
            .page(ROLES, 200, "other")
            .page(&format!("{ROLES}other"), 200, &keys);
    });
    assert_eq!(source.fetch().unwrap().access_key_id(), "ASIA2");
    let roles = format!("GET /latest/{ROLES}");
    assert_eq!(
        ec2.endpoint.request_lines(),
        [
            PUT.into(),
            roles.clone(),
            format!("{roles}app"),
            roles.clone(),
            format!("{roles}other")
        ]
    );
}

#[test]
fn answers_without_credentials() {
    let role = format!("{ROLES}app");
    let with = |status, body: &str| {
        Ec2::default()
            .page(ROLES, 200, "app")
            .page(&role, status, body)
    };
    let code = r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role"}"#;
    for (ec2, why) in [
        (
            Ec2::default(),
            "has no IAM role (instance profile) attached",
        ),
        (
            Ec2::default().page(ROLES, 200, "<html>"),
            "the answer is not the name of a role",
        ),
        (
            Ec2::default().page(ROLES, 200, "../../x"),
            "the answer is not the name of a role",
        ),
        (
            with(200, code),
            "role app: AssumeRoleUnauthorizedAccess: EC2 cannot assume the role",
        ),
        (with(200, r#"{"Code":"Failed"}"#), "role app: Failed"),
        (
            with(200, r#"{"Code":"Success","AccessKeyId":"hu"#),
            "role app: not a JSON object",
        ),
        (with(404, ""), "answered 404"),
    ] {
        let ec2 = FakeEc2::start(ec2);
        let mut source = InstanceRole(client(&ec2.endpoint, &Time::at(NOW), &[]));
        let error = source.fetch().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// Off EC2 the address leads nowhere: one connection, no repetition, no version 1.
#[test]
fn nobody_there_is_found_out_at_once() {
    let url = format!("http://{}", closed_address());
    let vars = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.clone())];
    let settings = settings(&env_of(&vars), &|_| None).unwrap().unwrap();
    let time = Time::at(NOW);
    let mut client = ImdsClient::new(
        settings,
        metadata_agent(&Resolver::start().unwrap()),
        time.timing(),
    );
    let error = client.get(ID).unwrap_err().to_string();
    let expected = format!("no answer from the EC2 metadata service {url}: ");
    assert!(error.starts_with(&expected), "{error}");
    assert_eq!(time.pauses(), 0);
}

#[test]
fn an_ipv6_endpoint_is_asked() {
    let fake = Endpoint::on("[::1]:0", None, |_, request| {
        match request.method.as_str() {
            "PUT" => Reply::text(200, "t"),
            _ => Reply::text(200, "i-1"),
        }
    });
    assert_eq!(client(&fake, &Time::at(NOW), &[]).get(ID).unwrap(), "i-1");
    assert_eq!(
        fake.requests()[1].header("x-aws-ec2-metadata-token"),
        Some("t")
    );
}
