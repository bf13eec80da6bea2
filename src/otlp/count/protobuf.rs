//! Spans in protobuf: the field 1 of the request holds `ResourceSpans`, the field 2 of which holds
//! `ScopeSpans`, the field 2 of which is a span (trace_service.proto and trace.proto in
//! open-telemetry/opentelemetry-proto). The content of a span is not read.

use std::io::BufRead;

use super::NotOtlp;

/// The fields on the way to the spans, each in the message before it.
const PATH: [u64; 3] = [1, 2, 2];

/// The spans of a request.
pub(in crate::otlp) fn spans(source: &mut impl BufRead) -> Result<usize, NotOtlp> {
    let mut counter = SpanCounter::new();
    loop {
        let piece = source.fill_buf().map_err(|_| NotOtlp)?;
        if piece.is_empty() {
            return counter.finish();
        }
        counter.feed(piece)?;
        let length = piece.len();
        source.consume(length);
    }
}

/// Counts the spans of a request that comes in pieces. It looks only at tags and lengths.
struct SpanCounter {
    /// The bytes of all pieces so far.
    received: u64,
    /// The position of the next byte to look at, which may be behind what has come.
    position: u64,
    /// Where the open messages end. That of the request is not known.
    ends: [u64; PATH.len()],
    /// The number of messages that are open inside of the request.
    depth: usize,
    /// The part of a varint that was read, and its bits.
    value: u64,
    bits: u32,
    varint: Varint,
    spans: usize,
}

/// What a varint stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Varint {
    /// The number and the type of a field.
    Tag,
    /// The content of a field.
    Value,
    /// The length of the field with this number.
    Length(u64),
}

impl SpanCounter {
    fn new() -> Self {
        SpanCounter {
            received: 0,
            position: 0,
            ends: [u64::MAX; PATH.len()],
            depth: 0,
            value: 0,
            bits: 0,
            varint: Varint::Tag,
            spans: 0,
        }
    }

    fn feed(&mut self, piece: &[u8]) -> Result<(), NotOtlp> {
        let start = self.received;
        self.received += piece.len() as u64;
        // What is behind the piece is behind it on a machine of 32 bits, too.
        let at = |position: u64| usize::try_from(position - start).ok();
        while let Some(byte) = at(self.position).and_then(|at| piece.get(at)) {
            self.position += 1;
            self.value |= u64::from(byte & 0x7f) << self.bits;
            if *byte < 0x80 {
                let value = std::mem::take(&mut self.value);
                self.bits = 0;
                self.read(value)?;
                continue;
            }
            self.bits += 7;
            if self.bits > 63 {
                return Err(NotOtlp);
            }
        }
        Ok(())
    }

    /// A varint was read.
    fn read(&mut self, value: u64) -> Result<(), NotOtlp> {
        if self.position > self.ends[self.depth] {
            return Err(NotOtlp);
        }
        self.varint = match self.varint {
            Varint::Tag => match value & 7 {
                0 => Varint::Value,
                1 => self.skip(8)?,
                2 => Varint::Length(value >> 3),
                5 => self.skip(4)?,
                _ => return Err(NotOtlp),
            },
            Varint::Value => Varint::Tag,
            Varint::Length(number) if number != PATH[self.depth] => self.skip(value)?,
            Varint::Length(_) if self.depth + 1 < PATH.len() => {
                let end = self.end_of(value)?;
                self.depth += 1;
                self.ends[self.depth] = end;
                Varint::Tag
            }
            Varint::Length(_) => {
                self.spans += 1;
                self.skip(value)?
            }
        };
        while self.varint == Varint::Tag && self.depth > 0 && self.position == self.ends[self.depth]
        {
            self.depth -= 1;
        }
        Ok(())
    }

    /// Skips bytes of the open message. Behind them is a tag.
    fn skip(&mut self, bytes: u64) -> Result<Varint, NotOtlp> {
        self.position = self.end_of(bytes)?;
        Ok(Varint::Tag)
    }

    /// Where the next so many bytes end.
    fn end_of(&self, bytes: u64) -> Result<u64, NotOtlp> {
        let end = self.position.checked_add(bytes);
        end.filter(|end| *end <= self.ends[self.depth])
            .ok_or(NotOtlp)
    }

    /// The end of the request.
    fn finish(self) -> Result<usize, NotOtlp> {
        let is_whole = self.position == self.received
            && self.varint == Varint::Tag
            && self.bits == 0
            && self.depth == 0;
        is_whole.then_some(self.spans).ok_or(NotOtlp)
    }
}
