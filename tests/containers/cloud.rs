//! AWS as a container sees it, in one process: credentials and metadata on port 80, X-Ray and STS
//! on port 443. The fakes are those of the integration tests.
//!
//! It runs inside a container of the test's network, under the addresses and names of the real
//! services. The tests steer it through a Unix socket, so that cutting its network does not cut
//! them off. Usage: `cloud <folder for ca.pem and the control socket>`

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use xray_test_support::connection::Connection;
use xray_test_support::ec2::Ec2;
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http::{Request, Response};
use xray_test_support::keys::Keys;
use xray_test_support::sts;
use xray_test_support::tls::Authority;
use xray_test_support::watch::Watch;
use xray_test_support::xray::{FakeXray, State};

const REGION: &str = "eu-west-1";
const XRAY: &str = "xray.eu-west-1.amazonaws.com";
const STS: &str = "sts.eu-west-1.amazonaws.com";
const POD_IDENTITY: &str = "/v1/credentials";

/// What the tests may change.
struct Settings {
    /// For how long keys are good.
    lifetime: Duration,
    /// Of the EC2 metadata service's tokens.
    hop_limit: u32,
}

struct Cloud {
    folder: PathBuf,
    settings: Arc<Watch<Settings>>,
    xray: FakeXray,
}

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or_else(|| io::Error::other("usage: cloud <folder>"))?;
    let authority = Authority::new(&[XRAY, STS]);
    std::fs::write(folder.join("ca.pem"), &authority.pem)?;
    let settings = Arc::new(Watch::new(Settings {
        lifetime: Duration::from_secs(3600),
        hop_limit: 64,
    }));
    // An address of both families.
    let listener = TcpListener::bind("[::]:443")?;
    let cloud = Arc::new(Cloud {
        xray: FakeXray::on(listener, services(&settings), Some(authority)),
        folder,
        settings,
    });
    let endpoint = cloud.clone();
    let metadata = Endpoint::on("[::]:80", None, move |_, request| {
        endpoint.metadata(request)
    });
    // Last, because the tests take it for the sign that all is up.
    for stream in UnixListener::bind(cloud.folder.join("control"))?.incoming() {
        if let Err(error) = cloud.control(&metadata, stream?) {
            eprintln!("a test went away: {error}");
        }
    }
    Ok(())
}

/// X-Ray with a sampling rule, and STS, which gives a role to whoever has keys.
fn services(settings: &Arc<Watch<Settings>>) -> State {
    let mut state = State::new(Vec::new(), REGION);
    for (path, answer) in sampling() {
        let answer = Response::new(200, answer.to_string());
        let answer = answer.with("Content-Type", "application/json");
        state.answers.insert(path.to_owned(), answer);
    }
    let settings = settings.clone();
    let role = move |state: &mut State, request: &Request| {
        let lifetime = settings.read(|settings| settings.lifetime);
        let known = state.keys.clone();
        let answer = sts::assume(request, &known, REGION, || issue(state, "ROLE", lifetime));
        if answer.status != 200 {
            let why = String::from_utf8_lossy(&answer.body);
            state.violations.push(format!("STS: {why}"));
        }
        answer
    };
    state.other_services.insert(STS.to_owned(), Arc::new(role));
    state
}

