//! The answers of the trace API as JSON. See `docs/trace-api.md`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::digest::Digest;
use super::service_map::ServiceMap;
use super::{Filter, KeptTrace, Store, StoredDocument};
use crate::view::document::Format;
use crate::view::model::{Mark, trace_key};

/// Service names in the answer about all traces, and about one.
const MAX_SERVICES: usize = 200;
const MAX_TRACE_SERVICES: usize = 10;

/// What the list says about the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonInfo {
    /// Of the program.
    pub version: &'static str,
    /// Where segments are taken.
    pub udp: String,
    /// `console`, `json` or `xray`.
    pub exporter: &'static str,
}

impl Store {
    /// The traces that a filter keeps, newest first.
    pub fn list(&mut self, filter: &Filter, daemon: &DaemonInfo) -> Value {
        self.refresh();
        let mut services = BTreeSet::new();
        let mut found = Vec::new();
        for (id, trace, digest) in self.digests() {
            for service in digest.services() {
                if !services.contains(service) {
                    services.insert(service);
                }
            }
            if filter.matches(id, digest) {
                found.push((id, trace, digest));
            }
        }
        let matched = found.len();
        let newest = |digest: &Digest| digest.start.unwrap_or(digest.arrived);
        found.sort_unstable_by(|(_, a, one), (_, b, other)| {
            newest(other)
                .total_cmp(&newest(one))
                .then(b.version.cmp(&a.version))
        });
        found.truncate(filter.limit);
        let traces: Vec<_> = found
            .iter()
            .map(|(id, trace, digest)| summary(id, trace, digest))
            .collect();
        let services: Vec<_> = services.into_iter().take(MAX_SERVICES).collect();
        json!({
            "version": self.version,
            "daemon": {
                "version": daemon.version,
                "udp": daemon.udp,
                "exporter": daemon.exporter,
                "used_bytes": self.used,
                "limit_bytes": self.limit,
                "dropped": self.dropped,
            },
            "services": services,
            "total": self.traces.len(),
            "matched": matched,
            "traces": traces,
        })
    }

    /// One trace with its documents; `None` when it is not kept. The id may have either form.
    pub fn trace(&mut self, id: &str) -> Option<Value> {
        self.refresh();
        let (id, trace) = self
            .traces
            .get_key_value(id)
            .or_else(|| self.traces.get_key_value(trace_key(id)?.as_str()))?;
        let digest = trace.digest.as_deref()?;
        let documents: Vec<_> = trace.documents.iter().map(document).collect();
        Some(json!({
            "version": self.version,
            "trace": summary(id, trace, digest),
            "omitted": trace.omitted,
            "documents": documents,
        }))
    }

    /// The service map of the traces that a filter keeps.
    pub fn services(&mut self, filter: &Filter) -> Value {
        self.refresh();
        let mut map = ServiceMap::default();
        for (id, _, digest) in self.digests() {
            if filter.matches(id, digest) {
                map.add(digest);
            }
        }
        map.answer(self.version)
    }
}

fn summary(id: &str, trace: &KeptTrace, digest: &Digest) -> Value {
    let services: Vec<_> = digest.services().take(MAX_TRACE_SERVICES).collect();
    json!({
        "id": id,
        "version": trace.version,
        "name": *digest.name,
        "method": digest.method.as_deref(),
        "url": digest.url.as_deref(),
        "status": digest.status,
        "start": digest.start,
        "duration": digest.duration.map(seconds),
        "outcome": match digest.outcome {
            None => "ok",
            Some(Mark::Error) => "error",
            Some(Mark::Throttle) => "throttle",
            Some(Mark::Fault) => "fault",
        },
        "in_progress": digest.in_progress,
        "partial": digest.partial,
        "services": services,
        "segments": digest.segments,
    })
}

fn document(document: &StoredDocument) -> Value {
    json!({
        "format": match document.format {
            Format::XRay => "xray",
            Format::Otlp => "otlp",
        },
        "received": document.received,
        "text": *document.text,
    })
}

/// Seconds to the microsecond, without the digits that a difference of two times brings.
pub(super) fn seconds(seconds: f64) -> f64 {
    rounded(seconds, 1e6)
}

pub(super) fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
