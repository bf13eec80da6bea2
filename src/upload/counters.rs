//! One counter for every fate of a segment.
//!
//! `received + restored = sent + shown + rejected + spilled + held + spooled` in every snapshot. Each
//! term is counted by itself, so that a segment that was lost or counted twice shows.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start of the process, all of the same moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SegmentCounts {
    /// Datagrams read from the socket that were not empty, malformed ones included.
    pub received: u64,
    /// Documents that X-Ray has taken.
    pub sent: u64,
    /// Documents that were shown here instead of being sent. Not for those that are sent too.
    pub shown: u64,
    /// Malformed datagrams, and documents that X-Ray refused.
    pub rejected: u64,
    /// Documents dropped, oldest first, because the buffer was full or because time ran out at the
    /// shutdown.
    pub spilled: u64,
    /// Documents in open batches, waiting, or in flight.
    pub held: u64,
    /// Documents of earlier processes that were found in the spool.
    pub restored: u64,
    /// Documents that are in the spool only.
    pub spooled: u64,
    /// Empty datagrams, which the official daemon ignores too.
    pub empty: u64,
    /// Datagrams that the kernel dropped because the socket's buffer was full.
    pub kernel_drops: u64,
    /// Datagrams that came after the last read of the shutdown.
    pub(crate) refused_at_end: u64,
}

impl SegmentCounts {
    /// Segments that will never reach X-Ray.
    pub(crate) fn lost(&self) -> u64 {
        self.rejected + self.spilled + self.kernel_drops + self.refused_at_end
    }

    /// Adds what a reader has received. The caller counts the fate of the documents.
    pub(crate) fn add_taken(&mut self, documents: usize, malformed: u16, empty: u16) {
        let malformed = u64::from(malformed);
        self.received += documents as u64 + malformed;
        self.rejected += malformed;
        self.empty += u64::from(empty);
    }

    /// Adds what one reader has taken and not handed over yet.
    pub(crate) fn add_unreported(&mut self, unreported: Unreported) {
        let documents = usize::from(unreported.documents);
        self.add_taken(documents, unreported.malformed, unreported.empty);
        self.held += documents as u64;
    }

    /// Sets the kernel's own count of datagrams dropped on the UDP socket. It never goes back.
    pub(crate) fn set_kernel_drops(&mut self, drops: u64) {
        self.kernel_drops = self.kernel_drops.max(drops);
    }
}

impl fmt::Display for SegmentCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (is_spool_used, received) = (self.restored + self.spooled > 0, self.received);
        write!(f, "received {received}")?;
        if is_spool_used {
            write!(f, " + restored {}", self.restored)?;
        }
        write!(f, " = sent {}", self.sent)?;
        if self.shown > 0 {
            write!(f, " + shown {}", self.shown)?;
        }
        write!(
            f,
            " + rejected {} + spilled {} + held {}",
            self.rejected, self.spilled, self.held
        )?;
        if is_spool_used {
            write!(f, " + spooled {}", self.spooled)?;
        }
        write!(
            f,
            "; kernel drops {}, empty {}",
            self.kernel_drops, self.empty
        )?;
        match self.refused_at_end {
            0 => Ok(()),
            refused => write!(f, ", refused at the end {refused}"),
        }
    }
}

/// What a reader has taken since it last handed over a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unreported {
    /// How many times this reader has handed something over. Wraps around.
    pub(crate) hand_overs: u16,
    /// Documents in the open batch.
    pub documents: u16,
    /// Malformed datagrams.
    pub malformed: u16,
    /// Empty datagrams.
    pub empty: u16,
}

/// Publishes the [`Unreported`] counts of one reader. The four numbers are in one atomic word, so
/// that the uploader never sees half of a change. With the number of hand-overs it can tell whether
/// a batch is still on its way to it.
#[derive(Debug, Default)]
pub struct ReaderCounts(AtomicU64);

impl ReaderCounts {
    /// Replaces the counts.
    pub(crate) fn publish(&self, counts: Unreported) {
        let word = [
            counts.hand_overs,
            counts.documents,
            counts.malformed,
            counts.empty,
        ]
        .into_iter()
        .fold(0, |word, part| word << 16 | u64::from(part));
        self.0.store(word, Ordering::Release);
    }

    /// The counts at this moment.
    pub(crate) fn read(&self) -> Unreported {
        let word = self.0.load(Ordering::Acquire);
        let part = |index: u32| (word >> (16 * index)) as u16;
        Unreported {
            hand_overs: part(3),
            documents: part(2),
            malformed: part(1),
            empty: part(0),
        }
    }
}

/// The receiving side of the readers' counts.
#[derive(Debug)]
pub(crate) struct ReaderLedger {
    readers: [Arc<ReaderCounts>; 2],
    /// Hand-overs received from each reader.
    received: [u16; 2],
}

impl ReaderLedger {
    /// For readers that have handed over nothing yet.
    pub(crate) fn new(readers: [Arc<ReaderCounts>; 2]) -> Self {
        ReaderLedger {
            readers,
            received: [0; 2],
        }
    }

    /// A hand-over of this reader has been received.
    pub(crate) fn received(&mut self, reader: usize) {
        let count = &mut self.received[reader];
        *count = count.wrapping_add(1);
    }

    /// What the readers hold. `None`: a batch that is not in these counts any more is still in the
    /// channel, so the channel must be emptied first.
    pub(crate) fn unreported(&self) -> Option<[Unreported; 2]> {
        let unreported = self.readers.each_ref().map(|reader| reader.read());
        (unreported.map(|counts| counts.hand_overs) == self.received).then_some(unreported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn published_counts_are_read_back(hand_overs: u16, documents: u16, malformed: u16, empty: u16) {
            let counts = ReaderCounts::default();
            let published = Unreported { hand_overs, documents, malformed, empty };
            counts.publish(published);
            prop_assert_eq!(counts.read(), published);
        }
    }

    #[test]
    fn a_hand_over_on_its_way_is_noticed() {
        let readers: [Arc<ReaderCounts>; 2] = Default::default();
        let mut ledger = ReaderLedger::new(readers.clone());
        let open = Unreported {
            documents: 3,
            ..Unreported::default()
        };
        readers[1].publish(open);
        assert_eq!(ledger.unreported(), Some([Unreported::default(), open]));
        readers[1].publish(Unreported {
            hand_overs: 1,
            ..Unreported::default()
        });
        assert_eq!(ledger.unreported(), None);
        ledger.received(1);
        assert!(ledger.unreported().is_some());
    }

    #[test]
    fn what_readers_hold_is_received_and_held_or_rejected() {
        let mut counts = SegmentCounts {
            received: 5,
            sent: 5,
            ..SegmentCounts::default()
        };
        counts.add_unreported(Unreported {
            hand_overs: 9,
            documents: 3,
            malformed: 2,
            empty: 1,
        });
        assert_eq!(
            counts.to_string(),
            "received 10 = sent 5 + rejected 2 + spilled 0 + held 3; kernel drops 0, empty 1"
        );
        counts = SegmentCounts {
            received: 4,
            shown: 4,
            ..SegmentCounts::default()
        };
        assert_eq!(
            counts.to_string(),
            "received 4 = sent 0 + shown 4 + rejected 0 + spilled 0 + held 0; kernel drops 0, empty 0"
        );
    }
}
