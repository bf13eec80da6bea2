//! A value of a document.

use std::borrow::Cow;

use super::parse::{JsonDocument, JsonKind, JsonNode};
use super::write::unescape;

/// A value, or a missing one: looking for a member of a missing value, or of a value of another
/// type, gives a missing value, so that a path can be followed without a check at each step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonValue<'d> {
    document: &'d JsonDocument<'d>,
    /// Index of its node.
    at: Option<usize>,
}

impl<'d> JsonValue<'d> {
    pub(super) fn at(document: &'d JsonDocument<'d>, at: usize) -> JsonValue<'d> {
        let at = Some(at).filter(|at| *at < document.nodes.len());
        JsonValue { document, at }
    }

    fn node(self) -> Option<&'d JsonNode> {
        self.document.nodes.get(self.at?)
    }

    fn is(self, kind: JsonKind) -> bool {
        self.node().is_some_and(|node| node.kind == kind)
    }

    /// The value of a member. Of two with the same key it is the last, as in most readers.
    pub(crate) fn get(self, key: &str) -> JsonValue<'d> {
        let found = self.members().filter(|(name, _)| name.has_text(key)).last();
        found.map_or(JsonValue { at: None, ..self }, |(_, value)| value)
    }

    /// The elements of an array.
    pub(crate) fn items(self) -> impl Iterator<Item = JsonValue<'d>> {
        self.children(self.is(JsonKind::Array))
    }

    /// The first element of an array.
    pub(crate) fn first(self) -> JsonValue<'d> {
        self.items()
            .next()
            .unwrap_or(JsonValue { at: None, ..self })
    }

    /// The members of an object.
    pub(crate) fn fields(self) -> impl Iterator<Item = (Cow<'d, str>, JsonValue<'d>)> {
        self.members()
            .map(|(key, value)| (key.string().unwrap_or_default(), value))
    }

    fn members(self) -> impl Iterator<Item = (JsonValue<'d>, JsonValue<'d>)> {
        let mut children = self.children(self.is(JsonKind::Object));
        std::iter::from_fn(move || Some((children.next()?, children.next()?)))
    }

    fn children(self, any: bool) -> impl Iterator<Item = JsonValue<'d>> {
        let own = self.at.zip(self.node()).filter(|_| any);
        let (mut at, end) = own.map_or((0, 0), |(at, node)| (at + 1, node.next as usize));
        std::iter::from_fn(move || {
            let child = JsonValue::at(self.document, at);
            let node = child.node().filter(|_| at < end)?;
            at = node.next as usize;
            Some(child)
        })
    }

    /// A string, with a replacement character for each half of a surrogate pair.
    pub(crate) fn string(self) -> Option<Cow<'d, str>> {
        let quoted = self.raw();
        let inner = quoted.get(1..quoted.len().max(1) - 1)?;
        self.is(JsonKind::String).then(|| unescape(inner))
    }

    fn has_text(self, text: &str) -> bool {
        let quoted = self.raw();
        let plain = quoted.len() == text.len() + 2 && quoted[1..].starts_with(text);
        plain || quoted.contains('\\') && self.string().is_some_and(|own| own == text)
    }

    /// A number; `NaN` where the document says so.
    pub(crate) fn number(self) -> Option<f64> {
        if !self.is(JsonKind::Number) {
            return None;
        }
        self.raw().parse().ok()
    }

    /// A string, a number or a boolean as text.
    pub(crate) fn scalar(self) -> Option<Cow<'d, str>> {
        match self.node()?.kind {
            JsonKind::String => self.string(),
            JsonKind::Number | JsonKind::True | JsonKind::False => Some(Cow::Borrowed(self.raw())),
            JsonKind::Null | JsonKind::Array | JsonKind::Object => None,
        }
    }

    /// Whether it is `true`.
    pub(crate) fn is_true(self) -> bool {
        self.is(JsonKind::True)
    }

    /// Whether it is missing or `null`.
    pub(crate) fn is_null(self) -> bool {
        self.at.is_none() || self.is(JsonKind::Null)
    }

    /// Whether it is an object.
    pub(crate) fn is_object(self) -> bool {
        self.is(JsonKind::Object)
    }

    /// The text of the value in the document; empty when there is none.
    pub(crate) fn raw(self) -> &'d str {
        let range = self
            .node()
            .map(|node| node.start as usize..node.end as usize);
        range
            .and_then(|range| self.document.text.get(range))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use proptest::prelude::*;

    #[test]
    fn paths_lead_to_values_or_to_nothing() {
        let text = r#"{"a":{"b":[1,"two",true,null,-1.5e3]},"a\u0062":"x","c":1,"c":2,"n":NaN}"#;
        let document = parse(text).unwrap();
        let root = document.root();
        let list = root.get("a").get("b");
        let scalars: Vec<_> = list.items().map(|item| item.scalar()).collect();
        let scalars: Vec<_> = scalars.iter().map(Option::as_deref).collect();
        let expected = [Some("1"), Some("two"), Some("true"), None, Some("-1.5e3")];
        assert_eq!(scalars, expected);
        assert_eq!(list.first().number(), Some(1.0));
        assert_eq!(list.raw(), r#"[1,"two",true,null,-1.5e3]"#);
        assert_eq!(root.get("ab").string().as_deref(), Some("x"));
        assert_eq!(root.get("c").number(), Some(2.0), "the last one counts");
        assert!(root.get("n").number().unwrap().is_nan());
        assert!(root.is_object() && list.items().nth(2).unwrap().is_true());
        for nothing in [
            root.get("missing").get("b").first(),
            list.get("b"),
            root.get("c").first(),
            root.first(),
        ] {
            assert!(nothing.is_null() && nothing.raw().is_empty());
            assert_eq!((nothing.string(), nothing.number()), (None, None));
        }
        let keys: Vec<_> = root.fields().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a", "ab", "c", "c", "n"]);
    }

    #[test]
    fn half_an_emoji_is_a_replacement_character() {
        let cases = [
            (r#""cut \ud83d""#, "cut \u{fffd}"),
            (r#""\ude00 cut""#, "\u{fffd} cut"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ud83dx\u0041""#, "\u{fffd}xA"),
            (r#""\ud83d\n\/\"\\""#, "\u{fffd}\n/\"\\"),
            (r#""\b\f\r\t\u00e9""#, "\u{8}\u{c}\r\té"),
        ];
        for (text, string) in cases {
            let document = parse(text).unwrap();
            assert_eq!(document.root().string().unwrap(), string, "{text}");
        }
    }

    proptest! {
        #[test]
        fn values_are_those_of_serde_json(json in crate::view::tests::any_json()) {
            fn same(own: super::JsonValue<'_>, other: &serde_json::Value) -> bool {
                match other {
                    serde_json::Value::Null => own.is_null(),
                    serde_json::Value::Bool(flag) => own.is_true() == *flag,
                    serde_json::Value::Number(n) => own.number() == n.as_f64(),
                    serde_json::Value::String(text) => own.string().as_deref() == Some(text),
                    serde_json::Value::Array(list) => {
                        own.items().count() == list.len()
                            && own.items().zip(list).all(|(own, other)| same(own, other))
                    }
                    serde_json::Value::Object(map) => {
                        own.fields().count() == map.len()
                            && map.iter().all(|(key, other)| same(own.get(key), other))
                    }
                }
            }
            for text in [json.to_string(), format!("{json:#}")] {
                prop_assert!(same(parse(&text).unwrap().root(), &json), "{text}");
            }
        }
    }
}
