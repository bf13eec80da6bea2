use super::*;
use proptest::prelude::*;

/// `pkg/cfg.yaml` as the official daemon ships it.
const SHIPPED: &str = r#"# Maximum buffer size in MB (minimum 3). Choose 0 to use 1% of host memory.
TotalBufferSizeMB: 0
# Maximum number of concurrent calls to AWS X-Ray to upload segment documents.
Concurrency: 8
# Send segments to AWS X-Ray service in a specific region
Region: ""
# Change the X-Ray service endpoint to which the daemon sends segment documents.
Endpoint: ""
Socket:
  # Change the address and port on which the daemon listens for UDP packets containing segment documents.
  UDPAddress: "127.0.0.1:2000"
  # Change the address and port on which the daemon listens for HTTP requests to proxy to AWS X-Ray.
  TCPAddress: "127.0.0.1:2000"
Logging:
  LogRotation: true
  # Change the log level, from most verbose to least: dev, debug, info, warn, error, prod (default).
  LogLevel: "prod"
  # Output logs to the specified file path.
  LogPath: ""
# Turn on local mode to skip EC2 instance metadata check.
LocalMode: false
# Amazon Resource Name (ARN) of the AWS resource running the daemon.
ResourceARN: ""
# Assume an IAM role to upload segments to a different account.
RoleARN: ""
# Disable TLS certificate verification.
NoVerifySSL: false
# Upload segments to AWS X-Ray through a proxy.
ProxyAddress: ""
# Daemon configuration file format version.
Version: 2
"#;

fn named(text: &str) -> Result<(FileSettings, Vec<String>), Vec<String>> {
    read(Path::new("x.yaml"), text.as_bytes(), Origin::Named)
}

fn found(text: &str) -> Result<(FileSettings, Vec<String>), Vec<String>> {
    read(Path::new("x.yaml"), text.as_bytes(), Origin::Found)
}

#[test]
fn the_shipped_file_is_accepted() {
    let (settings, warnings) = named(SHIPPED).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(settings.concurrency.unwrap().value, 8);
    assert_eq!(settings.udp_address.as_deref(), Some("127.0.0.1:2000"));
    assert_eq!(settings.log_rotation, Some(true));
    assert_eq!(settings.no_verify_ssl, Some(false));
}

#[test]
fn every_key_is_read() {
    let (s, warnings) = named(
        "Version: 1\nTotalBufferSizeMB: 0x10\nConcurrency: 010\nEndpoint: e\nRegion: 12\n\
         Socket: {UDPAddress: u, TCPAddress: t}\n\
         Logging: {LogRotation: off, LogLevel: dev, LogPath: p}\n\
         LocalMode: yes\nResourceARN: a\nRoleARN: r\nExternalID: i\nNoVerifySSL: on\nProxyAddress: x\n\
         Spool: {Directory: d, SizeLimitMB: 7}\n\
         View: on\nViewAnyHost: off\n",
    )
    .unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(s.buffer_mb.unwrap().value, 16);
    assert_eq!(s.spool_limit_mb.unwrap().value, 7);
    assert_eq!(s.concurrency.unwrap().value, 8);
    let texts = [
        (s.endpoint, "e"),
        (s.region, "12"),
        (s.udp_address, "u"),
        (s.tcp_address, "t"),
        (s.log_level, "dev"),
        (s.log_path, "p"),
        (s.resource_arn, "a"),
        (s.role_arn, "r"),
        (s.external_id, "i"),
        (s.proxy_address, "x"),
        (s.spool_directory, "d"),
    ];
    for (value, expected) in texts {
        assert_eq!(value.as_deref(), Some(expected));
    }
    assert_eq!(s.log_rotation, Some(false));
    assert_eq!(s.local_mode, Some(true));
    assert_eq!(s.no_verify_ssl, Some(true));
    assert_eq!((s.view, s.view_any_host), (Some(true), Some(false)));
}

#[test]
fn null_is_not_set() {
    let (settings, _) = named("Version: 1\nRegion:\nLocalMode: ~\nConcurrency: null").unwrap();
    assert_eq!(
        (settings.region, settings.local_mode, settings.concurrency),
        (None, None, None)
    );
}

/// Each line of errors, without the path, up to the first full stop or semicolon.
fn errors(result: Result<(FileSettings, Vec<String>), Vec<String>>) -> Vec<String> {
    let short = |line: &String| {
        let line = line.strip_prefix("x.yaml:").unwrap();
        line.split(". ").next().unwrap().to_owned()
    };
    result.unwrap_err().iter().map(short).collect()
}

