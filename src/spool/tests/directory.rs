use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use super::*;
use crate::spool::directory::{SpoolDirectory, is_trusted_owner};
use crate::spool::error::DirectoryError;

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn error(path: &Path) -> DirectoryError {
    SpoolDirectory::open(path).expect_err("it must be refused")
}

#[test]
fn what_is_created_is_for_this_user_alone() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    spool.store(&item(1));
    assert_eq!(mode(&temp.spool()), 0o700);
    assert_eq!(mode(&temp.files()[0]), 0o600);
    assert_eq!(mode(&temp.spool().join("lock")), 0o600);
}

#[test]
fn a_symbolic_link_is_not_followed() {
    let temp = TempDir::new();
    let (target, link) = (temp.0.join("target"), temp.0.join("link"));
    fs::create_dir(&target).unwrap();
    symlink(&target, &link).unwrap();
    // A slash or a dot behind the name must not hide the link.
    for path in ["link", "link/", "link/.", "link//"] {
        let error = error(&temp.0.join(path));
        assert!(
            matches!(error, DirectoryError::Symlink(_)),
            "{path}: {error}"
        );
    }
    symlink(temp.0.join("nothing"), temp.0.join("dangling")).unwrap();
    let error = error(&temp.0.join("dangling"));
    assert!(matches!(error, DirectoryError::Symlink(_)), "{error}");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    // One on the way to the directory is the host's own affair: /var/run is one.
    drop(SpoolDirectory::open(&link.join("below")).unwrap());
}

#[test]
fn what_is_no_directory_is_refused() {
    let temp = TempDir::new();
    fs::write(temp.spool(), "a file").unwrap();
    let is_a_file = error(&temp.spool());
    assert!(
        matches!(is_a_file, DirectoryError::NotADirectory(_)),
        "{is_a_file}"
    );
    assert_eq!(fs::read(temp.spool()).unwrap(), b"a file");
    let missing = error(&temp.0.join("no/such"));
    assert!(
        missing
            .to_string()
            .ends_with("create the directories above it"),
        "{missing}"
    );
}

#[test]
fn a_directory_that_everybody_may_write_to_is_refused_and_one_below_it_is_not() {
    let temp = TempDir::new();
    fs::create_dir(temp.spool()).unwrap();
    // As an emptyDir of Kubernetes has it, and /tmp.
    for open in [0o777, 0o2777, 0o1777, 0o702] {
        chmod(&temp.spool(), open);
        let error = error(&temp.spool());
        assert!(
            matches!(error, DirectoryError::OthersCanWrite(_)),
            "{error}"
        );
        assert_eq!(mode(&temp.spool()), open, "it is somebody else's to change");
        drop(SpoolDirectory::open(&temp.spool().join("xray")).unwrap());
    }
    // A volume with fsGroup is writable for its group.
    for closed in [0o700, 0o755, 0o770, 0o2775] {
        chmod(&temp.spool(), closed);
        drop(SpoolDirectory::open(&temp.spool()).unwrap());
    }
}

#[test]
fn the_owner_is_this_user_or_root_or_whom_the_file_system_shows_for_all() {
    const ROOT: u32 = 0;
    const USER: u32 = 10_001;
    const OTHER: u32 = 33;
    let cases = [
        (USER, Some(USER), true),
        (ROOT, Some(USER), true),
        (OTHER, Some(USER), false),
        (OTHER, None, false),
        (OTHER, Some(OTHER), true),
    ];
    for (owner, owner_of_new_file, expected) in cases {
        let trusted = is_trusted_owner(owner, USER, || owner_of_new_file);
        assert_eq!(trusted, expected, "{owner}, {owner_of_new_file:?}");
    }
}

#[test]
fn the_second_is_told_who_holds_the_directory() {
    let temp = TempDir::new();
    let first = SpoolDirectory::open(&temp.spool()).unwrap();
    let text = error(&temp.spool()).to_string();
    let holder = format!("in use by process {} on host ", std::process::id());
    assert!(text.contains(&holder), "{text}");
    drop(first);
    let second = SpoolDirectory::open(&temp.spool()).unwrap();
    // Nor may what it says of itself do anything to a terminal.
    fs::write(temp.spool().join("lock"), "\x1b[2J\n\u{202e}evil").unwrap();
    let text = error(&temp.spool()).to_string();
    assert!(text.contains("evil"), "{text}");
    assert!(!text.contains(['\x1b', '\n', '\u{202e}']), "{text:?}");
    fs::write(temp.spool().join("lock"), "").unwrap();
    let text = error(&temp.spool()).to_string();
    assert!(text.contains("has not said who it is"), "{text}");
    drop(second);
}

