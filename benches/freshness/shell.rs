//! The core's effects on a real store; Kafka answers at once and keeps nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tickgate::core::effect::{Applied, Writes};
use tickgate::core::input::{End, Owner, Restored};
use tickgate::core::rules::RuleSettings;
use tickgate::core::settings::{PAGE_SYMBOLS, SCAN_ROWS_MAX};
use tickgate::core::{Classes, Effect, Generation, Input, Now, Output, Processor, Settings};
use tickgate::model::{Offset, Partition, WallTime};
use tickgate_state::{
    Batch, PartitionWriter, Position, Price, Row, RowKey, Store, StoreIdentity, StoreOptions, SymbolRow,
};

pub(crate) const GENERATION: Generation = Generation(1);
pub(crate) const THRESHOLD_MS: i64 = 4 * 60 * 60 * 1000;
pub(crate) const GRACE_MS: i64 = 5_000;
/// When those that are due first were last seen; those of the next tick a turn later.
pub(crate) const FIRST_DUE_MS: i64 = 1_795_348_800_000;
pub(crate) const TURN_MS: i64 = 10_000;
/// Others were seen some time in the hours after the last that is due.
const SPREAD_MS: i64 = 3 * 60 * 60 * 1000;
const SLICE_ROWS: usize = 10_000;

/// Everything beside the core.
pub(crate) struct Shell {
    store: Arc<Store>,
    writers: BTreeMap<Partition, PartitionWriter>,
    /// The partitions of the round that is committed next.
    logged: Vec<Partition>,
    position: Offset,
    pub(crate) now: Now,
    /// Events sent.
    pub(crate) told: usize,
}

impl Shell {
    /// A store of `symbols` rows, of which `due.1` are due in each of `due.0` turns.
    pub(crate) fn fill(
        dir: &Path,
        symbols: usize,
        partitions: i32,
        due: (usize, usize),
    ) -> anyhow::Result<Self> {
        let identity = StoreIdentity {
            group: "bench".to_owned(),
            changelog: "bench".to_owned(),
            cluster: String::new(),
        };
        let store = Arc::new(Store::open(dir, &identity, &StoreOptions::default())?);
        let every = symbols / (due.0 * due.1);
        anyhow::ensure!(every > 0, "{symbols} symbols are too few");
        let mut writers = BTreeMap::new();
        let mut slice: Vec<Row> = Vec::with_capacity(SLICE_ROWS);
        for partition in 0..partitions {
            let writer = store.writer(u16::try_from(partition)?)?;
            let own = (0..symbols).skip(usize::try_from(partition)?).step_by(usize::try_from(partitions)?);
            for number in own {
                let turn = number / every;
                let last_seen = if number.is_multiple_of(every) && turn < due.0 * due.1 {
                    FIRST_DUE_MS + i64::try_from(turn % due.0)? * TURN_MS
                } else {
                    let spread = i64::try_from(number.wrapping_mul(0x9e37_79b9) % 1_000_000)?;
                    FIRST_DUE_MS + i64::try_from(due.0)? * TURN_MS + spread * SPREAD_MS / 1_000_000
                };
                slice.push((RowKey::Symbol(&format!("SYM{number:07}")).encode(), Some(row(last_seen))));
                if slice.len() == SLICE_ROWS {
                    store.restore_slice(&writer, std::mem::take(&mut slice), at(1), 0)?;
                }
            }
            store.restore_slice(&writer, std::mem::take(&mut slice), at(1), 0)?;
            writers.insert(partition, writer);
        }
        store.flush()?;
        let mut shell =
            Self { store, writers, logged: Vec::new(), position: 1, now: now(FIRST_DUE_MS), told: 0 };
        shell.set_clock(FIRST_DUE_MS);
        Ok(shell)
    }

    pub(crate) fn set_clock(&mut self, wall_ms: i64) {
        self.now = now(wall_ms);
    }

    /// A core that has taken all partitions over.
    pub(crate) fn take_over(&mut self) -> anyhow::Result<Processor> {
        let mut core = Processor::new(settings(), "bench".to_owned(), self.now);
        let partitions = self.writers.keys().copied().collect();
        core.handle(Input::Assigned { partitions, generation: GENERATION }, self.now);
        self.carry_out(&mut core)?;
        Ok(core)
    }

    /// A tick, and everything that follows.
    pub(crate) fn tick(&mut self, core: &mut Processor) -> anyhow::Result<()> {
        core.handle(Input::Tick { generation: GENERATION }, self.now);
        self.carry_out(core)
    }

