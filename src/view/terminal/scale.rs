//! The time all bars of a trace share: its ruler and the bars on it.

use super::Options;
use super::entity::Entity;
use super::pen::{Pen, PenStyle};
use super::text::Text;

/// A ruler has its middle marked when it is at least so wide.
const MIN_MIDDLE: usize = 32;

/// From the first start to the last end.
#[derive(Debug)]
pub(super) struct Scale {
    /// Seconds since the epoch.
    pub(super) start: f64,
    /// Seconds, not negative.
    pub(super) length: f64,
}

impl Scale {
    /// From the first start to the last time; `None` when nothing has a start.
    pub(super) fn of(entities: &[Entity]) -> Option<Scale> {
        let starts = || entities.iter().filter_map(|e| e.start);
        let start = starts().reduce(f64::min)?;
        let ends = entities.iter().filter_map(|e| e.end);
        let end = ends.chain(starts()).fold(start, f64::max);
        Some(Scale {
            start,
            length: end - start,
        })
    }

    /// The place of a time on a bar of `width` columns, in half columns.
    pub(super) fn halves(&self, time: f64, width: usize) -> usize {
        let halves = 2.0 * width as f64;
        // In a trace of no length everything is at the start.
        let part = (time - self.start) / self.length.max(1e-9);
        (part * halves).round().clamp(0.0, halves) as usize
    }
}

/// `0 ───── 306 ms ───── 612 ms` above the bars.
pub(super) fn draw_ruler(scale: &Scale, width: usize, options: &Options, pen: &mut Pen<'_>) {
    let length = scale.length;
    if length <= 0.0 {
        return;
    }
    let line = if options.ascii { "-" } else { "─" };
    let end = Text::duration(length, options.ascii);
    // Between "0 " and the space before the end.
    let mut free = width.saturating_sub(3 + end.columns());
    pen.own(PenStyle::Dim, "0");
    pen.skip(1);
    let middle = Text::duration(length / 2.0, options.ascii);
    if width >= MIN_MIDDLE && free > 2 * middle.columns() {
        let before = (width / 2).saturating_sub(3 + middle.columns() / 2);
        pen.repeat(PenStyle::Dim, line, before);
        pen.skip(1);
        pen.text(PenStyle::Dim, &middle);
        pen.skip(1);
        free = free.saturating_sub(before + 2 + middle.columns());
    }
    pen.repeat(PenStyle::Dim, line, free);
    pen.skip(1);
    pen.text(PenStyle::Dim, &end);
}

/// A bar, drawn to half columns and at least one half. One in progress is open to the end.
pub(super) fn draw_bar(
    entity: &Entity,
    style: PenStyle,
    scale: &Scale,
    width: usize,
    options: &Options,
    pen: &mut Pen<'_>,
) {
    let Some(start) = entity.start else { return };
    let (left, full, right, open) = if options.ascii {
        ("-", "=", "-", ".")
    } else {
        ("╺", "━", "╸", "╍")
    };
    let from = scale
        .halves(start, width)
        .min((2 * width).saturating_sub(1));
    pen.skip(from / 2);
    if entity.in_progress {
        pen.repeat(style, open, width - from / 2);
        return;
    }
    let to = scale.halves(entity.end.unwrap_or(start), width);
    let to = to.max(from + 1);
    if from % 2 == 1 {
        pen.own(style, left);
    }
    pen.repeat(style, full, to / 2 - from.div_ceil(2));
    if to % 2 == 1 {
        pen.own(style, right);
    }
}
