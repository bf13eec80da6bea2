//! The directory of the spool: the checks of the directory, and access to the files in it.
//!
//! A directory that does not exist is created with mode 0700; the one above it must exist. One that
//! does exist must not be a symbolic link, must not be writable for everybody, and must belong to
//! the daemon's user or to root. Its group may write: a volume with `fsGroup` is root's, with the
//! daemon in its group. A file system may also show one fixed owner for all files, as an access
//! point of EFS does; then the owner of a new file is the owner of the directory, and that will do.
//!
//! Files have mode 0600. A file that is a link, has another owner, or that others may write is left
//! alone. The group of the directory may write to files where it may write to the directory: Kubernetes
//! gives it this right each time that it mounts a volume with `fsGroup`. All names are looked up in the opened directory, so that nobody can put another one in its
//! place in between.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self as at, Access, AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::process::geteuid;

use super::error::DirectoryError;
use super::lock::{self, LockError};

/// Most files that are read in one directory: thousands of times more than the daemon writes.
const MAX_FILES: usize = 100_000;

const NEW_FILE: OFlags = OFlags::RDWR
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A directory that this process has locked.
#[derive(Debug)]
pub(crate) struct SpoolDirectory {
    fd: OwnedFd,
    path: PathBuf,
    trust: Trust,
    lock: File,
}

