//! A fake ECS container-credentials endpoint whose keys rotate.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::http::{self, Request, Response};
use super::sigv4::Keys;
use super::watch::Watch;

/// Hands out keys, and remembers who asked.
pub struct FakeEcs {
    pub address: SocketAddr,
    state: Arc<Watch<State>>,
}

struct State {
    keys: Keys,
    life: Duration,
    requests: Vec<Request>,
}

impl FakeEcs {
    /// Hands out `keys`, each time for `life` from then on.
    pub fn start(keys: Keys, life: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Watch::new(State {
            keys,
            life,
            requests: Vec::new(),
        }));
        let shared = state.clone();
        // Ends with the test process: it holds nothing that another test could miss.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in the middle is no concern of the endpoint's.
                let _ = serve(&shared, stream);
            }
        });
        Self { address, state }
    }

    /// The value for `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub fn uri(&self) -> String {
        format!("http://{}/v2/credentials/task", self.address)
    }

    /// From now on, hands out these.
    pub fn rotate(&self, keys: Keys) {
        self.state.update(|state| state.keys = keys);
    }

    /// The `Authorization` header of each request so far.
    pub fn authorizations(&self) -> Vec<Option<String>> {
        let of = |request: &Request| request.header("authorization").map(str::to_owned);
        self.state
            .read(|state| state.requests.iter().map(of).collect())
    }

    /// Waits for the endpoint to have been asked `times`.
    #[track_caller]
    pub fn wait_asked(&self, times: usize) {
        let asked = self.state.wait(super::DEADLINE, |state| {
            (state.requests.len() >= times).then_some(())
        });
        assert!(
            asked.is_some(),
            "the credentials endpoint was not asked {times} times"
        );
    }
}

fn serve(state: &Watch<State>, stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(super::DEADLINE))?;
    let mut reader = BufReader::new(stream);
    let Some(request) = http::read_request(&mut reader)? else {
        return Ok(());
    };
    let body = state.update(|state| {
        state.requests.push(request);
        let expires = SystemTime::now() + state.life;
        json!({
            "RoleArn": "arn:aws:iam::123456789012:role/task",
            "AccessKeyId": state.keys.id,
            "SecretAccessKey": state.keys.secret,
            "Token": state.keys.token,
            "Expiration": rfc3339(expires),
        })
        .to_string()
    });
    let response = Response::new(200, body)
        .with("Content-Type", "application/json")
        .with("Connection", "close");
    reader.get_mut().write_all(&response.to_bytes())
}

fn rfc3339(time: SystemTime) -> String {
    aws_smithy_types::DateTime::from(time)
        .fmt(aws_smithy_types::date_time::Format::DateTime)
        .unwrap()
}
