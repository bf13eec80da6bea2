use super::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

const ARN: &str = "arn:aws:ecs:eu-west-3:123456789012:task/cluster/0123abcd";

/// Simulated sources of the region. `asked` records every request.
#[derive(Default)]
struct World {
    configured: Option<&'static str>,
    env: BTreeMap<&'static str, &'static str>,
    profile: Option<&'static str>,
    local_mode: bool,
    /// One content a read; the last is repeated. None: no such file.
    file: Vec<Option<&'static str>>,
    /// By URL or path; absent ones are silent, `Err` is refused.
    answers: BTreeMap<&'static str, Result<&'static str, &'static str>>,
    asked: RefCell<Vec<String>>,
}

impl World {
    fn resolve(&self) -> Result<Region, NoRegion> {
        let reads = RefCell::new(0);
        let answer = |what: &str| {
            self.asked.borrow_mut().push(what.to_owned());
            match self.answers.get(what) {
                Some(Ok(body)) => MetadataAnswer::Body(body.as_bytes().to_vec()),
                Some(Err(why)) => MetadataAnswer::Refused((*why).to_owned()),
                None => MetadataAnswer::Silent("no answer within 1 s".to_owned()),
            }
        };
        resolve(&RegionSources {
            configured: self.configured,
            env: &|name| self.env.get(name).map(|v| (*v).to_owned()),
            profile: ("default", self.profile),
            local_mode: self.local_mode,
            read: &|path| {
                self.asked.borrow_mut().push(path.display().to_string());
                let mut reads = reads.borrow_mut();
                let content = self
                    .file
                    .get(*reads)
                    .or(self.file.last())
                    .copied()
                    .flatten();
                *reads += 1;
                content
                    .map(|text| text.as_bytes().to_vec())
                    .ok_or(io::ErrorKind::NotFound.into())
            },
            task: &answer,
            imds: &answer,
            pause: &|_| self.asked.borrow_mut().push("pause".to_owned()),
        })
    }

    /// As the daemon searches. Each search takes `takes` seconds, and pauses take their time; an
    /// answer that is silent at first comes after so many seconds. How long it all took, too.
    fn resolve_patiently(&self, takes: u64, comes: u64) -> (Result<Region, NoRegion>, u64, usize) {
        let start = Instant::now();
        let passed = RefCell::new(0);
        let told = RefCell::new(0);
        let silent = |_: &str| MetadataAnswer::Silent("no route".to_owned());
        let imds = |path: &str| {
            *passed.borrow_mut() += takes;
            match self.answers.get(path) {
                Some(Ok(body)) if *passed.borrow() >= comes => {
                    MetadataAnswer::Body(body.as_bytes().to_vec())
                }
                _ => MetadataAnswer::Silent("no route".to_owned()),
            }
        };
        let found = resolve_patiently(
            &RegionSources {
                configured: None,
                env: &|_| None,
                profile: ("default", None),
                local_mode: self.local_mode,
                read: &|_| Err(io::ErrorKind::NotFound.into()),
                task: &silent,
                imds: &imds,
                pause: &|pause| *passed.borrow_mut() += pause.as_secs(),
            },
            &|| start + Duration::from_secs(*passed.borrow()),
            &|_| *told.borrow_mut() += 1,
        );
        let passed = *passed.borrow();
        (found, passed, told.into_inner())
    }

    fn region(&self) -> (String, String) {
        let region = self.resolve().unwrap_or_else(|e| panic!("{e}"));
        (region.name, region.source)
    }
}

