//! The messages of OTLP as tables: field numbers and types of `trace.proto`, `common.proto`,
//! `resource.proto` and `trace_service.proto` in open-telemetry/opentelemetry-proto, and the
//! names that its JSON form gives them.

/// One field of a message.
pub(super) struct SchemaField {
    pub(super) number: u64,
    pub(super) name: &'static str,
    pub(super) form: FieldForm,
}

/// How a field is written in JSON.
#[derive(Clone, Copy)]
pub(super) enum FieldForm {
    Text,
    /// Bytes that are an id: hexadecimal, where JSON of protobuf has base64 otherwise.
    Id,
    Base64,
    Flag,
    /// An integer of 32 bits or an enumeration: a number.
    Number,
    /// Of 64 bits: a string, because a JSON number may lose its last digits.
    Unsigned64,
    Signed64,
    Double,
    Message(&'static [SchemaField]),
    /// A repeated message.
    List(&'static [SchemaField]),
}

use FieldForm::{Base64, Double, Flag, Id, List, Message, Number, Signed64, Text, Unsigned64};

const fn field(number: u64, name: &'static str, form: FieldForm) -> SchemaField {
    SchemaField { number, name, form }
}

pub(super) static REQUEST: [SchemaField; 1] = [field(1, "resourceSpans", List(&RESOURCE_SPANS))];

static RESOURCE_SPANS: [SchemaField; 3] = [
    field(1, "resource", Message(&RESOURCE)),
    field(2, "scopeSpans", List(&SCOPE_SPANS)),
    field(3, "schemaUrl", Text),
];

static RESOURCE: [SchemaField; 2] = [
    field(1, "attributes", List(&KEY_VALUE)),
    field(2, "droppedAttributesCount", Number),
];

static SCOPE_SPANS: [SchemaField; 3] = [
    field(1, "scope", Message(&SCOPE)),
    field(2, "spans", List(&SPAN)),
    field(3, "schemaUrl", Text),
];

static SCOPE: [SchemaField; 4] = [
    field(1, "name", Text),
    field(2, "version", Text),
    field(3, "attributes", List(&KEY_VALUE)),
    field(4, "droppedAttributesCount", Number),
];

static SPAN: [SchemaField; 16] = [
    field(1, "traceId", Id),
    field(2, "spanId", Id),
    field(3, "traceState", Text),
    field(4, "parentSpanId", Id),
    field(16, "flags", Number),
    field(5, "name", Text),
    field(6, "kind", Number),
    field(7, "startTimeUnixNano", Unsigned64),
    field(8, "endTimeUnixNano", Unsigned64),
    field(9, "attributes", List(&KEY_VALUE)),
    field(10, "droppedAttributesCount", Number),
    field(11, "events", List(&EVENT)),
    field(12, "droppedEventsCount", Number),
    field(13, "links", List(&LINK)),
    field(14, "droppedLinksCount", Number),
    field(15, "status", Message(&STATUS)),
];

static EVENT: [SchemaField; 4] = [
    field(1, "timeUnixNano", Unsigned64),
    field(2, "name", Text),
    field(3, "attributes", List(&KEY_VALUE)),
    field(4, "droppedAttributesCount", Number),
];

static LINK: [SchemaField; 6] = [
    field(1, "traceId", Id),
    field(2, "spanId", Id),
    field(3, "traceState", Text),
    field(4, "attributes", List(&KEY_VALUE)),
    field(5, "droppedAttributesCount", Number),
    field(6, "flags", Number),
];

static STATUS: [SchemaField; 2] = [field(2, "message", Text), field(3, "code", Number)];

static KEY_VALUE: [SchemaField; 2] = [
    field(1, "key", Text),
    field(2, "value", Message(&ANY_VALUE)),
];

static ANY_VALUE: [SchemaField; 7] = [
    field(1, "stringValue", Text),
    field(2, "boolValue", Flag),
    field(3, "intValue", Signed64),
    field(4, "doubleValue", Double),
    field(5, "arrayValue", Message(&ARRAY)),
    field(6, "kvlistValue", Message(&KEY_VALUES)),
    field(7, "bytesValue", Base64),
];

static ARRAY: [SchemaField; 1] = [field(1, "values", List(&ANY_VALUE))];

static KEY_VALUES: [SchemaField; 1] = [field(1, "values", List(&KEY_VALUE))];
