use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn the_next_process_reads_what_was_stored_oldest_first() {
    let temp = TempDir::new();
    let items: Vec<SpoolItem> = (0..20).map(item).collect();
    let mut first = Tested::empty(&temp.spool(), LIMIT);
    for item in &items {
        first.store(item);
    }
    drop(first);

    let (mut second, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, [found(&items)]);
    let (read, others) = second.drain();
    assert_eq!(others, []);
    let (records, read): (Vec<RecordId>, Vec<SpoolItem>) = read.into_iter().unzip();
    assert_eq!(read, items);

    for record in records {
        assert_eq!(temp.files().len(), 1);
        second.settle(record);
    }
    assert_eq!(temp.files(), Vec::<PathBuf>::new());
    assert_eq!(second.usage(), 0);
}

#[test]
fn one_process_reads_what_it_has_stored_and_stores_on() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    spool.store(&item(1));
    assert_eq!(spool.drain_items(), [item(1)]);
    spool.store(&item(2));
    spool.store(&item(3));
    assert_eq!(spool.drain_items(), [item(2), item(3)]);
    assert_eq!(spool.drain_items(), []);
}

#[test]
fn what_is_settled_is_not_sent_again_and_what_is_not_is() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    for number in 0..4 {
        spool.store(&item(number));
    }
    let (read, _) = spool.drain();
    spool.settle(read[1].0);
    spool.settle(read[3].0);
    // Settling twice, or after the file has gone, does nothing.
    spool.settle(read[3].0);
    drop(spool);

    let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, [found(&[item(0), item(2)])]);
    assert_eq!(spool.drain_items(), [item(0), item(2)]);
}

#[test]
fn what_is_settled_before_it_is_read_is_never_read() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    let records: Vec<RecordId> = (0..4).map(|number| spool.store(&item(number))).collect();
    spool.settle(records[0]);
    spool.settle(records[2]);
    assert_eq!(spool.drain_items(), [item(1), item(3)]);
    drop(spool);
    let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, [found(&[item(1), item(3)])]);
    let (read, _) = spool.drain();
    for (record, _) in &read {
        spool.send(SpoolMessage::Release(*record));
    }
    for (record, _) in read {
        spool.settle(record);
    }
    assert_eq!(temp.files(), Vec::<PathBuf>::new());
}

#[test]
fn what_is_released_before_it_is_read_stays_to_be_read() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    let records: Vec<RecordId> = (0..2).map(|number| spool.store(&item(number))).collect();
    let released = |record, kept| [SpoolEvent::Released { record, kept }];
    let events = spool.send(SpoolMessage::Release(records[1]));
    assert_eq!(events, released(records[1], true));
    assert_eq!(spool.drain_items(), [item(0), item(1)]);
    spool.settle(records[0]);
    let events = spool.send(SpoolMessage::Release(records[0]));
    assert_eq!(events, released(records[0], false));
}

#[test]
fn a_file_goes_when_all_in_it_is_settled_before_it_is_read() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    let records: Vec<RecordId> = (0..3).map(|number| spool.store(&item(number))).collect();
    spool.now += Duration::from_secs(6);
    assert_eq!(spool.events(), []);
    for record in records {
        assert_eq!(temp.files().len(), 1);
        spool.settle(record);
    }
    assert_eq!(temp.files(), Vec::<PathBuf>::new());
    assert_eq!(spool.usage(), 0);
}

#[test]
fn one_read_gives_at_least_one_record_and_then_so_many_bytes() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    for number in 0..9 {
        spool.store(&item(number));
    }
    let mut restored = |max_bytes| {
        let events = spool.read(XRayApi::Segments, max_bytes);
        let more = SpoolEvent::ReadFinished {
            destination: XRayApi::Segments,
            more: events.len() == 1 || max_bytes < 1000,
        };
        assert_eq!(events.last(), Some(&more));
        events.len() - 1
    };
    let bytes = |number| item(number).body.bytes().len();
    assert_eq!(restored(0), 1);
    assert_eq!(restored(1), 1);
    assert_eq!(restored(bytes(2) + 1), 2);
    assert_eq!(restored(bytes(4) + bytes(5)), 2);
    assert_eq!(restored(1000), 3);
}

#[test]
fn spans_and_segments_are_read_apart() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    for number in 0..3 {
        spool.store(&item(number));
        spool.store(&spans(number));
    }
    let events = spool.read(XRayApi::Otlp, 1000);
    let items: Vec<&SpoolItem> = events
        .iter()
        .filter_map(|event| match event {
            SpoolEvent::Restored { item, .. } => Some(item),
            _ => None,
        })
        .collect();
    assert_eq!(items, [&spans(0), &spans(1), &spans(2)]);
    assert_eq!(spool.drain_items(), [item(0), item(1), item(2)]);
}

