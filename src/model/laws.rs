//! The laws that every sequence of actions must obey.

use super::actions::{Action, Model, OWNERS, SLUGS, VALUES};
use super::world::Item;
use crate::{SweptOutcome, sweep};

/// Runs a sequence to its end, and checks the laws after each action.
pub(super) fn hold(actions: &[Action], reapers: bool) -> Result<(), String> {
    let mut model = Model::new();
    for action in actions {
        let before = foreigners(&model);
        model.act(action);
        model.check().map_err(|error| format!("{action:?}: {error}"))?;
        if !action.is_of_others() && foreigners(&model) != before {
            return Err(format!("{action:?} touched a foreign resource"));
        }
    }
    model.end(reapers)
}

fn foreigners(model: &Model) -> Vec<Item> {
    model.world().items().filter(|it| it.owner().is_none()).cloned().collect()
}

impl Model {
    fn check(&self) -> Result<(), String> {
        self.nothing_was_removed_that_is_not_ours()?;
        self.every_resource_is_known()?;
        self.everything_that_is_held_is_as_planned()?;
        self.everything_that_was_kept_is_there()
    }

    fn nothing_was_removed_that_is_not_ours(&self) -> Result<(), String> {
        match self.world().violations.first() {
            Some(violation) => Err(violation.clone()),
            None => Ok(()),
        }
    }

    /// A lease of each resource is on the disk, unless somebody deleted it.
    fn every_resource_is_known(&self) -> Result<(), String> {
        let world = self.world();
        let records = world.records();
        for item in world.items().filter(|it| it.owner().is_some()) {
            let lease = item.lease().unwrap();
            let known = records.iter().any(|(_, record)| record.id == lease);
            if !known && !world.lost.contains(lease) {
                return Err(format!("no lease knows of {item:?}"));
            }
        }
        Ok(())
    }

    fn everything_that_is_held_is_as_planned(&self) -> Result<(), String> {
        for (who, held) in &self.held {
            for id in held.ids() {
                match self.world().get(&id) {
                    Some(item) => {
                        let plan = held.plan();
                        let subnet = item.subnet.is_none_or(|(subnet, _)| subnet == plan.subnet());
                        let ip = item.network.is_empty() || item.ip == plan.ip();
                        if !subnet || !ip {
                            return Err(format!("{item:?} is not as planned: {plan}"));
                        }
                    }
                    None if self.behind.contains(&id) => {}
                    None => return Err(format!("{who:?} holds {id}, which is not there")),
                }
            }
        }
        Ok(())
    }

    fn everything_that_was_kept_is_there(&self) -> Result<(), String> {
        let world = self.world();
        match world.kept.iter().find(|id| world.get(id).is_none()) {
            Some(id) => Err(format!("{id} was kept, and is not there")),
            None => Ok(()),
        }
    }

    /// Everyone ends, the engines are well again, and the dead have reapers or not.
    fn end(mut self, reapers: bool) -> Result<(), String> {
        self.act(&Action::Pass(2000));
        for owner in 0..OWNERS {
            self.act(&Action::Kill { owner });
            if reapers {
                self.act(&Action::Reap { owner });
            }
            self.check()?;
        }
        self.act(&Action::ForeignersLeave);
        self.world().ways = [0, 0, 1];
        // One engine value for each engine and directory.
        for value in [0, 2, 4] {
            for swept in sweep(&self.engine(0, value)).unwrap() {
                if let SweptOutcome::Failed(error) = swept.outcome {
                    return Err(format!("a sweep failed: {error:?}"));
                }
            }
            self.check()?;
        }
        let world = self.world();
        let left = world.items().find(|it| {
            !world.kept.contains(it.id.as_str()) && !world.lost.contains(it.lease().unwrap())
        });
        if let Some(left) = left {
            return Err(format!("left: {left:?}"));
        }
        drop(world);
        self.kept_bundles_have_a_way_out()
    }

    /// A kept bundle can be attached to or discarded, and so can be what is under a lost lease.
    fn kept_bundles_have_a_way_out(mut self) -> Result<(), String> {
        self.world().discarding = true;
        for value in [0, 2, 4] {
            for slug in 0..SLUGS.len() {
                let engine = self.engine(0, value);
                if let Ok(bundle) = Self::plan(slug).attach(&engine) {
                    bundle.close().map_err(|error| format!("not closed: {error:?}"))?;
                } else if let Err(error) = Self::plan(slug).discard(&engine) {
                    return Err(format!("not discarded through {:?}: {error:?}", VALUES[value]));
                }
            }
        }
        self.behind.clear();
        match self.world().items().next() {
            Some(left) => Err(format!("left after attach and discard: {left:?}")),
            None => Ok(()),
        }
    }
}
