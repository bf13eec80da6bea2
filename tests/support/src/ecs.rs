//! A fake ECS container-credentials endpoint whose keys rotate.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::endpoint::{Endpoint, Reply};
use crate::keys::Keys;
use crate::watch::Watch;

/// Hands out keys, and remembers who asked.
pub struct FakeEcs {
    pub endpoint: Endpoint,
    keys: Arc<Watch<Keys>>,
}

impl FakeEcs {
    /// Hands out `keys`, each time for `life` from then on.
    pub fn start(keys: Keys, life: Duration) -> Self {
        let keys = Arc::new(Watch::new(keys));
        let given = keys.clone();
        let endpoint = Endpoint::start(move |_, _| {
            let keys = given.read(Keys::clone);
            Reply::json(keys.until(SystemTime::now() + life).json())
        });
        Self { endpoint, keys }
    }

    /// The value for `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub fn uri(&self) -> String {
        format!("{}/v2/credentials/task", self.endpoint.url())
    }

    /// From now on, hands out these.
    pub fn rotate(&self, keys: Keys) {
        self.keys.update(|given| *given = keys);
    }
}
