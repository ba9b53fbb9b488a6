//! What no kept revision needs goes: from the store, from the engine, from the projects. A plan first, then the deed.
//!
//! Only what umiak put there is seen and removed; what is current, previous, pinned, on its way or told to be kept stays.

use std::collections::BTreeSet;

use umiak_spec::Digest;
use umiak_store::{Name, PrunePlan, PruneRequest, Pruned};

use crate::agent::Agent;
use crate::arrangement::occupied;
use crate::durable;
use crate::error::AgentError;
use crate::kept;
use crate::outcome::Watcher;
use crate::session::Session;
use crate::transaction;

/// What pruning would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Obsolete {
    /// Revisions that cannot be gone back to any more afterwards.
    pub revisions: Vec<Digest>,
    /// Containers, mounts and images: apps with the revision that started them.
    pub deployed: Vec<(String, String)>,
    /// Objects of the store.
    pub plan: PrunePlan,
}

impl Agent {
    /// What pruning would remove.
    ///
    /// # Errors
    /// The store or the engine cannot be read.
    pub fn prune_plan(&self) -> Result<Obsolete, AgentError> {
        self.work("prune", |session| Session::prune_plan(session))
    }

    /// Removes what no kept revision needs.
    ///
    /// # Errors
    /// Something cannot be removed; the rest can be pruned again.
    pub fn prune(&self) -> Result<(Obsolete, Pruned), AgentError> {
        self.work("prune", |session| {
            let obsolete = session.prune_plan()?;
            let pruned = session.prune(&obsolete)?;
            Ok((obsolete, pruned))
        })
    }
}

impl Session<'_> {
    /// Revisions that are written down and not kept.
    pub(crate) fn obsolete(&self) -> Result<Vec<Digest>, AgentError> {
        let kept = self.kept();
        let mut found: BTreeSet<Digest> = kept::list(&self.store)?.into_iter().collect();
        found.extend(self.store.refs()?.iter().filter_map(kept::revision));
        Ok(found.into_iter().filter(|revision| !kept.contains(revision)).collect())
    }

    fn prune_plan(&self) -> Result<Obsolete, AgentError> {
        let revisions = self.obsolete()?;
        let plan = self.store.prune_plan(&PruneRequest { refs: self.let_go(&revisions)?, keep: self.wanted()? })?;
        Ok(Obsolete { revisions, deployed: self.deployed()?, plan })
    }

    /// The refs of revisions, and of what came without a file where nobody waits for it any more.
    pub(crate) fn let_go(&self, revisions: &[Digest]) -> Result<BTreeSet<Name>, AgentError> {
        let held = if self.is_let_go()? { Some(transaction::held_name()) } else { None };
        Ok(revisions.iter().map(kept::name).chain(held).collect())
    }

    /// What an update under way has fetched or still wants.
    fn wanted(&self) -> Result<BTreeSet<Digest>, AgentError> {
        let mut wanted = BTreeSet::new();
        if let Some((_, target)) = self.pinned()
            && self.journal.state.target().is_some()
        {
            // Parts of deltas are named by no closure.
            wanted.extend(self.store.partials()?.into_iter().map(|partial| partial.digest));
            if let Ok(read) = self.read(&target) {
                wanted.extend(read.closure.all_layers());
                wanted.extend(read.closure.blobs);
            }
        }
        Ok(wanted)
    }

    /// What the engine has of revisions that are not kept.
    fn deployed(&self) -> Result<Vec<(String, String)>, AgentError> {
        let mut places = Vec::new();
        for revision in self.kept() {
            places.extend(kept::read(&self.store, &revision)?.map(|kept| kept.places));
        }
        let occupied = occupied(&places);
        let observed = self.agent.engine.observe()?;
        let all: BTreeSet<(String, String)> = observed.into_iter().map(|found| (found.app, found.revision)).collect();
        Ok(all.into_iter().filter(|(app, revision)| !occupied.contains(&(app.as_str(), revision.as_str()))).collect())
    }

    fn prune(&mut self, obsolete: &Obsolete) -> Result<Pruned, AgentError> {
        for (app, revision) in &obsolete.deployed {
            self.agent.engine.remove(app, revision)?;
        }
        let nothing = obsolete.plan.refs.is_empty() && obsolete.plan.objects.is_empty();
        let pruned = if nothing { Pruned::default() } else { self.store.prune(&obsolete.plan)? };
        for revision in &obsolete.revisions {
            self.store.remove_record(&kept::name(revision))?;
        }
        self.remove_projects()?;
        Ok(pruned)
    }

    /// Unpacked projects that no kept revision has.
    fn remove_projects(&self) -> Result<(), AgentError> {
        let projects = &self.agent.projects;
        let mut needed = BTreeSet::new();
        for revision in self.kept() {
            let services = self.arrangement(Some(revision)).unwrap_or_default().apps.into_values().flatten();
            needed.extend(services.filter_map(|one| one.project).map(|project| project.hex()));
        }
        let failed = |reason: std::io::Error| AgentError::Project { path: projects.clone(), reason };
        let names = durable::names(projects).map_err(failed)?;
        let stale = |name: &&String| !needed.contains(name.trim_end_matches(".whole"));
        // The marker first, and durable: what is left of a directory is then not taken for a whole one.
        let (markers, directories): (Vec<_>, Vec<_>) =
            names.iter().filter(stale).partition(|name| name.ends_with(".whole"));
        let disk = &*self.agent.disk;
        for marker in &markers {
            disk.unlink(&projects.join(marker)).map_err(failed)?;
        }
        if !markers.is_empty() {
            disk.sync_dir(projects).map_err(failed)?;
        }
        for directory in directories {
            durable::remove_directory(&projects.join(directory)).map_err(failed)?;
        }
        Ok(())
    }

    /// After a commit or a way back: what the engine has of others goes; the store is pruned where the owner wants that. That
    /// this fails fails nothing else.
    pub(crate) fn tidy_up(&mut self, watcher: &dyn Watcher) {
        let result = self.prune_plan().and_then(|mut obsolete| {
            if !self.agent.policy.prune {
                obsolete.revisions.clear();
                obsolete.plan = PrunePlan::default();
            }
            self.prune(&obsolete)
        });
        if let Err(error) = result {
            watcher.note(&format!("what is not needed any more could not be removed: {}", error.line()));
        }
    }
}
