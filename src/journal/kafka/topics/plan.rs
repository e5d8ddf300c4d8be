//! What has to be done to make topics what they are to be, or why it must not be. Pure.

use std::collections::BTreeMap;

use super::layout::{TOPICS, Wanted};

/// One topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// By partition number.
    pub(super) partitions: Vec<FoundPartition>,
    /// The settings in force.
    pub(super) settings: BTreeMap<String, FoundSetting>,
}

/// One partition as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundPartition {
    pub(super) id: i32,
    /// The leader's broker; `None` while there is none.
    pub(super) leader: Option<i32>,
    pub(super) replicas: Vec<i32>,
    pub(super) in_sync: Vec<i32>,
}

/// One setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundSetting {
    pub(super) value: String,
    /// Set on the topic itself, rather than inherited.
    pub(super) is_own: bool,
}

/// What is done to one topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// The topic.
    pub topic: String,
    /// It is made, with all its settings.
    pub creates: bool,
    /// Partitions it gets: how many it has, how many it is to have.
    pub partitions: Option<(i32, i32)>,
    /// Settings that change.
    pub settings: Vec<SettingChange>,
    /// Deviations that are left as they are.
    pub notes: Vec<String>,
}

/// A setting that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// Kafka's name of it.
    pub name: &'static str,
    /// What it was; `None` when the brokers don't know the setting.
    pub from: Option<String>,
    /// What it will be.
    pub to: String,
}

/// Why topics are left alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Kafka can't take partitions away.
    #[error(
        "`{topic}` has {found} partitions, and `topics.partitions` is {wanted}: partitions can't be taken away; \
         set {found}, or use topics with other names"
    )]
    Fewer {
        /// The topic.
        topic: String,
        /// How many it has.
        found: i32,
        /// How many the settings say.
        wanted: i32,
    },
    /// More partitions would move symbols away from their state.
    #[error(
        "`{topic}` has {found} partitions, and `topics.partitions` is {wanted}: the group `{group}` has committed, \
         and more partitions would part symbols from their state; set {found}, or use topics with other names"
    )]
    Committed {
        /// The topic.
        topic: String,
        /// How many it has.
        found: i32,
        /// How many the settings say.
        wanted: i32,
        /// The consumer group.
        group: String,
    },
    /// Outputs and state of a partition are in the same partition of their topics, which must exist.
    #[error(
        "topics must have equally many partitions, found {counts}; delete or recreate those that are wrong"
    )]
    Uneven {
        /// Each topic and its count.
        counts: String,
    },
}

impl Step {
    /// Whether nothing is done.
    pub fn is_unchanged(&self) -> bool {
        !self.creates && self.partitions.is_none() && self.settings.is_empty()
    }
}

/// The steps, one for each topic, or everything that speaks against them.
pub(super) fn plan(
    wanted: &[Wanted; TOPICS],
    found: &[Option<Found>; TOPICS],
    group: &str,
    has_committed: bool,
) -> Result<Vec<Step>, Vec<Refusal>> {
    let existing = || wanted.iter().zip(found).filter_map(|(wanted, found)| Some((wanted, found.as_ref()?)));
    let mut refusals = Vec::new();
    if existing().any(|(_, found)| found.count() != existing().next().map_or(0, |(_, first)| first.count())) {
        let counts = existing().map(|(wanted, found)| format!("`{}` {}", wanted.name, found.count()));
        refusals.push(Refusal::Uneven { counts: counts.collect::<Vec<_>>().join(", ") });
    }
    refusals
        .extend(existing().filter_map(|(wanted, found)| refuse_count(wanted, found, group, has_committed)));
    if refusals.is_empty() {
        return Ok(wanted.iter().zip(found).map(|(wanted, found)| step(wanted, found.as_ref())).collect());
    }
    Err(refusals)
}

fn refuse_count(wanted: &Wanted, found: &Found, group: &str, has_committed: bool) -> Option<Refusal> {
    let (topic, count) = (wanted.name.clone(), found.count());
    let group = group.to_owned();
    match count.cmp(&wanted.partitions) {
        std::cmp::Ordering::Greater => {
            Some(Refusal::Fewer { topic, found: count, wanted: wanted.partitions })
        }
        std::cmp::Ordering::Less if has_committed => {
            Some(Refusal::Committed { topic, found: count, wanted: wanted.partitions, group })
        }
        _ => None,
    }
}

fn step(wanted: &Wanted, found: Option<&Found>) -> Step {
    let topic = wanted.name.clone();
    let Some(found) = found else { return Step { topic, creates: true, ..Step::default() } };
    Step {
        topic,
        creates: false,
        partitions: Some((found.count(), wanted.partitions)).filter(|(from, to)| from != to),
        settings: setting_changes(wanted, found),
        notes: replication_note(wanted, found).into_iter().collect(),
    }
}

