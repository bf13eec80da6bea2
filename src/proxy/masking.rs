//! Masks a secret in a stream, however it is escaped and wherever the reads split it. The length
//! stays the same, because `Content-Length` has been sent already.
//!
//! AWS answers a signature that it refuses with the request as it read it, session token included.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use super::escaped_character::first_character;

/// Bytes read at once.
const PIECE: usize = 4 * 1024;

/// This much of the beginning of a secret is masked too: an answer may show a secret that is cut.
/// All session tokens begin with the same characters, fewer than these.
const MIN_PART: usize = 32;

/// One secret, prepared for the search (Knuth, Morris and Pratt).
struct Pattern {
    secret: Vec<u8>,
    /// Of the first `n` characters: how many of the last are the first ones again.
    borders: Vec<usize>,
}

/// The search for one secret in a stream.
#[derive(Clone)]
struct SecretSearch {
    pattern: Arc<Pattern>,
    /// How many of the secret's first characters were the last ones of the stream.
    matched: usize,
    /// The bytes of these characters in the stream.
    held: VecDeque<u8>,
    /// The number of bytes of each of them.
    lengths: VecDeque<usize>,
    /// The beginning of an incomplete escape.
    unread: Vec<u8>,
}

/// Masks some secrets.
#[derive(Clone)]
pub(super) struct Mask {
    searches: Vec<SecretSearch>,
}

/// A reader in which the secrets are masked.
struct Masked<R> {
    inner: R,
    mask: Mask,
    ready: VecDeque<u8>,
    ended: bool,
}

impl Mask {
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let secrets = secrets.into_iter().filter(|secret| !secret.is_empty());
        Mask {
            searches: secrets.map(SecretSearch::new).collect(),
        }
    }

    /// Masks a complete text.
    pub(super) fn text(&self, text: &[u8]) -> Vec<u8> {
        let mut mask = self.clone();
        let mut masked = mask.feed(text);
        masked.extend(mask.finish());
        masked
    }

    /// A stream.
    pub(super) fn reader(self, inner: impl Read + Send + 'static) -> Box<dyn Read + Send> {
        Box::new(Masked {
            inner,
            mask: self,
            ready: VecDeque::new(),
            ended: false,
        })
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for search in &mut self.searches {
            bytes = search.feed(&bytes);
        }
        bytes
    }

    fn finish(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        for search in &mut self.searches {
            rest = search.feed(&rest);
            search.finish(&mut rest);
        }
        rest
    }
}

impl<R: Read> Read for Masked<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut piece = [0; PIECE];
        while self.ready.is_empty() && !self.ended {
            let n = self.inner.read(&mut piece)?;
            let masked = match n {
                0 => self.mask.finish(),
                n => self.mask.feed(&piece[..n]),
            };
            self.ended = n == 0;
            self.ready.extend(masked);
        }
        self.ready.read(out)
    }
}

impl SecretSearch {
    fn new(secret: &str) -> Self {
        // As the stream is read, so that a secret with a percent sign is found as well.
        let mut secret = secret.as_bytes();
        let mut characters = Vec::new();
        while let Some((character, length)) = first_character(secret, true) {
            characters.push(character);
            secret = &secret[length..];
        }
        SecretSearch {
            pattern: Arc::new(Pattern::new(characters)),
            matched: 0,
            held: VecDeque::new(),
            lengths: VecDeque::new(),
            unread: Vec::new(),
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        self.unread = self.advance(&unread, false, &mut out).to_vec();
        out
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let unread = std::mem::take(&mut self.unread);
        self.advance(&unread, true, out);
        self.release(self.matched, out);
    }

    /// Reads the characters at the front of `input`. Returns the rest.
    fn advance<'a>(&mut self, mut input: &'a [u8], ended: bool, out: &mut Vec<u8>) -> &'a [u8] {
        loop {
            if self.matched == 0 {
                let (plain, rest) = input.split_at(self.plain(input));
                out.extend_from_slice(plain);
                input = rest;
            }
            let Some((character, length)) = first_character(input, ended) else {
                return input;
            };
            let (written, rest) = input.split_at(length);
            self.character(character, written, out);
            input = rest;
        }
    }

    /// How many bytes at the front of `input` can neither begin the secret nor an escape.
    fn plain(&self, input: &[u8]) -> usize {
        let first = self.pattern.secret[0];
        let is_plain = |&byte: &u8| byte != first && !matches!(byte, b'\\' | b'%' | b'&');
        input
            .iter()
            .position(|byte| !is_plain(byte))
            .unwrap_or(input.len())
    }

    fn character(&mut self, character: u8, written: &[u8], out: &mut Vec<u8>) {
        while self.matched > 0 && self.pattern.secret[self.matched] != character {
            self.release(self.matched - self.pattern.borders[self.matched], out);
        }
        if self.pattern.secret[self.matched] != character {
            out.extend_from_slice(written);
            return;
        }
        self.matched += 1;
        self.held.extend(written);
        self.lengths.push_back(written.len());
        if self.matched == self.pattern.secret.len() {
            self.release(self.matched, out);
        }
    }

    /// Releases the first `characters` of those that match. They are masked if they are the secret,
    /// or its beginning of at least [`MIN_PART`].
    fn release(&mut self, characters: usize, out: &mut Vec<u8>) {
        let is_secret = self.matched == self.pattern.secret.len() || self.matched >= MIN_PART;
        let length: usize = self.lengths.drain(..characters).sum();
        let released = self.held.drain(..length);
        out.extend(released.map(|byte| if is_secret { b'*' } else { byte }));
        self.matched -= characters;
    }
}

