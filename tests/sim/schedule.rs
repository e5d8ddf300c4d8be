//! What can happen, and how often in one seed: a seed draws which faults it knows and how frequent they are,
//! so that some seeds are calm and others are not.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::site::BASE_MS;
use crate::watch::Watch;

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// A worker takes a step: an effect, or a turn of its loop.
    Work,
    /// A transaction marker is written.
    Marker,
    /// Records arrive on staging.
    Feed,
    /// Milliseconds pass.
    Moment,
    /// Seconds pass.
    While,
    /// A process is killed; it may keep its disk or lose it.
    Crash,
    /// A process that isn't there starts.
    Start,
    /// A process is asked to stop.
    Leave,
    /// A process stands still, its heartbeats too.
    Stall,
    /// It goes on.
    Wake,
    /// Somebody takes a worker's transactional id over.
    Fence,
    /// A wall clock is set.
    Leap,
    /// A store is flushed.
    Flush,
    /// A producer upstream opens a transaction on staging, or ends it.
    Upstream,
    /// The cleaner passes over the changelog.
    Clean,
    /// Staging deletes records that are committed.
    Delete,
    /// Minutes pass, with all that is up at its place, and the cleaner passes before and after.
    Minutes,
    /// A partition gets a new leader.
    Election,
    /// A replica of a partition that the process does not own moves on.
    Follow,
    /// Every process is killed, and the group forgets them; what this seed tampers with is tampered with.
    Outage,
    /// An operator chooses where to go on, if any process has refused to.
    Reset,
}

/// What happens to offsets and to staging in an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tampering {
    Nothing,
    /// Committed offsets expire.
    Expiry,
    /// Somebody moves committed offsets.
    Moved,
    /// Staging deletes records that nobody has judged.
    Deleted,
    /// Staging is made anew.
    Recreated,
}

/// How instances are members of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    Plain,
    /// The group is told only of what moves.
    Cooperative,
    /// They have names that survive restarts.
    Static,
    /// And the first two have the same one.
    Twins,
}

impl Members {
    pub fn are_static(self) -> bool {
        matches!(self, Self::Static | Self::Twins)
    }
}

/// One seed's shape.
#[derive(Debug)]
pub struct Schedule {
    pub partitions: i32,
    pub instances: usize,
    /// Of each instance.
    pub workers: usize,
    pub members: Members,
    pub transaction_timeout_ms: i64,
    pub tampering: Tampering,
    /// Whether processes go on where records were deleted unjudged.
    pub accept_loss: bool,
    pub symbols: usize,
    /// What silences are held to.
    pub watch: Watch,
    pub steps: usize,
    pub hot_symbols: usize,
    pub round_max_records: usize,
    /// In 1,000: a commit's reply is lost.
    pub lost_replies: u32,
    /// In 1,000: a commit or a send is refused.
    pub refusals: u32,
    /// In 1,000: of the records, those that are no good.
    pub bad: u32,
    /// In 1,000: of the records that are good, those that end a symbol's watch.
    pub removals: u32,
    weights: Vec<(Happening, u32)>,
    total: u32,
}

impl Schedule {
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mut some = |most: u32| if rng.random_bool(0.6) { rng.random_range(1..=most) } else { 0 };
        let weights = vec![
            (Happening::Work, 1_000),
            (Happening::Marker, 60),
            (Happening::Feed, 60),
            (Happening::Moment, 80),
            (Happening::While, 4 + some(30)),
            (Happening::Crash, some(12)),
            (Happening::Start, 20),
            (Happening::Leave, some(8)),
            (Happening::Stall, some(8)),
            (Happening::Wake, 12),
            (Happening::Fence, some(4)),
            (Happening::Leap, some(6)),
            (Happening::Flush, some(10)),
            (Happening::Upstream, some(20)),
            (Happening::Clean, some(12)),
            (Happening::Delete, some(8)),
            (Happening::Minutes, some(4)),
            (Happening::Election, some(6)),
            (Happening::Follow, some(60)),
            (Happening::Outage, some(3)),
            (Happening::Reset, 3),
        ];
        let (lost_replies, refusals, bad, removals) = (some(200), some(60), some(300), 25 + some(200));
        let total = weights.iter().map(|(_, weight)| weight).sum();
        Self {
            partitions: rng.random_range(1..=4),
            instances: rng.random_range(1..=3),
            workers: if rng.random_ratio(1, 3) { 2 } else { 1 },
            members: match rng.random_range(0..12) {
                0 => Members::Twins,
                1 | 2 => Members::Static,
                3..=6 => Members::Cooperative,
                _ => Members::Plain,
            },
            transaction_timeout_ms: if rng.random_ratio(1, 3) {
                rng.random_range(2_000..10_000)
            } else {
                60_000
            },
            tampering: match rng.random_range(0..12) {
                0 | 1 => Tampering::Expiry,
                2 => Tampering::Moved,
                3 | 4 => Tampering::Deleted,
                5 => Tampering::Recreated,
                _ => Tampering::Nothing,
            },
            accept_loss: rng.random_ratio(1, 3),
            symbols: rng.random_range(1..=12),
            watch: Watch::draw(rng, BASE_MS),
            steps: rng.random_range(400..=1_600),
            hot_symbols: rng.random_range(0..=8),
            round_max_records: rng.random_range(1..=20),
            lost_replies,
            refusals,
            bad,
            removals,
            weights,
            total,
        }
    }

    /// Nothing happens by chance.
    pub fn orderly(partitions: i32) -> Self {
        Self {
            partitions,
            instances: 0,
            workers: 1,
            members: Members::Plain,
            transaction_timeout_ms: 60_000,
            tampering: Tampering::Nothing,
            accept_loss: false,
            symbols: 0,
            watch: Watch::plain(),
            steps: 0,
            hot_symbols: 1_000,
            round_max_records: 1_000,
            lost_replies: 0,
            refusals: 0,
            bad: 0,
            removals: 0,
            weights: Vec::new(),
            total: 0,
        }
    }

    /// What happens next.
    pub fn next(&self, rng: &mut ChaCha8Rng) -> Happening {
        let mut draw = rng.random_range(0..self.total);
        for (happening, weight) in &self.weights {
            if draw < *weight {
                return *happening;
            }
            draw -= weight;
        }
        Happening::Work
    }
}
