//! A slug has one owner at a time.

use std::fs;
use std::path::Path;

use sidecar_bundle::{BundleSpec, Error};

use crate::fake::{Fake, plan};

#[test]
fn a_second_launcher_is_told_who_has_the_slug_before_the_engine_is_asked() {
    let fake = Fake::new();
    let first = plan().create_network(&fake.engine()).unwrap();
    let failed = plan().launch(&fake.engine(), BundleSpec::new()).unwrap_err();
    let Error::Taken { slug, pid, since, .. } = failed.error() else { panic!("{failed:?}") };
    assert_eq!((slug.as_str(), *pid), ("demo", Some(std::process::id())));
    assert!(since.unwrap().elapsed().unwrap().as_secs() < 600);
    let text =
        format!("slug demo is taken by this process, pid {}, since then", std::process::id());
    assert_eq!(fake.chain(&failed), [text]);
    assert_eq!(failed.error().cause(), None);
    assert_eq!(fake.operations(), ["network create"], "of the first one");

    first.close().unwrap();
    failed.into_state().create_network(&fake.engine()).unwrap().close().unwrap();
    fake.assert_nothing_left();
}

#[test]
fn an_unusable_lease_is_an_error_before_the_engine_is_asked() {
    #[track_caller]
    fn refused(fake: &Fake, state: &Path, path: &Path, why: &str) {
        let failed = plan().create_network(&fake.engine().with_state_dir(state)).unwrap_err();
        assert!(matches!(failed.error(), Error::Lease { path: at, .. } if at == path));
        assert_eq!(failed.error().cause(), None);
        let text = format!("the lease at {} cannot be used", path.display());
        assert_eq!(fake.chain(&failed), [text, why.to_owned()]);
        assert!(fake.calls().is_empty());
    }

    let fake = Fake::new();
    let file = fake.path("file");
    fs::write(&file, "").unwrap();
    refused(&fake, &file, &file, "File exists (os error 17)");
    refused(&fake, &file.join("x"), &file.join("x"), "Not a directory (os error 20)");

    let link = fake.path("link");
    fs::create_dir(fake.path("real")).unwrap();
    std::os::unix::fs::symlink(fake.path("real"), &link).unwrap();
    refused(&fake, &link, &link, "it is a symbolic link");

    let broken = fake.path("line\nbreak");
    refused(&fake, &broken, &broken, "its path contains a line break");

    // The name of the lease's file is learnt from one that is held.
    let network = plan().create_network(&fake.engine()).unwrap();
    let entries = fs::read_dir(fake.path("leases")).unwrap().map(|entry| entry.unwrap().path());
    let lease = entries.into_iter().find(|path| path.extension().is_some()).unwrap();
    network.close().unwrap();
    assert!(!lease.exists());
    fs::create_dir(&lease).unwrap();
    let other = Fake::new();
    let failed = plan().create_network(&fake.engine()).unwrap_err();
    let text = format!("the lease at {} cannot be used", lease.display());
    assert_eq!(other.chain(&failed), [&text, "Is a directory (os error 21)"]);
    assert_eq!(fake.operations(), ["network create", "network rm"]);
}

#[test]
fn a_lease_directory_that_cannot_be_written_is_an_error_before_the_engine_is_asked() {
    use std::os::unix::fs::PermissionsExt;
    let fake = Fake::new();
    let state = fake.path("read-only");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o555)).unwrap();
    // No permission stops root; the kernel's own directories do.
    let root = fs::write(state.join("probe"), "").is_ok();
    let state = if root { Path::new("/proc/sidecar-bundle") } else { &state };
    let failed = plan().create_network(&fake.engine().with_state_dir(state)).unwrap_err();
    let text = format!("the lease at {} cannot be used", state.display());
    assert_eq!(fake.chain(&failed)[0], text);
    assert_eq!(fake.chain(&failed).len(), 2, "{failed:?}");
    assert!(fake.calls().is_empty());
}
