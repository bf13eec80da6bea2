//! A disk that is full, read-only, or taken away. Where a file system is needed for that, the test
//! runs itself again in a mount namespace of its own, with a small tmpfs in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

/// Bytes of the tmpfs.
const DISK: usize = 256 * 1024;

/// Names the mount point, inside of the namespace.
const MOUNT_POINT: &str = "XRAY_TEST_TMPFS";

/// Starts a program with mounts of its own.
fn unshare() -> Command {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.arg("--mount");
    unshare
}

/// Runs the body of the test of this name with a small disk. Where the system does not let this
/// user mount one, as most containers and some distributions do not, the test says so and proves
/// nothing.
fn on_a_small_disk(name: &str, body: impl FnOnce(&Path)) {
    if let Some(path) = std::env::var_os(MOUNT_POINT) {
        return body(Path::new(&path));
    }
    let temp = TempDir::new();
    let mount = format!("mount -t tmpfs -o size={DISK},mode=0700 spool \"$0\"");
    let possible = unshare().args(["sh", "-c", &mount]).arg(&temp.0).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: nothing can be mounted here");
        return;
    }
    let mut again = unshare();
    again.args(["sh", "-c", &format!("{mount} && exec \"$@\"")]);
    again.arg(&temp.0).arg(std::env::current_exe().unwrap());
    again.args(["--exact", &format!("spool::tests::disk::{name}")]);
    let output = again.env(MOUNT_POINT, &temp.0).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let passed = output.status.success() && out.contains("1 passed");
    assert!(passed, "{out}\n{err}");
}

/// One that takes 4 KB on disk, whatever is done to it.
fn large_item(number: u64) -> SpoolItem {
    let noise = (0..1000_u64).flat_map(|n| {
        let word = (n ^ number << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (word ^ word >> 29).to_le_bytes()[..4].to_vec()
    });
    let body: Vec<u8> = noise.collect();
    item_of(&body, 1, BodyKind::Segments, at(number))
}

fn store(spool: &mut Tested, item: &SpoolItem) -> Vec<SpoolEvent> {
    spool.send(SpoolMessage::Store {
        id: 1,
        item: item.clone(),
    })
}

const FAILED: SpoolEvent = SpoolEvent::StoreFailed {
    id: 1,
    destination: XRayApi::Segments,
    error: StoreError::Unavailable,
};

/// Fails once to store an item, with a problem of this text.
fn assert_problem(events: Vec<SpoolEvent>, text: &str) {
    let [SpoolEvent::Problem(problem), FAILED] = &events[..] else {
        panic!("{events:?}");
    };
    assert!(problem.contains(text), "{problem}");
}

#[test]
fn a_full_disk_loses_nothing_and_is_used_again() {
    on_a_small_disk("a_full_disk_loses_nothing_and_is_used_again", |disk| {
        let mut spool = Tested::empty(&disk.join("spool"), LIMIT);
        let mut stored = 0;
        let events = loop {
            let events = store(&mut spool, &large_item(stored));
            let [SpoolEvent::Stored { .. }] = events[..] else {
                break events;
            };
            stored += 1;
        };
        assert!(stored > 40, "{stored} items of 4 KB on 256 KB");
        assert_problem(events, "make room on the disk");

        // It is said once, however often it is tried again.
        for _ in 0..5 {
            let item = large_item(stored);
            assert_eq!(store(&mut spool, &item), [FAILED]);
            spool.now += Duration::from_secs(3);
        }
        // What does not fit is not half there, so the next process finds whole records.
        drop(spool);
        let (mut spool, events) = Tested::start(&disk.join("spool"), LIMIT);
        let items: Vec<SpoolItem> = (0..stored).map(large_item).collect();
        assert_eq!(events, [found(&items)]);
        let torn: u64 = spool.spool.files.values().map(|file| file.torn).sum();
        assert_eq!(torn, 0);

        // It still sends what is there, which makes room.
        assert_eq!(store(&mut spool, &large_item(stored))[1..], [FAILED]);
        let (read, others) = spool.drain();
        assert_eq!(others, []);
        assert!(read.iter().map(|(_, item)| item).eq(&items));
        read.into_iter()
            .for_each(|(record, _)| spool.settle(record));
        spool.now += Duration::from_secs(3);
        let events = store(&mut spool, &large_item(stored));
        let [SpoolEvent::Recovered, SpoolEvent::Stored { .. }] = events[..] else {
            panic!("{events:?}");
        };
    });
}

#[test]
fn a_disk_filled_by_others_loses_nothing() {
    on_a_small_disk("a_disk_filled_by_others_loses_nothing", |disk| {
        let mut spool = Tested::empty(&disk.join("spool"), LIMIT);
        let filler = disk.join("filler");
        fs::write(&filler, vec![1; DISK]).unwrap_err();
        // Not even the header of a file fits.
        assert_problem(store(&mut spool, &item(0)), "make room");
        assert_eq!(files(&disk.join("spool")), Vec::<PathBuf>::new());
        fs::remove_file(&filler).unwrap();
        spool.now += Duration::from_secs(3);
        let [SpoolEvent::Recovered, SpoolEvent::Stored { .. }] = store(&mut spool, &item(0))[..]
        else {
            panic!("not stored");
        };
        assert_eq!(spool.drain_items(), [item(0)]);
    });
}

/// The alert must end when the disk works again, although there is nothing to be stored.
#[test]
fn that_the_disk_has_room_again_is_found_out_without_an_item() {
    let name = "that_the_disk_has_room_again_is_found_out_without_an_item";
    on_a_small_disk(name, |disk| {
        let mut spool = Tested::empty(&disk.join("spool"), LIMIT);
        let filler = disk.join("filler");
        fs::write(&filler, vec![1; DISK]).unwrap_err();
        assert_problem(store(&mut spool, &large_item(0)), "make room");
        let mut wait = || {
            spool.now = spool
                .spool
                .next_deadline()
                .expect("it tries again by itself");
            spool.events()
        };
        for _ in 0..3 {
            assert_eq!(wait(), []);
        }
        fs::remove_file(&filler).unwrap();
        assert_eq!(wait(), [SpoolEvent::Recovered]);
        assert_eq!(spool.spool.next_deadline(), None);
    });
}

#[test]
fn an_error_that_passes_is_over_without_an_item_to_store() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    // One that a killed process has left.
    let probe = temp.spool().join(format!("probe-{}", std::process::id()));
    fs::write(&probe, "").unwrap();
    let error = std::io::Error::other("too many open files");
    spool
        .spool
        .fail_to("cannot read a file in it", error, spool.now);
    let [SpoolEvent::Problem(_)] = spool.events()[..] else {
        panic!("no problem");
    };
    spool.now = spool
        .spool
        .next_deadline()
        .expect("it tries again by itself");
    assert_eq!(spool.events(), [SpoolEvent::Recovered]);
    assert_eq!(spool.spool.next_deadline(), None);
    assert!(!probe.exists());
}

