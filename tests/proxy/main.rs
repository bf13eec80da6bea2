//! The signing proxy between real sockets: clients that send the bytes of real SDKs on one side,
//! what plays X-Ray on the other.

mod again;
mod alone;
mod answers;
mod client;
mod gone;
mod house;
mod limits;
mod pages;
mod requests;
mod sampling;
mod secrets;
mod service;
mod stopping;
#[expect(dead_code, reason = "the integration tests use the rest")]
#[path = "../support"]
mod support {
    pub mod http;
    pub mod keys;
    pub mod sigv4;
    pub mod watch;
}
mod trouble;
