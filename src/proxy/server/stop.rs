//! Ends: requests under way may finish, new ones are told to go elsewhere.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::Server;
use super::connection::{Connection, Phase};
use crate::proxy::OnOver;
use crate::proxy::exchange::Stage;

pub(super) struct Stopping {
    began: Instant,
    deadline: Instant,
    is_interrupted: bool,
    /// To be told; `None` once it was.
    on_over: Option<OnOver>,
}

impl Stopping {
    /// When something has to be done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.on_over.as_ref().map(|_| self.deadline)
    }
}

impl Server {
    pub(super) fn stop(&mut self, deadline: Instant, on_over: OnOver, now: Instant) {
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
            on_over: Some(on_over),
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
        let is_time = now >= stopping.deadline;
        let mut is_over = !self.connections.iter().any(|c| is_under_way(c, began));
        let is_last = is_time && stopping.is_interrupted;
        if is_time && !is_over && !stopping.is_interrupted {
            stopping.is_interrupted = true;
            stopping.deadline = now + self.limits.interrupted;
            self.interrupt(began);
            // Those that had not come in whole are gone at once.
            is_over = !self.connections.iter().any(|c| is_under_way(c, began));
        }
        if (is_over || is_last)
            && let Some(stopping) = &mut self.stopping
            && let Some(on_over) = stopping.on_over.take()
        {
            on_over(is_over);
        }
    }

    fn interrupt(&mut self, began: Instant) {
        self.service.handler.stop();
        for index in (0..self.connections.len()).rev() {
            match self.connections[index].phase {
                Phase::Busy(_) => self.connections[index].cut(),
                _ if is_under_way(&self.connections[index], began) => drop(self.remove(index)),
                _ => {}
            }
        }
    }
}

/// Whether a request is waited for that came before the stop.
fn is_under_way(connection: &Connection, began: Instant) -> bool {
    match &connection.phase {
        Phase::Idle | Phase::Lingering => false,
        Phase::Busy(progress) if progress.stage() == Stage::Live => false,
        Phase::Receiving | Phase::Waiting(_) | Phase::Busy(_) => connection.began <= began,
    }
}
