//! The signing proxy between real sockets: clients that send the bytes of real SDKs on one side,
//! what plays X-Ray on the other.

mod alone;
mod answers;
mod client;
mod house;
mod limits;
mod requests;
mod service;
mod trouble;
