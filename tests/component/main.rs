//! Component tests: parts of the library between real sockets, and published test vectors.

mod documentation;
mod layering;
mod proxy;
mod sources;
mod vectors;
