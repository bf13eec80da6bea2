//! The answer to an HTTP/2 client, as HTTP/2 frames, because it cannot read an HTTP/1.1 answer.

/// How a connection of HTTP/2 begins (RFC 9113, 3.4), up to the byte at which HTTP/1 ends.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2";

/// `HTTP_1_1_REQUIRED` (RFC 9113, 7).
const HTTP_1_1_REQUIRED: u32 = 0xd;

/// Frame types (RFC 9113, 6).
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;

/// Empty settings, then the end of the connection with `hint` as its debug data, which clients of
/// gRPC show in their error.
#[must_use]
pub(crate) fn go_away(hint: &str) -> Vec<u8> {
    // No stream was processed; the hint is a constant far below the 16 KiB of a frame.
    let mut payload = 0u32.to_be_bytes().to_vec();
    payload.extend_from_slice(&HTTP_1_1_REQUIRED.to_be_bytes());
    payload.extend_from_slice(hint.as_bytes());
    let mut frames = frame(SETTINGS, &[]);
    frames.extend(frame(GOAWAY, &payload));
    frames
}

/// A frame without flags on stream 0.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default();
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_are_those_of_the_standard() {
        let expected: &[u8] = &[
            0, 0, 0, 4, 0, 0, 0, 0, 0, // SETTINGS
            0, 0, 10, 7, 0, 0, 0, 0, 0, // GOAWAY
            0, 0, 0, 0, // last stream
            0, 0, 0, 0xd, // HTTP_1_1_REQUIRED
            b'h', b'i',
        ];
        assert_eq!(go_away("hi"), expected);
    }
}
