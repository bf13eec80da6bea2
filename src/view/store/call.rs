//! The calls between the services of a trace.

use std::collections::HashMap;

use super::digest::Fact;
use crate::view::model::{Mark, SpanKind};

/// A service or another party that calls or is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ServiceNode {
    pub(super) kind: NodeKind,
    pub(super) name: Box<str>,
}

/// The properties of a [`ServiceNode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum NodeKind {
    /// It calls the roots.
    Client,
    /// It sends segments.
    Service,
    /// These send no segments and are known only from their callers.
    Aws,
    Sql,
    Remote,
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ServiceCall {
    /// Index of the node that called; `None` when nobody knows who did.
    pub(super) from: Option<u32>,
    pub(super) to: u32,
    /// As the caller has recorded it.
    pub(super) seen: Measure,
    /// As the called service has recorded it.
    pub(super) own: Measure,
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measure {
    pub(super) outcome: Option<Mark>,
    /// Seconds; `None` when it has not ended.
    pub(super) duration: Option<f32>,
}

/// The nodes of a trace, services first in the order of `facts`, and its calls.
pub(super) fn calls(facts: &[Fact]) -> (Vec<ServiceNode>, Vec<ServiceCall>) {
    let at: HashMap<&str, usize> = facts.iter().map(|fact| &*fact.id).zip(0..).collect();
    let parents: Vec<Option<usize>> = facts
        .iter()
        .map(|fact| at.get(fact.parent.as_deref()?).copied())
        .collect();
    let services = services(facts, &parents);
    let mut answered = vec![false; facts.len()];
    let mut nodes = Nodes::default();
    for (fact, parent) in facts.iter().zip(&parents) {
        if fact.kind == SpanKind::Segment {
            nodes.index(NodeKind::Service, &fact.name);
            if let Some(parent) = parent {
                answered[*parent] = true;
            }
        }
    }
    let mut calls = Vec::new();
    for (at, fact) in facts.iter().enumerate() {
        let own = Measure::of(fact);
        let kind = match fact.kind {
            SpanKind::Segment => NodeKind::Service,
            SpanKind::Aws if !answered[at] => NodeKind::Aws,
            SpanKind::Sql if !answered[at] => NodeKind::Sql,
            SpanKind::Remote if !answered[at] => NodeKind::Remote,
            _ => continue,
        };
        let to = nodes.index(
            kind,
            if fact.kind == SpanKind::Segment {
                &fact.name
            } else {
                &fact.peer
            },
        );
        let (caller, seen) = match (fact.kind, parents[at]) {
            (SpanKind::Segment, Some(parent)) => {
                let call = !matches!(facts[parent].kind, SpanKind::Segment | SpanKind::Local);
                let seen = if call {
                    Measure::of(&facts[parent])
                } else {
                    own
                };
                (services[parent], seen)
            }
            (SpanKind::Segment, None) => (None, own),
            _ => (services[at], own),
        };
        let from = match caller {
            Some(service) => Some(nodes.index(NodeKind::Service, service)),
            None if kind == NodeKind::Service => Some(nodes.index(NodeKind::Client, "client")),
            None => None,
        };
        calls.push(ServiceCall {
            from,
            to,
            seen,
            own,
        });
    }
    (nodes.list, calls)
}

impl Measure {
    fn of(fact: &Fact) -> Measure {
        let times = fact.start.zip(fact.end).filter(|_| !fact.in_progress);
        Measure {
            outcome: fact.mark,
            duration: times.map(|(start, end)| (end - start).max(0.0) as f32),
        }
    }
}

/// The service of each: its own, or that of the segment which it is a part of.
fn services<'a>(facts: &'a [Fact], parents: &[Option<usize>]) -> Vec<Option<&'a str>> {
    let mut services: Vec<Option<&str>> =
        facts.iter().map(|fact| fact.service.as_deref()).collect();
    let mut known: Vec<bool> = services.iter().map(Option::is_some).collect();
    let mut way = Vec::new();
    for start in 0..facts.len() {
        let mut service = None;
        let mut next = Some(start);
        while let Some(at) = next {
            if known[at] {
                service = services[at];
                break;
            }
            // Prevents an endless loop in a cycle of parents.
            known[at] = true;
            way.push(at);
            next = parents[at];
        }
        for at in way.drain(..) {
            services[at] = service;
        }
    }
    services
}

#[derive(Default)]
struct Nodes {
    list: Vec<ServiceNode>,
    indices: HashMap<ServiceNode, u32>,
}

impl Nodes {
    fn index(&mut self, kind: NodeKind, name: &str) -> u32 {
        let node = ServiceNode {
            kind,
            name: name.into(),
        };
        *self.indices.entry(node).or_insert_with_key(|node| {
            self.list.push(node.clone());
            self.list.len() as u32 - 1
        })
    }
}
