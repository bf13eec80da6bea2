//! Ports for servers that are gone for a while, and that nobody else takes meanwhile.

use std::fs::File;
use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// No outgoing connection is given one of these: the client of a server that is gone could connect to
/// itself. Each test program that runs has a block of them for itself: what is meant for a server that
/// is gone would come to the server of another test.
const FIRST: u16 = 15_000;
const BLOCKS: u16 = 15;
const IN_BLOCK: u16 = 1_000;

/// The first port of the block, and the lock that is held until this process ends.
static OWN: LazyLock<(u16, Option<File>)> = LazyLock::new(own_block);

/// A listener on the next port of 127.0.0.1.
pub(crate) fn listener() -> TcpListener {
    // What daemons of a process that was killed still send shall not come to the same tests again.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(number() % IN_BLOCK));
    loop {
        let port = OWN.0 + NEXT.fetch_add(1, Relaxed) % IN_BLOCK;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener;
        }
    }
}

fn own_block() -> (u16, Option<File>) {
    let first = |block| FIRST + block * IN_BLOCK;
    for block in 0..BLOCKS {
        let path = std::env::temp_dir().join(format!("xray-test-ports-{block}"));
        // It may be another user's, and only needs to be there.
        let file = File::open(&path).or_else(|_| File::create(&path));
        if let Ok(file) = file
            && file.try_lock().is_ok()
        {
            return (first(block), Some(file));
        }
    }
    (first(number() % BLOCKS), None)
}

/// A number that differs from process to process.
fn number() -> u16 {
    (std::process::id() % 10_000) as u16
}
