//! Which subnets are free, and who holds the others.

use ipnet::Ipv4Net;

use crate::created::NetworkCreated;
use crate::engine::{Engine, NetworkFacts, Operations};
use crate::error::{Error, StepError};
use crate::planned::NetworkPlanned;

impl NetworkPlanned {
    /// Moves on to the first attempt, from this one on, whose subnet no network of the engine overlaps.
    ///
    /// Nothing is created: somebody else may take the subnet before
    /// [`create_network`](Self::create_network) does.
    /// [`create_network_in_free_subnet`](Self::create_network_in_free_subnet) then goes on.
    ///
    /// ```no_run
    /// use sidecar_bundle::{CliEngine, NetworkPlanned, Slug};
    ///
    /// let plan = NetworkPlanned::new(Slug::new("demo")?).in_free_subnet(&CliEngine::docker())?;
    /// println!("allow {}", plan.allowlist());
    /// # Ok::<(), sidecar_bundle::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The plan is handed back, and nothing has been touched:
    ///
    /// - [`Error::PoolFull`] when every subnet of the pool, from this attempt on, is overlapped,
    /// - [`Error::Addressing`] when the addresses were given, and are overlapped,
    /// - [`Error::Look`] when the engine could not be asked.
    pub fn in_free_subnet<E: Engine + ?Sized>(self, engine: &E) -> Result<Self, StepError<Self>> {
        let taken = match taken(engine) {
            Ok(taken) => taken,
            Err(error) => return Err(StepError::new(error, self)),
        };
        match first_free(&self, &taken) {
            Ok(free) => Ok(free),
            Err(error) => Err(StepError::new(error, self)),
        }
    }

    /// Creates the network in the first free subnet, and goes on to the next as long as somebody else
    /// is faster.
    ///
    /// The address is final, and to be read, only in the state that comes back.
    ///
    /// # Errors
    ///
    /// As for [`in_free_subnet`](Self::in_free_subnet) and [`create_network`](Self::create_network),
    /// but for [`Error::SubnetTaken`]. The plan of the last attempt is handed back.
    pub fn create_network_in_free_subnet<E: Engine + ?Sized>(
        self,
        engine: &E,
    ) -> Result<NetworkCreated, StepError<Self>> {
        let mut plan = self;
        // Each turn is another attempt: the pool bounds them.
        loop {
            let failed = match plan.in_free_subnet(engine)?.create_network(engine) {
                Err(failed) if matches!(failed.error(), Error::SubnetTaken { .. }) => failed,
                created => return created,
            };
            let (error, lost) = failed.into_parts();
            plan = match lost.clone().next_attempt() {
                Ok(next) => next,
                Err(_) => return Err(StepError::new(error, lost)),
            };
        }
    }
}

/// The network that overlaps a subnet, with its own subnet.
pub(crate) fn holder(engine: &dyn Operations, subnet: Ipv4Net) -> Option<String> {
    let networks = networks(engine).ok()?;
    networks.iter().find_map(|network| {
        let (theirs, _) = network.subnets.iter().find(|(theirs, _)| overlap(*theirs, subnet))?;
        Some(format!("network {} ({theirs})", network.name))
    })
}

fn first_free(plan: &NetworkPlanned, taken: &[Ipv4Net]) -> Result<NetworkPlanned, Error> {
    let is_free = |subnet: Ipv4Net| !taken.iter().any(|it| overlap(*it, subnet));
    if is_free(plan.subnet()) {
        return Ok(plan.clone());
    }
    let Some(pool) = plan.pool() else { return Ok(plan.clone().next_attempt()?) };
    let full = || Error::PoolFull { pool, subnets: pool.subnets() };
    // One network over all of a large pool need not be met at each of its subnets.
    if taken.iter().any(|it| it.contains(&pool.range())) {
        return Err(full());
    }
    let from = plan.addressing().attempt();
    let mut free = pool.attempts(plan.slug(), from).filter(|it| is_free(it.subnet()));
    free.next().map(|addressing| plan.clone().at(addressing)).ok_or_else(full)
}

fn taken<E: Engine + ?Sized>(engine: &E) -> Result<Vec<Ipv4Net>, Error> {
    let networks = networks(&*engine.shared())?;
    let subnets = networks.iter().flat_map(|network| network.subnets.iter());
    Ok(Ipv4Net::aggregate(&subnets.map(|(subnet, _)| subnet.trunc()).collect()))
}

fn networks(engine: &dyn Operations) -> Result<Vec<NetworkFacts>, Error> {
    let until = engine.now() + engine.remove_deadline();
    engine.networks(&[], until).map_err(|source| Error::Look { what: "its networks", source })
}

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AddressPool, Addressing, Slug};

    fn plan(pool: &str) -> NetworkPlanned {
        let pool: AddressPool = pool.parse().unwrap();
        NetworkPlanned::new(Slug::new("survey").unwrap()).with_pool(pool)
    }

    #[test]
    fn the_one_free_subnet_of_a_pool_is_found() {
        let plan = plan("10.0.0.0/16:/24");
        let all = plan.subnet().supernet().unwrap();
        assert!(all.prefix_len() == 23);
        for free in 0..=255 {
            let free: Ipv4Net = format!("10.0.{free}.0/24").parse().unwrap();
            let pool: Ipv4Net = "10.0.0.0/16".parse().unwrap();
            let taken: Vec<_> = pool.subnets(24).unwrap().filter(|it| *it != free).collect();
            assert_eq!(first_free(&plan, &taken).unwrap().subnet(), free);
        }
    }

    #[test]
    fn a_full_pool_is_said() {
        let plan = plan("10.0.0.0/20:/24");
        for taken in ["10.0.0.0/20", "0.0.0.0/0"] {
            let error = first_free(&plan, &[taken.parse().unwrap()]).unwrap_err();
            assert_eq!(error.to_string(), "none of the 16 subnets of pool 10.0.0.0/20:/24 is free");
        }
        let pool: Ipv4Net = "10.0.0.0/20".parse().unwrap();
        // A single address is enough to take a subnet.
        let odd: Vec<_> = pool.subnets(24).unwrap().map(|it| Ipv4Net::from(it.addr())).collect();
        assert!(matches!(first_free(&plan, &odd), Err(Error::PoolFull { .. })));
    }

    #[test]
    fn given_addresses_do_not_move() {
        let own = Addressing::new(
            "10.0.0.0/24".parse().unwrap(),
            [10, 0, 0, 1].into(),
            [10, 0, 0, 2].into(),
        );
        let plan = plan("10.0.0.0/20:/24").with_addressing(own.unwrap());
        assert_eq!(first_free(&plan, &[]).unwrap(), plan);
        let error = first_free(&plan, &["10.0.0.128/30".parse().unwrap()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "subnet 10.0.0.0/24 was given, not derived from the slug; there is no other attempt"
        );
    }
}
