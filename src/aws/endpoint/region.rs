//! Names of regions, and a suggestion for a misspelt one. Pure.

use crate::config::nearest::nearest;

/// Whether `region` may stand in a host name: one label of letters, digits and inner hyphens.
pub fn is_region(region: &str) -> bool {
    (1..=63).contains(&region.len())
        && region
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !region.starts_with('-')
        && !region.ends_with('-')
}

/// The regions that AWS had when this was written.
const KNOWN: [&str; 49] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "aws-global",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-isoe-west-1",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "me-west-1",
    "mx-central-1",
    "sa-east-1",
    "sa-west-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-iso-west-1",
    "us-isob-east-1",
    "us-isob-west-1",
    "us-isof-east-1",
    "us-isof-south-1",
    "us-west-1",
    "us-west-2",
];

/// The region that `name` was most likely meant to be, where it is none that is known here: the one
/// that an availability zone is in, else the nearest in spelling. A new region has one too, so that
/// this is a hint and no reason to refuse a name.
pub fn hint(name: &str) -> Option<&'static str> {
    if KNOWN.contains(&name) {
        return None;
    }
    let lower = name.trim().to_ascii_lowercase();
    let is_in = |region: &&&str| {
        let zone = lower.strip_prefix(**region);
        zone.is_some_and(|zone| !zone.starts_with(|c: char| c.is_ascii_digit()))
    };
    let found = KNOWN.iter().filter(is_in).max_by_key(|region| region.len());
    let nearest = || nearest(&lower, KNOWN.into_iter());
    found.copied().or_else(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints() {
        for (name, expected) in [
            ("us-east-1", None),
            ("eu-isoe-west-1", None),
            // zones
            ("us-east-1a", Some("us-east-1")),
            ("us-west-2-lax-1a", Some("us-west-2")),
            ("us-gov-west-1b", Some("us-gov-west-1")),
            // spelling
            ("US-EAST-1", Some("us-east-1")),
            ("us-east1", Some("us-east-1")),
            ("useast1", Some("us-east-1")),
            ("us-esat-1", Some("us-east-1")),
            ("us_east_1", Some("us-east-1")),
            ("us-east-1 ", Some("us-east-1")),
            ("eu-wset-3", Some("eu-west-3")),
            // A region that is newer than this list, or a wrong number.
            ("me-central-9", Some("me-central-1")),
            // nothing like a region
            ("virginia", None),
            ("localhost", None),
            ("", None),
            (&"us-east-1".repeat(1000), Some("us-east-1")),
        ] {
            assert_eq!(hint(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_known_can_stand_in_a_host_name() {
        assert!(KNOWN.iter().all(|name| is_region(name)));
        assert!(KNOWN.is_sorted());
    }
}
