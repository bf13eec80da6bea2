//! What STS answers, in JSON or XML.

use aws_credential_types::Credentials;
use serde_json::Value;

use crate::credentials::json;

/// Why an answer gives no credentials.
#[derive(Debug, PartialEq, Eq)]
pub enum StsError {
    /// STS has refused. Both texts are as STS wrote them: they may quote secrets.
    Error {
        /// The error code; may be empty.
        code: String,
        /// The message; may be empty.
        message: String,
    },
    /// Not an answer of STS; without any text of it.
    Unusable(String),
}

/// Reads an answer. `success` is what its HTTP status says.
pub fn read(action: &str, success: bool, body: &[u8]) -> Result<Credentials, StsError> {
    let text = str::from_utf8(body).map_err(|_| StsError::Unusable("not text".to_owned()))?;
    let fields = match text.trim_start().starts_with('<') {
        true => xml(text),
        false => json(action, text),
    };
    if !success {
        return Err(match fields {
            Ok(fields) => StsError::Error {
                code: fields.code,
                message: fields.message,
            },
            // An HTML page of a load balancer: the status is a better message than "not JSON".
            Err(_) => StsError::Error {
                code: String::new(),
                message: text.to_owned(),
            },
        });
    }
    let fields = fields.map_err(StsError::Unusable)?;
    let expires = json::expiration(&fields.expiration);
    let credentials = json::new(&fields.id, &fields.secret, &fields.token, expires, "sts")
        .map_err(|e| StsError::Unusable(e.to_string()))?;
    if credentials.session_token().is_none() {
        return Err(StsError::Unusable(
            "SessionToken is missing or empty".to_owned(),
        ));
    }
    if expires.is_none() {
        return Err(StsError::Unusable(
            "Expiration is missing or no date".to_owned(),
        ));
    }
    Ok(credentials)
}

#[derive(Default)]
struct AnswerFields {
    id: String,
    secret: String,
    token: String,
    expiration: Value,
    code: String,
    message: String,
}

fn json(action: &str, text: &str) -> Result<AnswerFields, String> {
    let root = json::object(text.as_bytes()).map_err(|e| e.to_string())?;
    let null = Value::Null;
    let at = |name: &str| root.get(name).unwrap_or(&null);
    let credentials = &at(&format!("{action}Response"))[&*format!("{action}Result")]["Credentials"];
    let error = at("Error");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(AnswerFields {
        id: text(&credentials["AccessKeyId"]),
        secret: text(&credentials["SecretAccessKey"]),
        token: text(&credentials["SessionToken"]),
        expiration: credentials["Expiration"].clone(),
        code: text(&error["Code"]),
        message: text(&error["Message"]),
    })
}

/// The values are base64 and dates, so that cutting them out is all the XML reading there is.
fn xml(text: &str) -> Result<AnswerFields, String> {
    let cut = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (value, _) = rest.split_once(&format!("</{name}>"))?;
        Some(value.trim().to_owned())
    };
    let fields = AnswerFields {
        id: cut("AccessKeyId").unwrap_or_default(),
        secret: cut("SecretAccessKey").unwrap_or_default(),
        token: cut("SessionToken").unwrap_or_default(),
        expiration: cut("Expiration").map_or(Value::Null, Value::String),
        code: cut("Code").unwrap_or_default(),
        message: cut("Message").unwrap_or_default(),
    };
    match fields.id.is_empty() && fields.code.is_empty() {
        true => Err("XML or HTML, but not of STS".to_owned()),
        false => Ok(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::date;
    use proptest::prelude::*;

    const ACTION: &str = "AssumeRole";

    fn body(expiration: &str) -> String {
        format!(
            r#"{{"AssumeRoleResponse":{{"AssumeRoleResult":{{"AssumedRoleUser":{{"Arn":"a","AssumedRoleId":"b"}},
            "Credentials":{{"AccessKeyId":"ASIA","Expiration":{expiration},"SecretAccessKey":"hush","SessionToken":"t=="}},
            "PackedPolicySize":null}},"ResponseMetadata":{{"RequestId":"c"}}}}}}"#
        )
    }

    #[test]
    fn credentials_in_every_form() {
        let expected = Credentials::new(
            "ASIA",
            "hush",
            Some("t==".to_owned()),
            date::parse("2016-04-11T06:21:15Z"),
            "sts",
        );
        for expiration in [
            "1460355675",
            "1460355675.0",
            "1.460355675E9",
            r#""2016-04-11T06:21:15Z""#,
        ] {
            let body = body(expiration);
            assert_eq!(
                read(ACTION, true, body.as_bytes()),
                Ok(expected.clone()),
                "{expiration}"
            );
        }
        let web = body("1460355675").replace("AssumeRoleRes", "AssumeRoleWithWebIdentityRes");
        assert_eq!(
            read("AssumeRoleWithWebIdentity", true, web.as_bytes()),
            Ok(expected.clone())
        );
        let xml = "\n<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
            <Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>hush</SecretAccessKey>\
            <SessionToken>\nt==\n</SessionToken><Expiration>2016-04-11T06:21:15Z</Expiration></Credentials>\
            </AssumeRoleResult></AssumeRoleResponse>";
        assert_eq!(read(ACTION, true, xml.as_bytes()), Ok(expected));
    }

    #[test]
    fn errors_in_every_form() {
        let error = |code: &str, message: &str| {
            Err(StsError::Error {
                code: code.to_owned(),
                message: message.to_owned(),
            })
        };
        for (body, expected) in [
            (
                r#"{"Error":{"Code":"Throttling","Message":"Rate exceeded","Type":"Sender"},"RequestId":"x"}"#,
                error("Throttling", "Rate exceeded"),
            ),
            (
                "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>",
                error("AccessDenied", "no"),
            ),
            (
                "<html>bad gateway</html>",
                error("", "<html>bad gateway</html>"),
            ),
            ("", error("", "")),
            ("{}", error("", "")),
        ] {
            assert_eq!(read(ACTION, false, body.as_bytes()), expected, "{body}");
        }
        // The status decides.
        let success = body("1460355675");
        assert_eq!(read(ACTION, false, success.as_bytes()), error("", ""));
    }

    #[test]
    fn answers_that_are_none_quote_nothing() {
        let keys = body("1460355675");
        for (body, why) in [
            (String::new(), "not a JSON object: empty"),
            (keys[..keys.len() - 60].to_owned(), "not a JSON object: EOF"),
            (
                keys.replace("hush", ""),
                "SecretAccessKey is missing or empty",
            ),
            (keys.replace("t==", " "), "SessionToken is missing or empty"),
            (
                keys.replace("t==", "t\\r\\nt"),
                "Token has an impossible value",
            ),
            (
                keys.replace("AssumeRoleRes", "Res"),
                "AccessKeyId is missing or empty",
            ),
            (
                keys.replace("1460355675", "null"),
                "Expiration is missing or no date",
            ),
            (
                keys.replace("1460355675", "\"hush\""),
                "Expiration is missing or no date",
            ),
            (
                "<html>hush</html>".to_owned(),
                "XML or HTML, but not of STS",
            ),
        ] {
            match read(ACTION, true, body.as_bytes()) {
                Err(StsError::Unusable(text)) => {
                    assert!(text.contains(why), "{body}: {text}");
                    assert!(!text.contains("hush"), "{text}");
                }
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>, text in "[<>/{}\":A-Za-z]{0,80}", success: bool) {
            let _ = read(ACTION, success, &body);
            let _ = read(ACTION, success, text.as_bytes());
        }
    }
}
