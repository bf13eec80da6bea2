use std::sync::Arc;
use std::time::Duration;

use xray::aws::endpoint::IdentityEndpoints;
use xray::aws::profile::{Profiles, read_file};
use xray::credentials::chain::{Chain, Parts};
use xray::credentials::sources::process::RunningProgram;
use xray::credentials::sources::roles::Role;
use xray::credentials::{CredentialCache, Renewal, Source};
use xray::http::client::metadata_agent;
use xray::http::dns::Resolver;

use super::sts::client;
use super::{LATER, NOW, Time, Var, env_of};
use xray_test_support::DEADLINE;
use xray_test_support::ec2::{Ec2, FakeEc2};
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::scratch::ScratchFile;
use xray_test_support::sts::{form, sts_json};

fn chain(vars: &[Var<'_>], role_arn: Option<&str>, sts: &str, time: &Time) -> Chain {
    let env = env_of(vars);
    let profiles = Profiles::load(&env, &read_file).unwrap();
    let parts = Parts {
        env: Arc::new(env),
        role: role_arn.map(Role::new),
        metadata: metadata_agent(&Resolver::start().unwrap()),
        program: RunningProgram::default(),
        identity: IdentityEndpoints::default(),
        sts: client(sts, time),
    };
    Chain::new(parts, &profiles)
}

const NOBODY: &str = "http://127.0.0.1:9";

fn keys(id: &str) -> String {
    format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = hush\n")
}

#[test]
fn environment_keys_are_final() {
    let vars = [
        ("AWS_ACCESS_KEY_ID", "AKID".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "hush".to_owned()),
    ];
    let mut chain = chain(&vars, None, NOBODY, &Time::at(NOW));
    assert_eq!(chain.name(), "environment");
    assert_eq!(chain.fetch().unwrap().access_key_id(), "AKID");
    assert_eq!(chain.renewal(), Renewal::Fixed);
}

/// A re-mounted file is read when the service refuses the old keys.
#[test]
fn refused_keys_of_a_file_are_read_again() {
    let file = ScratchFile::new(keys("OLD"));
    let vars = [("AWS_SHARED_CREDENTIALS_FILE", file.text())];
    let time = Time::at(NOW);
    let chain = chain(&vars, None, NOBODY, &time);
    assert_eq!(chain.name(), "profile default");
    let cache = CredentialCache::new(Box::new(chain), time.timing());
    std::thread::spawn({
        let cache = cache.clone();
        move || cache.run(&|_| ())
    });
    let old = cache.wait(DEADLINE).unwrap();
    assert_eq!(old.credentials.access_key_id(), "OLD");
    file.write(keys("NEW"));
    assert!(cache.reject(old.generation));
    assert_eq!(
        cache.wait(DEADLINE).unwrap().credentials.access_key_id(),
        "NEW"
    );
}

#[test]
fn a_file_that_is_half_written_changes_nothing() {
    let file = ScratchFile::new(keys("OLD"));
    let vars = [("AWS_SHARED_CREDENTIALS_FILE", file.text())];
    let mut chain = chain(&vars, None, NOBODY, &Time::at(NOW));
    file.write("[default]\naws_access_key_id = NEW\n");
    assert_eq!(chain.fetch().unwrap().access_key_id(), "OLD");
    file.write(keys("NEW"));
    assert_eq!(chain.fetch().unwrap().access_key_id(), "NEW");
}

/// The role of the instance may belong to another account.
#[test]
fn files_that_disappear_do_not_change_the_source() {
    let ec2 = FakeEc2::start(Ec2::with_role("OTHER", LATER));
    let config = ScratchFile::new("[default]\nregion = eu-west-1\n");
    let file = ScratchFile::new(keys("FIRST"));
    let vars = [
        ("AWS_CONFIG_FILE", config.text()),
        ("AWS_SHARED_CREDENTIALS_FILE", file.text()),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", ec2.endpoint.url()),
    ];
    let mut chain = chain(&vars, None, NOBODY, &Time::at(NOW));
    let mut given = || chain.fetch().unwrap().access_key_id().to_owned();
    std::fs::remove_file(file.text()).unwrap();
    assert_eq!(given(), "FIRST");
    // What another file says is not what stood in the missing one.
    config.write(keys("CONFIG"));
    assert_eq!(given(), "FIRST");
    file.write("");
    config.write("");
    assert_eq!(given(), "FIRST");
    file.write([0xff]);
    assert_eq!(given(), "FIRST");
    file.write(keys("SECOND"));
    assert_eq!(given(), "SECOND");
    assert!(ec2.endpoint.request_lines().is_empty());
}

/// A file that was never there is no reason to keep the old keys.
#[test]
fn a_file_that_was_never_read_holds_up_nothing() {
    let file = ScratchFile::new(keys("OLD"));
    let vars = [
        ("AWS_CONFIG_FILE", "/nonexistent/config".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", file.text()),
    ];
    let mut chain = chain(&vars, None, NOBODY, &Time::at(NOW));
    file.write(keys("NEW"));
    assert_eq!(chain.fetch().unwrap().access_key_id(), "NEW");
}

/// `aws configure` after the start is enough.
#[test]
fn a_file_that_comes_later_is_found() {
    let file = ScratchFile::new("[default]\naws_access_key_id = HALF\n");
    let vars = [("AWS_SHARED_CREDENTIALS_FILE", file.text())];
    let mut chain = chain(&vars, None, NOBODY, &Time::at(NOW));
    assert_eq!(chain.name(), "none");
    let error = chain.fetch().unwrap_err().to_string();
    assert_eq!(error, "profile default: aws_secret_access_key is missing");
    file.write(keys("NEW"));
    assert_eq!(chain.fetch().unwrap().access_key_id(), "NEW");
}

#[test]
fn no_credentials_anywhere_tells_the_whole_search() {
    let nobody_asks = FakeEc2::start(Ec2::with_role("ASIA", LATER));
    let off = [
        ("AWS_EC2_METADATA_DISABLED", "True".to_owned()),
        (
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            nobody_asks.endpoint.url(),
        ),
    ];
    let error = chain(&off, None, NOBODY, &Time::at(NOW))
        .fetch()
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "no AWS credentials found: environment: AWS_ACCESS_KEY_ID is not set; \
         web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set; \
         profile default: not in the shared files; \
         container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set; \
         EC2 metadata service: AWS_EC2_METADATA_DISABLED is true"
    );
    assert!(nobody_asks.endpoint.request_lines().is_empty());
    let ec2 = FakeEc2::start(Ec2::default());
    let on = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", ec2.endpoint.url())];
    let error = chain(&on, None, NOBODY, &Time::at(NOW))
        .fetch()
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("no AWS credentials found: environment: "),
        "{error}"
    );
    assert!(
        error.ends_with("has no IAM role (instance profile) attached"),
        "{error}"
    );
}

