//! The engines of many hosts: placement, and one question to all of them.

use sha2::{Digest, Sha256};

use super::Engine;
use crate::in_turns::in_turns;
use crate::invalid::{InvalidInput, filled};
use crate::plan::Slug;

/// The engines that are asked at a time. Each that is not a socket of this host is one program or two, such as docker
/// and ssh.
const AT_ONCE: usize = 32;

/// The engines of many hosts, each with a name that the caller gives.
///
/// [`place`](Self::place) picks the engine of a slug from the names alone, and [`each`](Self::each) asks all engines at
/// once. Neither the way to an engine nor its identity counts: if a host gets another address, give its name to the
/// [`Engine`] with the new one, and every slug stays where it is.
///
/// ```no_run
/// use sidecar_bundle::{BundleSpec, Engine, Engines, NetworkPlanned, Slug, bundles};
///
/// let engines = Engines::new([
///     ("builder-1", Engine::docker()),
///     ("builder-2", Engine::docker().with_host("ssh://me@builder-2")),
///     ("builder-3", Engine::docker().with_context("builder-3")),
/// ])?;
/// let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let (name, engine) = engines.place(plan.slug());
/// let bundle = plan.launch(engine, BundleSpec::new().image("nginx:1"))?;
/// println!("{} runs on {name}", bundle.ip());
/// for (name, found) in engines.each(|_, engine| bundles(engine)) {
///     match found {
///         Ok(found) => println!("{name}: {} bundles", found.len()),
///         Err(error) => eprintln!("{name}: {error}"),
///     }
/// }
/// bundle.close()?;
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
///
/// # Placement v1
///
/// Placement is rendezvous hashing, also known as highest random weight: D. Thaler and C. Ravishankar, *Using
/// name-based mappings to increase hit rates*, IEEE/ACM Transactions on Networking 6(1), 1998. The weight of an engine
/// for a slug is the SHA-256 of the slug, a zero byte and the engine's name in UTF-8. The weights are compared as bytes,
/// and the greatest wins. The algorithm is in its first and only version: a slug has the same engine on every machine,
/// in every release, and in whatever order the engines are given. In Python:
///
/// ```python
/// import hashlib
///
/// def rank(slug, names):
///     weight = lambda name: hashlib.sha256(f"{slug}\0{name}".encode()).digest()
///     return sorted(names, key=weight, reverse=True)
/// ```
///
/// If an engine is taken away, only its slugs move, each to the second of its [ranking](Self::ranked), and they return
/// when the engine does. A further engine takes its share from all others: of `n` engines then, about one slug in `n`.
/// All engines have the same share on average.
#[derive(Clone, Debug)]
pub struct Engines(Vec<(String, Engine)>);

