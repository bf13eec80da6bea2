use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use super::*;

/// The directory of the child that is to be killed.
const CHILD: &str = "XRAY_TEST_SPOOL_CHILD";

fn start(directory: PathBuf) -> (Sender<SpoolMessage>, Receiver<SpoolEvent>, JoinHandle<()>) {
    let (to_spool, messages) = mpsc::channel();
    let (events, from_spool) = mpsc::channel();
    let settings = SpoolSettings {
        directory,
        limit: 1 << 30,
    };
    let thread = thread::spawn(move || {
        run(settings, &messages, move |event| {
            if !matches!(event, SpoolEvent::Usage(_)) {
                let _ = events.send(event);
            }
        });
    });
    to_spool.send(SpoolMessage::Open(identity())).unwrap();
    (to_spool, from_spool, thread)
}

#[test]
fn the_thread_does_what_it_is_told_in_order_and_ends_with_its_senders() {
    let temp = TempDir::new();
    let (to_spool, from_spool, thread) = start(temp.spool());
    for id in 0..3 {
        let item = item(id);
        to_spool.send(SpoolMessage::Store { id, item }).unwrap();
    }
    to_spool.send(SpoolMessage::Flush).unwrap();
    for id in 0..3 {
        let event = from_spool.recv().unwrap();
        assert!(
            matches!(event, SpoolEvent::Stored { id: stored, .. } if stored == id),
            "{event:?}"
        );
    }
    assert_eq!(from_spool.recv(), Ok(SpoolEvent::Flushed));
    to_spool
        .send(SpoolMessage::Read {
            destination: XRayApi::Segments,
            max_bytes: 1000,
            not_before: UNIX_EPOCH,
        })
        .unwrap();
    for number in 0..3 {
        let SpoolEvent::Restored { record, item: read } = from_spool.recv().unwrap() else {
            panic!("not restored");
        };
        assert_eq!(read, item(number));
        to_spool.send(SpoolMessage::Settled(record)).unwrap();
    }
    drop(to_spool);
    thread.join().unwrap();
    assert_eq!(temp.files(), Vec::<PathBuf>::new());
}

#[test]
fn what_was_stored_before_kill_9_is_there_and_nothing_is_there_twice() {
    if let Some(directory) = std::env::var_os(CHILD) {
        return store_until_killed(directory.into());
    }
    let temp = TempDir::new();
    let name = "what_was_stored_before_kill_9_is_there_and_nothing_is_there_twice";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("spool::tests::process::{name}")])
        .arg("--nocapture")
        .env(CHILD, temp.spool())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stored = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        stored += u64::from(line.unwrap().starts_with("stored "));
        if stored == 500 {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(stored >= 500, "{stored}");

    let (mut spool, events) = Tested::start(&temp.spool(), 1 << 30);
    let items = spool.drain_items();
    // More may have been written than the child came to say.
    let count = items.len() as u64;
    assert!(count >= stored, "{count} of {stored}");
    assert_eq!(events, [found(&items)]);
    assert!(items.into_iter().eq((0..count).map(item)));
}

fn store_until_killed(directory: PathBuf) {
    let (to_spool, from_spool, _thread) = start(directory);
    for id in 0.. {
        let item = item(id);
        to_spool.send(SpoolMessage::Store { id, item }).unwrap();
        let SpoolEvent::Stored { .. } = from_spool.recv().unwrap() else {
            panic!("not stored");
        };
        println!("stored {id}");
    }
}
