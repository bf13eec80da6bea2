//! The signing proxy between real sockets: clients that send the bytes of real SDKs on one side,
//! what plays X-Ray on the other.

mod again;
mod failures;
mod gone;
mod harness;
mod limits;
mod pages;
mod requests;
mod responses;
mod sampling;
mod secrets;
mod stopping;
#[cfg(target_os = "linux")]
mod subprocess;
mod trace_page;