/// The metadata service hands out expired credentials when it has nothing better.
#[test]
fn expired_instance_credentials_are_used_on() {
    let ec2 = FakeEc2::start(Ec2::with_role("ASIA", "2024-12-31T23:00:00Z"));
    let vars = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", ec2.endpoint.url())];
    let time = Time::at(NOW);
    let cache = CredentialCache::new(Box::new(chain(&vars, None, NOBODY, &time)), time.timing());
    std::thread::spawn({
        let cache = cache.clone();
        move || cache.run(&|_| ())
    });
    assert_eq!(
        cache.wait(DEADLINE).unwrap().credentials.access_key_id(),
        "ASIA"
    );
    let until = cache.status().expires.unwrap();
    let now = (time.timing().now)();
    assert_eq!(until.duration_since(now).unwrap(), Duration::from_secs(750));
}

#[test]
fn the_role_of_the_command_line_is_assumed_with_whatever_there_is() {
    let sts = Endpoint::start(|_, _| Reply::json(sts_json("AssumeRole", "ASIA", "1735711200")));
    let ec2 = FakeEc2::start(Ec2::with_role("BASE", LATER));
    let file = ScratchFile::new(keys("BASE"));
    for vars in [
        [("AWS_SHARED_CREDENTIALS_FILE", file.text())],
        [("AWS_EC2_METADATA_SERVICE_ENDPOINT", ec2.endpoint.url())],
    ] {
        let mut chain = chain(&vars, Some("arn:top"), &sts.url(), &Time::at(NOW));
        assert_eq!(chain.fetch().unwrap().access_key_id(), "ASIA");
        let request = sts.requests().pop().unwrap();
        assert_eq!(form(&request)["RoleArn"], "arn:top");
        assert!(
            request
                .header("authorization")
                .unwrap()
                .contains("Credential=BASE/")
        );
        chain.fetch().unwrap();
    }
    // What the base gave is kept while the plan is the same.
    assert_eq!(ec2.endpoint.request_lines().len(), 3);
    assert_eq!(sts.request_lines().len(), 4);
}

/// Keys that are rotated under a role reach STS without a restart.
#[test]
fn a_role_follows_the_keys_of_its_file() {
    let sts = Endpoint::start(|_, _| Reply::json(sts_json("AssumeRole", "ASIA", "1735711200")));
    let file = ScratchFile::new(keys("OLD"));
    let vars = [("AWS_SHARED_CREDENTIALS_FILE", file.text())];
    let mut chain = chain(&vars, Some("arn:top"), &sts.url(), &Time::at(NOW));
    chain.fetch().unwrap();
    file.write(keys("NEW"));
    chain.fetch().unwrap();
    let requests = sts.requests();
    for (request, id) in requests.iter().zip(["OLD", "NEW"]) {
        let authorization = request.header("authorization").unwrap();
        assert!(authorization.contains(&format!("Credential={id}/")), "{id}");
    }
}
