//! From protobuf to the JSON of OTLP.

use std::num::FpCategory;

use super::OtlpError;
use super::schema::{FieldForm, REQUEST, SchemaField};
use super::wire::encode_base64;
use crate::protobuf::{FieldValue, Fields, MalformedProtobuf};
use crate::view::json::quote;

/// The deepest level of nested messages. Deeper values are left out. Six lead to the attributes of
/// an event, and each list in an attribute takes two more.
const MAX_LEVELS: usize = 64;
/// Bytes of JSON of one request.
const MAX_JSON: usize = 32 << 20;
/// Bytes of an id that are kept. Real ones have 8 or 16.
const MAX_ID: usize = 16;

/// The OTLP/JSON of an `ExportTraceServiceRequest`. Fields that the tables do not know are left
/// out.
pub(super) fn to_json(request: &[u8]) -> Result<String, OtlpError> {
    let mut writer = Writer {
        json: String::with_capacity(request.len() * 2),
        limit: MAX_JSON,
    };
    writer.message(request, &REQUEST, 0)?;
    Ok(writer.json)
}

struct Writer {
    json: String,
    /// Bytes of it.
    limit: usize,
}

impl From<MalformedProtobuf> for OtlpError {
    fn from(_: MalformedProtobuf) -> OtlpError {
        OtlpError::Protobuf
    }
}

impl Writer {
    fn message(
        &mut self,
        bytes: &[u8],
        fields: &[SchemaField],
        level: usize,
    ) -> Result<(), OtlpError> {
        if self.json.len() > self.limit {
            return Err(OtlpError::TooLarge);
        }
        self.json.push('{');
        let start = self.json.len();
        for field in fields {
            self.field(bytes, field, level, start)?;
        }
        self.json.push('}');
        Ok(())
    }

    /// Writes what a message says of one field, in the object that began at `start`.
    fn field(
        &mut self,
        message: &[u8],
        field: &SchemaField,
        level: usize,
        start: usize,
    ) -> Result<(), OtlpError> {
        let mut values = Fields(message);
        let mut list = false;
        // Of a field that is not repeated the last value counts.
        let mut last = None;
        while let Some((number, value)) = values.next()? {
            match (field.form, value) {
                _ if number != field.number => {}
                (FieldForm::List(fields), FieldValue::Bytes(item)) if level < MAX_LEVELS => {
                    if list {
                        self.json.push(',');
                    } else {
                        self.key(field.name, start);
                        self.json.push('[');
                        list = true;
                    }
                    self.message(item, fields, level + 1)?;
                }
                _ => last = Some(value),
            }
        }
        let before = self.json.len();
        match (field.form, last) {
            _ if list => self.json.push(']'),
            (_, None) => {}
            (FieldForm::Message(fields), Some(FieldValue::Bytes(bytes))) if level < MAX_LEVELS => {
                self.key(field.name, start);
                self.message(bytes, fields, level + 1)?;
            }
            (form, Some(value)) => {
                self.key(field.name, start);
                if !scalar(form, value, &mut self.json) {
                    self.json.truncate(before);
                }
            }
        }
        Ok(())
    }

    /// The name of a field, after a comma when it is not the first of its object.
    fn key(&mut self, name: &'static str, start: usize) {
        if self.json.len() > start {
            self.json.push(',');
        }
        quote(name, &mut self.json);
        self.json.push(':');
    }
}

/// Writes a value; `false` when it is not of the type it should have.
fn scalar(form: FieldForm, value: FieldValue<'_>, out: &mut String) -> bool {
    match (form, value) {
        (FieldForm::Text, FieldValue::Bytes(bytes)) => quote(&String::from_utf8_lossy(bytes), out),
        (FieldForm::Id, FieldValue::Bytes(bytes)) => {
            quote(&hex::encode(&bytes[..bytes.len().min(MAX_ID)]), out);
        }
        (FieldForm::Base64, FieldValue::Bytes(bytes)) => quote(&encode_base64(bytes), out),
        (FieldForm::Flag, FieldValue::Number(n)) => {
            out.push_str(if n == 0 { "false" } else { "true" })
        }
        (FieldForm::Number, FieldValue::Number(n)) => out.push_str(&(n as u32).to_string()),
        (FieldForm::Unsigned64, FieldValue::Number(n)) => quote(&n.to_string(), out),
        (FieldForm::Signed64, FieldValue::Number(n)) => quote(&(n as i64).to_string(), out),
        (FieldForm::Double, FieldValue::Number(bits)) => double(f64::from_bits(bits), out),
        _ => return false,
    }
    true
}

/// A double: in JSON of protobuf, what is no number is a string.
fn double(value: f64, out: &mut String) {
    match (value.classify(), serde_json::Number::from_f64(value)) {
        (_, Some(number)) => out.push_str(&number.to_string()),
        (FpCategory::Infinite, None) if value < 0.0 => out.push_str("\"-Infinity\""),
        (FpCategory::Infinite, None) => out.push_str("\"Infinity\""),
        (_, None) => out.push_str("\"NaN\""),
    }
}

