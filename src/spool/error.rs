//! Why the spool cannot be used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a directory cannot be used as the spool, or cannot be used any longer.
#[derive(Debug)]
pub(crate) enum DirectoryError {
    /// The path leads to a symbolic link.
    Symlink(PathBuf),
    /// It is something other than a directory.
    NotADirectory(PathBuf),
    /// Every user of the host may write into it.
    OthersCanWrite(PathBuf),
    /// It belongs to another user.
    ForeignOwner {
        path: PathBuf,
        owner: u32,
        user: u32,
    },
    /// Another process has locked it; this is its description.
    Locked { path: PathBuf, holder: String },
    /// A system call failed.
    System {
        path: PathBuf,
        what: &'static str,
        error: io::Error,
    },
}

impl DirectoryError {
    pub(super) fn system(path: &Path, what: &'static str, error: impl Into<io::Error>) -> Self {
        DirectoryError::System {
            path: path.to_owned(),
            what,
            error: error.into(),
        }
    }

    fn path(&self) -> &Path {
        match self {
            DirectoryError::Symlink(path)
            | DirectoryError::NotADirectory(path)
            | DirectoryError::OthersCanWrite(path)
            | DirectoryError::ForeignOwner { path, .. }
            | DirectoryError::Locked { path, .. }
            | DirectoryError::System { path, .. } => path,
        }
    }
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use the spool directory {:?}: ", self.path())?;
        match self {
            DirectoryError::Symlink(_) => {
                f.write_str("it is a symbolic link; name the directory that it leads to")
            }
            DirectoryError::NotADirectory(_) => {
                f.write_str("it is not a directory; name another path")
            }
            DirectoryError::OthersCanWrite(_) => f.write_str(
                "every user may write to it; name a directory below it that does not exist yet, \
                 the daemon creates it for itself alone",
            ),
            DirectoryError::ForeignOwner { owner, user, .. } => write!(
                f,
                "it belongs to user {owner}, and this daemon runs as user {user}; \
                 change its owner or name another directory"
            ),
            DirectoryError::Locked { holder, .. } => write!(
                f,
                "it is in use by {holder}; each daemon needs a directory of its own, \
                 this one takes over when the other ends"
            ),
            DirectoryError::System { what, error, .. } => {
                write!(f, "{what}: {error}")?;
                f.write_str(match error.kind() {
                    io::ErrorKind::NotFound => "; create the directories above it",
                    io::ErrorKind::PermissionDenied => "; let this daemon's user write there",
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        "; make room on the disk or lower the spool's limit"
                    }
                    io::ErrorKind::ReadOnlyFilesystem => "; mount it so that it can be written",
                    _ => "",
                })
            }
        }
    }
}

impl std::error::Error for DirectoryError {}

/// Why an item was not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// The directory cannot be used; the problem has been logged.
    Unavailable,
    /// The files may take no more bytes, and none of them may be dropped for this item.
    NoRoom,
    /// The body is longer than a record may be.
    TooLong,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoreError::Unavailable => "the spool directory cannot be used at this moment",
            StoreError::NoRoom => "the spool is full; raise its limit to keep more",
            StoreError::TooLong => "the request is too long for the spool",
        })
    }
}

impl std::error::Error for StoreError {}
