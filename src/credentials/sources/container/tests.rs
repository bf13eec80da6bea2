use super::*;

fn read(vars: &[(&str, &str)]) -> Option<ContainerSettings> {
    settings(&|name| {
        let var = vars.iter().find(|(n, _)| *n == name);
        var.map(|(_, value)| (*value).to_owned())
    })
}

const RELATIVE: (&str, &str) = (RELATIVE_URI, "/v2/credentials/id?a=1");
const FULL: (&str, &str) = (FULL_URI, "http://169.254.170.23/v1/credentials");
const FILE: (&str, &str) = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token");
const TOKEN: (&str, &str) = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic x");

#[test]
fn settings_of_every_platform() {
    let relative = "http://169.254.170.2/v2/credentials/id?a=1";
    let value = || Authorization::Value("Basic x".into());
    let file = || Authorization::File("/token".into());
    for (vars, url, authorization) in [
        (vec![RELATIVE], relative, Authorization::None),
        (vec![FULL, RELATIVE], relative, Authorization::None),
        (vec![RELATIVE, TOKEN], relative, value()),
        (vec![FULL], FULL.1, Authorization::None),
        (vec![FULL, TOKEN], FULL.1, value()),
        (vec![FULL, TOKEN, FILE], FULL.1, file()),
        (vec![(RELATIVE_URI, " "), FULL, FILE], FULL.1, file()),
        (
            vec![FULL, TOKEN, ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")],
            FULL.1,
            value(),
        ),
    ] {
        let expected = ContainerSettings {
            variable: if url == relative {
                RELATIVE_URI
            } else {
                FULL_URI
            },
            url: url.into(),
            authorization,
        };
        assert_eq!(read(&vars), Some(expected), "{vars:?}");
    }
    assert_eq!(read(&[TOKEN, FILE]), None);
    assert_eq!(read(&[(RELATIVE_URI, ""), (FULL_URI, " ")]), None);
    assert!(!format!("{:?}", read(&[FULL, TOKEN])).contains("Basic"));
}
