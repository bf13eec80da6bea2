//! A self-signed TLS server side. The daemons are told not to verify it (`NoVerifySSL`).

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A fresh key and certificate for this run.
pub fn server() -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()])
        .expect("a self-signed certificate can be made");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("the key belongs to the certificate");
    Arc::new(config)
}

/// The server side of one connection; the handshake happens at the first read.
pub fn accept<S: Read + Write>(
    config: Arc<ServerConfig>,
    stream: S,
) -> StreamOwned<ServerConnection, S> {
    let connection = ServerConnection::new(config).expect("the configuration is complete");
    StreamOwned::new(connection, stream)
}