#[test]
fn at_the_limit_the_oldest_segments_go_and_are_counted() {
    let temp = TempDir::new();
    let limit = 64 * 1024;
    let mut spool = Tested::empty(&temp.spool(), limit);
    let total = 1000;
    let mut dropped = 0;
    let mut records = Vec::new();
    for number in 0..total {
        let item = item(number);
        for event in spool.send(SpoolMessage::Store { id: 1, item }) {
            match event {
                SpoolEvent::Stored { record, .. } => records.push(record),
                SpoolEvent::Lost {
                    destination: XRayApi::Segments,
                    amount,
                    reason: LossReason::Limit,
                    ..
                } => dropped += amount.documents,
                other => panic!("{other:?}"),
            }
        }
        assert!(spool.usage() <= limit);
    }
    let on_disk: u64 = temp
        .files()
        .iter()
        .map(|f| f.metadata().unwrap().len())
        .sum();
    assert_eq!(on_disk, spool.usage());
    assert!(on_disk > limit / 2, "the limit is used: {on_disk}");
    assert!(dropped > 0);
    let is_lost = |record| spool.lost.iter().any(|range| range.contains(record));
    let lost = records.iter().filter(|record| is_lost(**record)).count();
    assert_eq!(lost as u64, dropped, "it is said which they were");
    let newest: Vec<SpoolItem> = (dropped..total).map(item).collect();
    assert_eq!(spool.drain_items(), newest);
}

#[test]
fn what_is_being_sent_is_never_dropped_for_the_limit() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), 20_000);
    let store = |spool: &mut Tested, number| {
        let item = item(number);
        spool.send(SpoolMessage::Store { id: 1, item })
    };
    let mut records = Vec::new();
    let refused = (0..).find(|&number| {
        let [SpoolEvent::Stored { .. }] = store(&mut spool, number)[..] else {
            return true;
        };
        records.extend(spool.drain().0.into_iter().map(|(record, _)| record));
        false
    });
    let number = refused.unwrap();
    let error = StoreError::NoRoom;
    let failed = SpoolEvent::StoreFailed {
        id: 1,
        destination: XRayApi::Segments,
        error,
    };
    assert_eq!(store(&mut spool, number), [failed]);
    records.into_iter().for_each(|record| spool.settle(record));
    spool.store(&item(number));
}

#[test]
fn spans_take_half_at_most_and_neither_drops_the_other() {
    let temp = TempDir::new();
    let limit = 64 * 1024;
    let mut spool = Tested::empty(&temp.spool(), limit);
    spool.store(&item(0));
    let fits = |spool: &mut Tested, item: SpoolItem| {
        let events = spool.send(SpoolMessage::Store { id: 1, item });
        matches!(events[..], [SpoolEvent::Stored { .. }])
    };
    let spans_stored = (0..).take_while(|&n| fits(&mut spool, spans(n))).count();
    let used = spool.spool.bytes(Some(XRayApi::Otlp));
    assert!(used <= limit / 2 && used > limit / 4, "{used}");
    // Segments fill the rest, and go round in it.
    let lost: u64 = (1..2000)
        .flat_map(|n| {
            spool.send(SpoolMessage::Store {
                id: 1,
                item: item(n),
            })
        })
        .filter_map(|event| match event {
            SpoolEvent::Lost {
                destination,
                amount,
                ..
            } => {
                assert_eq!(destination, XRayApi::Segments);
                Some(amount.documents)
            }
            _ => None,
        })
        .sum();
    assert!(lost > 0);
    assert!(!fits(&mut spool, spans(0)));
    let events = spool.read(XRayApi::Otlp, usize::MAX);
    assert_eq!(events.len() - 1, spans_stored);
}

#[test]
fn a_body_too_long_for_a_record_is_refused() {
    use crate::batch::compressed::MAX_BODY;

    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), u64::MAX);
    let store = |spool: &mut Tested, length| {
        let item = item_of(&vec![b' '; length], 1, BodyKind::Segments, at(1));
        spool.send(SpoolMessage::Store { id: 1, item })
    };
    let [SpoolEvent::StoreFailed { error, .. }] = &store(&mut spool, MAX_BODY + 1)[..] else {
        panic!("it was stored");
    };
    assert_eq!(*error, StoreError::TooLong);
    let [SpoolEvent::Stored { .. }] = store(&mut spool, MAX_BODY)[..] else {
        panic!("it was not stored");
    };
}

