//! Answers requests that are not served, and says why.

use std::time::{Duration, Instant};

use super::Server;
use crate::http::server::{MAX_BODY, Refusal};
use crate::logging::RateLimit;
use crate::proxy::counts::Refused;
use crate::proxy::otlp_front::too_long;

/// How long what a refused client still sends is read.
pub(super) const LINGER: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);
static BUSY: RateLimit = RateLimit::new(1, MINUTE);
static TOO_LARGE: RateLimit = RateLimit::new(1, MINUTE);
static HTTP2: RateLimit = RateLimit::new(1, MINUTE);

/// Asks the client to come again soon.
pub(in crate::proxy) fn retry_after() -> (String, Vec<u8>) {
    ("Retry-After".to_owned(), b"1".to_vec())
}

impl Server {
    /// Answers `status` with an empty body.
    pub(super) fn refuse(&mut self, index: usize, status: u16, reason: Refused, now: Instant) {
        self.service.counts.refused(reason);
        let headers = (status == 503).then(retry_after);
        self.connections[index].refuse(status, headers.as_slice(), &[], now);
    }

    /// Answers a request whose body is too large: an exporter of spans learns which limit that is.
    fn refuse_body(&mut self, index: usize, now: Instant) {
        let most = self.resources.max_body();
        if let Some(held_back) = TOO_LARGE.allow(now) {
            let advice = match most {
                MAX_BODY => "",
                _ => ", or raise -m",
            };
            log::warn!(
                "a request on TCP was answered 413: its body is over {most} bytes; let the client \
                 send less at once (OTEL_BSP_MAX_EXPORT_BATCH_SIZE){advice}{held_back}"
            );
        }
        self.service.counts.refused(Refused::TooLarge);
        let connection = &mut self.connections[index];
        let answer = connection.too_large().and_then(|head| too_long(head, most));
        let (headers, body) = match answer {
            Some(answer) => {
                let content_type = answer.content_type.as_bytes().to_vec();
                let headers = vec![("Content-Type".to_owned(), content_type)];
                (headers, answer.body)
            }
            None => (Vec::new(), Vec::new()),
        };
        let status = Refusal::BodyTooLarge.status();
        connection.refuse(status, &headers, &body, now);
    }

    /// Answers 503, because too much is going on.
    pub(super) fn refuse_busy(&mut self, index: usize, why: &str, now: Instant) {
        if let Some(held_back) = BUSY.allow(now) {
            log::warn!("a request on TCP was answered 503: {why}{held_back}");
        }
        self.refuse(index, 503, Refused::Busy, now);
    }

    /// Refuses a request that cannot be read to its end.
    pub(super) fn refuse_unread(&mut self, index: usize, refusal: Refusal, now: Instant) {
        match refusal {
            Refusal::Http2 => {
                if let Some(held_back) = HTTP2.allow(now) {
                    log::warn!(
                        "a client speaks HTTP/2 or gRPC on TCP, which takes OTLP over HTTP/1.1 \
                         only: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf in the \
                         client{held_back}"
                    );
                }
                self.service.counts.refused(Refused::Http2);
                self.connections[index].refuse_http2(now);
            }
            Refusal::BodyTooLarge => self.refuse_body(index, now),
            Refusal::HeadTooLarge => {
                log::debug!("a request on TCP was refused: {refusal}");
                self.refuse(index, refusal.status(), Refused::TooLarge, now);
            }
            _ => {
                log::debug!("a request on TCP was refused: {refusal}");
                self.refuse(index, refusal.status(), Refused::Malformed, now);
            }
        }
    }
}