impl Engines {
    /// Takes an engine for each name. No engine is asked.
    ///
    /// ```
    /// use sidecar_bundle::{Engine, Engines};
    ///
    /// let twice = ["a", "b", "a"].map(|name| (name, Engine::docker()));
    /// assert_eq!(Engines::new(twice).unwrap_err().to_string(), "engine \"a\" is given twice");
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] when there is no engine, when two have one name, and when a name is empty or has a NUL byte.
    pub fn new<N: Into<String>>(
        engines: impl IntoIterator<Item = (N, Engine)>,
    ) -> Result<Self, InvalidInput> {
        let engines: Vec<_> = engines.into_iter().map(|(name, it)| (name.into(), it)).collect();
        let mut names: Vec<_> = engines.iter().map(|(name, _)| name).collect();
        names.iter().try_for_each(|name| filled("name of an engine", name))?;
        names.sort_unstable();
        if names.is_empty() {
            return Err(InvalidInput::new("there is no engine to place a slug on"));
        }
        if let Some([name, ..]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(InvalidInput::new(format_args!("engine {name:?} is given twice")));
        }
        Ok(Self(engines))
    }

    /// The engine of this name, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Engine> {
        self.iter().find(|(it, _)| *it == name).map(|(_, engine)| engine)
    }

    /// All names with their engines, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Engine)> {
        self.0.iter().map(|(name, engine)| (&**name, engine))
    }

    /// The engine of a slug, with its name, by [placement v1](Self#placement-v1). No engine is asked.
    ///
    /// ```
    /// use sidecar_bundle::{Engine, Engines, Slug};
    ///
    /// let all = Engines::new(["a", "b", "c"].map(|name| (name, Engine::docker())))?;
    /// let fewer = Engines::new(["a", "c"].map(|name| (name, Engine::docker())))?;
    /// for number in 0..100 {
    ///     let slug = Slug::new(format!("agent-{number}"))?;
    ///     let (name, _) = all.place(&slug);
    ///     assert!(name == "b" || name == fewer.place(&slug).0); // only those of b move
    /// }
    /// # Ok::<(), sidecar_bundle::InvalidInput>(())
    /// ```
    #[must_use]
    pub fn place(&self, slug: &Slug) -> (&str, &Engine) {
        // There is always one.
        let best = self.iter().max_by_key(|(name, _)| weight(slug, name));
        best.unwrap_or_else(|| (&self.0[0].0, &self.0[0].1))
    }

    /// All engines, from the [place](Self::place) of the slug to its last resort. No engine is asked.
    ///
    /// The second is the place while the first is away, and so on. A bundle that was kept before an engine was added is
    /// on the first engine of the ranking that has it:
    ///
    /// ```no_run
    /// use sidecar_bundle::{BundleRunning, Engines, Error, NetworkPlanned};
    ///
    /// fn attached(engines: &Engines, mut plan: NetworkPlanned) -> Result<BundleRunning, Error> {
    ///     let slug = plan.slug().clone();
    ///     for (_, engine) in engines.ranked(&slug) {
    ///         plan = match plan.attach(engine) {
    ///             Ok(bundle) => return Ok(bundle),
    ///             Err(failed) if matches!(failed.error(), Error::NotKept { .. }) => failed.into_state(),
    ///             Err(failed) => return Err(failed.into()),
    ///         }
    ///     }
    ///     Ok(plan.attach(engines.place(&slug).1)?) // which says that it was not kept
    /// }
    /// ```
    #[must_use]
    pub fn ranked(&self, slug: &Slug) -> Vec<(&str, &Engine)> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_by_cached_key(|(name, _)| weight(slug, name));
        all.reverse();
        all
    }

    /// Asks all engines at once, and returns the answer of each with its name, in the order in which they were given.
    ///
    /// Up to 32 engines are asked at a time, each on a thread, which an engine that cannot be reached keeps from the others
    /// until it is given up. Its answer is its error: [`bundles`](crate::bundles) and [`sweep`](crate::sweep) give such an
    /// engine up at its own deadline for a look, [`with_remove_deadline`](Engine::with_remove_deadline). One that falls
    /// silent later is given up a few such deadlines after that.
    ///
    /// ```no_run
    /// use sidecar_bundle::{Engines, SweptOutcome, sweep};
    ///
    /// fn sweep_all(engines: &Engines) {
    ///     for (name, swept) in engines.each(|_, engine| sweep(engine)) {
    ///         let swept = swept.unwrap_or_else(|error| {
    ///             eprintln!("{name} was not swept: {error}");
    ///             Vec::new()
    ///         });
    ///         let removed = |it: &&_| matches!(it, SweptOutcome::Removed { .. });
    ///         println!("{name}: {}", swept.iter().map(|it| &it.outcome).filter(removed).count());
    ///     }
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// When `ask` does.
    pub fn each<T: Send>(&self, ask: impl Fn(&str, &Engine) -> T + Sync) -> Vec<(&str, T)> {
        let ask = |(name, engine)| {
            let answer = tracing::info_span!("engine", name).in_scope(|| ask(name, engine));
            (name, answer)
        };
        in_turns(self.iter().collect(), AT_ONCE, ask)
    }
}

/// The weight of an engine for a slug: no slug has a zero byte.
fn weight(slug: &Slug, name: &str) -> [u8; 32] {
    Sha256::new().chain_update(slug.as_str()).chain_update([0]).chain_update(name).finalize().into()
}
