//! The view as a whole: golden texts and properties.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::Value;

use super::{Console, Options};

const PLAIN: Options = Options {
    width: 100,
    colour: false,
    ascii: false,
    annotations: false,
};
const CHECKOUT: &str = include_str!("../../examples/checkout.jsonl");

/// Any JSON value.
pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn show() {
    for (width, colour, ascii, annotations) in [
        (60, false, false, false),
        (80, false, true, false),
        (100, true, false, true),
        (140, true, false, false),
    ] {
        let mut out = String::new();
        let mut console = Console::new(Options {
            width,
            colour,
            ascii,
            annotations,
        });
        let now = Instant::now();
        for doc in CHECKOUT.lines() {
            console.document(doc, now, &mut out);
        }
        console.tick(now + Duration::from_secs(1), &mut out);
        println!("{out}");
    }
}
