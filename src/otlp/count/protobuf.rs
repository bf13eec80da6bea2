//! Spans in protobuf: the field 1 of the request holds `ResourceSpans`, the field 2 of which holds
//! `ScopeSpans`, the field 2 of which is a span (trace_service.proto and trace.proto in
//! open-telemetry/opentelemetry-proto). The content of a span is not read.

use std::io::BufRead;

use super::NotOtlp;

/// Fields on the way to a span.
const RESOURCE_SPANS: u64 = 1;
const SCOPE_SPANS: u64 = 2;
const SPAN: u64 = 2;

/// The spans of a request.
pub(in crate::otlp) fn spans(source: &mut impl BufRead) -> Result<usize, NotOtlp> {
    let mut count = 0;
    let mut request = OpenMessage {
        source,
        left: u64::MAX,
        is_whole: true,
    };
    while let Some(length) = request.next(RESOURCE_SPANS)? {
        let mut resource_spans = request.inner(length)?;
        while let Some(length) = resource_spans.next(SCOPE_SPANS)? {
            let mut scope_spans = resource_spans.inner(length)?;
            while let Some(length) = scope_spans.next(SPAN)? {
                scope_spans.skip(length)?;
                count += 1;
            }
        }
    }
    Ok(count)
}

/// A message that is being read.
struct OpenMessage<'a, R> {
    source: &'a mut R,
    /// Bytes of it that were not read yet. For the whole request the number is not known.
    left: u64,
    is_whole: bool,
}

impl<R: BufRead> OpenMessage<'_, R> {
    /// Reads on to the next field with this number that holds bytes: their length. `None` at the end
    /// of the message.
    fn next(&mut self, number: u64) -> Result<Option<u64>, NotOtlp> {
        while !self.is_over()? {
            let tag = self.varint()?;
            match tag & 7 {
                0 => drop(self.varint()?),
                1 => self.skip(8)?,
                2 => {
                    let length = self.varint()?;
                    if tag >> 3 == number {
                        return Ok(Some(length));
                    }
                    self.skip(length)?;
                }
                5 => self.skip(4)?,
                _ => return Err(NotOtlp),
            }
        }
        Ok(None)
    }

    /// The message in the next bytes. It must be read to its end.
    fn inner(&mut self, length: u64) -> Result<OpenMessage<'_, R>, NotOtlp> {
        self.left = self.left.checked_sub(length).ok_or(NotOtlp)?;
        Ok(OpenMessage {
            source: &mut *self.source,
            left: length,
            is_whole: false,
        })
    }

    fn is_over(&mut self) -> Result<bool, NotOtlp> {
        match self.is_whole {
            true => Ok(self.source.fill_buf().map_err(|_| NotOtlp)?.is_empty()),
            false => Ok(self.left == 0),
        }
    }

    fn skip(&mut self, bytes: u64) -> Result<(), NotOtlp> {
        self.left = self.left.checked_sub(bytes).ok_or(NotOtlp)?;
        let mut missing = bytes;
        while missing > 0 {
            let here = self.source.fill_buf().map_err(|_| NotOtlp)?.len() as u64;
            if here == 0 {
                return Err(NotOtlp);
            }
            let skipped = missing.min(here);
            self.source.consume(skipped as usize);
            missing -= skipped;
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, NotOtlp> {
        let (mut value, mut shift) = (0, 0);
        while shift < 64 {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
        Err(NotOtlp)
    }

    fn byte(&mut self) -> Result<u8, NotOtlp> {
        let here = self.source.fill_buf().map_err(|_| NotOtlp)?;
        let byte = *here.first().ok_or(NotOtlp)?;
        self.source.consume(1);
        self.left = self.left.checked_sub(1).ok_or(NotOtlp)?;
        Ok(byte)
    }
}
