//! Reads a character that may be escaped as in JSON, in a URL or in XML.

/// Longest way to write one character that is understood, in bytes.
const MAX_ESCAPE: usize = 24;

/// The first character of `input`, and how many bytes it is written with. `None` when more bytes
/// are needed to tell; never when the input has `ended`, unless it is empty.
///
/// Read as one character: `\/` and `\u002f` with any number of backslashes, since JSON stands in
/// JSON; `%2F`, `%252F` and so on; `&#47;` and `&#x2f;`. Everything else is its first byte.
pub(super) fn first_character(input: &[u8], ended: bool) -> Option<(u8, usize)> {
    let escape = match *input.first()? {
        b'\\' => backslashed(input),
        b'%' => percent_encoded(input),
        b'&' => entity(input),
        _ => Escape::None,
    };
    match escape {
        Escape::Of(character, length) => Some((character, length)),
        Escape::Unfinished if !ended && input.len() < MAX_ESCAPE => None,
        _ => Some((input[0], 1)),
    }
}

enum Escape {
    /// Of this character, so many bytes long.
    Of(u8, usize),
    /// More bytes would tell.
    Unfinished,
    None,
}

fn backslashed(input: &[u8]) -> Escape {
    let slashes = input.iter().take_while(|&&byte| byte == b'\\').count();
    match input.get(slashes) {
        None => Escape::Unfinished,
        Some(b'/') => Escape::Of(b'/', slashes + 1),
        Some(b'u') => hexadecimal(input, slashes + 1, 4),
        Some(_) => Escape::None,
    }
}

fn percent_encoded(input: &[u8]) -> Escape {
    let mut from = 1;
    while input[from..].starts_with(b"25") {
        from += 2;
    }
    hexadecimal(input, from, 2)
}

fn hexadecimal(input: &[u8], from: usize, digits: usize) -> Escape {
    let end = input.len().min(from + digits);
    let found = &input[from..end];
    if !found.iter().all(u8::is_ascii_hexdigit) {
        Escape::None
    } else if found.len() < digits {
        Escape::Unfinished
    } else {
        ascii(found, 16, end)
    }
}

fn entity(input: &[u8]) -> Escape {
    let (from, radix) = match input {
        [_] | [_, b'#'] => return Escape::Unfinished,
        [_, b'#', b'x' | b'X', ..] => (3, 16),
        [_, b'#', ..] => (2, 10),
        _ => return Escape::None,
    };
    let rest = &input[from..];
    let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
    let digits = rest.iter().take_while(is_digit).count();
    match rest.get(digits) {
        None => Escape::Unfinished,
        Some(b';') => ascii(&rest[..digits], radix, from + digits + 1),
        Some(_) => Escape::None,
    }
}

/// The ASCII character with this number, written with `length` bytes.
fn ascii(digits: &[u8], radix: u32, length: usize) -> Escape {
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    match u8::from_str_radix(digits, radix) {
        Ok(character) if character.is_ascii() => Escape::Of(character, length),
        _ => Escape::None,
    }
}
