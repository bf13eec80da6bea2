//! What must hold after every step.

use super::super::*;
use super::world::{Lane, State, World};

impl World {
    pub(super) fn check(&mut self) {
        self.every_document_is_in_one_place();
        self.lanes_are_counted();
        self.nobody_waits_in_vain();
    }

    fn every_document_is_in_one_place(&mut self) {
        let totals = self.books.totals();
        let (out, out_bytes) = self.flying();
        let booked = totals.sent + totals.rejected + totals.spilled;
        if self.uploader == State::Ended {
            assert_eq!(totals.received, booked, "at the end nothing is held");
            return;
        }
        let known = booked as usize + self.desk.pending.documents() + out;
        let open = totals.received as usize - known;
        assert!(open == self.open || open == 0, "{totals}, {out} are out");
        self.open = open;
        let bytes = self.desk.pending.bytes() + out_bytes;
        assert_eq!(bytes as u64, totals.held_bytes);
        assert!(bytes <= self.limit, "{bytes} bytes are held");
    }

    fn lanes_are_counted(&self) {
        let starting = usize::from(matches!(self.uploader, State::Starting(_)));
        let lanes = &self.desk.lanes;
        assert_eq!(lanes.count(), self.lanes.len() + starting);
        assert_eq!(lanes.in_flight(), self.count(Lane::is_carrying));
        assert_eq!(lanes.called(), self.count(Lane::is_called) + starting);
        assert!(lanes.count() <= self.concurrency);
    }

    /// What could be done now or later, somebody will come and do.
    fn nobody_waits_in_vain(&self) {
        if self.uploader == State::Ended {
            return;
        }
        if self.open > 0 {
            assert!(self.uploader_by(self.now + desk::LINGER), "the open batch");
        }
        if let Some(end) = self.desk.stop {
            assert!(self.uploader_by(end), "the end");
        }
        let desk = &self.desk;
        let telemetry = desk.outbox.is_some() && desk.back_off.is_healthy();
        if !self.may_send() || (desk.pending.is_empty() && !telemetry) {
            return;
        }
        let (carrying, resting) = (self.count(Lane::is_carrying), self.count(Lane::is_resting));
        let comes = self.count(Lane::is_called) > 0 || (carrying > 0 && resting == 0);
        if let Some(at) = desk.back_off.next(carrying, self.now) {
            assert!(comes || self.uploader_by(at), "a request");
        }
    }

    /// Whether the uploader is at work until then.
    fn uploader_by(&self, at: Instant) -> bool {
        match self.uploader {
            State::Awake | State::Starting(_) => true,
            State::Asleep(until) => until.is_some_and(|until| until <= at),
            State::Ended => false,
        }
    }
}
