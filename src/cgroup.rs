//! The control groups of this process, and the limits that their files tell.

use std::fs;
use std::path::{Component, Path, PathBuf};

const OWN_GROUPS: &str = "/proc/self/cgroup";
const MOUNT: &str = "/sys/fs/cgroup";

/// What is asked of a controller: its name, and the file as version 1 and version 2 call it.
#[derive(Clone, Copy, Debug)]
pub struct Controller {
    /// As the kernel calls it.
    pub name: &'static str,
    /// The file of version 1.
    pub version1: &'static str,
    /// The file of version 2.
    pub version2: &'static str,
}

/// The files of the process's own group and of each group above it. Not all of them exist.
pub(crate) fn files(controller: Controller) -> Vec<PathBuf> {
    let own = fs::read_to_string(OWN_GROUPS).unwrap_or_default();
    files_of(&own, controller)
}

/// The number in a file; `None` where it is not there, or says `max`.
pub(crate) fn number(file: &Path) -> Option<u64> {
    limit_of(&fs::read_to_string(file).ok()?)
}

/// The number that is the whole text of a file.
pub fn limit_of(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `own` has a line `0::/path` for version 2, and `n:controllers:/path` for version 1. In a
/// container the group is mounted as the root, whatever its path says.
pub fn files_of(own: &str, controller: Controller) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut add = |mount: &Path, group: &str, file: &str| {
        // The path of a group outside of what this process sees begins with `..`.
        let parts = Path::new(group.trim_start_matches('/')).components();
        let is_inside = |part: &Component<'_>| matches!(part, Component::Normal(_));
        let group: PathBuf = parts.take_while(is_inside).collect();
        files.extend(group.ancestors().map(|level| mount.join(level).join(file)));
    };
    for line in own.lines() {
        match line.splitn(3, ':').collect::<Vec<_>>()[..] {
            ["0", "", group] => add(Path::new(MOUNT), group, controller.version2),
            [_, names, group] if names.split(',').any(|name| name == controller.name) => {
                let mount = Path::new(MOUNT).join(controller.name);
                add(&mount, group, controller.version1);
            }
            _ => {}
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_every_level_in_both_versions() {
        let memory = Controller {
            name: "memory",
            version1: "memory.limit_in_bytes",
            version2: "memory.max",
        };
        let files = files_of("0::/a/b\n5:cpu,memory:/d\n3:cpuset:/x\nnonsense\n", memory);
        let files: Vec<_> = files.iter().map(|f| f.to_str().unwrap()).collect();
        assert_eq!(
            files,
            [
                "/sys/fs/cgroup/a/b/memory.max",
                "/sys/fs/cgroup/a/memory.max",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/memory/d/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
    }

    #[test]
    fn no_path_leads_out_of_the_groups() {
        let pids = Controller {
            name: "pids",
            version1: "pids.max",
            version2: "pids.max",
        };
        for own in ["0::/../other/a\n", "0::/..\n", "0::/\n", "0::\n"] {
            let root = Path::new("/sys/fs/cgroup/pids.max");
            assert_eq!(files_of(own, pids), [root], "{own:?}");
        }
    }

    #[test]
    fn no_limit_is_no_number() {
        let directory = std::env::temp_dir().join(format!("xray-cgroup-{}", std::process::id()));
        for (text, expected) in [("64\n", Some(64)), ("max\n", None), ("", None)] {
            fs::write(&directory, text).unwrap();
            assert_eq!(number(&directory), expected, "{text:?}");
        }
        fs::remove_file(&directory).unwrap();
        assert_eq!(number(&directory), None);
    }
}
