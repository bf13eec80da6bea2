//! The metrics of the spool.

use std::time::SystemTime;

use super::metrics::plain;
use crate::upload::metrics::SpoolMetrics;

/// Writes nothing without a spool.
pub(super) fn render(text: &mut String, spool: Option<&SpoolMetrics>) {
    let Some(spool) = spool else {
        return;
    };
    let oldest = spool.usage.oldest.map_or(0, |oldest| {
        let age = SystemTime::now().duration_since(oldest);
        age.unwrap_or_default().as_secs()
    });
    let values = [
        (
            "spool_up",
            "gauge",
            "1 while the spool directory can be used.",
            u64::from(spool.works),
        ),
        (
            "spool_bytes",
            "gauge",
            "Bytes of the files of the spool.",
            spool.usage.bytes,
        ),
        (
            "spool_oldest_age_seconds",
            "gauge",
            "Age of the oldest segment or span in these files; 0 without any.",
            oldest,
        ),
        (
            "spool_lost_segments_total",
            "counter",
            "Segments lost from the spool: its limit, their age, damage, removed files. They are spilled.",
            spool.lost,
        ),
        (
            "spool_damaged_places_total",
            "counter",
            "Places in the files of the spool where a record is damaged or none can be read.",
            spool.damaged,
        ),
    ];
    plain(text, &values);
}
