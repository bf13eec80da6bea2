//! Which documents of a delivered request X-Ray did not take.

use crate::batch::{Batch, DocumentIds, ids};
use crate::upload::response::Unprocessed;

/// What becomes of the documents of a request that X-Ray has taken in part.
#[derive(Debug, Default)]
pub(super) struct Settlement<'a> {
    /// Indexes of documents to send again.
    pub retry: Vec<usize>,
    /// Documents that are rejected, with the entry that says why. `None`: X-Ray gave no id, and
    /// every document has one, so that it is known how many are rejected and not which.
    pub rejected: Vec<(Option<DocumentIds>, &'a Unprocessed)>,
    /// Entries about documents that the request did not hold, or held once and no more.
    pub(crate) strangers: Vec<&'a Unprocessed>,
}

/// Matches the entries of an answer with the documents of its request, by id. An entry without an id
/// is about a document without a readable id, if there is one.
pub(super) fn settle<'a>(batch: &Batch, entries: &'a [Unprocessed]) -> Settlement<'a> {
    let mut settlement = Settlement::default();
    if entries.is_empty() {
        return settlement;
    }
    let mut open: Vec<Option<DocumentIds>> = batch
        .documents()
        .map(|document| Some(ids(&document)))
        .collect();
    let mut unnamed = Vec::new();
    for entry in entries {
        let index = open
            .iter()
            .position(|ids| ids.as_ref().is_some_and(|ids| ids.id == entry.id));
        match index.and_then(|index| Some((index, open[index].take()?))) {
            Some((index, _)) if entry.is_transient() => settlement.retry.push(index),
            Some((_, ids)) => settlement.rejected.push((Some(ids), entry)),
            None if entry.id.is_none() => unnamed.push(entry),
            None => settlement.strangers.push(entry),
        }
    }
    // Each takes one of the documents that no other entry is about, if any is left.
    let left = open.iter().flatten().count();
    for (number, entry) in unnamed.into_iter().enumerate() {
        if number < left {
            settlement.rejected.push((None, entry));
        } else {
            settlement.strangers.push(entry);
        }
    }
    settlement
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(ids: &[Option<&str>]) -> Batch {
        let mut batch = Batch::new();
        for id in ids {
            match id {
                Some(id) => batch.push(format!(r#"{{"id":"{id}"}}"#).as_bytes()),
                None => batch.push(b"T1S"),
            }
        }
        batch
    }

    fn entry(id: Option<&str>, code: &str) -> Unprocessed {
        Unprocessed {
            id: id.map(str::to_owned),
            code: code.to_owned(),
            message: String::new(),
        }
    }

    /// Retries, rejected by id, rejected by number, strangers.
    fn numbers(batch: &Batch, entries: &[Unprocessed]) -> (Vec<usize>, usize, usize, usize) {
        let settlement = settle(batch, entries);
        let named = settlement
            .rejected
            .iter()
            .filter(|(found, _)| found.is_some());
        let named = named.count();
        let unnamed = settlement.rejected.len() - named;
        (settlement.retry, named, unnamed, settlement.strangers.len())
    }

    #[test]
    fn entries_are_matched_by_id() {
        let three = batch(&[Some("a"), Some("b"), None]);
        let cases = [
            (vec![entry(Some("b"), "x")], (vec![], 1, 0, 0)),
            (
                vec![entry(Some("b"), "x"), entry(Some("b"), "x")],
                (vec![], 1, 0, 1),
            ),
            (vec![entry(Some("z"), "x")], (vec![], 0, 0, 1)),
            (vec![entry(None, "x")], (vec![], 1, 0, 0)),
            (vec![entry(None, "x"), entry(None, "x")], (vec![], 1, 1, 0)),
            (
                vec![
                    entry(Some("a"), "ThrottlingException"),
                    entry(Some("b"), "x"),
                ],
                (vec![0], 1, 0, 0),
            ),
            (
                vec![entry(None, "InternalFailure"), entry(None, "x")],
                (vec![2], 0, 1, 0),
            ),
        ];
        for (entries, expected) in cases {
            assert_eq!(numbers(&three, &entries), expected, "{entries:?}");
        }
        let twins = batch(&[Some("a"), Some("a")]);
        let both = [entry(Some("a"), "x"), entry(Some("a"), "x")];
        assert_eq!(numbers(&twins, &both), (vec![], 2, 0, 0));
    }

    proptest! {
        #[test]
        fn no_document_is_settled_twice(
            ids in prop::collection::vec(prop::option::of("[ab]"), 0..6),
            entries in prop::collection::vec((prop::option::of("[abc]"), any::<bool>()), 0..9),
        ) {
            let ids: Vec<Option<&str>> = ids.iter().map(Option::as_deref).collect();
            let entries: Vec<Unprocessed> = entries
                .iter()
                .map(|(id, again)| entry(id.as_deref(), if *again { "InternalFailure" } else { "x" }))
                .collect();
            let (retry, named, unnamed, strangers) = numbers(&batch(&ids), &entries);
            prop_assert!(retry.len() + named + unnamed <= ids.len());
            prop_assert_eq!(retry.len() + named + unnamed + strangers, entries.len());
            let mut unique = retry.clone();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), retry.len());
        }
    }
}
