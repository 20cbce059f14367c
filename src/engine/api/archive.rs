//! Files on their way into a container or out of it, as archives of `/containers/{id}/archive`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::SystemTime;

use tar::{Archive, Builder, EntryType, Header};

use crate::container::{CheckedFile, CheckedSpec};
use crate::engine::dialect::Dialect;

/// The archives that bring a specification's files in, each with the directory that it is unpacked in.
pub(super) fn archives(
    dialect: Dialect,
    spec: &CheckedSpec,
) -> io::Result<Vec<(String, Arc<[u8]>)>> {
    let mut by_directory: BTreeMap<&str, Vec<(&str, &CheckedFile)>> = BTreeMap::new();
    let by_volume = !volumes(dialect, spec).is_empty();
    for file in &spec.files {
        let (directory, name) = match file.directory_and_name() {
            place if by_volume => place,
            _ => ("/", &file.path[1..]),
        };
        by_directory.entry(directory).or_default().push((name, file));
    }
    let pack = |(directory, files): (&str, Vec<_>)| Ok((directory.to_owned(), packed(&files)?));
    by_directory.into_iter().map(pack).collect()
}

/// The directories that are volumes so that files can be copied into them: Docker copies nothing into a read-only root.
pub(super) fn volumes(dialect: Dialect, spec: &CheckedSpec) -> Vec<&str> {
    if dialect == Dialect::Podman || !spec.options.read_only {
        return Vec::new();
    }
    let all: BTreeSet<_> = spec.files.iter().map(|it| it.directory_and_name().0).collect();
    all.into_iter().collect()
}

fn packed(files: &[(&str, &CheckedFile)]) -> io::Result<Arc<[u8]>> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut archive = Builder::new(Vec::new());
    for (name, CheckedFile { file, .. }) in files {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(file.mode);
        header.set_uid(file.owner.0.into());
        header.set_gid(file.owner.1.into());
        header.set_mtime(now.as_secs());
        header.set_size(file.contents.len() as u64);
        archive.append_data(&mut header, name, &*file.contents)?;
    }
    Ok(archive.into_inner()?.into())
}

/// The first entry of an archive.
pub(super) enum First {
    /// A file, read up to one byte beyond the limit.
    File(Vec<u8>),
    /// A symbolic link to this path, absolute or from its own directory.
    Link(String),
    Other,
}

/// Reads the first entry of an archive, up to one byte beyond the limit.
pub(super) fn first(archive: impl Read, limit: u64) -> io::Result<First> {
    let mut archive = Archive::new(archive);
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let entry = archive.entries()?.next().ok_or_else(cut)??;
    match entry.header().entry_type() {
        EntryType::Regular => {
            let length = entry.size().min(limit + 1);
            let mut contents = Vec::new();
            entry.take(length).read_to_end(&mut contents)?;
            if contents.len() as u64 == length { Ok(First::File(contents)) } else { Err(cut()) }
        }
        EntryType::Symlink => {
            let target = entry.link_name_bytes().unwrap_or_default();
            Ok(First::Link(String::from_utf8_lossy(&target).into_owned()))
        }
        _ => Ok(First::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{BundleSpec, ContainerFile};
    use crate::plan::Naming;

    fn spec(paths: &[&str]) -> CheckedSpec {
        let file = |spec: BundleSpec, path: &&str| spec.file(ContainerFile::new(*path, "contents"));
        let spec = paths.iter().fold(BundleSpec::new().read_only_root(true), file);
        spec.check(&Naming::default()).unwrap()
    }

    #[test]
    fn each_directory_of_a_read_only_root_is_one_volume_with_one_archive() {
        let spec = spec(&["/opt/b", "/opt/c/x", "/opt/d"]);
        assert_eq!(volumes(Dialect::Docker, &spec), ["/opt", "/opt/c"]);
        assert_eq!(volumes(Dialect::Podman, &spec), [""; 0]);
        let directories = |dialect| {
            let archives = archives(dialect, &spec).unwrap().into_iter();
            archives.map(|(directory, _)| directory).collect::<Vec<_>>()
        };
        assert_eq!(directories(Dialect::Docker), ["/opt", "/opt/c"]);
        assert_eq!(directories(Dialect::Podman), ["/"]);
    }

    #[test]
    fn an_archive_that_is_cut_is_no_file() {
        let [(_, archive)] = &archives(Dialect::Podman, &spec(&["/a/b"])).unwrap()[..] else {
            panic!("one archive")
        };
        let read = |length: usize| first(&archive[..length], 100);
        assert!(matches!(read(archive.len()), Ok(First::File(it)) if it == b"contents"));
        for length in [0, 100, 512, 515] {
            assert!(read(length).is_err(), "{length}");
        }
        assert!(matches!(first(&archive[..], 3), Ok(First::File(it)) if it == b"cont"));
    }
}
