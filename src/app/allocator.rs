//! Keeps musl's allocator from asking the system for memory at each request.
//!
//! It returns a page to the system as soon as nothing on it is in use, and takes a new one for the next
//! value: two system calls, a page fault, and an interruption of the other processors. Where the values
//! that live long fill their pages exactly, each request did this several times, for strings that live for
//! microseconds, and a tenth of the CPU time of a request with spans went into it. A page on which one
//! value is never freed stays, and has room for others.

use std::mem;

struct KeptPages {
    /// Bytes of a value.
    size: usize,
    /// Values that are allocated at first, one behind the other.
    values: usize,
    /// One of so many is never freed.
    one_in: usize,
}

const KEPT: [KeptPages; 3] = [
    // musl puts six strings of a hash's length into one value of this size.
    KeptPages {
        size: 492,
        values: 64,
        one_in: 8,
    },
    // Six values of 320 bytes or three of 624 are put into one of this size.
    KeptPages {
        size: 2028,
        values: 12,
        one_in: 2,
    },
    // The first piece of a request on TCP.
    KeptPages {
        size: 2048,
        values: 8,
        one_in: 4,
    },
];

/// Keeps some pages for the life of the process: 64 KB.
pub(crate) fn keep_pages() {
    for kept in KEPT {
        let values: Vec<Vec<u8>> = (0..kept.values)
            .map(|_| Vec::with_capacity(kept.size))
            .collect();
        values
            .into_iter()
            .step_by(kept.one_in)
            .for_each(mem::forget);
    }
}
