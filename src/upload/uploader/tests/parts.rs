//! A target that nobody reaches, with credentials that come and go, and what it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;

use crate::credentials::target::Target;
use crate::credentials::{Keeper, Renewal, Source, SourceError, Timing};
use crate::http::client::{HttpClientConfig, HttpClientFactory};
use crate::http::dns::Resolver;
use crate::upload::response::{Answer, Failure, Unprocessed, Verdict};

/// The one set of credentials that there will be.
struct Fixed;

impl Source for Fixed {
    fn name(&self) -> String {
        "a test".to_owned()
    }

    fn fetch(&mut self) -> Result<Credentials, SourceError> {
        let expiry = Some(UNIX_EPOCH + Duration::from_secs(1));
        Ok(Credentials::new("AKID", "secret", None, expiry, "test"))
    }

    fn renewal(&self) -> Renewal {
        Renewal::Fixed
    }
}

const NOWHERE: &str = "http://127.0.0.1:1";

/// There are credentials while `valid` is true, which it has to be at first.
pub(super) fn target(valid: Arc<AtomicBool>) -> Arc<Target> {
    let now = move || match valid.load(SeqCst) {
        true => UNIX_EPOCH,
        false => UNIX_EPOCH + Duration::from_secs(2),
    };
    let keeper = Keeper::new(Box::new(Fixed), Timing::new(Arc::new(now)));
    // Returns at once: such credentials are not renewed.
    keeper.run(Box::new(|| ()));
    let service = HttpClientFactory::new(HttpClientConfig {
        resolver: Resolver::start().unwrap(),
        proxy_address: "",
        no_verify_ssl: true,
        profile_ca_bundle: None,
        connections: 1,
        user_agent: "test",
        env: &|_| None,
    })
    .unwrap();
    Arc::new(Target {
        endpoint: NOWHERE.to_owned(),
        region: "us-east-1".to_owned(),
        wire: service.wire(NOWHERE).unwrap(),
        agent: service.agent(NOWHERE).unwrap(),
        keeper,
    })
}

/// What becomes of a request.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Delivered {
        unprocessed: usize,
    },
    Held {
        after: Option<Duration>,
        stale: bool,
    },
    Refused,
    Unreachable,
}

impl Outcome {
    /// The answer, and what it means.
    pub(super) fn judged(&self) -> (Result<Answer, (Failure, String)>, Verdict) {
        let answer = |status| {
            Ok(Answer {
                status,
                ..Answer::default()
            })
        };
        let hold = |after, credentials| Verdict::Hold { after, credentials };
        match self {
            Outcome::Delivered { unprocessed } => {
                let unprocessed = vec![Unprocessed::default(); *unprocessed];
                (answer(200), Verdict::Delivered(unprocessed))
            }
            Outcome::Held { after, stale } => (answer(500), hold(*after, *stale)),
            Outcome::Refused => (answer(400), Verdict::Refused),
            Outcome::Unreachable => (Err((Failure::Refused, String::new())), hold(None, false)),
        }
    }
}
