//! A batch of records: judged, their symbols looked up, decided one by one in order of arrival.

use super::class::Classes;
use super::effect::{Effect, Output};
use super::freshness;
use super::input::{Generation, Now};
use super::processor::Processor;
use super::record::Record;
use super::rules::{self, History, RuleSettings, Suspects, Verdict};
use super::settings::Settings;
use super::task::{SlotId, Task};
use crate::model::{Event, Offset, Partition, Price, Rule, Source, SymbolRow};

/// A judged batch, waiting for its symbols or being decided.
#[derive(Debug)]
pub(super) struct Batch {
    generation: Generation,
    records: Vec<Judged>,
    /// What was asked of the store, in order.
    asked: Vec<(Partition, SlotId)>,
}

#[derive(Debug)]
struct Judged {
    at: usize,
    partition: Partition,
    offset: Offset,
    kafka_time: Option<i64>,
    call: Call,
}

#[derive(Debug)]
enum Call {
    Accept { slot: SlotId, event_time: i64, price: Price, suspects: Suspects },
    Remove { slot: SlotId },
    Reject { rejection: Vec<u8>, rules: Vec<Rule> },
    Unsendable { reason: String },
}

impl Processor {
    pub(super) fn arrived(&mut self, records: &[Record<'_>], generation: Generation, now: Now) {
        if let Some(round) = self.round.as_mut().filter(|round| round.generation != generation) {
            round.unread = records.iter().map(|record| record.partition).collect();
            self.abort("the group's membership changed within the round".to_owned());
            return;
        }
        self.generation = generation;
        let mut batch = Batch { generation, records: Vec::with_capacity(records.len()), asked: Vec::new() };
        for (at, record) in records.iter().enumerate() {
            let Some(task) = self.tasks.get_mut(&record.partition) else { continue };
            if record.offset < task.next {
                continue;
            }
            let call = judge(task, record, &self.settings);
            if let Call::Accept { slot, .. } | Call::Remove { slot } = call
                && task.is_unknown(slot)
            {
                batch.asked.push((record.partition, slot));
            }
            let (partition, offset, kafka_time) = (record.partition, record.offset, record.kafka_time);
            batch.records.push(Judged { at, partition, offset, kafka_time, call });
        }
        batch.asked.sort_unstable();
        batch.asked.dedup();
        if batch.asked.is_empty() {
            self.decide(batch, now);
            return;
        }
        let names = batch.asked.iter().map(|(p, slot)| (*p, self.tasks[p].symbol(*slot).clone())).collect();
        self.effects.push_back(Effect::Lookup(names));
        self.batch = Some(batch);
    }

    /// The store's answer.
    pub(super) fn looked_up(&mut self, rows: Vec<Option<SymbolRow>>, now: Now) {
        if let Some(listing) = self.listing.take() {
            self.list_found(&listing, rows, now);
        } else if let Some(mut batch) = self.batch.take() {
            self.learn(std::mem::take(&mut batch.asked), rows);
            self.decide(batch, now);
        }
    }

    fn learn(&mut self, asked: Vec<(Partition, SlotId)>, rows: Vec<Option<SymbolRow>>) {
        assert_eq!(asked.len(), rows.len(), "a look-up answers every symbol asked");
        for ((partition, slot), row) in asked.into_iter().zip(rows) {
            if let Some(task) = self.tasks.get_mut(&partition) {
                task.learn(slot, row);
            }
        }
    }

    fn decide(&mut self, batch: Batch, now: Now) {
        if batch.records.is_empty() {
            return;
        }
        let count = batch.records.len();
        let round = self.open_round(batch.generation, now);
        round.records += count;
        let full = round.records >= self.settings.round_max_records;
        let mut outputs = Vec::with_capacity(count);
        let mut events = Vec::new();
        for judged in batch.records {
            let Some(task) = self.tasks.get_mut(&judged.partition) else { continue };
            if let Some(round) = &mut self.round {
                round.partitions.insert(judged.partition);
            }
            task.next = judged.offset + 1;
            task.time = judged.kafka_time;
            let (classes, rules) = (&self.settings.classes, &self.settings.rules);
            decide_one(task, judged, rules, classes, now, &mut outputs, &mut events);
        }
        self.effects.push_back(Effect::Send(outputs));
        if full {
            self.finish_round();
        }
    }
}

fn judge(task: &mut Task, record: &Record<'_>, settings: &Settings) -> Call {
    if let Some(reason) = task.unsendable.get(&record.offset) {
        return Call::Unsendable { reason: reason.clone() };
    }
    match rules::judge(record, &settings.rules) {
        Verdict::Accepted { quote, suspects } => Call::Accept {
            slot: task.slot_id(&quote.symbol, &settings.classes),
            event_time: quote.event_time.0,
            price: quote.price(),
            suspects,
        },
        Verdict::Removed { symbol } => Call::Remove { slot: task.slot_id(symbol, &settings.classes) },
        Verdict::Rejected(rejection) => {
            let source = Source { partition: record.partition, offset: record.offset };
            let rules = rejection.broken.iter().map(|broken| broken.rule).collect();
            Call::Reject { rejection: rejection.to_header(&settings.staging, source), rules }
        }
    }
}

fn decide_one(
    task: &mut Task,
    judged: Judged,
    rules: &RuleSettings,
    classes: &Classes,
    now: Now,
    outputs: &mut Vec<Output>,
    events: &mut Vec<Event>,
) {
    let (at, epoch) = (judged.at, task.epoch);
    match judged.call {
        Call::Accept { slot, event_time, price, suspects } => {
            let history = task.row(slot).and_then(History::of);
            let by_history = history.map(|history| history.judge(event_time, price, rules));
            let suspects = suspects.or(by_history.unwrap_or_default());
            let symbol = task.symbol(slot).clone();
            let (quote, id) = ((event_time, price), task.class(slot));
            let class = classes.get(id);
            if class.feed_after_ms.is_some() {
                task.accepted(id, judged.kafka_time.unwrap_or(event_time));
            }
            let row = freshness::accept(task.row(slot), &symbol, quote, class, now, events);
            for event in events.drain(..) {
                outputs.push(Output::event(task.partition, symbol.clone(), &event));
            }
            if task.row(slot) != Some(&row) {
                task.set(slot, Some(row));
            }
            outputs.push(Output::Forward { at, epoch, suspects, event_time });
        }
        Call::Remove { slot } => {
            if task.row(slot).is_some() {
                task.set(slot, None);
                task.forget_end_below(judged.offset);
            }
            outputs.push(Output::Remove { at, epoch });
        }
        Call::Reject { rejection, rules } => outputs.push(Output::Reject { at, epoch, rejection, rules }),
        Call::Unsendable { reason } => outputs.push(Output::Unsendable { at, epoch, reason }),
    }
}
