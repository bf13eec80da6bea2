//! The columns of a line.

use super::Options;
use super::entity::{Entity, mark_word};
use super::scale::Scale;
use super::tree::Row;

/// Columns kept free of the bar for the facts of the header, `3m 12s  12 services  22:13:20.000Z`.
const FACTS: usize = 35;
/// In a narrower terminal columns stand close and the word for the kind is left out.
const ROOMY: usize = 80;

/// Spaces between a name and its detail.
pub(super) const GAP_TO_DETAIL: usize = 2;

/// Widths in columns; 0 leaves a column out. The bar is the last and takes what is left.
#[derive(Debug)]
pub(super) struct Columns {
    /// Most columns of the tree in front of a name; deeper levels lose their outer lines.
    pub(super) tree: usize,
    /// Tree, name and detail.
    pub(super) label: usize,
    pub(super) kind: usize,
    pub(super) status: usize,
    pub(super) mark: usize,
    pub(super) duration: usize,
    pub(super) bar: usize,
    /// Spaces between columns.
    pub(super) gap: usize,
}

impl Columns {
    /// Each column takes what its widest text needs, as long as the bar keeps a quarter of the
    /// line. Without a scale there is no bar.
    pub(super) fn of(rows: &[Row<'_>], scale: Option<&Scale>, options: &Options) -> Columns {
        let roomy = options.width >= ROOMY;
        let gap = if roomy { 2 } else { 1 };
        let tree = options.width / 4;
        let widest = |of: &dyn Fn(&Entity) -> usize| {
            let widths = rows.iter().filter_map(|row| Some(of(row.entity()?)));
            widths.max().unwrap_or(0)
        };
        let mut columns = Columns {
            tree,
            label: 0,
            kind: if roomy {
                widest(&|e| e.kind.word().len())
            } else {
                0
            },
            status: widest(&|e| e.status_text().columns()),
            mark: widest(&|e| e.mark.map_or(0, |mark| mark_word(mark).len())),
            duration: widest(&|e| e.duration(options.ascii).columns()),
            bar: 0,
            gap,
        };
        let mut fixed = 0;
        for width in [columns.kind, columns.status, columns.mark, columns.duration] {
            fixed += if width == 0 { 0 } else { gap + width };
        }
        let labels = rows.iter().filter_map(|row| {
            let entity = row.entity()?;
            let detail = entity.detail.columns();
            let label = (2 * row.levels.len()).min(tree)
                + entity.name.columns()
                + if detail == 0 {
                    0
                } else {
                    GAP_TO_DETAIL + detail
                };
            Some(label)
        });
        let label = labels.max().unwrap_or(0);
        let Some(_) = scale else {
            columns.label = label.min(options.width.saturating_sub(fixed));
            return columns;
        };
        let most = options
            .width
            .saturating_sub(fixed + gap + options.width / 4);
        columns.label = label.max(FACTS.saturating_sub(fixed)).min(most);
        columns.bar = options.width.saturating_sub(columns.label + fixed + gap);
        columns
    }
}
