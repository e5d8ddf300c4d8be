//! One scenario, played twice: by the gate on real Kafka and by the simulation. What each instance carries out
//! must be the same, effect for effect, with the offsets that it is about: `orderly.txt` says what.

use std::collections::BTreeMap;
use std::time::Duration;

/// Partitions of the scenario's topics.
pub const PARTITIONS: i32 = 2;

/// Something that is done to the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// An instance starts, with the store that it had.
    Start(char),
    /// An instance is asked to stop.
    Stop(char),
    /// An instance is killed.
    Kill(char),
    /// Somebody else takes the transactional id of an instance's worker.
    Fence(char),
    /// A record of a symbol comes.
    Record(String, What),
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A good one of this moment.
    Good,
    /// A good one whose event time is a silence ago.
    Old,
    /// No JSON.
    Bad,
    /// A tombstone.
    Removal,
    /// One whose output the producer refuses, as it is too large.
    Huge,
}

/// A deed, and the effects that each instance carries out because of it.
#[derive(Debug, Clone)]
pub struct Scene {
    pub deed: Deed,
    pub effects: BTreeMap<char, Vec<String>>,
}

/// Where a scenario is played.
pub trait Stage {
    /// Does it to the system.
    fn act(&mut self, deed: &Deed);
    /// What an instance has carried out since the scenario began, over all its starts.
    fn carried_out(&mut self, instance: char) -> Vec<String>;
    /// Lets some time pass.
    fn wait(&mut self);
    /// How long a scene may take.
    fn patience(&self) -> Duration;
    /// How much time has passed on this stage.
    fn clock(&self) -> Duration;
}

/// Plays the scenario; panics where an instance does something else than it says.
pub fn play(stage: &mut impl Stage) {
    let mut expected: BTreeMap<char, Vec<String>> = ['a', 'b'].map(|instance| (instance, Vec::new())).into();
    for scene in scenes() {
        stage.act(&scene.deed);
        for (instance, effects) in &scene.effects {
            expected.entry(*instance).or_default().extend(effects.iter().cloned());
        }
        let began = stage.clock();
        loop {
            let mut missing = false;
            for (instance, wanted) in &expected {
                let found = comparable(stage.carried_out(*instance));
                let same = wanted.iter().zip(&found).take_while(|(wanted, found)| wanted == found).count();
                assert!(
                    same == found.len() && found.len() <= wanted.len(),
                    "{:?}: `{instance}` should go on with {:#?}\nand went on with {:#?}",
                    scene.deed,
                    &wanted[same..],
                    &found[same..]
                );
                missing |= same < wanted.len();
            }
            if !missing {
                break;
            }
            let waited = stage.clock().saturating_sub(began);
            assert!(waited < stage.patience(), "{:?}: not all of {:#?}", scene.deed, scene.effects);
            stage.wait();
        }
    }
}

/// Without what depends on the time that passes: how often an end is looked at, and with which effect of a
/// round a fenced producer learns that it is.
fn comparable(effects: Vec<String>) -> Vec<String> {
    let mut comparable: Vec<String> = Vec::new();
    for effect in effects {
        if effect.starts_with("look at ends") && comparable.last() == Some(&effect) {
            continue;
        }
        // A refused output is that of a good record here, of a bad one there.
        if let Some(how) = ["fenced", "unsendable"].iter().find(|how| effect.ends_with(&format!(": {how}"))) {
            let begin = comparable.iter().rposition(|effect| effect == "begin").expect("a round was begun");
            comparable.truncate(begin + 1);
            comparable.push((*how).to_owned());
            continue;
        }
        comparable.push(effect);
    }
    // How an open round will end is not known yet.
    let ended = |effect: &&String| ["commit", "fenced", "unsendable"].contains(&effect.as_str());
    if let Some(begin) = comparable.iter().rposition(|effect| effect == "begin")
        && !comparable[begin..].iter().any(|effect| ended(&effect))
    {
        comparable.truncate(begin + 1);
    }
    comparable
}

/// `> deed`, then an effect a line, after the name of the instance.
fn scenes() -> Vec<Scene> {
    let mut scenes: Vec<Scene> = Vec::new();
    for line in include_str!("orderly.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(deed) = line.strip_prefix("> ") {
            scenes.push(Scene { deed: read_deed(deed), effects: BTreeMap::new() });
            continue;
        }
        let (instance, effect) = line.split_once(' ').expect("an instance and an effect");
        let effects = &mut scenes.last_mut().expect("a deed comes first").effects;
        effects.entry(instance.parse().expect("a letter")).or_default().push(effect.to_owned());
    }
    scenes
}

fn read_deed(line: &str) -> Deed {
    let (deed, of) = line.split_once(' ').expect("a deed and an instance or a symbol");
    let instance = || of.parse().expect("a letter");
    let record = |what| Deed::Record(of.to_owned(), what);
    match deed {
        "start" => Deed::Start(instance()),
        "stop" => Deed::Stop(instance()),
        "kill" => Deed::Kill(instance()),
        "fence" => Deed::Fence(instance()),
        "good" => record(What::Good),
        "old" => record(What::Old),
        "bad" => record(What::Bad),
        "removal" => record(What::Removal),
        "huge" => record(What::Huge),
        _ => panic!("no such deed: {line}"),
    }
}
