//! No owner that lives is fenced by another member of the group.

use std::collections::BTreeMap;

use super::{Breach, hold};
use crate::group::{Group, Member};

/// Ids of workers that are up and own partitions as far as they know, with their membership.
#[derive(Debug, Default)]
pub struct Living(BTreeMap<String, (Member, u32)>);

impl Living {
    pub fn claimed(&mut self, id: &str, membership: (Member, u32)) {
        self.0.insert(id.to_owned(), membership);
    }

    pub fn gave_up(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// A member of this generation is about to fence an id. `excused`: the mark of an orderly release may still
    /// be on its way; then a fence costs a rejoin, no more.
    pub fn check(&self, by: &str, id: &str, group: &Group, excused: bool) -> Result<(), Breach> {
        let lives = self.0.get(id).is_some_and(|(member, generation)| {
            let is_member = group.accepts(*member, *generation) || group.is_cooperative && group.has(*member);
            is_member && !group.assigned(*member).is_empty()
        });
        hold(!lives || excused, || format!("{by} fences {id}, which lives and owns partitions"))
    }
}
