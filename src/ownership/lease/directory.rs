//! The directory of leases: this user's own, and not one that others can write to.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::O_NOFOLLOW;
use nix::unistd::{geteuid, gethostname};

/// Creates the directory if it is missing, and checks that it can be trusted.
pub(super) fn prepare(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    check(directory)
}

/// Checks that the directory can be trusted.
pub(super) fn check(directory: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(directory)?;
    if metadata.is_symlink() {
        return Err(untrusted("it is a symbolic link"));
    }
    if !metadata.is_dir() {
        return Err(untrusted("it is not a directory"));
    }
    check_owner_and_mode(&metadata)
}

/// Opens a file of the directory for reading and writing, and checks that it can be trusted.
pub(super) fn open(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false).mode(0o600);
    let file =
        options.custom_flags(O_NOFOLLOW).open(path).map_err(|error| match fs::symlink_metadata(
            path,
        ) {
            Ok(metadata) if metadata.is_symlink() => untrusted("it is a symbolic link"),
            _ => error,
        })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(untrusted("it is not a file"));
    }
    if metadata.nlink() > 1 {
        return Err(untrusted("it has another name, by a hard link"));
    }
    check_owner_and_mode(&metadata)?;
    Ok(file)
}

/// This host, in the name of each lease: a directory may be shared by hosts whose locks do not meet.
pub(super) fn host() -> String {
    let name = gethostname().unwrap_or_default();
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    format!("{}\0{}", name.to_string_lossy(), machine.trim())
}

fn check_owner_and_mode(metadata: &Metadata) -> io::Result<()> {
    let (owner, user) = (metadata.uid(), geteuid().as_raw());
    if owner != user {
        return Err(untrusted(&format!("it belongs to user {owner}, not to user {user}")));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(untrusted(&format!(
            "others can write to it (mode {mode:04o}); take that away with chmod go-w"
        )));
    }
    Ok(())
}

fn untrusted(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[track_caller]
    fn refused<T>(result: io::Result<T>, why: &str) {
        assert_eq!(result.err().unwrap().to_string(), why);
    }

    #[test]
    fn a_host_is_known_by_its_name_and_its_machine() {
        let host = host();
        let (name, machine) = host.split_once('\0').unwrap();
        let uname = std::process::Command::new("uname").arg("-n").output().unwrap().stdout;
        assert_eq!(name, String::from_utf8_lossy(&uname).trim());
        assert!(machine.chars().all(|it| it.is_ascii_alphanumeric()), "{machine}");
    }

    #[test]
    fn a_directory_that_others_could_replace_or_change_is_refused() {
        let room = tempfile::tempdir().unwrap();
        let (real, link) = (room.path().join("real"), room.path().join("link"));
        prepare(&real).unwrap();
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o700);
        symlink(&real, &link).unwrap();
        refused(prepare(&link), "it is a symbolic link");
        fs::set_permissions(&real, fs::Permissions::from_mode(0o775)).unwrap();
        refused(
            prepare(&real),
            "others can write to it (mode 0775); take that away with chmod go-w",
        );
    }

    #[test]
    fn a_file_that_others_could_replace_or_change_is_refused() {
        let room = tempfile::tempdir().unwrap();
        let (file, link) = (room.path().join("a"), room.path().join("b"));
        drop(open(&file, true).unwrap());
        symlink(&file, &link).unwrap();
        refused(open(&link, true), "it is a symbolic link");
        fs::remove_file(&link).unwrap();
        fs::hard_link(&file, &link).unwrap();
        refused(open(&file, false), "it has another name, by a hard link");
        fs::remove_file(&link).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        refused(
            open(&file, false),
            "others can write to it (mode 0666); take that away with chmod go-w",
        );
    }
}
