//! The wire format of protobuf (protobuf.dev/programming-guides/encoding), as far as OTLP needs it.
//! A general decoder would make the binary tens of kilobytes larger.

/// The bytes are not a valid message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MalformedProtobuf;

/// The value of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValue<'a> {
    /// Varint, fixed64 or fixed32.
    Number(u64),
    /// String, bytes or an embedded message.
    Bytes(&'a [u8]),
}

/// Walks the fields of one message.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next field and its number; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, FieldValue<'a>)>, MalformedProtobuf> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => FieldValue::Number(self.varint()?),
            1 => FieldValue::Number(little_endian(self.take(8)?)),
            2 => {
                let length = self.varint()?;
                FieldValue::Bytes(
                    self.take(usize::try_from(length).map_err(|_| MalformedProtobuf)?)?,
                )
            }
            5 => FieldValue::Number(little_endian(self.take(4)?)),
            _ => return Err(MalformedProtobuf),
        };
        Ok(Some((tag >> 3, field)))
    }

    fn varint(&mut self) -> Result<u64, MalformedProtobuf> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(MalformedProtobuf)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], MalformedProtobuf> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(MalformedProtobuf)?;
        self.0 = rest;
        Ok(taken)
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// Appends a field that is a varint.
pub(crate) fn put_number(number: u8, value: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3, out);
    put_varint(value, out);
}

/// Appends a field that holds bytes: text or a message.
pub(crate) fn put_bytes(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Result<Vec<(u64, FieldValue<'_>)>, MalformedProtobuf> {
        let mut fields = Fields(bytes);
        let mut all = Vec::new();
        while let Some(field) = fields.next()? {
            all.push(field);
        }
        Ok(all)
    }

    #[test]
    fn fields_of_every_wire_type() {
        let bytes = b"\x08\x96\x01\x12\x02hi\x19\x01\0\0\0\0\0\0\x80\x25\x02\0\0\0";
        let expected = [
            (1, FieldValue::Number(150)),
            (2, FieldValue::Bytes(b"hi")),
            (3, FieldValue::Number(1 | 1 << 63)),
            (4, FieldValue::Number(2)),
        ];
        assert_eq!(all(bytes).unwrap(), expected);
        for malformed in [&b"\x08"[..], b"\x12\x05hi", b"\x0b", b"\x19\0", &[0xff; 11]] {
            assert_eq!(all(malformed), Err(MalformedProtobuf), "{malformed:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            fields in proptest::collection::vec((1u8.., any::<u64>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..5),
        ) {
            let mut out = Vec::new();
            let mut expected = Vec::new();
            for (number, value, bytes) in &fields {
                put_number(*number, *value, &mut out);
                put_bytes(*number, bytes, &mut out);
                expected.push((u64::from(*number), FieldValue::Number(*value)));
                expected.push((u64::from(*number), FieldValue::Bytes(bytes)));
            }
            prop_assert_eq!(all(&out), Ok(expected));
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // Each field takes at least a byte, so a message has no more fields than bytes.
            if let Ok(fields) = all(&bytes) {
                prop_assert!(fields.len() <= bytes.len());
            }
        }
    }
}
