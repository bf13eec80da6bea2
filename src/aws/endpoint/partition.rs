//! The partitions: families of regions. The rows are those of the SDKs' `partitions.json`.

/// A family of regions with names and credentials of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// `aws`, `aws-cn`, …: the second field of an ARN.
    pub name: &'static str,
    prefix: &'static str,
    pub(super) suffix: &'static str,
    pub(super) dual_stack_suffix: &'static str,
    pub(super) sts_fallback: Option<&'static str>,
}

/// The prefix decides; `aws` takes every region that no other row does, so it stands last.
const PARTITIONS: [Partition; 8] = [
    Partition {
        name: "aws-cn",
        prefix: "cn-",
        suffix: "amazonaws.com.cn",
        dual_stack_suffix: "api.amazonwebservices.com.cn",
        sts_fallback: Some("cn-north-1"),
    },
    Partition {
        name: "aws-us-gov",
        prefix: "us-gov-",
        suffix: "amazonaws.com",
        dual_stack_suffix: "api.aws",
        sts_fallback: Some("us-gov-west-1"),
    },
    Partition {
        name: "aws-iso",
        prefix: "us-iso-",
        suffix: "c2s.ic.gov",
        dual_stack_suffix: "api.aws.ic.gov",
        sts_fallback: Some("us-iso-east-1"),
    },
    Partition {
        name: "aws-iso-b",
        prefix: "us-isob-",
        suffix: "sc2s.sgov.gov",
        dual_stack_suffix: "api.aws.scloud",
        sts_fallback: Some("us-isob-east-1"),
    },
    Partition {
        name: "aws-iso-e",
        prefix: "eu-isoe-",
        suffix: "cloud.adc-e.uk",
        dual_stack_suffix: "api.cloud-aws.adc-e.uk",
        sts_fallback: None,
    },
    Partition {
        name: "aws-iso-f",
        prefix: "us-isof-",
        suffix: "csp.hci.ic.gov",
        dual_stack_suffix: "api.aws.hci.ic.gov",
        sts_fallback: None,
    },
    Partition {
        name: "aws-eusc",
        prefix: "eusc-",
        suffix: "amazonaws.eu",
        dual_stack_suffix: "api.amazonwebservices.eu",
        sts_fallback: None,
    },
    Partition {
        name: "aws",
        prefix: "",
        suffix: "amazonaws.com",
        dual_stack_suffix: "api.aws",
        sts_fallback: Some("us-east-1"),
    },
];

/// The partition of a region; unknown regions are in `aws`.
pub(crate) fn partition(region: &str) -> &'static Partition {
    PARTITIONS
        .iter()
        .find(|p| region.starts_with(p.prefix))
        .unwrap_or(&PARTITIONS[PARTITIONS.len() - 1])
}
