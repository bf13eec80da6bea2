//! Random numbers for waiting times.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// A number in 0..1, different each time. It spreads the retries of many hosts and protects no secret.
pub(crate) fn jitter() -> f64 {
    let random = RandomState::new().hash_one(0u8);
    (random >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_in_range() {
        for _ in 0..1000 {
            assert!((0.0..1.0).contains(&jitter()));
        }
    }
}
