//! A topic in words.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    layout::Wanted,
    plan::{Found, replication_note, setting_changes},
};

/// One topic, as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Described {
    /// Its name.
    pub topic: String,
    /// Its partitions, by number; empty when the topic doesn't exist.
    pub partitions: Vec<DescribedPartition>,
    /// `retention.ms`; `None` for a compacted topic, or one that keeps records for ever.
    pub retention_ms: Option<u64>,
    /// The settings that tickgate depends on, as they are in force, and those set on the topic by others.
    pub settings: BTreeMap<String, String>,
    /// Where it isn't what the settings say, or isn't well.
    pub deviations: Vec<String>,
}

/// One partition, as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DescribedPartition {
    /// Its number.
    pub partition: i32,
    /// The broker that leads it, if any.
    pub leader: Option<i32>,
    /// The brokers that have a copy.
    pub replicas: Vec<i32>,
    /// Those of them that are up to date.
    pub in_sync: Vec<i32>,
}

pub(super) fn describe(wanted: &Wanted, found: Option<Found>) -> Described {
    let topic = wanted.name.clone();
    let Some(found) = found else {
        let deviations = vec!["does not exist; `tickgate topics apply` makes it".to_owned()];
        return Described {
            topic,
            partitions: Vec::new(),
            retention_ms: None,
            settings: BTreeMap::new(),
            deviations,
        };
    };
    let deviations = deviations(wanted, &found);
    let value = |name: &str| found.settings.get(name).map(|setting| setting.value.as_str());
    let is_kept = value("cleanup.policy").is_some_and(|policy| !policy.contains("delete"));
    let retention_ms = value("retention.ms").filter(|_| !is_kept).and_then(|text| text.parse().ok());
    let is_shown = |name: &str, is_own: bool| is_own || wanted.settings.contains_key(name);
    let settings = found.settings.iter().filter(|(name, setting)| is_shown(name, setting.is_own));
    let settings = settings.map(|(name, setting)| (name.clone(), setting.value.clone())).collect();
    let partitions = found.partitions.into_iter().map(|found| DescribedPartition {
        partition: found.id,
        leader: found.leader,
        replicas: found.replicas,
        in_sync: found.in_sync,
    });
    Described { topic, partitions: partitions.collect(), retention_ms, settings, deviations }
}

fn deviations(wanted: &Wanted, found: &Found) -> Vec<String> {
    let mut deviations = Vec::new();
    if found.count() != wanted.partitions {
        deviations.push(format!("{} partitions, and the settings say {}", found.count(), wanted.partitions));
    }
    deviations.extend(replication_note(wanted, found));
    for change in setting_changes(wanted, found) {
        let from = change.from.unwrap_or_else(|| "unknown to the brokers".to_owned());
        deviations.push(format!("`{}` is {from}, and the settings say {}", change.name, change.to));
    }
    let without_leader = found.partitions.iter().filter(|partition| partition.leader.is_none()).count();
    if without_leader > 0 {
        deviations.push(format!("{without_leader} partitions have no leader"));
    }
    let behind =
        found.partitions.iter().filter(|partition| partition.in_sync.len() < partition.replicas.len());
    if behind.clone().count() > 0 {
        deviations.push(format!("{} partitions have replicas that are not in sync", behind.count()));
    }
    deviations
}

impl Described {
    /// Partitions led, by broker: `1:4 2:4 3:4`.
    pub fn leaders(&self) -> String {
        let mut led = BTreeMap::<i32, usize>::new();
        for leader in self.partitions.iter().filter_map(|partition| partition.leader) {
            *led.entry(leader).or_default() += 1;
        }
        led.iter().map(|(broker, count)| format!("{broker}:{count}")).collect::<Vec<_>>().join(" ")
    }

    /// The replicas in sync of the partition that has the fewest, of how many: `3/3`.
    pub fn in_sync(&self) -> String {
        let worst = self.partitions.iter().min_by_key(|partition| partition.in_sync.len());
        worst.map_or(String::new(), |worst| format!("{}/{}", worst.in_sync.len(), worst.replicas.len()))
    }

    /// The retention in words.
    pub fn retention(&self) -> String {
        match self.retention_ms {
            Some(ms) => humantime::format_duration(Duration::from_millis(ms)).to_string(),
            None if self.partitions.is_empty() => String::new(),
            None => "for ever".to_owned(),
        }
    }
}