impl Pattern {
    fn new(secret: Vec<u8>) -> Self {
        let mut borders = vec![0; secret.len() + 1];
        let mut border = 0;
        for at in 1..secret.len() {
            while border > 0 && secret[border] != secret[at] {
                border = borders[border];
            }
            border += usize::from(secret[border] == secret[at]);
            borders[at + 1] = border;
        }
        Pattern { secret, borders }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKEN: &str = "IQoJb3JpZ2luX2VjEA/+abc==defghij/klmnopqrstuvwxyz0123456789ABCD+EF==";

    fn masked(secret: &str, text: &str) -> String {
        String::from_utf8(Mask::new([secret]).text(text.as_bytes())).unwrap()
    }

    #[test]
    fn a_secret_is_masked_however_it_is_written() {
        let unicode: String = TOKEN
            .chars()
            .map(|c| format!("\\u{:04x}", c as u32))
            .collect();
        for written in [
            TOKEN.to_owned(),
            TOKEN.replace('/', "\\/"),
            TOKEN.replace('/', "\\\\\\/"),
            TOKEN.replace('/', "\\u002F").replace('=', "\\u003d"),
            TOKEN.replace('+', "\\\\u002b"),
            TOKEN.replace('/', "%2F").replace('+', "%2b"),
            TOKEN.replace('=', "%25253D"),
            TOKEN.replace('+', "&#43;").replace('/', "&#x2F;"),
            unicode,
        ] {
            let text = format!("{{\"message\":\"was {written} here\"}}");
            let expected = format!("{{\"message\":\"was {} here\"}}", "*".repeat(written.len()));
            assert_eq!(masked(TOKEN, &text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "",
            "plain",
            // The beginning that all tokens share.
            "IQoJb3JpZ2luX2VjE... and more",
            "\\ \\\\ \\n \\u12 \\u00zz % %2 %zz %25 & &# &#x &#; &#x; &amp; &#9999999999; \\",
            "é\u{202e}漢字",
        ] {
            assert_eq!(masked(TOKEN, text), text);
        }
        assert_eq!(Mask::new([""]).text(b"as it was"), b"as it was");
    }

    #[test]
    fn a_secret_that_is_cut_is_masked_as_far_as_it_goes() {
        for (length, is_masked) in [
            (MIN_PART - 1, false),
            (MIN_PART, true),
            (TOKEN.len() - 1, true),
        ] {
            let part = &TOKEN[..length];
            for text in [part.to_owned(), format!("{part}… (cut)")] {
                assert_eq!(!masked(TOKEN, &text).contains(part), is_masked, "{text}");
            }
        }
    }

    #[test]
    fn odd_secrets_are_found() {
        for secret in ["a", "aaab", "100%2F/x", "a\\u0041&#65;", "\\", "%", "&"] {
            let text = format!("aaa{secret}aab {secret}{secret}");
            let masked = masked(secret, &text);
            assert_eq!(masked.len(), text.len());
            assert!(
                masked.ends_with(&"*".repeat(2 * secret.len())),
                "{secret}: {masked}"
            );
        }
    }

    #[test]
    fn two_secrets_are_masked_each() {
        let mask = Mask::new(["token", "signature"]);
        assert_eq!(
            mask.text(b"a token, a signature."),
            b"a *****, a *********."
        );
    }

    #[test]
    fn an_error_comes_through() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
        let mut reader = Mask::new(["x"]).reader(b"some".chain(Broken));
        assert_eq!(reader.read(&mut [0; 9]).unwrap(), 4);
        assert!(reader.read(&mut [0; 9]).is_err());
    }

    proptest! {
        #[test]
        fn the_cuts_change_nothing_and_the_secret_never_shows(
            before in "[ab/\\\\u0%&#;4x]{0,40}",
            after in "[ab/\\\\u0%&#;4x]{0,40}",
            secret in "[ab/+]{3,12}",
            escaped in 0usize..5,
            cuts in prop::collection::vec(1usize..9, 1..20),
        ) {
            let written = match escaped {
                0 => secret.clone(),
                1 => secret.replace('/', "\\/"),
                2 => secret.replace('+', "%2B"),
                3 => secret.chars().map(|c| format!("\\u{:04X}", c as u32)).collect(),
                _ => secret.replace('/', "&#x2f;"),
            };
            let text = format!("{before} {written} {after}");
            let mask = Mask::new([secret.as_str()]);
            let whole = mask.text(text.as_bytes());
            prop_assert_eq!(whole.len(), text.len());

            let mut pieces = mask;
            let (mut rest, mut cut) = (text.as_bytes(), Vec::new());
            for size in cuts.iter().cycle() {
                let (piece, tail) = rest.split_at((*size).min(rest.len()));
                cut.extend(pieces.feed(piece));
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            cut.extend(pieces.finish());
            prop_assert_eq!(&cut, &whole);

            let shown = String::from_utf8(whole).unwrap();
            prop_assert!(!shown.contains(&format!(" {written} ")), "{}", shown);
        }
    }
}
