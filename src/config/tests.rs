use super::*;
use crate::config::cli;
use std::ffi::OsString;

/// Loads with the given files and command line.
fn run(files: &[(&str, &str)], line: &str) -> Result<Config, Vec<String>> {
    let args = line.split_whitespace().map(OsString::from);
    let flags = cli::parse(args).unwrap().flags;
    let read = |path: &Path| {
        let file = files.iter().find(|(name, _)| Path::new(name) == path);
        match file {
            Some((_, "denied")) => Err(io::ErrorKind::PermissionDenied.into()),
            Some((_, text)) => Ok(text.as_bytes().to_vec()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    };
    load(&flags, &read).map_err(|error| error.problems)
}

const ETC: &str = "/etc/amazon/xray/cfg.yaml";

#[test]
fn defaults() {
    let expected = Config {
        file: None,
        bind_udp: None,
        bind_tcp: None,
        otlp: None,
        region: None,
        role_arn: None,
        external_id: None,
        resource_arn: None,
        endpoint: None,
        no_verify_ssl: false,
        local_mode: false,
        buffer_mb: None,
        concurrency: 8,
        proxy_address: None,
        log_file: None,
        spool: None,
        log_rotation: true,
        log_level: LevelFilter::Info,
        log_format: LogFormat::Text,
        exporter: Exporter::Xray,
        annotations: false,
        view: None,
        view_any_host: false,
        allow_origin: String::new(),
        sampling_cache: Duration::from_secs(3600),
        shutdown_delay: Duration::ZERO,
        shutdown_timeout: Duration::from_secs(10),
        warnings: Vec::new(),
    };
    assert_eq!(run(&[], ""), Ok(expected.clone()));
    // A file that sets nothing, zero or empty text leaves them too.
    let file =
        "Version: 1\nRegion: ''\nConcurrency: 0\nTotalBufferSizeMB: 0\nSocket: {UDPAddress: ''}";
    let read = Config {
        file: Some(ETC.into()),
        ..expected.clone()
    };
    assert_eq!(run(&[(ETC, file)], ""), Ok(read));
    assert_eq!(run(&[], "-m=-5 -b= -t= -n= -c="), Ok(expected));
}

#[test]
fn flags_win_over_the_file() {
    let file = "Version: 2\nRegion: f\nRoleARN: f\nExternalID: f\nResourceARN: f\nProxyAddress: f\nLocalMode: true\n\
                TotalBufferSizeMB: 2\nSocket: {UDPAddress: f, TCPAddress: f, OTLPAddress: f}\n\
                Logging: {LogLevel: dev, LogPath: f}\nConcurrency: 3\nEndpoint: f";
    let config = run(
        &[("my.yaml", file)],
        "-c my.yaml -n x -r arn:aws:iam::1:role/x --external-id x -a x -p x -o=false -m 100 -b x -t x --otlp x -l error -f x",
    )
    .unwrap();
    for value in [
        config.otlp,
        config.region,
        config.external_id,
        config.resource_arn,
        config.proxy_address,
        config.bind_udp,
        config.bind_tcp,
    ] {
        assert_eq!(value.as_deref(), Some("x"));
    }
    assert_eq!(config.role_arn.as_deref(), Some("arn:aws:iam::1:role/x"));
    assert!(!config.local_mode);
    assert_eq!(config.buffer_mb, Some(100));
    assert_eq!(config.log_level, LevelFilter::Error);
    assert_eq!(config.log_file, Some(PathBuf::from("x")));
    assert_eq!(config.concurrency, 3);
    assert_eq!(config.endpoint.as_deref(), Some("f"));
}

#[test]
fn a_role_is_an_arn() {
    for good in [
        "arn:aws:iam::123456789012:role/xray",
        "arn:aws-cn:iam::123456789012:role/some/path/x+=,.@-_y",
        " arn:aws-us-gov:iam::123456789012:role/xray ",
    ] {
        let file = format!("Version: 2\nRoleARN: \"{good}\"\n");
        let found = run(&[(ETC, &file)], "").unwrap().role_arn;
        assert_eq!(found.as_deref(), Some(good.trim()));
        assert_eq!(run(&[(ETC, &file)], "-r=").unwrap().role_arn, None);
    }
    for bad in [
        "my-role",
        "role/my-role",
        "arn:aws:iam::123456789012:user/me",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam:::role/xray",
        "arn:aws:sts::123456789012:assumed-role/xray/me",
        "arn:aws:iam::123456789012",
    ] {
        for (file, line, source) in [
            (
                format!("Version: 2\nRoleARN: {bad}\n"),
                String::new(),
                "RoleARN",
            ),
            ("Version: 2\n".to_owned(), format!("-r {bad}"), "-r"),
        ] {
            assert_eq!(
                run(&[(ETC, &file)], &line).unwrap_err(),
                [format!(
                    "{source} {bad:?} is not the ARN of a role; write arn:aws:iam::ACCOUNT:role/NAME"
                )]
            );
        }
    }
}

#[test]
fn an_external_id_without_a_role_is_told() {
    let warnings = run(&[], "--external-id x").unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("no role to assume"), "{warnings:?}");
    let with_role = run(&[], "--external-id x -r arn:aws:iam::1:role/x").unwrap();
    assert_eq!(with_role.warnings, Vec::<String>::new());
}

#[test]
fn the_page_is_as_the_flag_or_the_file_says() {
    let file = "Version: 2\nView: true\nViewAnyHost: true\n";
    for (file, flags, view, any_host, warns) in [
        ("Version: 2\n", "", None, false, false),
        (file, "", Some(true), true, false),
        (file, "--view=false", Some(false), true, true),
        (file, "--view-any-host=false", Some(true), false, false),
        ("Version: 2\n", "--view-any-host", None, true, true),
        (
            "Version: 2\n",
            "--view-any-host --exporter json",
            None,
            true,
            true,
        ),
        (
            "Version: 2\n",
            "--view-any-host --exporter console",
            None,
            true,
            false,
        ),
        (
            "Version: 2\n",
            "--view-any-host --exporter auto",
            None,
            true,
            false,
        ),
    ] {
        let config = run(&[(ETC, file)], flags).unwrap();
        assert_eq!(
            (config.view, config.view_any_host),
            (view, any_host),
            "{flags}"
        );
        assert_eq!(config.warnings.len(), usize::from(warns), "{flags}");
    }
}

#[test]
fn an_empty_flag_undoes_the_file() {
    let file = "Version: 2\nRegion: f\nTotalBufferSizeMB: 50\n";
    let config = run(&[(ETC, file)], "-n= -m 0").unwrap();
    assert_eq!((config.region, config.buffer_mb), (None, None));
}

#[test]
fn the_search_for_a_file() {
    let region = |files: &[(&str, &str)], line| run(files, line).map(|c| c.region);
    let etc = (ETC, "Version: 1\nRegion: etc");
    let here = ("cfg.yaml", "Version: 1\nRegion: here");
    let mine = ("my.yaml", "Version: 1\nRegion: mine");
    let is = |name: &str| Ok(Some(name.to_owned()));
    assert_eq!(region(&[etc, here, mine], ""), is("etc"));
    assert_eq!(region(&[here, mine], ""), is("here"));
    assert_eq!(region(&[mine], ""), Ok(None));
    assert_eq!(region(&[etc, here, mine], "-c my.yaml"), is("mine"));
    // The default file is not merged with the named one, but it must not be broken.
    assert_eq!(
        region(&[etc, ("my.yaml", "Version: 1")], "-c my.yaml"),
        Ok(None)
    );
    assert!(region(&[(ETC, "Version: 9"), mine], "-c my.yaml").is_err());
    assert!(region(&[(ETC, "denied"), mine], "-c my.yaml").is_err());
    // Only the first that exists is looked at.
    assert_eq!(region(&[etc, ("cfg.yaml", "Version: 9")], ""), is("etc"));
    assert!(region(&[("my.yaml", "denied")], "-c my.yaml").is_err());
    assert_eq!(
        region(&[], "-c my.yaml"),
        Err(vec![
            "cannot read the configuration file my.yaml: entity not found; \
             check the path given with -c"
                .to_owned()
        ])
    );
}

#[test]
fn buffer_memory_has_limits() {
    for (mb, expected) in [
        ("-1", Some(None)),
        ("0", Some(None)),
        ("1", None),
        ("2", None),
        ("3", Some(Some(3))),
        ("1048576", Some(Some(1_048_576))),
        ("1048577", None),
        ("9223372036854775807", None),
    ] {
        let by_flag = run(&[], &format!("-m {mb}"));
        assert_eq!(by_flag.map(|c| c.buffer_mb).ok(), expected, "{mb}");
        let file = format!("Version: 1\nTotalBufferSizeMB: {mb}");
        let by_file = run(&[(ETC, &file)], "");
        assert_eq!(by_file.map(|c| c.buffer_mb).ok(), expected, "{mb}");
    }
    assert_eq!(
        run(&[(ETC, "Version: 1\nTotalBufferSizeMB: 2")], "").unwrap_err(),
        [
            "/etc/amazon/xray/cfg.yaml:2:20: TotalBufferSizeMB 2: Not enough Buffers Memory \
          Allocated. Min Buffers Memory required: 3 MB. (0 means automatic.)"
        ]
    );
}

#[test]
fn log_levels_are_case_sensitive_and_unknown_ones_are_info() {
    for (word, level, warnings) in [
        ("dev", LevelFilter::Trace, 0),
        ("debug", LevelFilter::Debug, 0),
        ("info", LevelFilter::Info, 0),
        ("warn", LevelFilter::Warn, 0),
        ("error", LevelFilter::Error, 0),
        ("prod", LevelFilter::Info, 0),
        ("Debug", LevelFilter::Info, 1),
        ("trace", LevelFilter::Info, 1),
    ] {
        let config = run(&[], &format!("-l {word}")).unwrap();
        assert_eq!(config.log_level, level, "{word}");
        assert_eq!(config.warnings.len(), warnings, "{word}");
    }
}

#[test]
fn no_verify_ssl_is_loud() {
    let config = run(&[(ETC, "Version: 1\nNoVerifySSL: true")], "").unwrap();
    assert!(config.no_verify_ssl);
    assert!(config.warnings[0].starts_with("NoVerifySSL is on"));
}

#[test]
fn the_spool_is_off_unless_a_directory_is_named() {
    let spool = |directory: &str, limit_mb| {
        let directory = PathBuf::from(directory);
        Some(SpoolConfig {
            directory,
            limit_mb,
        })
    };
    let file = "Version: 2\nSpool: {Directory: /f, SizeLimitMB: 9}";
    let cases = [
        ("Version: 2", "--spool /x", spool("/x", 256)),
        ("Version: 2", "--spool=/x --spool-limit 1", spool("/x", 1)),
        ("Version: 2\nSpool: {Directory: /f}", "", spool("/f", 256)),
        (file, "", spool("/f", 9)),
        (file, "--spool /x --spool-limit=3", spool("/x", 3)),
        (file, "--spool=", None),
        ("Version: 2", "--spool=", None),
        ("Version: 2\nSpool: {Directory: ''}", "", None),
        ("Version: 2", "", None),
    ];
    for (file, line, expected) in cases {
        let config = run(&[(ETC, file)], line).unwrap();
        assert_eq!(config.spool, expected, "{file} {line}");
        let is_useless = line == "--spool=" || file.contains("''");
        assert_eq!(config.warnings.len(), usize::from(is_useless), "{line}");
    }
    for value in ["0", "-1", "1048577", "99999999999"] {
        let line = format!("--spool /x --spool-limit={value}");
        let problems = run(&[], &line).unwrap_err();
        assert!(problems[0].contains("--spool-limit"), "{problems:?}");
    }
    let file = "Version: 2\nSpool: {Directory: /f, SizeLimitMB: 0}";
    let problems = run(&[(ETC, file)], "").unwrap_err();
    assert!(problems[0].contains("cfg.yaml:2:"), "{problems:?}");
}
