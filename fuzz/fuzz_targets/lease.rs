//! A record of a lease is read as it was written, and a damaged one is never another owner's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidecar_bundle::fuzzing::lease_rewritten;
use sidecar_bundle_fuzz::Name;

#[derive(arbitrary::Arbitrary, Debug)]
struct Record {
    id: u128,
    prefix: Name,
    slug: Name,
    owner: u128,
    numbers: (u32, u32, u64),
    ids: (Option<u64>, Option<u64>),
    flags: (bool, Option<u32>, bool),
}

impl Record {
    /// The documented form, which a reaper's shell reads, too.
    fn text(&self) -> Option<String> {
        sidecar_bundle::Slug::new(&self.slug.0).ok()?;
        let Self {
            id, owner, numbers: (pid, since, settling), flags: (kept, making, sweep), ..
        } = self;
        let long = |id: Option<u64>| id.map(|id| format!("{id:064x}")).unwrap_or_default();
        let (network, container) = (long(self.ids.0), long(self.ids.1));
        let making = making.map(|pid| pid.to_string()).unwrap_or_default();
        let (prefix, slug) = (&self.prefix.0, &self.slug.0);
        Some(format!(
            "sidecar-bundle lease 2\nid={id:032x}\nprefix={prefix}\nslug={slug}\nowner={owner:032x}\npid={pid}\n\
             since={since}\nnetwork={network}\ncontainer={container}\nkept={kept}\nmaking={making}\nsweep={sweep}\n\
             settling={settling}\nend\n"
        ))
    }
}

#[derive(arbitrary::Arbitrary, Debug)]
struct Input<'a> {
    record: Record,
    before: Record,
    at: u16,
    byte: u8,
    raw: &'a str,
}

fuzz_target!(|input: Input<'_>| {
    // Of any text, what is read is in it, and is read again as it is then written.
    for raw in [input.raw.to_owned(), format!("sidecar-bundle lease 2\n{}\nend\n", input.raw)] {
        let Some(read) = lease_rewritten(&raw) else { continue };
        assert_eq!(lease_rewritten(&read), Some(read.clone()));
        for line in read.lines() {
            let is_text = ["id", "prefix", "slug", "owner", "network", "container"]
                .contains(&line.split('=').next().unwrap());
            assert!(!is_text || raw.lines().any(|it| it == line), "{line:?} is not in {raw:?}");
        }
    }

    let (Some(text), Some(before)) = (input.record.text(), input.before.text()) else { return };
    assert_eq!(lease_rewritten(&text).as_ref(), Some(&text));
    // The writer dies before it cuts off the end of an older, longer record.
    let tail = before.get(text.len()..).unwrap_or_default();
    assert_eq!(lease_rewritten(&format!("{text}{tail}")).as_ref(), Some(&text));
    let at = usize::from(input.at) % text.len();
    assert_eq!(lease_rewritten(&text[..at]), None);
    // One byte is another: no other line than its own changes.
    let mut damaged = text.clone().into_bytes();
    damaged[at] = input.byte % 128;
    if let Some(read) = lease_rewritten(&String::from_utf8(damaged).unwrap()) {
        let changed = read.lines().zip(text.lines()).filter(|(a, b)| a != b).count();
        assert!(changed <= 1 && read.lines().count() == text.lines().count(), "{read}");
    }
});