#[test]
fn what_is_too_old_is_dropped_and_counted() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    for number in 0..6 {
        spool.store(&item(number));
    }
    let events = spool.send(SpoolMessage::Read {
        destination: XRayApi::Segments,
        max_bytes: 1000,
        not_before: at(1_000_004),
    });
    let old = |number| lost(&[item(number)], LossReason::TooOld);
    assert_eq!(events[..4], [old(0), old(1), old(2), old(3)]);
    let [
        SpoolEvent::Restored {
            record: a,
            item: first,
        },
        SpoolEvent::Restored { record: b, .. },
        SpoolEvent::ReadFinished { more: false, .. },
    ] = &events[4..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(*first, item(4));
    let (a, b) = (*a, *b);
    spool.settle(a);
    spool.settle(b);
    assert_eq!(temp.files(), Vec::<PathBuf>::new());
}

#[test]
fn a_released_record_is_read_again_before_others() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    for number in 0..3 {
        spool.store(&item(number));
    }
    let events = spool.read(XRayApi::Segments, 1);
    let [SpoolEvent::Restored { record, .. }, _] = events[..] else {
        panic!("{events:?}");
    };
    let released = |kept| [SpoolEvent::Released { record, kept }];
    assert_eq!(spool.send(SpoolMessage::Release(record)), released(true));
    // A second time changes nothing.
    assert_eq!(spool.send(SpoolMessage::Release(record)), released(true));
    assert_eq!(spool.drain_items(), [item(0), item(1), item(2)]);

    // Where somebody has removed the file, the item is in memory alone.
    fs::remove_file(&temp.files()[0]).unwrap();
    assert_eq!(spool.send(SpoolMessage::Release(record)), released(false));
}

#[test]
fn a_torn_tail_costs_its_record_and_stays_for_nobody() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    spool.store(&item(0));
    spool.store(&item(1));
    drop(spool);
    let path = &temp.files()[0];
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();

    // Nobody was told that it was stored, so it is not said to be damaged.
    let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, [found(&[item(0)])]);
    let (read, others) = spool.drain();
    assert_eq!((read.len(), others), (1, vec![]));
    assert_eq!(read[0].1, item(0));
    spool.settle(read[0].0);
    assert_eq!(temp.files(), Vec::<PathBuf>::new());
}

#[test]
fn a_damaged_record_is_skipped_and_counted() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    let mut offsets = Vec::new();
    for number in 0..5 {
        offsets.push(spool.store(&item(number)).offset);
    }
    drop(spool);
    // The header of the second, and the body of the fourth.
    damage(&temp.files()[0], offsets[1] + 20);
    damage(&temp.files()[0], offsets[3] + 60);

    let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(
        events,
        [
            found(&[item(0), item(2), item(3), item(4)]),
            SpoolEvent::Damaged { places: 1 }
        ]
    );
    let (read, others) = spool.drain();
    let numbers: Vec<SpoolItem> = read.iter().map(|(_, item)| item.clone()).collect();
    assert_eq!(numbers, [item(0), item(2), item(4)]);
    assert_eq!(others, [lost(&[item(3)], LossReason::Damaged)]);
    read.into_iter()
        .for_each(|(record, _)| spool.settle(record));
    assert_eq!(temp.files(), Vec::<PathBuf>::new());
}

/// An interrupted write leaves no whole header that is damaged.
#[test]
fn a_damaged_last_record_is_counted_too() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    spool.store(&item(0));
    let last = spool.store(&item(1)).offset;
    drop(spool);
    damage(&temp.files()[0], last + 20);
    let length = temp.files()[0].metadata().unwrap().len();

    let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
    let damaged = SpoolEvent::Damaged { places: 1 };
    assert_eq!(events, [found(&[item(0)]), damaged]);
    assert_eq!(spool.usage(), length);
    let (read, others) = spool.drain();
    assert_eq!((read.len(), others), (1, vec![]));
    spool.settle(read[0].0);
    assert_eq!(temp.files(), Vec::<PathBuf>::new());
}

