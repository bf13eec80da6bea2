//! Answers that were good, bounded in bytes: the one that was used longest ago is dropped first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handler::{Body, Response};

/// Answers that are longer than this are not kept. A hundred rules have about 70 KB.
pub(super) const MAX_ANSWER: usize = 256 * 1024;

/// Bytes of all kept answers and their requests.
pub(super) const MAX_KEPT: usize = 512 * 1024;

/// An answer that can be given to several clients.
#[derive(Clone, Debug)]
pub(super) struct CachedAnswer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Arc<[u8]>,
}

/// The answers, the one used last at the end.
#[derive(Default)]
pub(super) struct KeptAnswers(Vec<KeptAnswer>);

struct KeptAnswer {
    /// What X-Ray gets of the request.
    key: Vec<u8>,
    answer: CachedAnswer,
    fetched: Instant,
}

impl KeptAnswers {
    /// Whether there is an answer that is younger than `max_age`.
    pub(super) fn is_fresh(&self, key: &[u8], max_age: Duration) -> bool {
        self.position(key, max_age).is_some()
    }

    /// An answer that is younger than `max_age`, with its age.
    pub(super) fn get(
        &mut self,
        key: &[u8],
        max_age: Duration,
    ) -> Option<(CachedAnswer, Duration)> {
        let at = self.position(key, max_age)?;
        self.0[at..].rotate_left(1);
        let used = self.0.last()?;
        Some((used.answer.clone(), used.fetched.elapsed()))
    }

    /// Keeps an answer in place of the one before with the same key.
    pub(super) fn keep(&mut self, key: Vec<u8>, mut answer: CachedAnswer) {
        // All other headers are about that one request, such as its id and its date.
        answer
            .headers
            .retain(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        self.0.retain(|kept| kept.key != key);
        self.0.push(KeptAnswer {
            key,
            answer,
            fetched: Instant::now(),
        });
        while self.size() > MAX_KEPT {
            self.0.remove(0);
        }
    }

    /// Bytes of the requests and of their answers.
    pub(super) fn size(&self) -> usize {
        self.0.iter().map(KeptAnswer::size).sum()
    }

    fn position(&self, key: &[u8], max_age: Duration) -> Option<usize> {
        self.0
            .iter()
            .position(|kept| kept.key == key && kept.fetched.elapsed() < max_age)
    }
}

impl KeptAnswer {
    fn size(&self) -> usize {
        self.key.len() + self.answer.body.len()
    }
}

impl CachedAnswer {
    pub(super) fn into_response(self) -> Response {
        Response::new(self.status, self.headers, Body::Full(self.body.to_vec()))
    }
}
