//! What is asked of the world outside goes through the proxy that X-Ray is reached through.

use std::sync::Arc;

use xray::aws::clock::Clock;
use xray::aws::endpoint::IdentityEndpoints;
use xray::credentials::Source;
use xray::credentials::sources::roles::{WebIdentity, WebIdentityRole};
use xray::credentials::sources::sso::{Sso, SsoSettings};
use xray::credentials::sources::token_service::TokenService;
use xray::http::client::{HttpClientConfig, HttpClientFactory};
use xray::http::dns::Resolver;

use super::sts::client;
use super::{LATER, NOW, Time};
use xray_test_support::endpoint::{Endpoint, Reply};
use xray_test_support::http::{Request, Response};
use xray_test_support::scratch::ScratchFile;
use xray_test_support::sts::{form, sts_json};
use xray_test_support::tls::Authority;

/// A proxy that stands at both ends of its tunnels.
pub(super) struct Proxy {
    pub(super) service: Arc<HttpClientFactory>,
    endpoint: Endpoint,
    _bundle: ScratchFile,
}

impl Proxy {
    /// Is `host` to whoever asks for it, and answers all with `answer`.
    pub(super) fn to(host: &str, answer: Response) -> Self {
        let Authority { server, pem } = Authority::new(&[host]);
        let endpoint = Endpoint::start(move |_, request| match request.method.as_str() {
            "CONNECT" => Reply::Tunnel(server.clone()),
            _ => Reply::Send(answer.clone()),
        });
        let bundle = ScratchFile::new(pem);
        let service = HttpClientFactory::new(HttpClientConfig {
            resolver: Resolver::start().unwrap(),
            proxy_address: &format!("http://us%40er:pass@{}", endpoint.address()),
            no_verify_ssl: false,
            profile_ca_bundle: Some(&bundle.text()),
            connections: 0,
            user_agent: "test",
            env: &|_| None,
        });
        Self {
            service: Arc::new(service.unwrap()),
            endpoint,
            _bundle: bundle,
        }
    }

    /// The request for a tunnel and the one that came through it.
    pub(super) fn seen(&self) -> (Request, Request) {
        let tunnel = self.endpoint.next_request();
        assert_eq!(tunnel.method, "CONNECT");
        // base64 of us@er:pass
        assert_eq!(
            tunnel.header("proxy-authorization"),
            Some("Basic dXNAZXI6cGFzcw==")
        );
        (tunnel, self.endpoint.next_request())
    }
}

#[test]
fn sts_is_asked() {
    let action = "AssumeRoleWithWebIdentity";
    let answer = Response::new(200, sts_json(action, "ASIA", &format!("\"{LATER}\"")));
    let proxy = Proxy::to("sts.eu-west-1.amazonaws.com", answer);
    let token = ScratchFile::new("jwt");
    let identity = WebIdentity {
        token_file: token.path().into(),
        role_arn: "arn".to_owned(),
        session_name: None,
    };
    let mut sts = client("https://sts.eu-west-1.amazonaws.com", &Time::at(NOW));
    sts.service = proxy.service.clone();
    let found = WebIdentityRole::new(identity, sts).fetch().unwrap();
    assert_eq!(found.access_key_id(), "ASIA");
    let (tunnel, request) = proxy.seen();
    assert_eq!(tunnel.target, "sts.eu-west-1.amazonaws.com:443");
    assert_eq!(form(&request)["WebIdentityToken"], "jwt");
}

#[test]
fn identity_center_is_asked() {
    let keys = r#"{"roleCredentials":{"accessKeyId":"ASIA","secretAccessKey":"hush",
        "sessionToken":"t","expiration":1735711200000}}"#;
    let cache = format!(r#"{{"accessToken":"cached","expiresAt":"{LATER}"}}"#);
    let cache = ScratchFile::new(cache);
    for (region, host, answer, why) in [
        (
            "eu-west-1",
            "portal.sso.eu-west-1.amazonaws.com",
            Response::new(200, keys),
            None,
        ),
        (
            "cn-north-1",
            "portal.sso.cn-north-1.amazonaws.com.cn",
            Response::new(200, keys),
            None,
        ),
        (
            "eu-west-1",
            "portal.sso.eu-west-1.amazonaws.com",
            Response::new(401, r#"{"message":"Session token not found or invalid"}"#),
            Some(
                "is refused: the session is over (expiry: 2025-01-01T06:00:00Z); run: aws sso login --profile dev",
            ),
        ),
        (
            "eu-west-1",
            "portal.sso.eu-west-1.amazonaws.com",
            Response::new(403, r#"{"message":"No access for cached"}"#),
            Some("answered 403: No access for [hidden]"),
        ),
    ] {
        let proxy = Proxy::to(host, answer);
        let mut source = Sso {
            settings: SsoSettings {
                profile: "dev".to_owned(),
                cache: cache.path().to_owned(),
                region: region.to_owned(),
                account_id: "123456789012".to_owned(),
                role_name: "a b".to_owned(),
            },
            service: TokenService {
                endpoints: IdentityEndpoints::default(),
                http: proxy.service.clone(),
                clock: Arc::new(Clock::new(true)),
                timing: Time::at(NOW).timing(),
            },
        };
        match (source.fetch(), why) {
            (Ok(found), None) => assert_eq!(found.access_key_id(), "ASIA"),
            (Err(error), Some(why)) => assert!(error.to_string().ends_with(why), "{error}"),
            (found, _) => panic!("{host}: {found:?}"),
        }
        let (tunnel, request) = proxy.seen();
        assert_eq!(tunnel.target, format!("{host}:443"));
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            (
                "GET",
                "/federation/credentials?role_name=a%20b&account_id=123456789012"
            )
        );
        assert_eq!(request.header("x-amz-sso_bearer_token"), Some("cached"));
        assert_eq!(request.header("authorization"), None);
        assert!(!proxy.endpoint.has_more_requests(), "asked again");
    }
}