fn full() -> World {
    World {
        configured: Some("flag-region-1"),
        env: BTreeMap::from([
            ("AWS_REGION", "env-region-1"),
            ("AWS_DEFAULT_REGION", "env-default-1"),
            ("ECS_CONTAINER_METADATA_FILE", "/ecs"),
            (
                "ECS_CONTAINER_METADATA_URI_V4",
                "http://169.254.170.2/v4/id",
            ),
            ("ECS_CONTAINER_METADATA_URI", "http://169.254.170.2/v3/id/"),
        ]),
        profile: Some("profile-region-1"),
        file: vec![Some(r#"{"TaskARN":"arn:aws:ecs:ecs-file-1:1:task/a"}"#)],
        answers: BTreeMap::from([
            (
                "http://169.254.170.2/v4/id/task",
                Ok(r#"{"TaskARN":"arn:aws:ecs:ecs-four-1:1:task/a"}"#),
            ),
            (
                "http://169.254.170.2/v3/id/task",
                Ok(r#"{"AvailabilityZone":"ecs-three-1b"}"#),
            ),
            (
                "dynamic/instance-identity/document",
                Ok(r#"{"region":"ec-two-1"}"#),
            ),
            ("meta-data/placement/region", Ok("placement-region-1\n")),
        ]),
        ..World::default()
    }
}

#[test]
fn each_source_wins_over_those_after_it() {
    let mut world = full();
    type Step = (&'static str, &'static str, fn(&mut World));
    let steps: [Step; 9] = [
        ("flag-region-1", "-n or cfg.yaml", |w| w.configured = None),
        ("env-region-1", "AWS_REGION", |w| {
            w.env.insert("AWS_REGION", " ");
        }),
        ("env-default-1", "AWS_DEFAULT_REGION", |w| {
            w.env.remove("AWS_DEFAULT_REGION");
        }),
        ("profile-region-1", "profile default", |w| w.profile = None),
        ("ecs-file-1", "ECS metadata file /ecs", |w| w.file.clear()),
        (
            "ecs-four-1",
            "ECS task metadata (ECS_CONTAINER_METADATA_URI_V4)",
            |w| {
                w.env.remove("ECS_CONTAINER_METADATA_URI_V4");
            },
        ),
        (
            "ecs-three-1",
            "ECS task metadata (ECS_CONTAINER_METADATA_URI)",
            |w| {
                w.answers.remove("http://169.254.170.2/v3/id/task");
            },
        ),
        ("ec-two-1", "EC2 metadata", |w| {
            w.answers
                .insert("dynamic/instance-identity/document", Err("status 404"));
        }),
        ("placement-region-1", "EC2 metadata", |w| {
            w.answers.clear();
        }),
    ];
    for (name, source, remove) in steps {
        assert_eq!(world.region(), (name.to_owned(), source.to_owned()));
        remove(&mut world);
    }
    let text = world.resolve().unwrap_err().to_string();
    assert_eq!(
        text,
        "Cannot fetch region variable from config file, environment variables, ecs metadata, or \
         ec2 metadata: -n or cfg.yaml: not set; AWS_REGION: not set; AWS_DEFAULT_REGION: not set; \
         profile default: not set; ECS_CONTAINER_METADATA_FILE: /ecs: entity not found; \
         ECS_CONTAINER_METADATA_URI_V4: not set; ECS_CONTAINER_METADATA_URI: no answer within \
         1 s; EC2 metadata: no answer within 1 s; pass -n REGION"
    );
}

#[test]
fn what_is_written_down_asks_nobody() {
    for remove in [0, 1, 2, 3] {
        let mut world = full();
        if remove > 0 {
            world.configured = None;
        }
        if remove > 1 {
            world.env.remove("AWS_REGION");
        }
        if remove > 2 {
            world.env.remove("AWS_DEFAULT_REGION");
        }
        world.region();
        assert!(world.asked.borrow().is_empty());
    }
}

#[test]
fn local_mode_asks_no_metadata() {
    let mut world = full();
    world.local_mode = true;
    world.configured = None;
    world.env.remove("AWS_REGION");
    world.env.remove("AWS_DEFAULT_REGION");
    assert_eq!(world.region().0, "profile-region-1");
    world.profile = None;
    let error = world.resolve().unwrap_err();
    assert!(world.asked.borrow().is_empty());
    assert!(
        error.to_string().contains("not asked in local mode"),
        "{error}"
    );
}

fn bare(name: &'static str, value: &'static str) -> World {
    World {
        env: BTreeMap::from([(name, value)]),
        ..World::default()
    }
}

#[test]
fn a_half_written_file_is_read_again() {
    let mut world = bare("ECS_CONTAINER_METADATA_FILE", "/ecs");
    world.file = vec![
        None,
        Some(""),
        Some(r#"{"TaskARN":"arn:aws:"#),
        Some(r#"{"Cluster":"c"}"#),
        Some(r#"{"TaskARN":"arn:aws:ecs:eu-west-1:1:task/a","MetadataFileStatus":"READY"}"#),
    ];
    assert_eq!(world.region().0, "eu-west-1");
    assert_eq!(world.asked.borrow().len(), 9, "five reads, four pauses");
}

#[test]
fn a_file_that_never_helps_is_given_up() {
    for (content, reads) in [
        (r#"{"MetadataFileStatus":"READY"}"#, 1),
        (r#"{"TaskARN":"arn"}"#, 10),
        ("<html>", 10),
    ] {
        let mut world = bare("ECS_CONTAINER_METADATA_FILE", "/ecs");
        world.file = vec![Some(content)];
        world.resolve().unwrap_err();
        let asked = world.asked.borrow();
        assert_eq!(
            asked.iter().filter(|a| *a == "/ecs").count(),
            reads,
            "{content}"
        );
    }
}

#[test]
fn the_task_url_stays_on_this_host() {
    let v4 = "ECS_CONTAINER_METADATA_URI_V4";
    for bad in [
        "https://169.254.170.2/v4/id",
        "http://10.0.0.1/v4/id",
        "http://metadata.example/v4",
        "http://[2001:db8::1]/v4",
        "169.254.170.2/v4",
        "nonsense",
    ] {
        let world = bare(v4, bad);
        world.resolve().unwrap_err();
        let asked = world.asked.borrow();
        assert!(
            !asked.iter().any(|a| a.contains("task")),
            "{bad}: {asked:?}"
        );
    }
    for good in [
        "http://127.0.0.1:5000/v4",
        "http://[::1]:5000/v4",
        "http://localhost:51678",
    ] {
        let world = bare(v4, good);
        world.resolve().unwrap_err();
        assert_eq!(world.asked.borrow()[0], format!("{good}/task"));
    }
}

#[test]
fn a_silent_imds_is_asked_once() {
    let world = World::default();
    world.resolve().unwrap_err();
    assert_eq!(
        *world.asked.borrow(),
        ["dynamic/instance-identity/document"]
    );
}

#[test]
fn task_arns() {
    for (arn, region) in [
        (ARN, Some("eu-west-3")),
        ("arn:aws-cn:ecs:cn-north-1:1:task/0123", Some("cn-north-1")),
        ("arn:aws:ecs:eu-west-3:123456789012", None),
        ("arn:aws:ecs:eu-west-3", None),
        ("arn", None),
        ("", None),
        ("arn:aws:ec2:eu-west-3:1:task/a", None),
        ("nra:aws:ecs:eu-west-3:1:task/a", None),
        ("arn:aws:ecs::1:task/a", None),
        ("arn:aws:ecs:evil.example/x:1:task/a", None),
    ] {
        assert_eq!(arn_region(arn), region, "{arn}");
    }
}

#[test]
fn availability_zones() {
    for (zone, region) in [
        ("us-east-1a", Some("us-east-1")),
        ("us-gov-west-1b", Some("us-gov-west-1")),
        ("ap-southeast-10c", Some("ap-southeast-10")),
        ("us-west-2-lax-1a", Some("us-west-2")),
        ("us-east-1-wl1-bos-wlz-1", Some("us-east-1")),
        ("use1-az1", None),
        ("us-east", None),
        ("1a", None),
        ("", None),
        ("é-é-1a", None),
    ] {
        assert_eq!(zone_region(zone), region, "{zone}");
    }
}

#[test]
fn odd_documents() {
    assert_eq!(
        task_region(br#"{"TaskARN":"short","AvailabilityZone":"eu-west-1c"}"#),
        Ok("eu-west-1".to_owned())
    );
    for json in [
        "",
        "[]",
        "null",
        "{\"TaskARN\":7}",
        "<html></html>",
        "{\"TaskARN\":\"a:b\"}",
    ] {
        assert!(task_region(json.as_bytes()).is_err(), "{json}");
        assert!(identity_region(json.as_bytes()).is_err(), "{json}");
    }
    for region in ["", "a b", "a/b", "evil.example"] {
        let json = format!(r#"{{"region":"{region}"}}"#);
        assert!(identity_region(json.as_bytes()).is_err(), "{region}");
    }
}

proptest! {
    #[test]
    fn whatever_metadata_says_the_result_is_a_host_label(
        arn in "(arn)?(:[a-z0-9./é-]{0,8}){0,7}", zone in "[a-z0-9é-]{0,20}",
    ) {
        for region in [arn_region(&arn), zone_region(&zone)].into_iter().flatten() {
            prop_assert!(is_region(region));
        }
        let json = serde_json::json!({"TaskARN": arn, "AvailabilityZone": zone}).to_string();
        if let Ok(region) = task_region(json.as_bytes()) {
            prop_assert!(is_region(&region));
        }
    }
}

/// The network comes up after the daemon.
#[test]
fn a_silent_metadata_service_is_asked_for_a_minute() {
    let world = full();
    let (found, took, told) = world.resolve_patiently(1, 20);
    assert_eq!(found.unwrap().name, "ec-two-1");
    assert!((20..=26).contains(&took), "{took}");
    assert_eq!(told, 1);
    let (found, took, told) = world.resolve_patiently(1, 1);
    assert_eq!(
        (found.unwrap().name.as_str(), took, told),
        ("ec-two-1", 1, 0)
    );
    for takes in [0, 1, 5] {
        let (found, took, told) = world.resolve_patiently(takes, 1_000);
        let error = found.unwrap_err();
        assert!(error.may_come);
        assert!(
            error.to_string().contains("EC2 metadata: no route"),
            "{error}"
        );
        assert!((50..=65).contains(&took), "{takes}: {took}");
        assert_eq!(told, 1);
    }
}

/// No source was silent, so waiting cannot help.
#[test]
fn what_cannot_come_is_not_waited_for() {
    let local = World {
        local_mode: true,
        ..World::default()
    };
    assert_eq!(local.resolve_patiently(1, 1_000).1, 0);
    let mut refused = World::default();
    let page = "dynamic/instance-identity/document";
    refused.answers.insert(page, Err("HTTP 404"));
    refused
        .answers
        .insert("meta-data/placement/region", Err("HTTP 404"));
    assert!(!refused.resolve().unwrap_err().may_come);
    assert!(World::default().resolve().unwrap_err().may_come);
}
