//! TLS: one configuration for all agents, the handshake, and what is wrong with a certificate in
//! words.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError};
use rustls::{RootCertStore, SignatureScheme, StreamOwned};

use super::certificate;
use super::stream::Stream;
use crate::http::error::{TransportError, TransportErrorKind};

/// The daemon talks to X-Ray, STS and a proxy; a session is about a kilobyte.
const SESSIONS: usize = 16;

/// The configuration of a client that trusts `roots`, or any server.
pub(super) fn client_config(roots: Option<RootCertStore>) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match roots {
        None => Arc::new(Unverified(Arc::clone(&provider))),
        Some(roots) => Arc::new(Verifier(
            WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
                .build()
                .expect("there is a root and no revocation list that could be unusable"),
        )),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Arc::new(config)
}

/// Makes a TLS connection to `host` of `stream`. `peer` is how messages call the other side.
///
/// # Errors
/// In words.
pub(super) fn handshake(
    config: &Arc<ClientConfig>,
    host: &str,
    peer: &str,
    stream: Stream,
) -> Result<Stream, TransportError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| {
        let text = format!("{host} is not a name that a TLS certificate can have");
        TransportError::new(TransportErrorKind::Tls, text)
    })?;
    let connection = ClientConnection::new(Arc::clone(config), name)
        .map_err(|error| explain(io::Error::other(error), peer))?;
    let mut tls = StreamOwned::new(connection, stream);
    // Returns when the handshake is done.
    tls.conn
        .complete_io(&mut tls.sock)
        .map_err(|error| explain(error, peer))?;
    Ok(Stream::Tls(Box::new(tls)))
}

fn explain(error: io::Error, peer: &str) -> TransportError {
    use TransportErrorKind as Kind;
    let inner = error.get_ref();
    if let Some(ureq::Error::Timeout(_)) = inner.and_then(|inner| inner.downcast_ref()) {
        let text = format!("{peer} did not finish the TLS handshake in time");
        return TransportError::new(Kind::ConnectTimeout, text);
    }
    let text = match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(bad)))) => {
            format!("{peer} {bad}")
        }
        Some(rustls::Error::InvalidMessage(_)) => format!(
            "{peer} does not speak TLS: it shows no certificate, so that AWS_CA_BUNDLE cannot \
             help; if it is a plain HTTP server, write http:// in its address"
        ),
        Some(rustls::Error::PeerIncompatible(why)) => {
            format!(
                "{peer} and this daemon have no version or cipher suite of TLS 1.2 and 1.3 in common ({why:?})"
            )
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("{peer} ended the TLS handshake ({alert:?})")
        }
        Some(other) => format!("TLS with {peer} failed: {other}"),
        None => format!(
            "{peer} broke the connection off during the TLS handshake ({error}); does it speak \
             TLS, and does a firewall let it?"
        ),
    };
    TransportError::new(Kind::Tls, text)
}

/// The usual verification, whose errors say whose certificate it is.
#[derive(Debug)]
struct Verifier(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let result =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        result.map_err(|error| match error {
            rustls::Error::InvalidCertificate(cause) => {
                let bad = BadCertificate::new(cause, end_entity, intermediates);
                CertificateError::Other(OtherError(Arc::new(bad))).into()
            }
            other => other,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Why a certificate is refused, and whose it is.
#[derive(Debug)]
struct BadCertificate {
    cause: CertificateError,
    subject: String,
    /// Of the last certificate that was shown: the one that would have to be trusted.
    issuer: String,
    is_self_signed: bool,
}

impl BadCertificate {
    fn new(
        cause: CertificateError,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Self {
        let unreadable = || "an unreadable name".to_owned();
        let own = certificate::names(end_entity);
        let last = intermediates.last().unwrap_or(end_entity);
        BadCertificate {
            cause,
            is_self_signed: own.as_ref().is_some_and(|own| own.subject == own.issuer),
            issuer: certificate::names(last).map_or_else(unreadable, |names| names.issuer),
            subject: own.map_or_else(unreadable, |names| names.subject),
        }
    }
}

impl fmt::Display for BadCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use CertificateError as Cause;
        let BadCertificate {
            cause,
            subject,
            issuer,
            ..
        } = self;
        match cause {
            // webpki's word for it, of which rustls has none.
            Cause::Other(other) if other.to_string() == "CaUsedAsEndEntity" => write!(
                f,
                "uses a CA certificate ({subject}) as its own, which no server may; issue a \
                 server certificate from it, and let AWS_CA_BUNDLE name a PEM file with the CA"
            ),
            Cause::UnknownIssuer if self.is_self_signed => write!(
                f,
                "shows a self-signed certificate ({subject}) that is not trusted; if it is the \
                 right one, let AWS_CA_BUNDLE name a PEM file with it"
            ),
            Cause::UnknownIssuer => write!(
                f,
                "shows a certificate ({subject}) from an unknown CA ({issuer}); if that is a \
                 private CA, or the one of a proxy that inspects TLS, let AWS_CA_BUNDLE name a \
                 PEM file with it"
            ),
            Cause::Expired | Cause::ExpiredContext { .. } => write!(
                f,
                "shows a certificate ({subject}) that has expired, by this host's clock"
            ),
            Cause::NotValidYet | Cause::NotValidYetContext { .. } => write!(
                f,
                "shows a certificate ({subject}) that is not valid yet, by this host's clock"
            ),
            Cause::NotValidForName | Cause::NotValidForNameContext { .. } => write!(
                f,
                "shows a certificate ({subject}, from {issuer}) that is not for this name"
            ),
            other => write!(
                f,
                "shows a certificate ({subject}, from {issuer}) that cannot be verified: {other}; \
                 AWS_CA_BUNDLE names the CAs to trust"
            ),
        }
    }
}

impl std::error::Error for BadCertificate {}

/// For `NoVerifySSL`.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
