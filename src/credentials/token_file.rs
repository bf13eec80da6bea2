//! AWS's own cache files of people's sessions, which the AWS CLI writes and which are renewed here:
//! the one place where this daemon writes secrets.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

/// A file that can be replaced. A renewal invalidates the token in the old file, so this is created
/// before the renewal: where nothing can be written, nothing is renewed.
pub(super) struct Replacement {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl Replacement {
    /// Makes a temporary file beside `target`, for its owner alone, and as large as it, so that
    /// the disk has room for it.
    ///
    /// # Errors
    /// Why the file cannot be replaced.
    pub(super) fn begin(target: &Path) -> io::Result<Self> {
        let old = fs::metadata(target)?;
        let mut number = [0; 8];
        SystemRandom::new()
            .fill(&mut number)
            .map_err(|_| io::Error::other("no random numbers"))?;
        let temporary = target.with_extension(format!("{}.tmp", hex::encode(number)));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        let mut replacement = Self {
            target: target.to_owned(),
            temporary,
            file,
        };
        let new = replacement.file.metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            // Root renews the file of a user, who must be able to read it afterwards.
            fchown(&replacement.file, Some(old.uid()), Some(old.gid()))?;
        }
        let room = usize::try_from(old.len()).unwrap_or_default().min(ROOM);
        replacement.file.write_all(&vec![b' '; room + SPARE])?;
        replacement.file.sync_all()?;
        Ok(replacement)
    }

    /// Replaces the old content by `text`, atomically.
    ///
    /// # Errors
    /// Why the file could not be replaced. It still has the old content then.
    pub(super) fn commit(mut self, text: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.target)
    }
}

/// No cache file is larger.
const ROOM: usize = 64 * 1024;
/// New tokens may be longer than the old ones.
const SPARE: usize = 4096;

impl Drop for Replacement {
    fn drop(&mut self) {
        // The file still exists only if the replacement has failed.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xray-token-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_replacement_is_whole_and_private_and_leaves_nothing_beside() {
        let folder = folder("replaced");
        let target = folder.join("cache.json");
        fs::write(&target, "the old and much longer content").unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).unwrap();
        let replacement = Replacement::begin(&target).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        replacement.commit("new").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        let mode = fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        drop(Replacement::begin(&target).unwrap());
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_cannot_be_replaced_is_known_before() {
        let folder = folder("missing");
        assert!(Replacement::begin(&folder.join("cache.json")).is_err());
        fs::remove_dir_all(&folder).unwrap();
        // Even root cannot create a file here.
        assert!(Replacement::begin(Path::new("/proc/version")).is_err());
    }
}
