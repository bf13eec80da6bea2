//! Counts the spans of a request while it is read once, from its beginning to its end.

pub(super) mod json;
pub(super) mod protobuf;

/// What was read is no `ExportTraceServiceRequest`, or could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotOtlp;
