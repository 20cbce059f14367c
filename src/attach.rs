//! The way back to a bundle that was kept.

use std::sync::Arc;

use crate::addressing::Addressing;
use crate::created::NetworkCreated;
use crate::engine::{ContainerFacts, Filter, Named, NetworkFacts, Operations, Resource};
use crate::error::Error;
use crate::guard::{Guard, Hold};
use crate::labels::{Labels, addressing_in, ipv6_in, of_slug, options_in};
use crate::lease::{Kept, Lease};
use crate::planned::NetworkPlanned;
use crate::product::Product;
use crate::reaper::Reaper;
use crate::running::BundleRunning;
use crate::slug::Slug;
use crate::status::State;

pub(crate) fn attach(
    product: Product,
    slug: Slug,
    engine: Arc<dyn Operations>,
) -> Result<BundleRunning, Error> {
    let owner = engine.owner()?;
    let lease = Lease::of(&*engine, &product, &slug, &owner)?;
    if lease.kept() != Kept::Bundle {
        let nobody_was_here = lease.kept() == Kept::Nothing && lease.predecessors().is_empty();
        if nobody_was_here {
            lease.end();
        } else {
            lease.abandon();
        }
        return Err(Error::NotKept { slug });
    }
    let found = match look(&*engine, of_slug(&product, &slug, &lease)) {
        Ok((None, None)) => {
            lease.end();
            return Err(Error::NotKept { slug });
        }
        Ok((Some(network), Some(container))) => Ok((network, container)),
        Ok((network, _)) => Err(match network {
            None => "its network does not exist".to_owned(),
            Some(_) => "its container does not exist".to_owned(),
        }),
        Err(error) => {
            lease.abandon();
            return Err(error);
        }
    };
    let verified = found.and_then(|(network, container)| {
        let addressing = verify(&network, &container)?;
        let options =
            options_in(&network.labels).ok_or("its options are none of this release's")?;
        let labels = Labels::new(&product, &slug, &addressing, &lease, &owner);
        let ipv6 = ipv6_in(&network.labels).map_err(|()| "its labels name no IPv6 addresses")?;
        let labels = labels.with_ipv6(ipv6).with_options(&options);
        for found in [&network.labels, &container.labels] {
            if let Some((key, planned, found)) = labels.difference(found, true) {
                let found = found.as_deref().unwrap_or("not set");
                return Err(format!("its label {key} is {found}, not {planned}"));
            }
        }
        Ok((network.id, container.id, addressing, ipv6, options, labels))
    });
    let (network_id, container_id, addressing, ipv6, options, labels) = match verified {
        Ok(verified) => verified,
        Err(problem) => {
            lease.abandon();
            return Err(Error::Changed { slug, problem });
        }
    };

    let plan = NetworkPlanned::attached(product, slug, addressing, ipv6, options);
    let hold = Arc::new(Hold::new(lease, engine.stranger(&owner).map(Reaper::of)));
    let name = plan.network_name();
    let mut network = Guard::new(engine, Resource::Network, name, labels, hold);
    let mut container = network.beside(Resource::Container, plan.container_name());
    // In this order: what is marked as kept is never removed.
    network.hold().keep(Kept::Nothing)?;
    network.adopt(network_id);
    container.adopt(container_id);
    Ok(BundleRunning::new(container, Vec::new(), NetworkCreated::new(plan, network)))
}

type Found = (Option<NetworkFacts>, Option<ContainerFacts>);

fn look(engine: &dyn Operations, labels: Vec<(String, String)>) -> Result<Found, Error> {
    let until = engine.now() + engine.remove_deadline();
    let asked = |what| move |source| Error::Look { what, source };
    let filter = Filter::Labels(labels);
    let network = engine
        .find(Resource::Network, &filter, until)
        .and_then(|ids| match ids.first() {
            Some(id) => Ok(engine.networks(&[id], until)?.into_iter().next()),
            None => Ok(None),
        })
        .map_err(asked("the kept network"))?;
    let container = engine
        .find(Resource::Container, &filter, until)
        .and_then(|ids| match ids.first() {
            Some(id) => engine.container(id, until),
            None => Ok(None),
        })
        .map_err(asked("the kept container"))?;
    Ok((network, container))
}

/// The addresses that both agree on, or what is wrong with them.
fn verify(network: &NetworkFacts, container: &ContainerFacts) -> Result<Addressing, String> {
    let addressing = addressing_in(&network.labels).ok_or("its labels name no addresses")?;
    let planned = (addressing.subnet().into(), Some(addressing.gateway().into()));
    if !network.subnets.contains(&planned) {
        return Err(format!("its network is not {} any more", addressing.subnet()));
    }
    if container.state != State::Running {
        return Err("its container does not run".into());
    }
    let endpoint = container.on(&Named { id: &network.id, name: &network.name });
    match endpoint.and_then(|it| it.ip) {
        Some(ip) if ip == addressing.bundle_ip() => Ok(addressing),
        Some(ip) => Err(format!("its address is {ip}, not {}", addressing.bundle_ip())),
        None => Err("its container is not on its network".into()),
    }
}
