//! The proof that a request comes from the holder of a session's key: a JSON web token signed with
//! ES256 (RFC 9449, DPoP).

use std::time::{SystemTime, UNIX_EPOCH};

use aws_smithy_types::base64;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

/// The key of a session.
pub struct ProofKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl ProofKey {
    /// Reads a PEM file with an EC private key (RFC 5915), as AWS's tools write it.
    ///
    /// # Errors
    /// What is wrong with it, without quoting it.
    pub fn from_pem(pem: &str) -> Result<Self, &'static str> {
        let lines = pem.lines().map(str::trim);
        let body: String = lines.filter(|line| !line.starts_with("-----")).collect();
        let der = base64::decode(body).map_err(|_| "is not PEM")?;
        let (private, public) = key_parts(&der).ok_or("is not an EC private key")?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            private,
            public,
            &random,
        )
        .map_err(|_| "is not a key of the curve P-256")?;
        Ok(Self { pair, random })
    }

    /// The proof for a POST to `url` at `time`. `None` when the system gives no random numbers.
    pub fn proof(&self, url: &str, time: SystemTime) -> Option<String> {
        let mut id = [0; 16];
        self.random.fill(&mut id).ok()?;
        // An uncompressed point: 4, x, y.
        let (x, y) = self.pair.public_key().as_ref().get(1..)?.split_at(32);
        let header = json!({
            "typ": "dpop+jwt",
            "alg": "ES256",
            "jwk": { "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) },
        });
        let payload = json!({
            "htm": "POST",
            "htu": url,
            "iat": time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            "jti": hex::encode(id),
        });
        let message = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(payload.to_string().as_bytes())
        );
        let signature = self.pair.sign(&self.random, message.as_bytes()).ok()?;
        Some(format!("{message}.{}", encode(signature.as_ref())))
    }
}

/// Base64 for URLs, without padding.
fn encode(bytes: &[u8]) -> String {
    let text = base64::encode(bytes);
    text.trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

/// The private number and the public point in the DER form of RFC 5915:
/// `SEQUENCE { INTEGER 1, OCTET STRING private, [0] curve, [1] { BIT STRING public } }`. The curve
/// may be missing; the point may not, because it would have to be computed.
fn key_parts(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (whole, _) = element(der, 0x30)?;
    let (version, rest) = element(whole, 0x02)?;
    let (private, rest) = element(rest, 0x04)?;
    let rest = match element(rest, 0xa0) {
        Some((_, rest)) => rest,
        None => rest,
    };
    let (public, _) = element(rest, 0xa1)?;
    let (bits, _) = element(public, 0x03)?;
    // The first byte says how many bits of the last one are unused.
    let point = bits.strip_prefix(&[0])?;
    (version == [1]).then_some((private, point))
}

/// The content of the element at the beginning, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // One byte of length more: nothing in such a key is longer.
        0x81 => {
            let (&length, rest) = rest.split_first()?;
            (usize::from(length), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;
    use std::time::Duration;

    /// The key of the SDKs' published cases.
    const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\n\
        MHcCAQEEIPt/u8InPLpQeQLJTvVX+sNDzni8vMDMt3Liu+nMBigfoAoGCCqGSM49\n\
        AwEHoUQDQgAEILkGG7rNOnxiIJlMgimY1UPP8eDMFP0DAY6WGjngP4bvTAiUCQ/I\n\
        ffut2379uP+OBCm2ovGpBOJRgrl1RspUOQ==\n-----END EC PRIVATE KEY-----\n";

    fn decode(text: &str) -> Vec<u8> {
        let mut text = text.replace('-', "+").replace('_', "/");
        while !text.len().is_multiple_of(4) {
            text.push('=');
        }
        base64::decode(text).unwrap()
    }

    #[test]
    fn a_proof_names_the_request_and_is_signed_by_the_key_that_it_carries() {
        let key = ProofKey::from_pem(KEY).unwrap();
        let url = "https://eu-west-1.signin.aws.amazon.com/v1/token";
        let time = UNIX_EPOCH + Duration::from_secs(1_763_510_400);
        let proof = key.proof(url, time).unwrap();
        assert!(!proof.contains(['=', '+', '/']));
        let (message, signature) = proof.rsplit_once('.').unwrap();
        let (header, payload) = message.split_once('.').unwrap();
        let header: Value = serde_json::from_slice(&decode(header)).unwrap();
        let jwk = &header["jwk"];
        assert_eq!(
            header,
            json!({
                "typ": "dpop+jwt",
                "alg": "ES256",
                "jwk": {
                    "kty": "EC",
                    "crv": "P-256",
                    "x": "ILkGG7rNOnxiIJlMgimY1UPP8eDMFP0DAY6WGjngP4Y",
                    "y": "70wIlAkPyH37rdt-_bj_jgQptqLxqQTiUYK5dUbKVDk",
                },
            })
        );
        let payload: Value = serde_json::from_slice(&decode(payload)).unwrap();
        assert_eq!(payload["htm"], "POST");
        assert_eq!(payload["htu"], url);
        assert_eq!(payload["iat"], 1_763_510_400);
        let mut point = vec![4];
        for coordinate in [&jwk["x"], &jwk["y"]] {
            point.extend(decode(coordinate.as_str().unwrap()));
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(message.as_bytes(), &decode(signature))
            .unwrap();
        // Nobody may use it twice.
        let again = key.proof(url, time).unwrap();
        let id = |proof: &str| decode(proof.split('.').nth(1).unwrap());
        assert_ne!(id(&again), id(&proof));
    }

    #[test]
    fn keys_that_are_none() {
        let body = KEY.lines().nth(1).unwrap();
        for (pem, why) in [
            (String::new(), "is not an EC private key"),
            ("invalid_key".to_owned(), "is not PEM"),
            (format!("-----BEGIN\n{body}\n"), "is not an EC private key"),
            (
                KEY.replace("ILkGG7", "ILkGG8"),
                "is not a key of the curve P-256",
            ),
            (KEY.replace("MHcC", "MHcD"), "is not an EC private key"),
        ] {
            let error = ProofKey::from_pem(&pem).err();
            assert_eq!(error, Some(why), "{pem}");
        }
        let lines = KEY.replace('\n', "\r\n  ");
        assert!(ProofKey::from_pem(&lines).is_ok(), "other line ends");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}", der in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ProofKey::from_pem(&text);
            let _ = key_parts(&der);
        }
    }
}
