//! Text as it stands inside a JSON string, eight bytes at a time.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

/// Bytes looked at together.
const WORD: usize = 8;

/// Text escaped in one go: what it may become is reserved, so this bounds that.
const PIECE: usize = 1024;

/// What a word may become without control characters, and the word that is written past its end.
const WINDOW: usize = 3 * WORD;

/// What each control character of a word takes above that.
const CONTROL: usize = r"\u001f".len() - r#"\""#.len();

const HEX: &[u8; 16] = b"0123456789abcdef";

/// What has been written.
pub struct Escaped {
    /// Where it ends.
    pub end: usize,
    /// Whether all of the text was ASCII.
    pub is_ascii: bool,
}

/// Writes `text`, escaped, at `to` in `memory`, which grows if necessary.
pub fn escape(text: &[u8], memory: &mut Vec<u8>, mut to: usize) -> Escaped {
    let mut all = 0;
    for piece in text.chunks(PIECE) {
        let (words, tail) = piece.as_chunks::<WORD>();
        let mut out = room(memory, to, piece.len());
        for (i, word) in words.iter().enumerate() {
            let bits = u64::from_le_bytes(*word);
            all |= bits;
            to = if has_control(bits) {
                out = room(memory, to + WORD * CONTROL, piece.len() - i * WORD);
                escape_control(word, to, out)
            } else {
                escape_word(bits, to, out)
            };
        }
        if !tail.is_empty() {
            // The word is padded with characters that need no escape, and the padding is cut off.
            let mut word = [b' '; WORD];
            word[..tail.len()].copy_from_slice(tail);
            all |= u64::from_le_bytes(word);
            out = room(memory, to + WORD * CONTROL, tail.len());
            to = escape_control(&word, to, out) - (WORD - tail.len());
        }
    }
    Escaped {
        end: to,
        is_ascii: all & HIGH == 0,
    }
}

/// `memory`, in which `length` bytes can be written at `to`, escaped, if none is a control character.
fn room(memory: &mut Vec<u8>, to: usize, length: usize) -> &mut [u8] {
    let end = to + 2 * length + WINDOW;
    if memory.len() < end {
        memory.resize(end, 0);
    }
    memory
}

/// Writes the eight bytes, none of them a control character, at `to`; answers where they end.
fn escape_word(bits: u64, to: usize, out: &mut [u8]) -> usize {
    let window = &mut out[to..to + WINDOW];
    window[..WORD].copy_from_slice(&bits.to_le_bytes());
    let mut marks = to_escape(bits);
    let mut added = 0;
    loop {
        // Without any quote or backslash this is 8, and the bytes that are written then lie behind
        // the end. So there is no branch on whether the word has one: in a document every eighth
        // byte is a quote, and the branch could not be predicted.
        let at = marks.trailing_zeros() / 8;
        let backslash = at as usize + added;
        window[backslash] = b'\\';
        let rest = bits.wrapping_shr(8 * at).to_le_bytes();
        window[backslash + 1..][..WORD].copy_from_slice(&rest);
        added += usize::from(marks != 0);
        marks &= marks.wrapping_sub(1);
        if marks == 0 {
            return to + WORD + added;
        }
    }
}

/// The same, where control characters are among them.
fn escape_control(word: &[u8; WORD], mut to: usize, out: &mut [u8]) -> usize {
    let mut put = |bytes: &[u8]| {
        out[to..to + bytes.len()].copy_from_slice(bytes);
        to += bytes.len();
    };
    for &byte in word {
        match byte {
            b'"' | b'\\' => put(&[b'\\', byte]),
            b'\n' => put(br"\n"),
            b'\r' => put(br"\r"),
            b'\t' => put(br"\t"),
            ..0x20 => {
                let digit = |four_bits: u8| HEX[usize::from(four_bits)];
                put(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => put(&[byte]),
        }
    }
    to
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

/// Whether one of the eight bytes is below a space.
fn has_control(word: u64) -> bool {
    !(((word & !HIGH) + (0x80 - 0x20) * ONES) | word) & HIGH != 0
}

/// The high bit of each byte that is a quote or a backslash.
fn to_escape(word: u64) -> u64 {
    // No addition overflows into the next byte, so each byte is tested separately.
    let not_zeros = |word: u64| ((word & !HIGH) + !HIGH) | word;
    let (quote, backslash) = (u64::from(b'"'), u64::from(b'\\'));
    !(not_zeros(word ^ (quote * ONES)) & not_zeros(word ^ (backslash * ONES))) & HIGH
}
