//! A log file that starts anew at a size and keeps its predecessor.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How often the path is checked for having become another file: logrotate's `create` mode renames
/// the log and signals nobody.
const PATH_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Set by [`reopen`]; the next write obeys.
static REOPEN: AtomicBool = AtomicBool::new(false);

/// Opens the log file anew with the next line.
pub(crate) fn reopen() {
    REOPEN.store(true, Relaxed);
}

/// Appends to a file. Every `write` is of whole lines, so a file always ends with a line.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Size at which to start anew; `None` never does.
    limit: Option<u64>,
    size: u64,
    path_checked: Instant,
}

impl LogFile {
    /// Opens or creates the file, and its directory, as the official daemon does.
    ///
    /// With a `limit` in bytes, a file that would outgrow it is renamed to `<name>.1`, replacing
    /// the one before, so that no more than twice the limit is kept.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(path: &Path, limit: Option<u64>) -> io::Result<Self> {
        let file = append(path)?;
        let metadata = file.metadata()?;
        Ok(LogFile {
            path: path.to_owned(),
            file,
            // A terminal, a pipe or /dev/stdout must never be renamed.
            limit: limit.filter(|_| metadata.is_file()),
            size: metadata.len(),
            path_checked: Instant::now(),
        })
    }

    /// Follows the path when the file was renamed or deleted. While that fails, the old file is
    /// written on: a log in the wrong place is better than none.
    fn follow_path(&mut self) {
        let is_told = REOPEN.swap(false, Relaxed);
        if !is_told && self.path_checked.elapsed() < PATH_CHECK_INTERVAL {
            return;
        }
        self.path_checked = Instant::now();
        let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let current = fs::metadata(&self.path).ok().map(id);
        if current.is_some() && current == self.file.metadata().ok().map(id) {
            return;
        }
        if let Ok(file) = append(&self.path) {
            self.size = file.metadata().map_or(0, |metadata| metadata.len());
            self.file = file;
        }
    }

    /// Starts anew. When that fails, the old file goes on growing until the next try, a whole
    /// limit later: a log too long is better than none.
    fn rotate(&mut self, limit: u64, needed: u64) {
        // Somebody else may have truncated it.
        self.size = self.file.metadata().map_or(self.size, |m| m.len());
        if self.size + needed <= limit {
            return;
        }
        self.size = 0;
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        if fs::rename(&self.path, &old).is_ok()
            && let Ok(file) = append(&self.path)
        {
            self.file = file;
        }
    }
}

/// Opens or creates the file, and its directory.
fn append(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.follow_path();
        let needed = lines.len() as u64;
        match self.limit {
            Some(limit) if self.size > 0 && self.size + needed > limit => {
                self.rotate(limit, needed);
            }
            _ => {}
        }
        let written = self.file.write(lines)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own for each test, removed at the end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xray-log-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Directory(path)
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.0.join(name)).ok()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_renamed_file_is_opened_anew() {
        let directory = Directory::new("reopen");
        let path = directory.0.join("x.log");
        let mut log = LogFile::open(&path, None).unwrap();
        log.write_all(b"one\n").unwrap();
        fs::rename(&path, directory.0.join("x.log.1")).unwrap();
        log.path_checked = Instant::now() - PATH_CHECK_INTERVAL;
        log.write_all(b"two\n").unwrap();
        fs::remove_file(&path).unwrap();
        log.path_checked = Instant::now() - PATH_CHECK_INTERVAL;
        log.write_all(b"three\n").unwrap();
        assert_eq!(directory.read("x.log.1").as_deref(), Some("one\n"));
        assert_eq!(directory.read("x.log").as_deref(), Some("three\n"));
        fs::remove_dir_all(&directory.0).unwrap();
        log.path_checked = Instant::now() - PATH_CHECK_INTERVAL;
        log.write_all(b"four\n").unwrap();
        assert_eq!(directory.read("x.log").as_deref(), Some("four\n"));
    }

    #[test]
    fn one_old_file_is_kept() {
        let directory = Directory::new("rotate");
        let mut log = LogFile::open(&directory.0.join("x.log"), Some(10)).unwrap();
        for line in ["aaaa\n", "bbbb\n", "cccc\n", "dddd\n", "eeee\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(directory.read("x.log").as_deref(), Some("eeee\n"));
        assert_eq!(directory.read("x.log.1").as_deref(), Some("cccc\ndddd\n"));
        assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 2);
    }

    #[test]
    fn an_existing_file_is_continued_and_counts() {
        let directory = Directory::new("append");
        fs::create_dir_all(&directory.0).unwrap();
        fs::write(directory.0.join("x.log"), "12345678\n").unwrap();
        let mut log = LogFile::open(&directory.0.join("x.log"), Some(10)).unwrap();
        log.write_all(b"b\n").unwrap();
        assert_eq!(directory.read("x.log.1").as_deref(), Some("12345678\n"));
        assert_eq!(directory.read("x.log").as_deref(), Some("b\n"));
    }

    #[test]
    fn without_rotation_it_only_grows() {
        let directory = Directory::new("grow");
        let mut log = LogFile::open(&directory.0.join("deep/er/x.log"), None).unwrap();
        for _ in 0..100 {
            log.write_all(b"line\n").unwrap();
        }
        assert_eq!(directory.read("deep/er/x.log").unwrap().len(), 500);
    }

    #[test]
    fn a_line_longer_than_the_limit_is_written() {
        let directory = Directory::new("long");
        let mut log = LogFile::open(&directory.0.join("x.log"), Some(4)).unwrap();
        log.write_all(b"longer\n").unwrap();
        log.write_all(b"again\n").unwrap();
        assert_eq!(directory.read("x.log").as_deref(), Some("again\n"));
    }

    /// `copytruncate` of logrotate.
    #[test]
    fn a_file_truncated_by_others_is_not_rotated_early() {
        let directory = Directory::new("truncated");
        let mut log = LogFile::open(&directory.0.join("x.log"), Some(10)).unwrap();
        log.write_all(b"aaaaaaaa\n").unwrap();
        fs::write(directory.0.join("x.log"), "").unwrap();
        log.write_all(b"bbbb\n").unwrap();
        assert_eq!(directory.read("x.log").as_deref(), Some("bbbb\n"));
        assert_eq!(directory.read("x.log.1"), None);
    }

    #[test]
    fn a_rename_that_fails_loses_no_line() {
        let directory = Directory::new("stuck");
        fs::create_dir_all(directory.0.join("x.log.1/in the way")).unwrap();
        let mut log = LogFile::open(&directory.0.join("x.log"), Some(6)).unwrap();
        for line in ["aaaa\n", "bbbb\n", "cccc\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(
            directory.read("x.log").as_deref(),
            Some("aaaa\nbbbb\ncccc\n")
        );
    }

    #[test]
    fn a_device_is_never_renamed() {
        let log = LogFile::open(Path::new("/dev/null"), Some(1)).unwrap();
        assert_eq!(log.limit, None);
    }

    #[test]
    fn a_path_that_cannot_be_written_is_an_error() {
        assert!(LogFile::open(Path::new("/dev/null/x.log"), None).is_err());
        assert!(LogFile::open(Path::new("/"), None).is_err());
    }
}
