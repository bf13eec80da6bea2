//! Keeps the last good answers with sampling rules, and serves them while X-Ray does not answer.
//!
//! An SDK that gets no rules waits five minutes and uses its own rules until then. Clients with the
//! same request share one attempt, which goes on after they have got a kept answer.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::handler::{AnswerOrigin, ForwardError, Response};
use super::kept_answers::{CachedAnswer, KeptAnswers};
use super::resources::{ClientResources, NoThread};
use crate::http::call::CancellableCall;

/// After so long without an answer the kept one is served: clients give up after two seconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Interval between two checks whether the client is still there.
const GLANCE: Duration = Duration::from_millis(250);

/// Requests that are longer than this share and keep nothing. The real ones have some bytes.
const MAX_KEY: usize = 4 * 1024;

/// Most shared attempts at a time. Further requests are forwarded without sharing.
const MAX_ATTEMPTS: usize = 8;

/// How an attempt ended.
#[derive(Clone, Debug)]
pub(super) enum Attempted {
    Answered(CachedAnswer),
    Failed(ForwardError),
    /// The answer is too long to be shared: each client's request is forwarded.
    TooLong,
}

pub(super) struct SamplingCache {
    max_age: Duration,
    resources: Arc<ClientResources>,
    state: Mutex<SamplingState>,
    /// Signalled when an attempt has ended.
    ended: Condvar,
}

#[derive(Default)]
struct SamplingState {
    answers: KeptAnswers,
    attempts: Vec<SharedAttempt>,
    next_attempt: u64,
}

struct SharedAttempt {
    number: u64,
    key: Vec<u8>,
    began: Instant,
    /// How many clients wait for its end.
    waiting: usize,
    result: Option<Attempted>,
}

/// How a client's wait for an attempt ended.
enum Waited {
    Ended(Attempted),
    /// The attempt takes long, and there is a kept answer.
    Long,
    ClientLeft,
}

impl SamplingCache {
    /// Serves answers that are at most `max_age` old; none where that is zero.
    pub(super) fn new(max_age: Duration, resources: Arc<ClientResources>) -> Arc<Self> {
        Arc::new(SamplingCache {
            max_age,
            resources,
            state: Mutex::default(),
            ended: Condvar::new(),
        })
    }

    /// The answer to a request with this `key`, which is all of it that X-Ray gets. `attempt` asks
    /// X-Ray, as long as this client is patient. `None` when the client has to ask for itself.
    pub(super) fn answer(
        self: &Arc<Self>,
        key: &[u8],
        client: &CancellableCall,
        attempt: impl FnOnce() -> Attempted + Send + 'static,
    ) -> Option<Result<Response, ForwardError>> {
        let mut attempt = Some(attempt);
        let waited = loop {
            let number = self.join(key, &mut attempt)?;
            match self.wait(number, key, client)? {
                // The attempt of a client that came earlier and was patient for so long.
                Waited::Ended(Attempted::Failed(error))
                    if attempt.is_some() && error.may_end_soon() => {}
                waited => break waited,
            }
        };
        match waited {
            Waited::ClientLeft => Some(Err(ForwardError::ClientLeft)),
            Waited::Long => self.kept(key).map(Ok),
            Waited::Ended(Attempted::TooLong) => None,
            Waited::Ended(Attempted::Failed(error)) => Some(self.kept(key).ok_or(error)),
            Waited::Ended(Attempted::Answered(answer)) => {
                let kept = match answer.status {
                    500.. => self.kept(key),
                    _ => None,
                };
                Some(Ok(kept.unwrap_or_else(|| answer.into_response())))
            }
        }
    }

    /// Takes part in an attempt that is under way, or begins `own`.
    fn join<F>(self: &Arc<Self>, key: &[u8], own: &mut Option<F>) -> Option<u64>
    where
        F: FnOnce() -> Attempted + Send + 'static,
    {
        let mut state = self.lock();
        let running = state
            .attempts
            .iter_mut()
            .find(|a| a.result.is_none() && a.key == key);
        if let Some(running) = running {
            running.waiting += 1;
            return Some(running.number);
        }
        if key.len() > MAX_KEY || state.attempts.len() >= MAX_ATTEMPTS {
            return None;
        }
        let attempt = own.take()?;
        let number = state.next_attempt;
        state.next_attempt += 1;
        state.attempts.push(SharedAttempt {
            number,
            key: key.to_vec(),
            began: Instant::now(),
            waiting: 1,
            result: None,
        });
        drop(state);
        let cache = Arc::clone(self);
        let job = move || cache.end(number, attempt());
        if let Err(NoThread { job, .. }) = self.resources.start("sampling", job) {
            job();
        }
        Some(number)
    }