#[test]
fn errors_in_any_file() {
    let table: &[(&str, &[&str])] = &[
        ("", &["1:1: Config Version is missing"]),
        ("Region: x", &["1:1: Config Version is missing"]),
        ("Version: ~", &["1:1: Config Version is missing"]),
        (
            "Version: 3",
            &["1:10: Config Version Setting is not correct"],
        ),
        (
            "Version: 0",
            &["1:10: Config Version Setting is not correct"],
        ),
        (
            "Version: '2'",
            &["1:10: Version must be a whole number without quotes, not \"2\""],
        ),
        (
            "Version: two",
            &["1:10: Version must be a whole number, not \"two\""],
        ),
        (
            "Version: [2]",
            &["1:10: Version takes one value, not a list or section"],
        ),
        (
            "Version: 1\nConcurrency: -1",
            &["2:14: Concurrency must be from 1 to 256 (or 0 for the default), not -1"],
        ),
        (
            "Version: 1\nConcurrency: 257",
            &["2:14: Concurrency must be from 1 to 256 (or 0 for the default), not 257"],
        ),
        (
            "Version: 1\nLocalMode: 1",
            &["2:12: LocalMode must be true or false, not \"1\""],
        ),
        (
            "Version: 1\nLocalMode: 'true'",
            &["2:12: LocalMode must be true or false without quotes, not \"true\""],
        ),
        (
            "Version: 1\nSocket: here",
            &["2:9: Socket is a section: its keys go below it, indented"],
        ),
        (
            "Version: 1\nRegion:\n  Name: x",
            &["3:3: Region takes one value, not a section"],
        ),
        (
            "Version: 1\nSocket:\n  UDPAddress:\n    host: x",
            &["4:5: Socket.UDPAddress takes one value, not a list or section"],
        ),
        // All of them at once, in order; the syntax error ends it.
        (
            "Version: 3\nLocalMode: maybe\nConcurrency: many\nRegion: \"open",
            &[
                "2:12: LocalMode must be true or false, not \"maybe\"",
                "3:14: Concurrency must be a whole number, not \"many\"",
                "4:9: while scanning a quoted scalar, found unexpected end of stream",
            ],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(errors(named(text)), *expected, "{text:?}");
        assert_eq!(errors(found(text)), *expected, "{text:?}");
    }
}

#[test]
fn strange_keys_are_errors_when_named_and_warnings_when_found() {
    let table = [
        (
            "Regoin: x",
            "2:1: Regoin flag is invalid. Please refer to AWS X-Ray Documentation for more information. (The nearest valid key is Region.)",
        ),
        (
            "region: x",
            "2:1: region flag is invalid. Please refer to AWS X-Ray Documentation for more information. (The nearest valid key is Region.)",
        ),
        (
            "LogLevel: dev",
            "2:1: LogLevel flag is invalid. Please refer to AWS X-Ray Documentation for more information. (The nearest valid key is Logging.LogLevel.)",
        ),
        (
            "Socket: {LogPath: x}",
            "2:10: Socket.LogPath flag is invalid. Please refer to AWS X-Ray Documentation for more information. (The nearest valid key is Logging.LogPath.)",
        ),
        (
            "Sampling: x",
            "2:1: Sampling flag is invalid. Please refer to AWS X-Ray Documentation for more information.",
        ),
        (
            "Socket:",
            "2:1: Socket flag is invalid. Please refer to AWS X-Ray Documentation for more information.",
        ),
        (
            "Profile: {CPU: x}",
            "2:11: Profile.CPU flag is not supported any more. Please refer to AWS X-Ray Documentation for more information.",
        ),
        (
            "LogRotation: yes",
            "2:1: LogRotation flag is not supported. Write Logging.LogRotation in its place.",
        ),
        (
            "MemoryLimit: 9",
            "2:1: MemoryLimit flag is not supported. Write TotalBufferSizeMB in its place.",
        ),
        (
            "Spool: {Dir: x}",
            "2:9: Spool.Dir flag is invalid. Please refer to AWS X-Ray Documentation for more information. (The nearest valid key is Spool.Directory.)",
        ),
    ];
    for (line, message) in table {
        let text = format!("Version: 1\n{line}\n");
        let expected = vec![format!("x.yaml:{message}")];
        assert_eq!(named(&text), Err(expected.clone()), "{line}");
        assert_eq!(found(&text).unwrap().1, expected, "{line}");
    }
}

#[test]
fn warnings_in_any_file() {
    for (line, message) in [
        (
            "Region: a\nRegion: b",
            "3:1: Region is set twice; the last one counts",
        ),
        (
            "proxyserver: {maxidleconns: 4}",
            "2:15: proxyserver.maxidleconns has no effect",
        ),
    ] {
        let text = format!("Version: 1\n{line}\n");
        let expected = vec![format!("x.yaml:{message}")];
        assert_eq!(named(&text).unwrap().1, expected, "{line}");
        assert_eq!(found(&text).unwrap().1, expected, "{line}");
    }
    let (settings, _) = named("Version: 1\nRegion: a\nRegion: b").unwrap();
    assert_eq!(settings.region.as_deref(), Some("b"));
}

#[test]
fn bytes_that_are_not_utf8_have_a_place() {
    let result = read(
        Path::new("x.yaml"),
        b"Version: 1\nRegion: \xe9\xff",
        Origin::Named,
    );
    assert_eq!(
        result,
        Err(vec![
            "x.yaml:2:9: not UTF-8 text; save the file as UTF-8".to_owned()
        ])
    );
}

proptest! {
    #[test]
    fn no_file_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(Path::new("x"), &bytes, Origin::Named);
    }

    /// Any shuffling of the shipped file's lines is either read or has an error with a place.
    #[test]
    fn broken_files_name_the_place(lines in proptest::collection::vec(0usize..30, 0..30), cut in 0usize..40) {
        let all: Vec<&str> = SHIPPED.lines().collect();
        let text: String = lines.iter().map(|i| format!("{}\n", all[i % all.len()])).collect();
        let end = (0..=text.len().saturating_sub(cut)).rev().find(|i| text.is_char_boundary(*i));
        if let Err(errors) = named(&text[..end.unwrap_or(0)]) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                let mut parts = error.split(':');
                prop_assert_eq!(parts.next(), Some("x.yaml"));
                let line: usize = parts.next().unwrap().parse().unwrap();
                prop_assert!(line >= 1 && line <= text.matches('\n').count() + 1);
                prop_assert!(parts.next().unwrap().parse::<usize>().unwrap() >= 1);
            }
        }
    }
}
