//! The consumer group: classic protocol, eager range assignment or a cooperative one, sessions, static members. And a
//! member's seat in it, which is what librdkafka makes of the group for one client.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tickgate::model::Partition;

/// How long a silent member keeps its partitions.
const SESSION_MS: i64 = 6_000;
/// How long the group waits for members to give up what they have.
const REBALANCE_MS: i64 = 300_000;

pub type Member = u32;

#[derive(Debug)]
struct Place {
    /// A static member's, which survives restarts.
    name: Option<String>,
    heard_ms: i64,
    /// Whether it has joined the coming generation.
    joined: bool,
    assigned: Vec<Partition>,
    /// What it said it has when it joined; only where the protocol is cooperative.
    owned: Vec<Partition>,
}

#[derive(Debug, Default)]
pub struct Group {
    partitions: i32,
    pub is_cooperative: bool,
    generation: u32,
    rebalancing_since: Option<i64>,
    members: BTreeMap<Member, Place>,
    last_member: Member,
    /// Static members that another one of their name has replaced.
    replaced: BTreeSet<Member>,
}

/// What a heartbeat is answered.
enum Heard {
    Unknown,
    /// Another member of the same name has come.
    Replaced,
    Rejoin,
    Member {
        generation: u32,
        assigned: Vec<Partition>,
    },
    Wait,
}

impl Group {
    pub fn new(partitions: i32, is_cooperative: bool) -> Self {
        Self { partitions, is_cooperative, ..Self::default() }
    }

    /// Whether a commit with this membership is accepted.
    pub fn accepts(&self, member: Member, generation: u32) -> bool {
        self.members.contains_key(&member) && self.generation == generation
    }

    /// What a group would accept that takes a static member's name for the member.
    pub fn accepts_replaced(&self, member: Member, generation: u32) -> bool {
        self.replaced.contains(&member) && self.generation == generation
    }

    /// Whether a static member of this name has a place.
    pub fn knows(&self, name: &str) -> bool {
        self.members.values().any(|place| place.name.as_deref() == Some(name))
    }

