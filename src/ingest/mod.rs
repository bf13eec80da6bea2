//! From the UDP datagram into a batch.

pub mod header;
pub mod intake;
pub mod reader;
pub mod socket;
