//! Ports for servers that are gone for a while, and that nobody else takes meanwhile.

use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// No outgoing connection is given one of these: the client of a server that is gone could connect to
/// itself. Each test program that runs has a block of them for itself: what is meant for a server that
/// is gone would come to the server of another test.
const FIRST: u16 = 15_000;
const BLOCKS: u16 = 15;
const IN_BLOCK: u16 = 1_000;

/// The first port of the block. It is listened at until this process ends, which makes the block its
/// own: also in a container or a changed root, that have files of their own and the same ports.
static OWN: LazyLock<(u16, Option<TcpListener>)> = LazyLock::new(own_block);

/// A listener on the next port of 127.0.0.1.
pub(crate) fn listener() -> TcpListener {
    // What daemons of a process that was killed still send shall not come to the same tests again.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(number() % IN_BLOCK));
    loop {
        let port = OWN.0 + 1 + NEXT.fetch_add(1, Relaxed) % (IN_BLOCK - 1);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener;
        }
    }
}

fn own_block() -> (u16, Option<TcpListener>) {
    let first = |block| FIRST + block * IN_BLOCK;
    for block in 0..BLOCKS {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", first(block))) {
            return (first(block), Some(listener));
        }
    }
    (first(number() % BLOCKS), None)
}

/// A number that differs from process to process.
fn number() -> u16 {
    (std::process::id() % 10_000) as u16
}
