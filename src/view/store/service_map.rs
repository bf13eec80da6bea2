//! The service map: requests, errors and latency of each service and of each call between two.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::answer::{rounded, seconds};
use super::call::{Measure, NodeKind, ServiceCall, ServiceNode};
use super::digest::Digest;
use crate::view::model::Mark;

/// Nodes of an answer.
const MAX_NODES: usize = 200;
/// The shortest period that a rate is computed over.
const MIN_SECONDS: f64 = 60.0;

/// Adds up traces.
#[derive(Default)]
pub(super) struct ServiceMap<'a> {
    traces: usize,
    first: Option<f64>,
    last: Option<f64>,
    nodes: HashMap<&'a ServiceNode, RequestTally>,
    edges: HashMap<(&'a ServiceNode, &'a ServiceNode), RequestTally>,
}

/// Requests in one place.
#[derive(Debug, Default)]
struct RequestTally {
    requests: usize,
    errors: usize,
    throttles: usize,
    faults: usize,
    durations: Vec<f32>,
}

impl RequestTally {
    fn add(&mut self, measure: Measure) {
        self.requests += 1;
        match measure.outcome {
            None => {}
            Some(Mark::Error) => self.errors += 1,
            Some(Mark::Throttle) => self.throttles += 1,
            Some(Mark::Fault) => self.faults += 1,
        }
        self.durations.extend(measure.duration);
    }
}

impl<'a> ServiceMap<'a> {
    pub(super) fn add(&mut self, digest: &'a Digest) {
        self.traces += 1;
        if let Some(start) = digest.start {
            self.first = Some(self.first.map_or(start, |first| first.min(start)));
            self.last = Some(self.last.map_or(start, |last| last.max(start)));
        }
        for call in &digest.calls {
            let ServiceCall {
                from,
                to,
                seen,
                own,
            } = *call;
            let to = &digest.nodes[to as usize];
            self.nodes.entry(to).or_default().add(own);
            let Some(from) = from.map(|from| &digest.nodes[from as usize]) else {
                continue;
            };
            if from.kind == NodeKind::Client {
                self.nodes.entry(from).or_default().add(own);
            }
            self.edges.entry((from, to)).or_default().add(seen);
        }
    }

    /// The answer, with the nodes and edges of most requests first.
    pub(super) fn answer(self, version: u64) -> Value {
        let window = self
            .first
            .zip(self.last)
            .map_or(0.0, |(first, last)| last - first);
        let window = window.max(MIN_SECONDS);
        let mut nodes: Vec<_> = self.nodes.into_iter().collect();
        nodes.sort_unstable_by(|(a, one), (b, other)| (other.requests, a).cmp(&(one.requests, b)));
        nodes.truncate(MAX_NODES);
        let kept: HashSet<_> = nodes.iter().map(|(node, _)| *node).collect();
        let nodes = nodes.into_iter().map(|(node, tally)| {
            let client = node.kind == NodeKind::Client;
            let mut answer = numbers(tally, window);
            answer["id"] = id(node).into();
            answer["kind"] = word(node.kind).into();
            answer["name"] = (*node.name).into();
            if client {
                answer["latency"] = Value::Null;
            }
            answer
        });
        let nodes: Vec<_> = nodes.collect();
        let mut edges: Vec<_> = self.edges.into_iter().collect();
        edges.retain(|((from, to), _)| kept.contains(from) && kept.contains(to));
        edges.sort_unstable_by(|(a, one), (b, other)| (other.requests, a).cmp(&(one.requests, b)));
        let edges = edges.into_iter().map(|((from, to), tally)| {
            let mut answer = numbers(tally, window);
            answer["from"] = id(from).into();
            answer["to"] = id(to).into();
            answer
        });
        let edges: Vec<_> = edges.collect();
        json!({
            "version": version,
            "traces": self.traces,
            "seconds": seconds(window),
            "nodes": nodes,
            "edges": edges,
        })
    }
}

fn word(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Client => "client",
        NodeKind::Service => "service",
        NodeKind::Aws => "aws",
        NodeKind::Sql => "sql",
        NodeKind::Remote => "remote",
    }
}

fn id(node: &ServiceNode) -> String {
    [word(node.kind), ":", &node.name].concat()
}

fn numbers(mut tally: RequestTally, window: f64) -> Value {
    let per_minute = tally.requests as f64 * 60.0 / window;
    let durations = &mut tally.durations;
    durations.sort_unstable_by(f32::total_cmp);
    let latency = durations.last().map(|max| {
        // The smallest duration that this percentage of requests does not exceed.
        let percentile = |percent: usize| {
            let rank = (durations.len() * percent).div_ceil(100).max(1);
            seconds(durations[rank - 1].into())
        };
        let sum: f64 = durations.iter().map(|duration| f64::from(*duration)).sum();
        json!({
            "mean": seconds(sum / durations.len() as f64),
            "p50": percentile(50),
            "p90": percentile(90),
            "p99": percentile(99),
            "max": seconds((*max).into()),
        })
    });
    json!({
        "requests": tally.requests,
        "per_minute": rounded(per_minute, 100.0),
        "errors": tally.errors,
        "throttles": tally.throttles,
        "faults": tally.faults,
        "latency": latency,
    })
}
