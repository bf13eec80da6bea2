//! Files of a test, removed with it.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder of its own in the system's folder for temporary files.
pub struct ScratchDir(TempDir);

impl ScratchDir {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("xray-test-").tempdir();
        Self(directory.expect("a temporary folder can be made"))
    }

    /// A folder in memory where there is a file system for that, as on any Linux. What is written to a
    /// disk that others keep busy may take seconds.
    pub fn in_memory() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("xray-test-")
            .tempdir_in("/dev/shm");
        directory.map_or_else(|_| Self::new(), Self)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file into the folder.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Default for ScratchDir {
    fn default() -> Self {
        Self::new()
    }
}

/// One file, in a folder of its own.
pub struct ScratchFile {
    path: PathBuf,
    _directory: ScratchDir,
}

impl ScratchFile {
    pub fn new(content: impl AsRef<[u8]>) -> Self {
        let directory = ScratchDir::new();
        Self {
            path: directory.file("file", content),
            _directory: directory,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path as text, for variables and flags.
    pub fn text(&self) -> String {
        self.path.display().to_string()
    }

    /// Replaces the content.
    pub fn write(&self, content: impl AsRef<[u8]>) {
        std::fs::write(&self.path, content).unwrap();
    }
}