#[cfg(test)]
pub(in crate::view) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A field that holds bytes: text or a message.
    pub(in crate::view) fn bytes(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
        let content = content.as_ref();
        let mut field = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            field.push(length as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend(content);
        field
    }

    /// A field of eight bytes.
    pub(in crate::view) fn fixed64(number: u8, value: u64) -> Vec<u8> {
        [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
    }

    fn attribute(key: &str, value: Vec<u8>) -> Vec<u8> {
        [bytes(1, key), bytes(2, value)].concat()
    }

    #[test]
    fn every_field_has_its_name_and_form() {
        let double = |value: f64| fixed64(4, value.to_bits());
        let values = [
            ("text", bytes(1, "a\"b\u{1b}")),
            ("flag", vec![2 << 3, 1]),
            ("int", [&[3 << 3][..], &[0xff; 9], &[1]].concat()),
            ("double", double(0.25)),
            ("nan", double(f64::NAN)),
            ("down", double(f64::NEG_INFINITY)),
            (
                "list",
                bytes(5, [bytes(1, bytes(1, "x")), bytes(1, [2 << 3, 0])].concat()),
            ),
            ("map", bytes(6, bytes(1, attribute("k", bytes(1, "v"))))),
            ("bytes", bytes(7, [0xfb, 0xff])),
            ("nothing", vec![]),
        ];
        let attributes = values.map(|(key, value)| bytes(9, attribute(key, value)));
        let event = [fixed64(1, 7), bytes(2, "exception"), vec![4 << 3, 2]].concat();
        let link = [
            bytes(1, [1; 16]),
            bytes(2, [2; 8]),
            vec![6 << 3 | 5, 1, 0, 0, 0],
        ]
        .concat();
        let span = [
            bytes(1, [0xab; 16]),
            bytes(2, [0xcd; 8]),
            bytes(4, []),
            bytes(5, "first"),
            bytes(5, [b'n', 0xff]),
            vec![6 << 3, 2],
            fixed64(7, 1_700_000_000_000_000_001),
            attributes.concat(),
            bytes(11, event),
            bytes(13, link),
            bytes(15, [bytes(2, "no"), vec![3 << 3, 2]].concat()),
            // Fields of another type than they should have, and unknown ones.
            vec![3 << 3, 1],
            vec![9 << 3, 1],
            bytes(10, "x"),
            bytes(14, "x"),
        ];
        let scope = bytes(1, bytes(1, "lib"));
        let spans = [bytes(2, span.concat()), bytes(2, [])].concat();
        let resource = bytes(1, bytes(1, attribute("service.name", bytes(1, "cart"))));
        let request = bytes(1, [resource, bytes(2, [scope, spans].concat())].concat());
        let json = to_json(&request).unwrap();
        let expected = concat!(
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},"#,
            r#""scopeSpans":[{"scope":{"name":"lib"},"spans":[{"#,
            r#""traceId":"abababababababababababababababab","spanId":"cdcdcdcdcdcdcdcd","parentSpanId":"","#,
            "\"name\":\"n\u{fffd}\",\"kind\":2,\"startTimeUnixNano\":\"1700000000000000001\",",
            r#""attributes":[{"key":"text","value":{"stringValue":"a\"b\u001b"}},"#,
            r#"{"key":"flag","value":{"boolValue":true}},{"key":"int","value":{"intValue":"-1"}},"#,
            r#"{"key":"double","value":{"doubleValue":0.25}},{"key":"nan","value":{"doubleValue":"NaN"}},"#,
            r#"{"key":"down","value":{"doubleValue":"-Infinity"}},"#,
            r#"{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"x"},{"boolValue":false}]}}},"#,
            r#"{"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"v"}}]}}},"#,
            r#"{"key":"bytes","value":{"bytesValue":"+/8="}},{"key":"nothing","value":{}}],"#,
            r#""events":[{"timeUnixNano":"7","name":"exception","droppedAttributesCount":2}],"#,
            r#""links":[{"traceId":"01010101010101010101010101010101","spanId":"0202020202020202","flags":1}],"#,
            r#""status":{"message":"no","code":2}},{}]}]}]}"#,
        );
        assert_eq!(json, expected);
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
    }

    #[test]
    fn deep_values_are_left_out() {
        let mut value = bytes(1, "deepest");
        for _ in 0..1_000 {
            value = bytes(5, bytes(1, value));
        }
        let span = bytes(9, attribute("deep", value));
        let request = bytes(1, bytes(2, bytes(2, span)));
        let json = to_json(&request).unwrap();
        assert!(!json.contains("deepest"));
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
    }

    #[test]
    fn the_json_of_a_request_is_bounded() {
        let request = bytes(1, bytes(2, bytes(2, []).repeat(100)));
        let within = |limit| {
            let json = String::new();
            Writer { json, limit }.message(&request, &REQUEST, 0)
        };
        assert_eq!(within(400), Ok(()));
        assert_eq!(within(300), Err(OtlpError::TooLarge));
    }

    proptest! {
        #[test]
        fn any_bytes_are_json_or_refused(
            request in proptest::collection::vec(prop_oneof![0u8..20, any::<u8>()], 0..200),
        ) {
            if let Ok(json) = to_json(&request) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
            }
        }
    }
}
