//! From text to a flat list of values.

use std::fmt;

use super::JsonValue;

/// Values of one document, members and elements included. A datagram cannot hold more than
/// 32,768; a body of OpenTelemetry spans that holds more than this is refused, because each
/// takes 16 bytes here.
const MAX_VALUES: usize = 1 << 20;

/// A parsed document. Its values stand in the order of the text, each before what it holds.
#[derive(Debug)]
pub(crate) struct JsonDocument<'a> {
    pub(super) text: &'a str,
    pub(super) nodes: Vec<JsonNode>,
}

/// The place of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonNode {
    pub(super) kind: JsonKind,
    /// Bytes of the text; of a string with its quotes.
    pub(super) start: u32,
    pub(super) end: u32,
    /// Index of the first node that does not belong to this value.
    pub(super) next: u32,
}

/// What a value is. The members of an object are a [`JsonKind::String`] and a value in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonKind {
    Null,
    True,
    False,
    Number,
    String,
    Array,
    Object,
}

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    problem: &'static str,
    line: usize,
    column: usize,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SyntaxError {
            problem,
            line,
            column,
        } = self;
        write!(f, "{problem} at line {line} column {column}")
    }
}

impl JsonDocument<'_> {
    /// The outermost value.
    pub(crate) fn root(&self) -> JsonValue<'_> {
        JsonValue::at(self, 0)
    }
}

/// Reads a whole text as one value. Beside what RFC 8259 allows, the literals `NaN`, `Infinity`
/// and `-Infinity` are numbers.
pub(crate) fn parse(text: &str) -> Result<JsonDocument<'_>, SyntaxError> {
    let mut parser = JsonParser {
        bytes: text.as_bytes(),
        at: 0,
        nodes: Vec::new(),
        open: Vec::new(),
    };
    match parser.document() {
        Ok(()) => Ok(JsonDocument {
            text,
            nodes: parser.nodes,
        }),
        Err(problem) => {
            let before = &parser.bytes[..parser.at.min(parser.bytes.len())];
            let line_start = before
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |n| n + 1);
            Err(SyntaxError {
                problem,
                line: before.iter().filter(|b| **b == b'\n').count() + 1,
                column: before.len() - line_start + 1,
            })
        }
    }
}

struct JsonParser<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<JsonNode>,
    /// Indices of the arrays and objects that have not been closed, the innermost last.
    open: Vec<usize>,
}

type ParseResult<T> = Result<T, &'static str>;