#[test]
fn a_full_disk_is_no_reason_not_to_take_over() {
    on_a_small_disk("a_full_disk_is_no_reason_not_to_take_over", |disk| {
        let mut spool = Tested::empty(&disk.join("spool"), LIMIT);
        spool.store(&item(0));
        drop(spool);
        fs::remove_file(disk.join("spool/lock")).unwrap();
        fs::write(disk.join("filler"), vec![1; DISK]).unwrap_err();
        let (mut spool, events) = Tested::start(&disk.join("spool"), LIMIT);
        assert_eq!(events, [found(&[item(0)])]);
        assert_eq!(spool.drain_items(), [item(0)]);
    });
}

#[test]
fn a_read_only_disk_is_said_once_and_used_when_it_can_be() {
    let name = "a_read_only_disk_is_said_once_and_used_when_it_can_be";
    on_a_small_disk(name, |disk| {
        let mount = |options: &str| {
            let mut mount = Command::new("mount");
            let status = mount.args(["-o", options]).arg(disk).status();
            assert!(status.unwrap().success());
        };
        let mut first = Tested::empty(&disk.join("spool"), LIMIT);
        first.store(&item(0));
        drop(first);
        mount("remount,ro");
        let (mut spool, events) = Tested::start(&disk.join("spool"), LIMIT);
        let [SpoolEvent::Problem(text)] = &events[..] else {
            panic!("{events:?}");
        };
        assert!(
            text.contains("mount it so that it can be written"),
            "{text}"
        );
        for _ in 0..5 {
            spool.now += Duration::from_secs(3);
            assert_eq!(store(&mut spool, &item(1)), [FAILED]);
        }
        mount("remount,rw");
        spool.now = spool.spool.next_deadline().unwrap();
        assert_eq!(spool.events(), [found(&[item(0)]), SpoolEvent::Recovered]);
        spool.store(&item(1));
        assert_eq!(spool.drain_items(), [item(0), item(1)]);
    });
}