/// As two tasks on one volume during a deployment.
#[test]
fn the_second_takes_over_when_the_first_ends() {
    let temp = TempDir::new();
    let mut first = Tested::empty(&temp.spool(), LIMIT);
    first.store(&item(1));

    let (mut second, events) = Tested::start(&temp.spool(), LIMIT);
    let [SpoolEvent::Problem(text)] = &events[..] else {
        panic!("{events:?}");
    };
    assert!(text.contains("in use by process"), "{text}");
    let store = |spool: &mut Tested| {
        let item = item(2);
        spool.send(SpoolMessage::Store { id: 1, item })
    };
    for seconds in 0..10 {
        second.now += Duration::from_secs(seconds % 3);
        let [SpoolEvent::StoreFailed { .. }] = store(&mut second)[..] else {
            panic!("stored in a directory of another");
        };
        assert_eq!(second.drain_items(), []);
    }

    drop(first);
    second.now = second
        .spool
        .next_deadline()
        .expect("it tries again by itself");
    assert_eq!(second.events(), [found(&[item(1)]), SpoolEvent::Recovered]);
    assert_eq!(second.spool.next_deadline(), None);
    assert_eq!(second.drain_items(), [item(1)]);
    second.store(&item(2));
}

/// Whoever may write to the directory, as its group, cannot make the daemon follow a link, wait for
/// a pipe, or send what others have written.
#[test]
fn only_plain_files_of_this_user_are_read() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    spool.store(&item(1));
    drop(spool);
    let path = temp.files().remove(0);
    let elsewhere = temp.0.join("elsewhere");
    let left_alone = |why: &str| {
        let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
        assert_eq!(events, [], "{why}");
        assert_eq!(spool.drain_items(), [], "{why}");
        let directory = spool.spool.directory.as_ref().unwrap();
        let error = directory.open_file(0).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };

    for open in [0o620, 0o602, 0o666] {
        chmod(&path, open);
        left_alone("others may write to it");
    }
    chmod(&path, 0o600);
    fs::hard_link(&path, &elsewhere).unwrap();
    left_alone("second name");
    fs::remove_file(&path).unwrap();
    symlink(&elsewhere, &path).unwrap();
    left_alone("symbolic link");
    fs::remove_file(&path).unwrap();
    make_pipe(&path);
    left_alone("not a regular file");
    fs::remove_file(&path).unwrap();

    fs::rename(&elsewhere, &path).unwrap();
    let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, [found(&[item(1)])]);
    assert_eq!(spool.drain_items(), [item(1)]);
}

/// As Kubernetes leaves a volume with `fsGroup` each time that it mounts it.
#[test]
fn the_group_of_the_directory_may_write_to_files_where_it_may_write_to_the_directory() {
    let temp = TempDir::new();
    let mut spool = Tested::empty(&temp.spool(), LIMIT);
    spool.store(&item(1));
    drop(spool);
    let (file, lock) = (temp.files().remove(0), temp.spool().join("lock"));
    chmod(&temp.spool(), 0o2770);
    chmod(&file, 0o660);
    chmod(&lock, 0o660);
    let (mut spool, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, [found(&[item(1)])]);
    assert_eq!(spool.drain_items(), [item(1)]);
    drop(spool);

    // Not one more: neither everybody, nor where the directory is the owner's alone.
    chmod(&file, 0o666);
    let (_, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, []);
    chmod(&file, 0o660);
    chmod(&lock, 0o600);
    chmod(&temp.spool(), 0o700);
    let (_, events) = Tested::start(&temp.spool(), LIMIT);
    assert_eq!(events, []);
}

fn make_pipe(path: &Path) {
    let status = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_lock_file_that_is_a_link_is_not_written_to() {
    let temp = TempDir::new();
    fs::create_dir(temp.spool()).unwrap();
    let (target, lock) = (temp.0.join("target"), temp.spool().join("lock"));
    fs::write(&target, "precious").unwrap();
    chmod(&target, 0o600);
    symlink(&target, &lock).unwrap();
    error(&temp.spool());
    fs::remove_file(&lock).unwrap();
    fs::hard_link(&target, &lock).unwrap();
    error(&temp.spool());
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

#[test]
fn every_error_names_the_directory_and_what_to_do() {
    use std::io::{Error, ErrorKind};

    let path = || PathBuf::from("/var/spool/xray");
    let system = |kind: ErrorKind| DirectoryError::system(&path(), "cannot write to it", kind);
    let cases = [
        (DirectoryError::Symlink(path()), "name the directory"),
        (DirectoryError::NotADirectory(path()), "name another path"),
        (DirectoryError::OthersCanWrite(path()), "below it"),
        (
            DirectoryError::ForeignOwner {
                path: path(),
                owner: 33,
                user: 10_001,
            },
            "change its owner",
        ),
        (
            DirectoryError::Locked {
                path: path(),
                holder: "process 7 on host a".to_owned(),
            },
            "takes over when the other ends",
        ),
        (
            system(ErrorKind::NotFound),
            "create the directories above it",
        ),
        (
            system(ErrorKind::PermissionDenied),
            "let this daemon's user",
        ),
        (system(ErrorKind::StorageFull), "make room"),
        (system(ErrorKind::ReadOnlyFilesystem), "can be written"),
    ];
    for (error, advice) in cases {
        let text = error.to_string();
        assert!(text.contains("\"/var/spool/xray\""), "{text}");
        assert!(text.contains(advice), "{text}");
    }
    let other = DirectoryError::system(&path(), "cannot lock it", Error::other("no locks"));
    assert!(
        other.to_string().ends_with("cannot lock it: no locks"),
        "{other}"
    );
}