impl JsonParser<'_> {
    fn document(&mut self) -> ParseResult<()> {
        if u32::try_from(self.bytes.len()).is_err() {
            return Err("the text is too long");
        }
        loop {
            // A value is expected here.
            self.blank();
            if self.begins_container()? {
                continue;
            }
            while self.ends_container()? {}
            if self.open.is_empty() {
                self.blank();
                return match self.peek() {
                    None => Ok(()),
                    Some(_) => Err("expected the end of the document"),
                };
            }
        }
    }

    /// Reads a scalar, an empty container, or the start of a container up to its first value.
    /// Says whether it was the last.
    fn begins_container(&mut self) -> ParseResult<bool> {
        let start = self.at;
        let (kind, close) = match self.peek() {
            Some(b'{') => (JsonKind::Object, b'}'),
            Some(b'[') => (JsonKind::Array, b']'),
            Some(b'"') => return self.string().map(|()| false),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => return self.number().map(|()| false),
            _ => {
                let literals = [
                    ("null", JsonKind::Null),
                    ("true", JsonKind::True),
                    ("false", JsonKind::False),
                ];
                let rest = &self.bytes[start..];
                let found = literals
                    .iter()
                    .find(|(text, _)| rest.starts_with(text.as_bytes()));
                let (text, kind) = found.ok_or("expected a value")?;
                self.at += text.len();
                let node = self.push(*kind, start)?;
                self.end(node);
                return Ok(false);
            }
        };
        let node = self.push(kind, start)?;
        self.at += 1;
        self.blank();
        if self.peek() == Some(close) {
            self.at += 1;
            self.end(node);
            return Ok(false);
        }
        self.open.push(node);
        if kind == JsonKind::Object {
            self.key()?;
        }
        Ok(true)
    }

    /// After a value: reads the end of its container, or the comma and the key of the next
    /// value. Says whether it was an end.
    fn ends_container(&mut self) -> ParseResult<bool> {
        let Some(&container) = self.open.last() else {
            return Ok(false);
        };
        self.blank();
        let object = self.nodes[container].kind == JsonKind::Object;
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                if object {
                    self.blank();
                    self.key()?;
                }
                Ok(false)
            }
            Some(b'}') if object => Ok(self.close(container)),
            Some(b']') if !object => Ok(self.close(container)),
            _ if object => Err("expected a comma or the end of the object"),
            _ => Err("expected a comma or the end of the array"),
        }
    }

    fn close(&mut self, container: usize) -> bool {
        self.at += 1;
        self.open.pop();
        self.end(container);
        true
    }

    fn key(&mut self) -> ParseResult<()> {
        if self.peek() != Some(b'"') {
            return Err("expected a key in quotes");
        }
        self.string()?;
        self.blank();
        if self.peek() != Some(b':') {
            return Err("expected a colon");
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> ParseResult<()> {
        let node = self.push(JsonKind::String, self.at)?;
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err("the document ends within a string"),
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(0..0x20) => return Err("a control character stands in a string"),
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        self.end(node);
        Ok(())
    }

    fn escape(&mut self) -> ParseResult<()> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 1..self.at + 5);
                if !digits.is_some_and(|four| four.iter().all(u8::is_ascii_hexdigit)) {
                    return Err("expected four hexadecimal digits");
                }
                self.at += 5;
            }
            _ => return Err("unknown escape in a string"),
        }
        Ok(())
    }

    fn number(&mut self) -> ParseResult<()> {
        let node = self.push(JsonKind::Number, self.at)?;
        let digits = |parser: &mut Self| {
            let start = parser.at;
            while parser.peek().is_some_and(|b| b.is_ascii_digit()) {
                parser.at += 1;
            }
            if parser.at == start {
                return Err("expected a digit");
            }
            Ok(())
        };
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let rest = &self.bytes[self.at..];
        let python = ["NaN", "Infinity"].iter();
        if let Some(name) = python
            .clone()
            .find(|name| rest.starts_with(name.as_bytes()))
        {
            self.at += name.len();
        } else {
            match self.peek() {
                Some(b'0') => self.at += 1,
                _ => digits(self)?,
            }
            if self.peek() == Some(b'.') {
                self.at += 1;
                digits(self)?;
            }
            if matches!(self.peek(), Some(b'e' | b'E')) {
                self.at += 1;
                if matches!(self.peek(), Some(b'+' | b'-')) {
                    self.at += 1;
                }
                digits(self)?;
            }
        }
        self.end(node);
        Ok(())
    }

    fn push(&mut self, kind: JsonKind, start: usize) -> ParseResult<usize> {
        if self.nodes.len() == MAX_VALUES {
            return Err("more than a million values");
        }
        self.nodes.push(JsonNode {
            kind,
            start: start as u32,
            end: 0,
            next: 0,
        });
        Ok(self.nodes.len() - 1)
    }

    /// A value ends here, with everything in it.
    fn end(&mut self, node: usize) {
        self.nodes[node].end = self.at as u32;
        self.nodes[node].next = self.nodes.len() as u32;
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        let cases = [
            ("", "expected a value at line 1 column 1"),
            ("  ", "expected a value at line 1 column 3"),
            ("nul", "expected a value at line 1 column 1"),
            (
                "[1]\n]",
                "expected the end of the document at line 2 column 1",
            ),
            (
                "[1",
                "expected a comma or the end of the array at line 1 column 3",
            ),
            (
                "[1}",
                "expected a comma or the end of the array at line 1 column 3",
            ),
            ("[1,]", "expected a value at line 1 column 4"),
            (
                "{\"a\":1]",
                "expected a comma or the end of the object at line 1 column 7",
            ),
            ("{\"a\":1,}", "expected a key in quotes at line 1 column 8"),
            ("{a:1}", "expected a key in quotes at line 1 column 2"),
            ("{\"a\" 1}", "expected a colon at line 1 column 6"),
            (
                "\"a",
                "the document ends within a string at line 1 column 3",
            ),
            (
                "\"a\nb\"",
                "a control character stands in a string at line 1 column 3",
            ),
            ("\"\\x\"", "unknown escape in a string at line 1 column 3"),
            (
                "\"\\u12g4\"",
                "expected four hexadecimal digits at line 1 column 3",
            ),
            (
                "\"\\u12",
                "expected four hexadecimal digits at line 1 column 3",
            ),
            ("01", "expected the end of the document at line 1 column 2"),
            ("-", "expected a digit at line 1 column 2"),
            ("1.", "expected a digit at line 1 column 3"),
            ("1e+", "expected a digit at line 1 column 4"),
            ("-Inf", "expected a digit at line 1 column 2"),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn any_depth_is_read_without_a_stack() {
        let depth = 32_000;
        let text = ["[".repeat(depth), "]".repeat(depth)].concat();
        assert_eq!(parse(&text).unwrap().nodes.len(), depth);
        let objects = ["{\"a\":".repeat(depth), "1".to_owned(), "}".repeat(depth)].concat();
        assert_eq!(parse(&objects).unwrap().nodes.len(), 2 * depth + 1);
        assert!(parse(&"[".repeat(depth)).is_err());
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let values = |n: usize| ["[", &vec!["0"; n].join(","), "]"].concat();
        assert!(parse(&values(MAX_VALUES - 1)).is_ok());
        let error = parse(&values(MAX_VALUES)).unwrap_err();
        assert!(error.to_string().starts_with("more than a million values"));
    }

    proptest! {
        #[test]
        fn it_accepts_what_serde_json_accepts(text in any_text()) {
            let strict = serde_json::from_str::<serde_json::Value>(&text);
            let lenient = parse(&text);
            match (&strict, &lenient) {
                (Ok(_), Err(error)) => prop_assert!(false, "{text}: {error}"),
                (Err(error), Ok(_)) => prop_assert!(
                    // The differences that this reader is made for, and numbers beyond an f64.
                    ["NaN", "Infinity", "\\u", "e"].iter().any(|more| text.contains(more)),
                    "{text}: {error}"
                ),
                _ => {}
            }
        }
    }

    /// Texts of random pieces of JSON, many of which are valid.
    fn any_text() -> impl Strategy<Value = String> {
        let pieces = vec![
            "[", "]", "{", "}", ",", ":", "\"", "\"a\"", "\\", "\\u00e9", "\\ud83d", "1", "0", "-",
            ".5", "e9", "null", "true", "false", "NaN", "Infinity", " ", "\n", "é",
        ];
        let noise = proptest::collection::vec(proptest::sample::select(pieces), 0..12);
        let noise = noise.prop_map(|pieces| pieces.concat());
        prop_oneof![
            noise,
            crate::view::tests::any_json().prop_map(|json| format!("{json:#}"))
        ]
    }
}