/// A record whose mark cannot be written is read again, and takes no other one with it.
#[test]
fn what_cannot_be_marked_as_settled_costs_no_other_record() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    let first = spool.store(&item(1));
    spool.store(&item(2));
    let path = temp.files().remove(0);
    let reopen = |spool: &mut Tested, write| {
        let handle = OpenOptions::new().read(true).write(write).open(&path);
        spool.spool.files.get_mut(&first.file).unwrap().handle = Some(handle.unwrap());
    };
    reopen(&mut spool, false);
    let [SpoolEvent::Problem(_)] = spool.send(SpoolMessage::Settled(first))[..] else {
        panic!("it was marked");
    };
    reopen(&mut spool, true);
    let events = spool.read(XRayApi::Segments, 1);
    let [SpoolEvent::Restored { record, .. }, _] = events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(record, first);
    spool.settle(record);
    assert_eq!(spool.drain_items(), [item(2)]);
}

/// Damage that comes after the records were counted is in the counts all the same.
#[test]
fn damage_while_the_process_runs_is_counted_too() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    let first = spool.store(&item(0)).offset;
    spool.store(&item(1));
    damage(&temp.files()[0], first);
    let (read, others) = spool.drain();
    assert_eq!((read.len(), others), (1, vec![]));
    assert_eq!(read[0].1, item(1));
    let events = spool.send(SpoolMessage::Settled(read[0].0));
    assert_eq!(events, [lost(&[item(0)], LossReason::Damaged)]);
}

fn damage(path: &Path, offset: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(offset).unwrap()] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn files_of_others_are_left_alone() {
    let temp = TempDir::new();
    let others = [
        SpoolIdentity::new("us-east-1", "https://xray.eu-west-1.amazonaws.com", ""),
        SpoolIdentity::new("eu-west-1", "http://localhost:3000", ""),
        SpoolIdentity::new("eu-west-1", "https://xray.eu-west-1.amazonaws.com", "arn"),
    ];
    for identity in others {
        let mut other = Tested {
            spool: Spool::new(SpoolSettings {
                directory: temp.spool(),
                limit: LIMIT,
            }),
            now: Instant::now(),
            lost: Vec::new(),
        };
        assert_eq!(other.send(SpoolMessage::Open(identity)), []);
        other.store(&item(1));
    }
    let write = |name: &str, bytes: &[u8]| {
        let path = temp.spool().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let newer = fs::read(&temp.files()[0]).map(|mut bytes| {
        bytes[7] += 1;
        bytes
    });
    write("0000000000000009.spool", &newer.unwrap());
    write("000000000000000a.spool", b"no header");
    write("9.spool", b"not a name of ours");
    write("notes.txt", b"x");
    fs::create_dir(temp.spool().join("lost+found.spool")).unwrap();

    let contents = || {
        let files = temp.files().into_iter();
        files
            .map(|file| (fs::read(&file).ok(), file))
            .collect::<Vec<_>>()
    };
    let before = contents();
    let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, []);
    assert_eq!(spool.usage(), 0);
    assert_eq!(spool.drain_items(), []);
    let record = spool.store(&item(5));
    assert_eq!(record.file, 0xb, "numbers of others are not used again");
    let (read, _) = spool.drain();
    assert_eq!(read[0].1, item(5));
    spool.settle(read[0].0);
    assert_eq!(contents(), before);
}

#[test]
fn a_directory_full_of_random_bytes_gives_nothing_and_hurts_nothing() {
    let temp = TempDir::new();
    fs::create_dir(temp.spool()).unwrap();
    let mut seed = 1_u64;
    for number in 0..50_u64 {
        let mut bytes = if number % 2 == 0 {
            b"XRAYSPL\x01".to_vec()
        } else {
            Vec::new()
        };
        for _ in 0..number * 20 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.push((seed >> 56) as u8);
        }
        let mut options = OpenOptions::new();
        options.create_new(true).write(true);
        let path = temp.spool().join(format!("{number:016x}.spool"));
        options.open(path).unwrap().write_all(&bytes).unwrap();
    }
    let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, []);
    assert_eq!(spool.drain_items(), []);
    spool.store(&item(1));
    assert_eq!(spool.drain_items(), [item(1)]);
}

