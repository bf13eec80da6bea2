//! The subject and the issuer of a certificate, for error messages. Pure.
//!
//! Only the two names are read. Nothing is decided by them.

/// Longer names are cut.
const LONGEST: usize = 80;

/// The names in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The subject, such as `CN=localhost`.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
}

const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// The attributes that identify the subject for a person, the best first: common name,
/// organisational unit, organisation.
const ATTRIBUTES: [(&str, [u8; 3]); 3] = [
    ("CN", [0x55, 4, 3]),
    ("OU", [0x55, 4, 11]),
    ("O", [0x55, 4, 10]),
];

/// Reads the names in a certificate in DER; `None` when it is not one.
pub fn names(der: &[u8]) -> Option<Names> {
    let (certificate, _) = value(der, SEQUENCE)?;
    let (mut body, _) = value(certificate, SEQUENCE)?;
    if let Some((_, rest)) = value(body, VERSION) {
        body = rest;
    }
    let (_serial, rest) = value(body, INTEGER)?;
    let (_algorithm, rest) = value(rest, SEQUENCE)?;
    let (issuer, rest) = value(rest, SEQUENCE)?;
    let (_validity, rest) = value(rest, SEQUENCE)?;
    let (subject, _) = value(rest, SEQUENCE)?;
    Some(Names {
        subject: name(subject),
        issuer: name(issuer),
    })
}

/// A distinguished name as a person would shorten it: `CN=Example Root CA`.
fn name(mut relative_names: &[u8]) -> String {
    let mut best: Option<(usize, String)> = None;
    while let Some((set, rest)) = value(relative_names, SET) {
        relative_names = rest;
        let Some((rank, text)) = attribute(set) else {
            continue;
        };
        if best.as_ref().is_none_or(|(known, _)| rank < *known) {
            best = Some((rank, format!("{}={text}", ATTRIBUTES[rank].0)));
        }
    }
    best.map_or_else(|| "an unnamed subject".to_owned(), |(_, text)| text)
}

/// Which of the [`ATTRIBUTES`] it is, and its text.
fn attribute(set: &[u8]) -> Option<(usize, String)> {
    let (pair, _) = value(set, SEQUENCE)?;
    let (id, rest) = value(pair, OBJECT_ID)?;
    let rank = ATTRIBUTES.iter().position(|(_, known)| known == id)?;
    let (tag, bytes, _) = any(rest)?;
    let text = match tag {
        BMP_STRING => char::decode_utf16(
            bytes
                .chunks_exact(2)
                .map(|b| u16::from_be_bytes([b[0], b[1]])),
        )
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect(),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    let shown = text.chars().filter(|c| !c.is_control()).take(LONGEST);
    Some((rank, shown.collect()))
}

/// The content of the element at the beginning of `der` if it has this tag, and what follows it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(der)?;
    (found == tag).then_some((content, rest))
}

fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = match short {
        ..=0x7f => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::string::BmpString;
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    fn certificate(attributes: &[(DnType, DnValue)]) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_best_name_is_shown() {
        let text = |text: &str| DnValue::Utf8String(text.to_owned());
        let long = "x".repeat(200);
        for (attributes, expected) in [
            (
                vec![
                    (DnType::OrganizationName, text("Example")),
                    (DnType::CommonName, text("Root é")),
                ],
                "CN=Root é".to_owned(),
            ),
            (
                vec![(DnType::OrganizationName, text("Example\n\u{1b}[31m"))],
                "O=Example[31m".to_owned(),
            ),
            (
                vec![(
                    DnType::CommonName,
                    DnValue::BmpString(BmpString::try_from("Wörks").unwrap()),
                )],
                "CN=Wörks".to_owned(),
            ),
            (
                vec![(DnType::CommonName, text(&long))],
                format!("CN={}", &long[..LONGEST]),
            ),
            (
                vec![(DnType::CountryName, text("NL"))],
                "an unnamed subject".to_owned(),
            ),
        ] {
            let found = names(&certificate(&attributes)).unwrap();
            assert_eq!(found.subject, expected);
            assert_eq!(found.issuer, expected);
        }
    }

    #[test]
    fn a_certificate_that_is_cut_short_has_no_names_and_does_no_harm() {
        let der = certificate(&[]);
        for length in 0..der.len() {
            assert_eq!(names(&der[..length]), None, "{length}");
        }
        assert!(names(&der).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>, at in 0usize..400, byte: u8) {
            names(&bytes);
            let mut der = certificate(&[]);
            let at = at % der.len();
            der[at] = byte;
            names(&der);
        }
    }
}