    fn carry_out(&mut self, core: &mut Processor) -> anyhow::Result<()> {
        while let Some(effect) = core.poll_effect() {
            anyhow::ensure!(!matches!(effect, Effect::Rejoin(_) | Effect::Stop(_)), "{effect:?}");
            if !matches!(effect, Effect::Notice(_)) {
                core.handle(self.perform(effect)?, self.now);
            }
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> anyhow::Result<Input<'static>> {
        Ok(match effect {
            Effect::ReadOwners(of) => {
                Input::Owners(of.into_iter().map(|partition| Owner { partition, claim: None }).collect())
            }
            Effect::AwaitStable(of) => Input::Stable(of.into_iter().map(|of| (of, None)).collect()),
            Effect::ReadTargets(of) => Input::Targets(of.into_iter().map(|of| (of, 1)).collect()),
            Effect::Restore(targets) => {
                let restored = targets.iter().map(|target| self.restored(target.partition));
                Input::Restored(restored.collect::<anyhow::Result<_>>()?)
            }
            Effect::Send(outputs) => {
                self.told += outputs.iter().filter(|output| matches!(output, Output::Event { .. })).count();
                Input::Done
            }
            Effect::Log(writes) => {
                self.logged = writes.iter().map(|write| write.partition).collect();
                Input::Done
            }
            Effect::Commit => {
                self.position += 1;
                Input::Committed(self.logged.iter().map(|of| (*of, self.position)).collect())
            }
            Effect::Apply(applied) => self.apply(&applied)?,
            Effect::Lookup(symbols) => {
                let row = |(of, name): &(Partition, Arc<str>)| {
                    let found = self.store.symbols(u16::try_from(*of)?, &[name])?;
                    Ok(found.into_iter().next().flatten())
                };
                Input::LookedUp(symbols.iter().map(row).collect::<anyhow::Result<_>>()?)
            }
            Effect::Scan { spans, limit } => {
                let scan = |span: &tickgate::core::effect::Span| {
                    let names = (&*span.from, span.until.as_deref());
                    Ok(self.store.symbol_span(u16::try_from(span.partition)?, names, limit)?)
                };
                Input::Scanned(spans.iter().map(scan).collect::<anyhow::Result<_>>()?)
            }
            Effect::LookAtEnds(of) => {
                let end = |(partition, committed): (Partition, Offset)| End {
                    partition,
                    last_stable: committed,
                    high_watermark: committed,
                    readable: false,
                    looked_at: self.now.wall,
                };
                Input::Ends(of.into_iter().map(end).collect(), Vec::new())
            }
            _ => Input::Done,
        })
    }

    fn restored(&self, partition: Partition) -> anyhow::Result<Restored> {
        Ok(Restored {
            partition,
            position: 1,
            checkpoint: self.store.checkpoint(u16::try_from(partition)?)?,
            classes: Vec::new(),
            log_start: 0,
            log_end: 0,
            time_below_checkpoint: None,
        })
    }

    fn apply(&self, applied: &[Applied]) -> anyhow::Result<Input<'static>> {
        let batches = applied.iter().map(|part| {
            let write = &part.writes[part.index];
            let (rows, position) = (encode(write), at(part.to));
            (&self.writers[&write.partition], Batch { expected: Some(at(part.from)), rows, position })
        });
        let batches: Vec<_> = batches.collect();
        self.store.apply(&batches, 0)?;
        Ok(Input::Done)
    }
}

fn at(changelog_next: Offset) -> Position {
    Position { changelog_next }
}

fn now(wall_ms: i64) -> Now {
    Now { wall: WallTime(wall_ms), monotonic_ms: wall_ms - FIRST_DUE_MS }
}

fn row(last_seen: i64) -> Vec<u8> {
    let price = Some(Price { mantissa: 18_912, scale: 2 });
    SymbolRow { last_seen: Some(last_seen), price, price_since: Some(last_seen), ..SymbolRow::default() }
        .encode()
}

fn encode(write: &Writes) -> Vec<Row> {
    let symbols = write.rows.iter().map(|(symbol, row)| {
        (RowKey::Symbol(symbol).encode(), row.as_ref().map(tickgate_state::SymbolRow::encode))
    });
    symbols.chain([(RowKey::Checkpoint.encode(), Some(write.checkpoint.encode()))]).collect()
}

fn settings() -> Settings {
    Settings {
        staging: "staging".to_owned(),
        commit_interval_ms: 100,
        round_max_records: 100_000,
        classes: Arc::new(Classes::of_one(None, Some(THRESHOLD_MS))),
        watchlist: Arc::default(),
        grace_ms: GRACE_MS,
        renew_after_ms: i64::MAX,
        hot_symbols: 100_000,
        page_symbols: PAGE_SYMBOLS,
        scan_rows_max: SCAN_ROWS_MAX,
        accept_loss: false,
        rules: RuleSettings::default(),
        fingerprint: 0,
    }
}
