//! What several items take together, kept up to date with each that comes and goes.

use std::collections::BTreeMap;
use std::ops::{AddAssign, SubAssign};

use super::item::Item;

/// Sums over several items.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Bytes of memory.
    pub bytes: usize,
    /// Those of them that are not compressed.
    pub plain: usize,
    pub documents: usize,
    pub items: usize,
    /// Bytes of the requests.
    pub opened: usize,
    /// How many of them grow by so many bytes when they are opened, if at all.
    growths: BTreeMap<usize, usize>,
}

impl Sizes {
    /// The most additional bytes of memory that one of them takes when it is opened.
    pub(super) fn largest_growth(&self) -> usize {
        self.growths
            .last_key_value()
            .map_or(0, |(growth, _)| *growth)
    }
}

/// The bytes of an item that are not compressed.
fn plain(item: &Item) -> usize {
    match item.body.is_compressed() {
        true => 0,
        false => item.bytes(),
    }
}

impl AddAssign<&Item> for Sizes {
    fn add_assign(&mut self, item: &Item) {
        self.bytes += item.bytes();
        self.plain += plain(item);
        self.documents += item.documents();
        self.items += 1;
        self.opened += item.body.opened_bytes();
        let growth = item.growth();
        if growth > 0 {
            *self.growths.entry(growth).or_default() += 1;
        }
    }
}

impl SubAssign<&Item> for Sizes {
    fn sub_assign(&mut self, item: &Item) {
        self.bytes -= item.bytes();
        self.plain -= plain(item);
        self.documents -= item.documents();
        self.items -= 1;
        self.opened -= item.body.opened_bytes();
        let growth = item.growth();
        let items = self.growths.get_mut(&growth);
        debug_assert!(growth == 0 || items.is_some(), "it was added");
        if let Some(items) = items {
            *items -= 1;
            if *items == 0 {
                self.growths.remove(&growth);
            }
        }
    }
}