    /// Waits for the end of an attempt, or until it is time for the kept answer.
    fn wait(&self, number: u64, key: &[u8], client: &CancellableCall) -> Option<Waited> {
        let mut state = self.lock();
        loop {
            let at = state.attempts.iter().position(|a| a.number == number)?;
            let attempt = &state.attempts[at];
            let waited = if let Some(result) = &attempt.result {
                Some(Waited::Ended(result.clone()))
            } else if client.is_cancelled() {
                Some(Waited::ClientLeft)
            } else if attempt.began.elapsed() >= PATIENCE {
                state
                    .answers
                    .is_fresh(key, self.max_age)
                    .then_some(Waited::Long)
            } else {
                None
            };
            if waited.is_some() {
                state.leave(at);
                return waited;
            }
            let (again, _) = self
                .ended
                .wait_timeout(state, GLANCE)
                .unwrap_or_else(PoisonError::into_inner);
            state = again;
        }
    }

    fn end(&self, number: u64, result: Attempted) {
        let mut state = self.lock();
        let Some(at) = state.attempts.iter().position(|a| a.number == number) else {
            return;
        };
        if let Attempted::Answered(answer) = &result
            && has_rules(answer)
        {
            let key = state.attempts[at].key.clone();
            state.answers.keep(key, answer.clone());
        }
        let attempt = &mut state.attempts[at];
        attempt.result = Some(result);
        if attempt.waiting == 0 {
            state.attempts.swap_remove(at);
        }
        self.ended.notify_all();
    }

    fn kept(&self, key: &[u8]) -> Option<Response> {
        let (answer, age) = self.lock().answers.get(key, self.max_age)?;
        let mut response = answer.into_response();
        let age = age.as_secs().to_string();
        response.headers.push(("Age".to_owned(), age.into_bytes()));
        response.origin = AnswerOrigin::Kept;
        Some(response)
    }

    fn lock(&self) -> MutexGuard<'_, SamplingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SamplingState {
    /// A client has stopped waiting.
    fn leave(&mut self, attempt: usize) {
        let left = &mut self.attempts[attempt];
        left.waiting -= 1;
        if left.waiting == 0 && left.result.is_some() {
            self.attempts.swap_remove(attempt);
        }
    }
}