#[test]
fn a_directory_that_vanishes_takes_only_what_was_closed() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    for number in 0..3 {
        spool.store(&item(number));
    }
    fs::remove_dir_all(temp.spool()).unwrap();
    assert_problem(store(&mut spool, &item(3)), "cannot write to it");
    spool.now += Duration::from_secs(3);
    assert_eq!(spool.events(), [SpoolEvent::Recovered]);
    spool.store(&item(3));
    // The file was open, so it can still be read.
    let (read, others) = spool.drain();
    let items: Vec<SpoolItem> = read.iter().map(|(_, item)| item.clone()).collect();
    assert_eq!((items, others), ((0..4).map(item).collect(), vec![]));
    // On disk is only what was written into the new directory.
    for ((record, _), kept) in read.into_iter().zip([false, false, false, true]) {
        let released = [SpoolEvent::Released { record, kept }];
        assert_eq!(spool.send(SpoolMessage::Release(record)), released);
    }
}

/// What NFS says when the volume was away.
fn lose_the_directory(spool: &mut Tested) {
    let error = std::io::ErrorKind::StaleNetworkFileHandle.into();
    spool
        .spool
        .fail_to("cannot read a file in it", error, spool.now);
    let [SpoolEvent::Problem(_)] = spool.events()[..] else {
        panic!("no problem");
    };
}

/// The uploader reads once a second while it takes something to be on disk.
#[test]
fn reading_does_not_put_off_that_the_directory_is_opened_again() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    spool.store(&item(1));
    lose_the_directory(&mut spool);
    let mut read = Vec::new();
    for _ in 0..4 {
        spool.now += Duration::from_secs(1);
        read.extend(spool.drain().0.into_iter().map(|(_, item)| item));
    }
    assert_eq!(read, [item(1)]);
    spool.store(&item(2));
}

#[test]
fn files_that_vanish_are_counted() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    for number in 0..3 {
        spool.store(&item(number));
    }
    drop(spool);
    let (mut spool, _) = Tested::start(&temp.spool(), LIMIT);
    fs::remove_file(&temp.files()[0]).unwrap();
    let (read, others) = spool.drain();
    assert_eq!(
        (read, others),
        (
            vec![],
            vec![lost(&[item(0), item(1), item(2)], LossReason::Vanished)]
        )
    );

    // The whole directory, while there are files that are not open.
    spool.store(&item(3));
    drop(spool);
    let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, [found(&[item(3)])]);
    fs::remove_dir_all(temp.spool()).unwrap();
    assert_problem(store(&mut spool, &item(4)), "cannot write to it");
    spool.now += Duration::from_secs(3);
    let vanished = lost(&[item(3)], LossReason::Vanished);
    assert_eq!(spool.events(), [vanished, SpoolEvent::Recovered]);
    assert_eq!(spool.usage(), 0);
}

#[test]
fn a_file_that_may_be_read_no_longer_is_left_for_the_next_start() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    spool.store(&item(1));
    drop(spool);
    let (mut spool, _) = Tested::start(&temp.spool(), LIMIT);
    let chmod = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(&temp.files()[0], permissions).unwrap();
    };
    chmod(0o666);
    let (read, others) = spool.drain();
    assert_eq!(
        (read, others),
        (vec![], vec![lost(&[item(1)], LossReason::Unreadable)])
    );
    assert_eq!(spool.usage(), 0);
    drop(spool);
    chmod(0o600);
    let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, [found(&[item(1)])]);
    assert_eq!(spool.drain_items(), [item(1)]);
}

#[test]
fn a_directory_that_is_moved_is_used_where_it_is() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    spool.store(&item(1));
    let moved = temp.0.join("moved");
    fs::rename(temp.spool(), &moved).unwrap();
    spool.store(&item(2));
    assert_eq!(spool.drain_items(), [item(1), item(2)]);
    assert_eq!(files(&moved).len(), 1);
}

/// "Kept for the next start" must be true.
#[test]
fn what_was_removed_while_it_was_open_is_written_again_at_the_end() {
    for all in [false, true] {
        let temp = TempDir::new();
        let mut spool = Tested::empty(&temp.spool(), LIMIT);
        for number in 1..4 {
            spool.store(&item(number));
        }
        match all {
            true => fs::remove_dir_all(temp.spool()).unwrap(),
            false => fs::remove_file(temp.files().remove(0)).unwrap(),
        }
        assert_eq!(spool.send(SpoolMessage::Flush), [SpoolEvent::Flushed]);
        drop(spool);
        let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
        let items = [1, 2, 3].map(item);
        assert_eq!(events, [found(&items)]);
        assert_eq!(spool.drain_items(), items);
    }
}

#[test]
fn what_was_removed_and_cannot_be_written_again_is_lost_before_the_end() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    spool.store(&item(1));
    fs::remove_dir_all(temp.spool()).unwrap();
    fs::write(temp.spool(), "in the way").unwrap();
    let events = spool.send(SpoolMessage::Flush);
    let gone = lost(&[item(1)], LossReason::Vanished);
    assert!(events.contains(&gone), "{events:?}");
    assert!(events.last() == Some(&SpoolEvent::Flushed), "{events:?}");
}