impl SpoolDirectory {
    /// Creates the directory if it is missing, checks it and locks it.
    pub(super) fn open(path: &Path) -> Result<SpoolDirectory, DirectoryError> {
        // `link/` would be followed where `link` is not.
        let path: PathBuf = path.components().collect();
        let fd = open_or_create(&path)?;
        let system = |what| {
            let path = path.clone();
            move |error: rustix::io::Errno| DirectoryError::system(&path, what, error)
        };
        let trust = Trust::of(&fd, &path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = at::openat(&fd, lock::NAME, flags, Mode::RUSR | Mode::WUSR)
            .map_err(system("cannot open its lock file"))?;
        check(&file, trust)
            .map_err(|error| DirectoryError::system(&path, "cannot use its lock file", error))?;
        let lock = match lock::acquire(file) {
            Ok(lock) => lock,
            Err(LockError::Held(holder)) => return Err(DirectoryError::Locked { path, holder }),
            Err(LockError::System(error)) => {
                return Err(DirectoryError::system(&path, "cannot lock it", error));
            }
        };
        Ok(SpoolDirectory {
            fd,
            path,
            trust,
            lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The numbers of all spool files, ascending, those of others too.
    pub(super) fn list(&self) -> io::Result<BTreeSet<u64>> {
        let mut numbers = BTreeSet::new();
        for entry in Dir::read_from(&self.fd)? {
            numbers.extend(entry?.file_name().to_str().ok().and_then(number));
            if numbers.len() >= MAX_FILES {
                break;
            }
        }
        Ok(numbers)
    }

    /// Opens a file for reading and for marking its records.
    ///
    /// # Errors
    /// `InvalidData` for a file that must be left alone, otherwise what the system says.
    pub(super) fn open_file(&self, number: u64) -> io::Result<File> {
        // A pipe in the place of a file must not block the thread.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd =
            at::openat(&self.fd, name(number), flags, Mode::empty()).map_err(
                |error| match error {
                    rustix::io::Errno::LOOP => left_alone("it is a symbolic link"),
                    error => error.into(),
                },
            )?;
        check(&fd, self.trust)?;
        Ok(fd.into())
    }

    /// Creates a file of this number, which must not exist.
    pub(super) fn create_file(&self, number: u64) -> io::Result<File> {
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(at::openat(&self.fd, name(number), NEW_FILE, mode)?.into())
    }

    /// The number of the file's inode. `None`: there is no such file.
    pub(super) fn inode(&self, number: u64) -> Option<u64> {
        let stat = at::statat(&self.fd, name(number), AtFlags::SYMLINK_NOFOLLOW);
        stat.ok().map(|stat| stat.st_ino)
    }

    /// Removes a file. A missing file is not an error.
    pub(super) fn remove_file(&self, number: u64) -> io::Result<()> {
        match at::unlinkat(&self.fd, name(number), AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes so many bytes into a file that goes at once.
    ///
    /// # Errors
    /// What keeps files here from being created, written, synchronised or removed.
    pub(super) fn try_to_write(&self, bytes: usize) -> io::Result<()> {
        let mut file = File::from(unnamed_file(&self.fd)?);
        file.write_all(&vec![0; bytes])?;
        file.sync_data()
    }

    /// Synchronises the directory, so that new names survive a crash of the host.
    pub(super) fn synchronise(&self) -> io::Result<()> {
        match at::fsync(&self.fd) {
            // Some file systems cannot do that for a directory, and do not need it.
            Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for SpoolDirectory {
    /// Closing the file is not enough while a program that is just being started has a copy of it.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// Whether the daemon could keep segments in this directory, which is neither created nor locked.
/// `false`: it is not there yet, and can be created.
///
/// # Errors
/// What would keep the daemon from it.
pub(crate) fn examine(path: &Path) -> Result<bool, DirectoryError> {
    let path: PathBuf = path.components().collect();
    let writable = |directory: &Path, otherwise| {
        let access = Access::WRITE_OK | Access::EXEC_OK;
        at::accessat(CWD, directory, access, AtFlags::empty())
            .map_err(|error| DirectoryError::system(&path, otherwise, error))
    };
    let stat = at::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW);
    if stat.err() == Some(rustix::io::Errno::NOENT) {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty());
        writable(above.unwrap_or(Path::new(".")), "cannot create it")?;
        return Ok(false);
    }
    let fd = open_or_create(&path)?;
    Trust::of(&fd, &path)?;
    writable(&path, "cannot write to it")?;
    Ok(true)
}

/// Who else may own files in the directory, and write to them.
#[derive(Debug, Clone, Copy)]
struct Trust {
    owner: u32,
    /// The group of the directory, if it may write to the directory.
    group: Option<u32>,
}

impl Trust {
    /// What the directory itself says, if it can be trusted.
    fn of(fd: &OwnedFd, path: &Path) -> Result<Self, DirectoryError> {
        let stat = at::fstat(fd)
            .map_err(|error| DirectoryError::system(path, "cannot examine it", error))?;
        let path = path.to_owned();
        let mode = Mode::from_raw_mode(stat.st_mode);
        if mode.contains(Mode::WOTH) {
            return Err(DirectoryError::OthersCanWrite(path));
        }
        let (owner, user) = (stat.st_uid, geteuid().as_raw());
        if !is_trusted_owner(owner, user, || owner_of_new_file(fd)) {
            return Err(DirectoryError::ForeignOwner { path, owner, user });
        }
        let group = mode.contains(Mode::WGRP).then_some(stat.st_gid);
        Ok(Trust { owner, group })
    }
}

/// Opens the directory itself, never one that a symbolic link leads to.
fn open_or_create(path: &Path) -> Result<OwnedFd, DirectoryError> {
    use rustix::io::Errno;

    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut opened = at::openat(CWD, path, flags, Mode::empty());
    if opened.as_ref().err() == Some(&Errno::NOENT) {
        at::mkdirat(CWD, path, Mode::RWXU)
            .or_else(|error| {
                if error == Errno::EXIST {
                    Ok(())
                } else {
                    Err(error)
                }
            })
            .map_err(|error| DirectoryError::system(path, "cannot create it", error))?;
        opened = at::openat(CWD, path, flags, Mode::empty());
    }
    opened.map_err(|error| {
        let stat = at::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
        match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Ok(FileType::Symlink) => DirectoryError::Symlink(path.to_owned()),
            Ok(FileType::Directory) | Err(_) => {
                DirectoryError::system(path, "cannot open it", error)
            }
            Ok(_) => DirectoryError::NotADirectory(path.to_owned()),
        }
    })
}

/// Whether a directory of `owner` is safe for `user`. A new file is created only to decide the rare
/// case.
pub(super) fn is_trusted_owner(
    owner: u32,
    user: u32,
    owner_of_new_file: impl FnOnce() -> Option<u32>,
) -> bool {
    owner == 0 || owner == user || owner_of_new_file() == Some(owner)
}

/// The owner that the file system gives to files of this process.
fn owner_of_new_file(directory: &OwnedFd) -> Option<u32> {
    let file = unnamed_file(directory).ok()?;
    Some(at::fstat(&file).ok()?.st_uid)
}

/// A new file whose name is removed already.
fn unnamed_file(directory: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let name = format!("probe-{}", std::process::id());
    // A process of this number may have been killed before it removed its own.
    let _ = at::unlinkat(directory, &name, AtFlags::empty());
    let file = at::openat(directory, &name, NEW_FILE, Mode::RUSR | Mode::WUSR)?;
    at::unlinkat(directory, &name, AtFlags::empty())?;
    Ok(file)
}

/// Whether an opened file may be used.
fn check(file: &OwnedFd, trust: Trust) -> io::Result<()> {
    let stat = at::fstat(file)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    let group_writes = mode.contains(Mode::WGRP) && trust.group != Some(stat.st_gid);
    let why = if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        "it is not a regular file"
    } else if stat.st_nlink > 1 {
        "it has a second name (a hard link)"
    } else if ![trust.owner, geteuid().as_raw()].contains(&stat.st_uid) {
        "it belongs to another user"
    } else if group_writes || mode.contains(Mode::WOTH) {
        "others may write to it"
    } else {
        return Ok(());
    };
    Err(left_alone(why))
}

fn left_alone(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The name of the file with this number. Names sort as numbers do.
pub(super) fn name(number: u64) -> String {
    format!("{number:016x}.spool")
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".spool")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (self::name(number) == name).then_some(number)
}
