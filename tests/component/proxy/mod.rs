//! The signing proxy between real sockets: clients that send the bytes of real SDKs on one side,
//! what plays X-Ray on the other.

mod failures;
mod harness;
mod limits;
mod requests;
mod responses;
mod subprocess;