/// Settings that aren't what they are to be. One that is, but only inherited, is left: it becomes the
/// topic's own once anything changes.
pub(super) fn setting_changes(wanted: &Wanted, found: &Found) -> Vec<SettingChange> {
    let differs = |(name, to): (&&'static str, &String)| {
        let from = found.settings.get(*name).map(|setting| setting.value.clone());
        (from.as_ref() != Some(to)).then(|| SettingChange { name, from, to: to.clone() })
    };
    wanted.settings.iter().filter_map(differs).collect()
}

pub(super) fn replication_note(wanted: &Wanted, found: &Found) -> Option<String> {
    let copies = |partition: &FoundPartition| i32::try_from(partition.replicas.len()).unwrap_or(i32::MAX);
    let differing = found.partitions.iter().filter(|partition| copies(partition) != wanted.replication);
    let (count, one) = (differing.clone().count(), differing.map(copies).next()?);
    Some(format!(
        "{count} partitions have other than {} replicas ({one}, for one); moving replicas is left to Kafka's own tools",
        wanted.replication
    ))
}

impl Found {
    pub(super) fn count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, journal::kafka::topics::layout::layout};

    fn wanted() -> [Wanted; TOPICS] {
        layout(&Config::load(None, [("TICKGATE_TOPICS__PARTITIONS".to_owned(), "6".to_owned())]).unwrap())
    }

    /// What is there after everything wanted was applied.
    fn as_wanted(wanted: &Wanted) -> Found {
        let partition = |id| FoundPartition {
            id,
            leader: Some(1),
            replicas: vec![1; usize::try_from(wanted.replication).unwrap()],
            in_sync: vec![1],
        };
        let setting = |value: &String| FoundSetting { value: value.clone(), is_own: true };
        Found {
            partitions: (0..wanted.partitions).map(partition).collect(),
            settings: wanted
                .settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), setting(value)))
                .collect(),
        }
    }

    /// The plan when the existing topics have these partition counts.
    fn plan_of(counts: [Option<usize>; TOPICS], has_committed: bool) -> Result<Vec<Step>, Vec<Refusal>> {
        let wanted = wanted();
        let mut found = wanted.each_ref().map(|wanted| Some(as_wanted(wanted)));
        for (found, count) in found.iter_mut().zip(counts) {
            match count {
                None => *found = None,
                Some(count) => {
                    let one = found.as_ref().unwrap().partitions[0].clone();
                    found.as_mut().unwrap().partitions.resize(count, one);
                }
            }
        }
        plan(&wanted, &found, "tickgate", has_committed)
    }

    #[test]
    fn what_is_as_wanted_stays_and_what_is_missing_is_made() {
        let steps = plan_of([Some(6), None, Some(6), Some(6), Some(6)], true).unwrap();
        assert_eq!(
            steps.iter().map(|step| step.creates).collect::<Vec<_>>(),
            [false, true, false, false, false]
        );
        assert!(steps[0].is_unchanged() && !steps[1].is_unchanged());
    }

    #[test]
    fn partitions_grow_only_before_the_group_has_committed() {
        let steps = plan_of([Some(3); TOPICS], false).unwrap();
        assert!(steps.iter().all(|step| step.partitions == Some((3, 6))));
        let refusals = plan_of([Some(3); TOPICS], true).unwrap_err();
        assert!(matches!(refusals[0], Refusal::Committed { found: 3, wanted: 6, .. }), "{refusals:?}");
    }

    #[test]
    fn partitions_never_become_fewer() {
        let refusals = plan_of([Some(12), None, None, None, None], false).unwrap_err();
        assert!(matches!(refusals[..], [Refusal::Fewer { found: 12, wanted: 6, .. }]), "{refusals:?}");
    }

    #[test]
    fn counts_that_differ_are_refused() {
        let refusals = plan_of([Some(6), Some(3), None, Some(6), None], false).unwrap_err();
        let expected = "`staging` 6, `stock_data` 3, `tickgate-last_seen-changelog` 6";
        assert_eq!(refusals, [Refusal::Uneven { counts: expected.to_owned() }]);
    }

    #[test]
    fn settings_and_replicas_that_differ_are_told_apart() {
        let wanted = wanted();
        let mut found = wanted.each_ref().map(|wanted| Some(as_wanted(wanted)));
        let staging = found[0].as_mut().unwrap();
        staging.settings.get_mut("retention.ms").unwrap().value = "1".to_owned();
        staging.settings.remove("max.message.bytes");
        staging.partitions[2].replicas.pop();
        let steps = plan(&wanted, &found, "tickgate", true).unwrap();
        let names = steps[0].settings.iter().map(|change| (change.name, change.from.as_deref()));
        assert_eq!(names.collect::<Vec<_>>(), [("max.message.bytes", None), ("retention.ms", Some("1"))]);
        assert_eq!(steps[0].notes.len(), 1);
    }
}
