//! Ends: requests under way may finish, new ones are told to go elsewhere.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::Server;
use super::connection::{Connection, Phase};
use crate::proxy::exchange::Stage;

/// How long interrupted requests may take to end.
pub(in crate::proxy) const INTERRUPTED: Duration = Duration::from_secs(1);

pub(super) struct Stopping {
    began: Instant,
    deadline: Instant,
    is_interrupted: bool,
    /// Who waits to be told; nobody any more once it was said.
    done: Option<SyncSender<bool>>,
}

impl Stopping {
    /// When something has to be done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.done.as_ref().map(|_| self.deadline)
    }
}

impl Server {
    pub(super) fn stop(&mut self, deadline: Instant, done: SyncSender<bool>, now: Instant) {
        self.service.is_stopping.store(true, Relaxed);
        for index in (0..self.connections.len()).rev() {
            match &self.connections[index].phase {
                Phase::Idle => drop(self.remove(index)),
                // Events never end by themselves.
                Phase::Busy(progress) if progress.stage() == Stage::Live => {
                    self.connections[index].cut();
                }
                _ => {}
            }
        }
        self.stopping = Some(Stopping {
            began: now,
            deadline,
            is_interrupted: false,
            done: Some(done),
        });
    }

    /// Whether the request of a connection began to come in after the stop.
    pub(super) fn is_too_late(&self, index: usize) -> bool {
        let stopping = self.stopping.as_ref();
        stopping.is_some_and(|stopping| self.connections[index].began > stopping.began)
    }

    /// Says when all requests are over, and interrupts them when time is up.
    pub(super) fn end_stopping(&mut self, now: Instant) {
        let Some(stopping) = &mut self.stopping else {
            return;
        };
        let began = stopping.began;
        let is_under_way = |c: &Connection| match &c.phase {
            Phase::Idle | Phase::Lingering => false,
            Phase::Busy(progress) if progress.stage() == Stage::Live => false,
            Phase::Receiving | Phase::Waiting(_) | Phase::Busy(_) => c.began <= began,
        };
        let is_over = !self.connections.iter().any(is_under_way);
        if is_over || (stopping.is_interrupted && now >= stopping.deadline) {
            if let Some(done) = stopping.done.take() {
                // Nobody may wait any more.
                let _ = done.try_send(is_over);
            }
        } else if now >= stopping.deadline && !stopping.is_interrupted {
            stopping.is_interrupted = true;
            stopping.deadline = now + INTERRUPTED;
            self.service.handler.stop();
            for index in (0..self.connections.len()).rev() {
                match self.connections[index].phase {
                    Phase::Busy(_) => self.connections[index].cut(),
                    _ if is_under_way(&self.connections[index]) => drop(self.remove(index)),
                    _ => {}
                }
            }
        }
    }
}