/// Whether this is a complete answer of X-Ray. A proxy on the way might answer 200 too.
fn has_rules(answer: &CachedAnswer) -> bool {
    answer.status == 200
        && serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok_and(|body| {
            body.get("SamplingRuleRecords")
                .is_some_and(|r| r.is_array())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::handler::Body;
    use crate::proxy::kept_answers::MAX_KEPT;
    use std::sync::mpsc::{Sender, channel};
    use std::thread;

    const HOUR: Duration = Duration::from_secs(3600);
    const RULES: &str = r#"{"SamplingRuleRecords":[]}"#;

    fn cache(max_age: Duration) -> Arc<SamplingCache> {
        SamplingCache::new(max_age, ClientResources::new(1 << 20, 0))
    }

    fn answered(status: u16, body: &str) -> Attempted {
        Attempted::Answered(CachedAnswer {
            status,
            headers: Vec::new(),
            body: body.as_bytes().into(),
        })
    }

    /// The status, and whether the answer was kept; `None` for an error.
    fn ask(cache: &Arc<SamplingCache>, key: &str, result: Attempted) -> Option<(u16, bool)> {
        let client = CancellableCall::default();
        let answer = cache.answer(key.as_bytes(), &client, move || result)?;
        let answer = answer.ok()?;
        let is_kept = answer.origin == AnswerOrigin::Kept;
        assert_eq!(answer.headers.iter().any(|h| h.0 == "Age"), is_kept);
        Some((answer.status, is_kept))
    }

    #[test]
    fn what_is_served_after_a_good_answer() {
        let failed = || Attempted::Failed(ForwardError::NoCredentials);
        for (then, expected) in [
            (answered(200, RULES), Some((200, false))),
            (answered(500, ""), Some((200, true))),
            (answered(503, ""), Some((200, true))),
            (failed(), Some((200, true))),
            (answered(400, ""), Some((400, false))),
            (answered(403, ""), Some((403, false))),
            (answered(429, ""), Some((429, false))),
            (Attempted::TooLong, None),
        ] {
            let cache = cache(HOUR);
            assert_eq!(ask(&cache, "{}", answered(200, RULES)), Some((200, false)));
            assert_eq!(ask(&cache, "{}", then.clone()), expected, "{then:?}");
            // Another request has another answer.
            assert_eq!(ask(&cache, "", failed()), None);
        }
    }

    #[test]
    fn what_is_not_kept() {
        for first in [
            answered(200, "<html>sign in</html>"),
            answered(200, "{}"),
            answered(200, r#"{"SamplingRuleRecords":7}"#),
            answered(201, RULES),
        ] {
            let cache = cache(HOUR);
            ask(&cache, "{}", first);
            let failed = Attempted::Failed(ForwardError::NoTarget);
            assert_eq!(ask(&cache, "{}", failed), None);
        }
        let cache = cache(Duration::ZERO);
        ask(&cache, "{}", answered(200, RULES));
        assert_eq!(ask(&cache, "{}", answered(500, "")), Some((500, false)));
    }

    #[test]
    fn many_different_requests_keep_little() {
        let cache = cache(HOUR);
        let filler = " ".repeat(100_000);
        for n in 0..20 {
            ask(
                &cache,
                &n.to_string(),
                answered(200, &format!("{RULES}{filler}")),
            );
            // Still in use.
            assert_eq!(ask(&cache, "0", answered(500, "")), Some((200, true)));
        }
        let kept = cache.lock().answers.size();
        assert!(kept <= MAX_KEPT, "{kept}");
        assert_eq!(ask(&cache, "1", answered(500, "")), Some((500, false)));
        let long = "x".repeat(MAX_KEY + 1);
        assert_eq!(ask(&cache, &long, answered(200, RULES)), None);
    }

    /// An attempt that waits to be told its result.
    fn held() -> (
        Sender<Attempted>,
        impl FnOnce() -> Attempted + Send + 'static,
    ) {
        let (tell, told) = channel();
        (tell, move || told.recv().unwrap())
    }

    fn asking(
        cache: &Arc<SamplingCache>,
        client: &Arc<CancellableCall>,
        attempt: impl FnOnce() -> Attempted + Send + 'static,
    ) -> thread::JoinHandle<Option<Result<Response, ForwardError>>> {
        let (cache, client) = (Arc::clone(cache), Arc::clone(client));
        thread::spawn(move || cache.answer(b"{}", &client, attempt))
    }

    fn wait_for(cache: &SamplingCache, waiting: usize) {
        while cache
            .lock()
            .attempts
            .first()
            .is_none_or(|a| a.waiting != waiting)
        {
            thread::yield_now();
        }
    }

    #[test]
    fn the_same_requests_share_one_attempt() {
        let cache = cache(HOUR);
        let client = Arc::default();
        let (tell, attempt) = held();
        let mut all = vec![asking(&cache, &client, attempt)];
        wait_for(&cache, 1);
        all.extend((0..4).map(|_| asking(&cache, &client, || unreachable!("a second attempt"))));
        wait_for(&cache, 5);
        tell.send(answered(200, RULES)).unwrap();
        for one in all {
            assert_eq!(one.join().unwrap().unwrap().unwrap().status, 200);
        }
        assert!(cache.lock().attempts.is_empty());
    }

    /// The first client's patience is over when the second one has just come.
    #[test]
    fn a_later_client_is_patient_for_itself() {
        for (failure, status) in [
            (ForwardError::NoCredentials, Some(200)),
            (ForwardError::NoTarget, Some(200)),
            (ForwardError::Busy, Some(200)),
            (ForwardError::Compressed, None),
        ] {
            // Nothing is kept, or the first one might get the answer to the second.
            let cache = cache(Duration::ZERO);
            let client = Arc::default();
            let (tell, attempt) = held();
            let first = asking(&cache, &client, attempt);
            wait_for(&cache, 1);
            let second = asking(&cache, &client, || answered(200, RULES));
            wait_for(&cache, 2);
            tell.send(Attempted::Failed(failure)).unwrap();
            assert!(first.join().unwrap().unwrap().is_err());
            let second = second.join().unwrap().unwrap();
            assert_eq!(second.ok().map(|answer| answer.status), status);
        }
    }

    #[test]
    fn the_kept_answer_is_served_while_the_attempt_goes_on() {
        let cache = cache(HOUR);
        ask(&cache, "{}", answered(200, RULES));
        let client = Arc::default();
        let (tell, attempt) = held();
        let served = asking(&cache, &client, attempt).join().unwrap().unwrap();
        assert_eq!(served.unwrap().origin, AnswerOrigin::Kept);
        // The next one does not even wait, and the end of the attempt renews what is kept.
        let again = asking(&cache, &client, || unreachable!("a second attempt"));
        assert_eq!(
            again.join().unwrap().unwrap().unwrap().origin,
            AnswerOrigin::Kept
        );
        tell.send(answered(200, r#"{"SamplingRuleRecords":[1]}"#))
            .unwrap();
        while !cache.lock().attempts.is_empty() {
            thread::yield_now();
        }
        let kept = cache.kept(b"{}").unwrap();
        assert!(matches!(kept.body, Body::Full(body) if body.ends_with(b"[1]}")));
    }

    #[test]
    fn a_client_that_has_gone_waits_no_more() {
        let cache = cache(HOUR);
        let client: Arc<CancellableCall> = Arc::default();
        let (tell, attempt) = held();
        let waiting = asking(&cache, &client, attempt);
        wait_for(&cache, 1);
        client.cancel();
        let left = waiting.join().unwrap().unwrap();
        assert!(matches!(left, Err(ForwardError::ClientLeft)));
        tell.send(Attempted::TooLong).unwrap();
    }
}