/// The process ended between creating the file and writing its header.
#[test]
fn an_empty_file_goes() {
    let temp = TempDir::new();
    drop(Tested::empty(&temp.spool(), LIMIT));
    let path = temp.spool().join("0000000000000003.spool");
    fs::write(&path, b"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    drop(Tested::empty(&temp.spool(), LIMIT));
    assert_eq!(temp.files(), Vec::<PathBuf>::new());
}

#[test]
fn nothing_is_stored_before_it_is_known_whose_it_is() {
    let temp = TempDir::new();
    let mut spool = Tested {
        spool: Spool::new(SpoolSettings {
            directory: temp.spool(),
            limit: LIMIT,
        }),
        now: Instant::now(),
        lost: Vec::new(),
    };
    let item = item(1);
    let events = spool.send(SpoolMessage::Store { id: 1, item });
    let [SpoolEvent::StoreFailed { error, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*error, StoreError::Unavailable);
    assert_eq!(spool.drain_items(), []);
    assert!(!temp.spool().exists());
}

#[test]
fn usage_is_told_when_it_changes() {
    let temp = TempDir::new();
    let mut spool = Spool::new(SpoolSettings {
        directory: temp.spool(),
        limit: LIMIT,
    });
    let now = Instant::now();
    let mut usage = |message| {
        spool.handle(message, now);
        let events = spool.take_events();
        events.into_iter().find_map(|event| match event {
            SpoolEvent::Usage(usage) => Some(usage),
            _ => None,
        })
    };
    assert_eq!(usage(SpoolMessage::Open(identity())), None);
    let newer = usage(SpoolMessage::Store {
        id: 0,
        item: item(5),
    })
    .unwrap();
    assert_eq!(newer.oldest, Some(at(1_000_005)));
    let older = usage(SpoolMessage::Store {
        id: 0,
        item: item(2),
    })
    .unwrap();
    assert_eq!(older.oldest, Some(at(1_000_002)));
    assert!(older.bytes > newer.bytes);
    assert_eq!(usage(SpoolMessage::Flush), None);
}

#[test]
fn what_was_stored_is_synchronised_within_the_interval() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    assert_eq!(spool.spool.next_deadline(), None, "no wake-up without need");
    let due = spool.now + SYNC_INTERVAL;
    spool.store(&item(1));
    assert_eq!(spool.spool.next_deadline(), Some(due));
    spool.now += Duration::from_secs(1);
    spool.store(&item(2));
    assert_eq!(spool.spool.next_deadline(), Some(due));
    spool.now = due;
    assert_eq!(spool.events(), []);
    assert_eq!(spool.spool.next_deadline(), None);

    spool.store(&item(3));
    assert_eq!(spool.send(SpoolMessage::Flush), [SpoolEvent::Flushed]);
    assert_eq!(spool.spool.next_deadline(), None);
}

/// A number behind the highest does not exist.
#[test]
fn a_file_of_somebody_else_with_the_highest_number_changes_nothing() {
    let temp = TempDir::new();
    drop(Tested::empty(&temp.spool(), LIMIT));
    for number in [u64::MAX, 1] {
        let path = temp.spool().join(format!("{number:016x}.spool"));
        fs::write(&path, b"no header").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    spool.spool.next_number = 1;
    assert_eq!(spool.store(&item(1)).file, 2, "1 is taken");
    drop(spool);
    let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, [found(&[item(1)])]);
    assert_eq!(spool.store(&item(2)).file, 3);
    assert_eq!(spool.drain_items(), [item(1), item(2)]);
}

/// It may be that the file cannot be removed, and then the next process finds it.
#[test]
fn the_last_record_of_a_file_is_marked_before_the_file_goes() {
    let temp = TempDir::new();
    for is_read in [true, false] {
        let mut spool = Tested::empty(&temp.spool(), LIMIT);
        let stored = spool.store(&item(1));
        let (path, second) = (temp.files().remove(0), temp.0.join("second"));
        let record = match is_read {
            true => spool.drain().0[0].0,
            false => stored,
        };
        fs::hard_link(&path, &second).unwrap();
        spool.settle(record);
        assert_eq!(temp.files(), Vec::<PathBuf>::new());
        drop(spool);
        fs::rename(&second, &path).unwrap();
        drop(Tested::empty(&temp.spool(), LIMIT));
    }
}

#[test]
fn losses_are_logged_with_their_sum_and_once_a_minute() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    let start = spool.now;
    let one = RecordAmount::of(1, 10);
    for second in 0..10 {
        let now = start + Duration::from_secs(second);
        let report = &mut spool.spool.report;
        report.lost(XRayApi::Segments, one, LossReason::Limit, None, now);
        report.lost(XRayApi::Segments, one, LossReason::Damaged, None, now);
        report.log_losses(now, false);
    }
    // The first lines come after a second, and the next ones a minute later.
    let next = start + Duration::from_secs(61);
    assert_eq!(spool.spool.report.next_line(), Some(next));
    assert_eq!(spool.spool.next_deadline(), Some(next));
    spool.spool.report.log_losses(next, false);
    assert_eq!(spool.spool.report.next_line(), None);
}
