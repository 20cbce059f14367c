//! Several pools whose ranges never meet.

use super::addressing::AddressPool;
use crate::invalid::InvalidInput;

/// One [`AddressPool`] for each of a launcher's roles, with ranges that do not overlap: subnets of two
/// roles never collide, whatever their slugs are.
///
/// Pools do not change the ownership of a slug: there is one bundle at a time for each prefix, slug and engine. To
/// run one slug in two roles at once, give each role a prefix of its own, with a [`Naming`](crate::Naming).
///
/// In pools of the same size, a slug has the same subnet number.
///
/// ```
/// use sidecar_bundle::{AddressPools, NetworkPlanned, Slug};
///
/// let pools = AddressPools::new([
///     ("agents", "10.48.0.0/13:/24".parse()?),
///     ("builds", "10.56.0.0/13:/24".parse()?),
/// ])?;
/// let plan = NetworkPlanned::new(Slug::new("demo")?);
/// let pool = pools.get("builds").expect("it is one of the roles");
/// assert_eq!(plan.with_pool(pool).subnet().to_string(), "10.56.132.0/24");
/// # Ok::<(), sidecar_bundle::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AddressPools(Vec<(String, AddressPool)>);

impl AddressPools {
    /// Takes a pool for each role.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`] when two ranges overlap, or a role is named twice.
    pub fn new<R: Into<String>>(
        pools: impl IntoIterator<Item = (R, AddressPool)>,
    ) -> Result<Self, InvalidInput> {
        let mut taken: Vec<(String, AddressPool)> = Vec::new();
        for (role, pool) in pools {
            let role = role.into();
            for (other, theirs) in &taken {
                if *other == role {
                    return Err(InvalidInput::new(format_args!("role {role:?} has two pools")));
                }
                let (a, b) = (theirs.range(), pool.range());
                if a.contains(&b) || b.contains(&a) {
                    return Err(InvalidInput::new(format_args!(
                        "pools overlap: {a} of role {other} and {b} of role {role}"
                    )));
                }
            }
            taken.push((role, pool));
        }
        Ok(Self(taken))
    }

    /// The pool of a role, if it has one.
    #[must_use]
    pub fn get(&self, role: &str) -> Option<AddressPool> {
        self.iter().find(|(it, _)| *it == role).map(|(_, pool)| pool)
    }

    /// All roles with their pools, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, AddressPool)> {
        self.0.iter().map(|(role, pool)| (role.as_str(), *pool))
    }
}