/// One rule that matches everything, and the quota for it.
fn sampling() -> [(&'static str, Value); 2] {
    let rule = json!({
        "RuleName": "checkout",
        "RuleARN": format!("arn:aws:xray:{REGION}:123456789012:sampling-rule/checkout"),
        "Priority": 1, "FixedRate": 1.0, "ReservoirSize": 50, "ServiceName": "*",
        "ServiceType": "*", "Host": "*", "HTTPMethod": "*", "URLPath": "*", "ResourceARN": "*",
        "Version": 1, "Attributes": {},
    });
    let rules = json!({
        "NextToken": null,
        "SamplingRuleRecords": [{"CreatedAt": 0.0, "ModifiedAt": 0.0, "SamplingRule": rule}],
    });
    let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
    let end = in_an_hour.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let targets = json!({
        "SamplingTargetDocuments": [{
            "RuleName": "checkout", "FixedRate": 1.0, "ReservoirQuota": 50,
            "ReservoirQuotaTTL": end, "Interval": 10,
        }],
        "LastRuleModification": 0.0,
        "UnprocessedStatistics": [],
    });
    [("/GetSamplingRules", rules), ("/SamplingTargets", targets)]
}

/// New keys at each call, which X-Ray and STS know from then on.
fn issue(state: &mut State, to: &str, lifetime: Duration) -> Keys {
    let id = format!("ASIA{to}{:08}", state.keys.len());
    let token = format!("token/of+{id}{}==", "+/".repeat(200));
    let keys = Keys::new(&id, &format!("secret of {id}"), Some(&token));
    let keys = keys.until(SystemTime::now() + lifetime);
    state.keys.push(keys.clone());
    keys
}

impl Cloud {
    fn issue(&self, to: &str) -> String {
        let lifetime = self.settings.read(|settings| settings.lifetime);
        self.xray.update(|state| issue(state, to, lifetime)).json()
    }

    /// What ECS, EKS and EC2 answer on their link-local addresses.
    fn metadata(&self, request: &Request) -> Reply {
        match request.path() {
            "/v2/credentials/task" => Reply::json(self.issue("TASK")),
            "/v4/container/task" => {
                let task = json!({
                    "Cluster": "shop",
                    "TaskARN": format!("arn:aws:ecs:{REGION}:123456789012:task/shop/0123456789abcdef"),
                    "AvailabilityZone": format!("{REGION}a"),
                });
                Reply::json(task.to_string())
            }
            POD_IDENTITY => self.pod_identity(request),
            _ => self.instance().answer(request),
        }
    }

    fn pod_identity(&self, request: &Request) -> Reply {
        // The kubelet's file, which is replaced while the pod runs: only its present content will do.
        let file = self.folder.join("token/eks-pod-identity-token");
        let token = std::fs::read_to_string(file).ok();
        if token.is_some() && request.header("authorization") == token.as_deref() {
            return Reply::json(self.issue("POD"));
        }
        let problem = "pod identity: not the token that the file holds now";
        self.xray
            .update(|state| state.violations.push(problem.to_owned()));
        Reply::text(403, "token expired")
    }

    fn instance(&self) -> Ec2 {
        let identity = json!({"region": REGION, "instanceId": "i-0123456789abcdef0"}).to_string();
        let ec2 = Ec2 {
            hops: self.settings.read(|settings| settings.hop_limit),
            ..Ec2::default()
        };
        ec2.role(&self.issue("EC2"))
            .page("dynamic/instance-identity/document", 200, &identity)
            .page("meta-data/instance-id", 200, "i-0123456789abcdef0")
            .page("meta-data/hostname", 200, "ip-10-0-0-1.internal")
    }

    /// One request of the tests: POST changes settings, GET tells what was seen.
    fn control(&self, metadata: &Endpoint, stream: UnixStream) -> io::Result<()> {
        let mut connection = Connection::new(stream);
        let Some(request) = connection.read_request()? else {
            return Ok(());
        };
        let answer = match request.method.as_str() {
            "POST" => self.set(&serde_json::from_slice(&request.body)?),
            _ => self.seen(metadata),
        };
        let response = Response::new(200, answer.to_string());
        connection.send(&response.to_bytes())
    }

    fn set(&self, changes: &BTreeMap<String, u32>) -> Value {
        self.settings.update(|settings| {
            for (name, &value) in changes {
                match name.as_str() {
                    "lifetime" => settings.lifetime = Duration::from_secs(value.into()),
                    "hop_limit" => settings.hop_limit = value,
                    _ => panic!("no setting is called {name}"),
                }
            }
        });
        json!({})
    }

    fn seen(&self, metadata: &Endpoint) -> Value {
        let requests = metadata.requests();
        let at = |path: &'static str| requests.iter().filter(move |r| r.path() == path);
        let mut tokens: Vec<_> = at(POD_IDENTITY)
            .map(|r| r.header("authorization"))
            .collect();
        tokens.dedup();
        self.xray.read(|state| {
            let targets = state
                .calls
                .iter()
                .filter(|r| r.path() == "/SamplingTargets");
            json!({
                "documents": state.accepted,
                "keys": state.signers,
                "targets": targets.count(),
                "problems": problems(state),
                "authorizations": tokens,
                "imds_tokens": at("/latest/api/token").count(),
            })
        })
    }
}

/// Whatever should not have come, although some of it would have been mended in time.
fn problems(state: &State) -> Vec<String> {
    let refused = [
        (state.unknown_keys, "unknown keys"),
        (state.expired, "expired keys"),
        (state.skewed, "a wrong clock"),
    ];
    let refused = refused.iter().filter(|(count, _)| *count > 0);
    let refused = refused.map(|(count, why)| format!("{count} requests with {why}"));
    state.violations.iter().cloned().chain(refused).collect()
}
