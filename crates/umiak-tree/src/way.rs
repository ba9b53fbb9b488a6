//! The walk to the directory of an entry, symbolic links followed inside the root.

use umiak_spec::Limits;

use crate::stack::{MAX_HOPS, StackError};
use crate::{Builder, InodeId, Kind, Name, TreePath};

/// A walk from the root towards a directory.
pub(crate) struct Way {
    /// The directories entered, the root first.
    trail: Vec<InodeId>,
    /// Components still to walk, the next one last.
    ahead: Vec<Name>,
    hops: usize,
    entry: TreePath,
    layer: usize,
    depth: usize,
    longest: usize,
}

#[derive(PartialEq)]
pub(crate) enum Next {
    /// One component further.
    Entered,
    /// The next component is missing or is neither directory nor symbolic link.
    Absent(Name),
}

impl Way {
    /// Starts at the root towards `parent`, for the sake of `entry` of layer `layer`.
    pub fn new(parent: &TreePath, entry: &TreePath, layer: usize, limits: &Limits) -> Self {
        let mut ahead: Vec<_> = parent.components().map(Name::from).collect();
        ahead.reverse();
        let entry = entry.clone();
        Self { trail: vec![InodeId::ROOT], ahead, hops: 0, entry, layer, depth: limits.depth, longest: limits.name }
    }

    /// The directory reached.
    pub fn here(&self) -> InodeId {
        self.trail.last().copied().unwrap_or(InodeId::ROOT)
    }

    /// Goes into directory `id`.
    pub fn enter(&mut self, id: InodeId) -> Result<(), StackError> {
        if self.trail.len() >= self.depth {
            return Err(StackError::TooDeep { layer: self.layer, path: self.entry.clone(), limit: self.depth });
        }
        self.trail.push(id);
        Ok(())
    }

    /// One component further; `None` at the end.
    pub fn step<C>(&mut self, builder: &Builder<C>) -> Result<Option<Next>, StackError> {
        let Some(name) = self.ahead.pop() else { return Ok(None) };
        match &*name {
            b"." | b"" => return Ok(Some(Next::Entered)),
            b".." => {
                if self.trail.len() > 1 {
                    self.trail.pop();
                }
                return Ok(Some(Next::Entered));
            }
            _ => {}
        }
        let Some(child) = builder.child(self.here(), &name) else { return Ok(Some(Next::Absent(name))) };
        match &builder.get(child).kind {
            Kind::Directory(_) => self.enter(child)?,
            Kind::Symlink(target) => self.follow(target)?,
            _ => return Ok(Some(Next::Absent(name))),
        }
        Ok(Some(Next::Entered))
    }

    fn follow(&mut self, target: &[u8]) -> Result<(), StackError> {
        self.hops += 1;
        if self.hops > MAX_HOPS {
            return Err(StackError::Circular { layer: self.layer, path: self.entry.clone() });
        }
        if target.first() == Some(&b'/') {
            self.trail.truncate(1);
        }
        let components = target.split(|byte| *byte == b'/').filter(|component| !component.is_empty());
        if components.clone().any(|component| component.len() > self.longest) {
            return Err(StackError::LongName { layer: self.layer, path: self.entry.clone(), limit: self.longest });
        }
        self.ahead.extend(components.rev().map(Name::from));
        Ok(())
    }
}
