//! Files: opened without waiting for anybody, and put in place whole or not at all.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Opening does not wait: a pipe would, for a writer that may never come. Linux on the processors that we run on, and
/// what is like BSD.
const NONBLOCK: i32 = if cfg!(target_os = "linux") { 0o4000 } else { 0x4 };

/// Where a shell hands over what it opened, as in `check <(helm template .)`.
const HANDED_OVER: [&str; 4] = ["/dev/stdin", "/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/"];

/// Opens a regular file. Folders, pipes and devices are refused: reading them has another meaning, or no end.
pub fn open(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    let about = file.metadata()?;
    match (about.is_file(), about.is_dir()) {
        (true, _) => Ok(file),
        (false, true) => Err(std::io::Error::other("it is a folder, not a file")),
        (false, false) => Err(std::io::Error::other("it is a pipe or a device, not a regular file")),
    }
}

/// The same for what a person names on a command line: what the shell opened for us is read whatever it is.
pub fn open_named(path: &Path) -> std::io::Result<File> {
    let is_handed_over = path.to_str().is_some_and(|path| HANDED_OVER.iter().any(|place| path.starts_with(place)));
    if is_handed_over { File::open(path) } else { open(path) }
}

/// The folder of a path.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Puts a file that is written and synced in the place of another one of its folder. The name is synced too, so that
/// it survives a power cut.
pub fn put_in_place(staged: &Path, target: &Path) -> std::io::Result<()> {
    std::fs::rename(staged, target)?;
    File::open(folder_of(target))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn a_pipe_without_a_writer_is_refused_at_once_and_one_that_was_handed_over_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for opened in [open(&pipe), open_named(&pipe)] {
            assert!(opened.unwrap_err().to_string().contains("not a regular file"));
        }
        assert!(open(folder.path()).unwrap_err().to_string().contains("a folder"));
        assert!(open(Path::new("/dev/zero")).is_err());
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"kind: Pod").unwrap();
        drop(writer);
        let mut text = String::new();
        let handed = format!("/dev/fd/{}", reader.as_raw_fd());
        assert!(open(Path::new(&handed)).is_err());
        open_named(Path::new(&handed)).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "kind: Pod");
    }
}