    pub fn has(&self, member: Member) -> bool {
        self.members.contains_key(&member)
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What a member has in the current generation.
    pub fn assigned(&self, member: Member) -> &[Partition] {
        self.members.get(&member).map_or(&[], |place| &place.assigned)
    }

    /// Expires sessions; ends a rebalance that everybody has joined.
    pub fn pass_time(&mut self, now_ms: i64) {
        let late = self.rebalancing_since.is_some_and(|since| now_ms - since > REBALANCE_MS);
        let before = self.members.len();
        self.members.retain(|_, place| now_ms - place.heard_ms <= SESSION_MS && (place.joined || !late));
        if self.members.len() < before {
            self.rebalance(now_ms);
        }
        self.settle();
    }

    fn leave(&mut self, member: Member, now_ms: i64) {
        if self.members.remove(&member).is_some() {
            self.rebalance(now_ms);
            self.settle();
        }
    }

    /// A static member that is known by its name takes its predecessor's place: same generation, same partitions,
    /// no rebalance.
    fn join(&mut self, name: Option<&str>, now_ms: i64) -> Member {
        self.last_member += 1;
        let known = |(_, place): &(&Member, &Place)| name.is_some() && place.name.as_deref() == name;
        if let Some(old) = self.members.iter().find(known).map(|(member, _)| *member) {
            let mut place = self.members.remove(&old).expect("it was found");
            place.heard_ms = now_ms;
            place.joined = self.rebalancing_since.is_some();
            self.members.insert(self.last_member, place);
            self.replaced.insert(old);
            self.settle();
            return self.last_member;
        }
        let name = name.map(str::to_owned);
        let place = Place { name, heard_ms: now_ms, joined: true, assigned: Vec::new(), owned: Vec::new() };
        self.members.insert(self.last_member, place);
        self.rebalance(now_ms);
        self.settle();
        self.last_member
    }

    fn rejoin(&mut self, member: Member, owned: &[Partition], now_ms: i64) {
        let Some(place) = self.members.get_mut(&member) else { return };
        place.joined = true;
        place.owned = owned.to_vec();
        self.rebalance(now_ms);
        self.settle();
    }

    fn heartbeat(&mut self, member: Member, now_ms: i64) -> Heard {
        let rebalancing = self.rebalancing_since.is_some();
        if self.replaced.contains(&member) {
            return Heard::Replaced;
        }
        let Some(place) = self.members.get_mut(&member) else { return Heard::Unknown };
        place.heard_ms = now_ms;
        match (rebalancing, place.joined) {
            (true, true) => Heard::Wait,
            (true, false) => Heard::Rejoin,
            (false, _) => Heard::Member { generation: self.generation, assigned: place.assigned.clone() },
        }
    }

    fn rebalance(&mut self, now_ms: i64) {
        if self.rebalancing_since.is_none() {
            self.rebalancing_since = Some(now_ms);
        }
    }

    fn settle(&mut self) {
        if self.rebalancing_since.is_none() || !self.members.values().all(|place| place.joined) {
            return;
        }
        self.rebalancing_since = None;
        self.generation += 1;
        if self.is_cooperative {
            self.share_out_what_is_free();
            return;
        }
        let members = i32::try_from(self.members.len()).unwrap();
        let mut first = 0;
        for (at, place) in (0..).zip(self.members.values_mut()) {
            let share = self.partitions / members + i32::from(at < self.partitions % members);
            place.assigned = (first..first + share).collect();
            place.joined = false;
            first += share;
        }
    }

    /// Each member keeps what it has of its share. What is more than that is nobody's until it has given it up and joined
    /// again.
    fn share_out_what_is_free(&mut self) {
        let Ok(members) = i32::try_from(self.members.len()) else { return };
        if members == 0 {
            return;
        }
        let taken: BTreeSet<Partition> =
            self.members.values().flat_map(|place| &place.owned).copied().collect();
        let mut free = (0..self.partitions).filter(|partition| !taken.contains(partition));
        let (least, mut larger) = (self.partitions / members, self.partitions % members);
        // Those that have most keep the larger shares.
        let mut places: Vec<&mut Place> = self.members.values_mut().collect();
        places.sort_by_key(|place| std::cmp::Reverse(place.owned.len()));
        for place in places {
            let share = usize::try_from(least + i32::from(larger > 0)).unwrap();
            larger -= i32::from(larger > 0);
            place.assigned.clone_from(&place.owned);
            place.assigned.truncate(share);
            let missing = share - place.assigned.len();
            place.assigned.extend(free.by_ref().take(missing));
            place.joined = false;
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
    Lost(Vec<Partition>),
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Joining,
    /// The assignment has been told and not answered.
    Told(Vec<Partition>),
    Steady(Vec<Partition>),
    /// The revocation has been told and not answered.
    GivingUp,
}

/// One client's view of its membership.
#[derive(Debug)]
pub struct Seat {
    name: Option<String>,
    pub member: Member,
    /// The generation it knows of.
    pub generation: u32,
    phase: Phase,
    pub events: VecDeque<Event>,
    /// Another member of its name has replaced it: it can only start over.
    pub is_replaced: bool,
    /// What the group has given, where the protocol is cooperative.
    owned: Vec<Partition>,
    /// What comes once a revocation is answered.
    follows: Option<Vec<Partition>>,
    /// It joins again once the assignment is answered.
    rejoins: bool,
    /// An event that was handed over has not been answered.
    awaited: bool,
}

impl Seat {
    pub fn take(group: &mut Group, name: Option<String>, now_ms: i64) -> Self {
        Self {
            member: group.join(name.as_deref(), now_ms),
            name,
            generation: 0,
            phase: Phase::Joining,
            events: VecDeque::new(),
            is_replaced: false,
            owned: Vec::new(),
            follows: None,
            rejoins: false,
            awaited: false,
        }
    }

    /// What the group said next. It waits for its answer from here on.
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.awaited = true;
        Some(event)
    }

    /// A static member says no farewell: its name is expected back until its session ends.
    pub fn leave(&self, group: &mut Group, now_ms: i64) {
        if self.name.is_none() {
            group.leave(self.member, now_ms);
        }
    }

    /// What the client's background thread does all the time.
    pub fn heartbeat(&mut self, group: &mut Group, now_ms: i64) {
        if group.is_cooperative {
            self.heartbeat_cooperatively(group, now_ms);
            return;
        }
        match group.heartbeat(self.member, now_ms) {
            Heard::Replaced => self.is_replaced = true,
            Heard::Unknown => match std::mem::replace(&mut self.phase, Phase::Joining) {
                Phase::Joining => self.member = group.join(self.name.as_deref(), now_ms),
                Phase::Steady(list) => self.tell(Event::Lost(list), Phase::GivingUp),
                waiting => self.phase = waiting,
            },
            Heard::Rejoin => match std::mem::replace(&mut self.phase, Phase::Joining) {
                Phase::Joining => group.rejoin(self.member, &[], now_ms),
                Phase::Steady(list) => self.tell(Event::Revoked(list), Phase::GivingUp),
                waiting => self.phase = waiting,
            },
            Heard::Member { generation, assigned } if self.phase == Phase::Joining => {
                self.generation = generation;
                self.tell(Event::Assigned(assigned.clone()), Phase::Told(assigned));
            }
            Heard::Member { .. } | Heard::Wait => {}
        }
    }

    /// What it has it keeps while it joins again.
    fn heartbeat_cooperatively(&mut self, group: &mut Group, now_ms: i64) {
        match group.heartbeat(self.member, now_ms) {
            Heard::Replaced => self.is_replaced = true,
            Heard::Unknown => match &self.phase {
                Phase::Joining if self.owned.is_empty() => {
                    self.member = group.join(self.name.as_deref(), now_ms);
                }
                Phase::Joining | Phase::Steady(_) => {
                    let lost = std::mem::take(&mut self.owned);
                    self.tell(Event::Lost(lost), Phase::GivingUp);
                }
                Phase::Told(_) | Phase::GivingUp => {}
            },
            Heard::Rejoin if matches!(self.phase, Phase::Joining | Phase::Steady(_)) => {
                self.phase = Phase::Joining;
                group.rejoin(self.member, &self.owned, now_ms);
            }
            Heard::Member { generation, assigned } if self.phase == Phase::Joining => {
                self.generation = generation;
                let (kept, gone): (Vec<_>, Vec<_>) = self.owned.iter().partition(|of| assigned.contains(of));
                let given: Vec<Partition> =
                    assigned.into_iter().filter(|of| !self.owned.contains(of)).collect();
                self.owned = kept;
                if gone.is_empty() {
                    self.give(given);
                } else {
                    self.follows = Some(given);
                    self.tell(Event::Revoked(gone), Phase::GivingUp);
                }
            }
            Heard::Rejoin | Heard::Member { .. } | Heard::Wait => {}
        }
    }

    fn give(&mut self, given: Vec<Partition>) {
        self.owned.extend(&given);
        self.tell(Event::Assigned(given), Phase::Told(Vec::new()));
    }

    /// The answer to an assignment.
    pub fn assign(&mut self, group: &mut Group, now_ms: i64) {
        self.awaited = false;
        if let Phase::Told(list) = &mut self.phase {
            self.phase = Phase::Steady(std::mem::take(list));
            if std::mem::take(&mut self.rejoins) {
                self.phase = Phase::Joining;
                group.rejoin(self.member, &self.owned, now_ms);
            }
        }
    }

    /// The answer to a revocation; to an assignment, that it is not wanted. Nothing where no event waits for one.
    pub fn unassign(&mut self, group: &mut Group, now_ms: i64) {
        if std::mem::take(&mut self.awaited) {
            self.answer_at_once(group, now_ms);
        }
    }

    /// The same to an event that nobody has been told of yet.
    pub fn answer_at_once(&mut self, group: &mut Group, now_ms: i64) {
        match self.phase {
            Phase::GivingUp => {
                if let Some(given) = self.follows.take() {
                    self.rejoins = true;
                    self.give(given);
                } else {
                    self.phase = Phase::Joining;
                    group.rejoin(self.member, &[], now_ms);
                }
            }
            Phase::Told(_) if group.is_cooperative => self.assign(group, now_ms),
            Phase::Told(_) => self.phase = Phase::Steady(Vec::new()),
            // What it has taken on it has until the group wants it back.
            Phase::Steady(_) | Phase::Joining => {}
        }
    }

    fn tell(&mut self, event: Event, phase: Phase) {
        self.events.push_back(event);
        self.phase = phase;
    }
}
