//! The ways to damage a whole world, each with the breach that must come of it.

use tickgate::audit::{BreachKind, Topic};
use tickgate::model::{ClassRow, Event, Freshness, Kind, Level, Source, headers};
use tickgate_state::{Reported, SymbolRow};

use super::world::{Entry, START_MS, THRESHOLD_MS, World, class_row, event, feed_event};

/// A damage, and where its breach must be reported.
pub struct Damage {
    pub name: &'static str,
    pub hurt: fn(&mut World),
    pub kind: BreachKind,
    pub topic: Topic,
    /// The offending record's offset, where there is one.
    pub offset: Option<i64>,
}

/// In `whole`, by place: inputs 0, 1, 3, 6, 7, 8, 9 are accepted; `bad_data` is rejected 2, removed 4, rejected 5,
/// then a stale and its recovered.
pub const DAMAGES: &[Damage] = &[
    Damage {
        name: "a lost output",
        hurt: |world| drop(world.stock_data.remove(2)),
        kind: BreachKind::LostOutput,
        topic: Topic::Staging,
        offset: Some(3),
    },
    Damage {
        name: "a lost rejection",
        hurt: |world| drop(world.bad_data.remove(0)),
        kind: BreachKind::LostOutput,
        topic: Topic::Staging,
        offset: Some(2),
    },
    Damage {
        name: "a doubled output",
        hurt: |world| world.stock_data.insert(3, world.stock_data[2].clone()),
        kind: BreachKind::DoubledOutput,
        topic: Topic::StockData,
        offset: Some(3),
    },
    Damage {
        name: "a misrouted output",
        hurt: |world| {
            let mut output = world.stock_data.remove(2);
            output.headers.push((headers::KIND.to_owned(), b"rejected".to_vec()));
            world.bad_data.insert(1, output);
        },
        kind: BreachKind::Misrouted,
        topic: Topic::BadData,
        offset: Some(1),
    },
    Damage {
        name: "outputs that changed places",
        hurt: |world| world.stock_data.swap(0, 1),
        kind: BreachKind::OutOfOrder,
        topic: Topic::StockData,
        offset: Some(1),
    },
    Damage {
        name: "an altered value",
        hurt: |world| world.stock_data[1].value.as_mut().unwrap().push(b' '),
        kind: BreachKind::AlteredValue,
        topic: Topic::StockData,
        offset: Some(1),
    },
    Damage {
        name: "a value in place of a tombstone",
        hurt: |world| world.bad_data[1].value = Some(Vec::new()),
        kind: BreachKind::AlteredValue,
        topic: Topic::BadData,
        offset: Some(1),
    },
    Damage {
        name: "an altered key",
        hurt: |world| world.stock_data[1].key = None,
        kind: BreachKind::AlteredKey,
        topic: Topic::StockData,
        offset: Some(1),
    },
    Damage {
        name: "an altered header of the input",
        hurt: |world| *header_of(&mut world.stock_data[2], "trace") = b"43".to_vec(),
        kind: BreachKind::AlteredHeaders,
        topic: Topic::StockData,
        offset: Some(2),
    },
    Damage {
        name: "a lost header of the input",
        hurt: |world| drop(world.stock_data[2].headers.remove(0)),
        kind: BreachKind::AlteredHeaders,
        topic: Topic::StockData,
        offset: Some(2),
    },
    Damage {
        name: "a header that nobody should have added",
        hurt: |world| world.stock_data[0].headers.push(("extra".to_owned(), Vec::new())),
        kind: BreachKind::AlteredHeaders,
        topic: Topic::StockData,
        offset: Some(0),
    },
    Damage {
        name: "an altered time",
        hurt: |world| world.stock_data[0].time += 1,
        kind: BreachKind::AlteredTime,
        topic: Topic::StockData,
        offset: Some(0),
    },
    Damage {
        name: "a rejection for another rule",
        hurt: |world| {
            *header_of(&mut world.bad_data[0], headers::REJECTION) =
                b"{\"rules\":[],\"source\":{\"topic\":\"staging\",\"partition\":0,\"offset\":2}}".to_vec();
        },
        kind: BreachKind::WrongRejection,
        topic: Topic::BadData,
        offset: Some(0),
    },
    Damage {
        name: "a suspect mark that the record does not deserve",
        hurt: |world| {
            world.stock_data[0].headers.push((headers::SUSPECT.to_owned(), b"wrong_partition".to_vec()));
        },
        kind: BreachKind::WrongSuspect,
        topic: Topic::StockData,
        offset: Some(0),
    },
    Damage {
        name: "a late record that is not called late",
        hurt: |world| {
            let late = world
                .stock_data
                .iter_mut()
                .find(|entry| entry.headers.iter().any(|(_, value)| value == b"late"));
            late.unwrap().headers.retain(|(name, _)| name != headers::SUSPECT);
        },
        kind: BreachKind::WrongSuspect,
        topic: Topic::StockData,
        offset: None,
    },
    Damage {
        name: "a mark that the history does not bear out",
        hurt: |world| {
            world.stock_data[0].headers.push((headers::SUSPECT.to_owned(), b"price_jump".to_vec()));
        },
        kind: BreachKind::WrongSuspect,
        topic: Topic::StockData,
        offset: None,
    },
    Damage {
        name: "an output without its source",
        hurt: |world| world.stock_data[1].headers.clear(),
        kind: BreachKind::NoSource,
        topic: Topic::StockData,
        offset: Some(1),
    },
    Damage {
        name: "an output for another partition",
        hurt: |world| {
            *header_of(&mut world.stock_data[1], headers::SRC) =
                Source { partition: 999, offset: 1 }.encode().to_vec();
        },
        kind: BreachKind::WrongPartition,
        topic: Topic::StockData,
        offset: Some(1),
    },
    Damage {
        name: "an output ahead of what is committed",
        hurt: |world| {
            let (partition, offset) = (world.partition, world.cut);
            let mut output = world.stock_data[0].clone();
            *header_of(&mut output, headers::SRC) = Source { partition, offset }.encode().to_vec();
            world.stock_data.push(output);
        },
        kind: BreachKind::AheadOfCommit,
        topic: Topic::StockData,
        offset: None,
    },
    Damage {
        name: "an unknown kind",
        hurt: |world| *header_of(&mut world.bad_data[3], headers::KIND) = b"stalest".to_vec(),
        kind: BreachKind::UnknownKind,
        topic: Topic::BadData,
        offset: Some(3),
    },
    Damage {
        name: "a stale twice",
        hurt: |world| world.bad_data.insert(4, world.bad_data[3].clone()),
        kind: BreachKind::DuplicateEvent,
        topic: Topic::BadData,
        offset: Some(4),
    },
    Damage {
        name: "a stale twice, with another symbol's removal between",
        hurt: |world| world.bad_data.insert(1, world.bad_data[3].clone()),
        kind: BreachKind::DuplicateEvent,
        topic: Topic::BadData,
        offset: Some(4),
    },
    Damage {
        name: "a lower level after a higher one",
        hurt: |world| {
            let mut warn = world.bad_data[3].clone();
            change_event(&mut warn, |said| said.level = Level::Warn);
            world.bad_data.insert(4, warn);
        },
        kind: BreachKind::WrongLevel,
        topic: Topic::BadData,
        offset: Some(4),
    },
    Damage {
        name: "a recovered of another level",
        hurt: |world| change_event(&mut world.bad_data[4], |said| said.level = Level::Warn),
        kind: BreachKind::WrongLevel,
        topic: Topic::BadData,
        offset: Some(4),
    },
    Damage {
        name: "a stale of another length",
        hurt: |world| {
            change_event(&mut world.bad_data[3], |said| said.silence_ms = said.silence_ms.map(|ms| ms + 1));
        },
        kind: BreachKind::FalseEvent,
        topic: Topic::BadData,
        offset: Some(3),
    },
    Damage {
        name: "a recovered twice",
        hurt: |world| world.bad_data.insert(5, world.bad_data[4].clone()),
        kind: BreachKind::DuplicateEvent,
        topic: Topic::BadData,
        offset: Some(5),
    },
    Damage {
        name: "a stale for a last-seen that never was",
        hurt: |world| {
            let symbol = String::from_utf8(world.staging[0].key.clone().unwrap()).unwrap();
            world
                .bad_data
                .insert(3, event(Kind::Stale, &symbol, START_MS + 500, START_MS + 2 * THRESHOLD_MS));
        },
        kind: BreachKind::FalseEvent,
        topic: Topic::BadData,
        offset: Some(3),
    },
    Damage {
        name: "a stale for too short a silence",
        hurt: |world| {
            let symbol = String::from_utf8(world.staging[0].key.clone().unwrap()).unwrap();
            world.bad_data.insert(3, event(Kind::Stale, &symbol, START_MS, START_MS + THRESHOLD_MS - 1));
        },
        kind: BreachKind::FalseEvent,
        topic: Topic::BadData,
        offset: Some(3),
    },
    Damage {
        name: "a recovered without its stale",
        hurt: |world| drop(world.bad_data.remove(3)),
        kind: BreachKind::UnmatchedRecovered,
        topic: Topic::BadData,
        offset: Some(3),
    },
    Damage {
        name: "an event that cannot be read",
        hurt: |world| world.bad_data[4].value = Some(b"{}".to_vec()),
        kind: BreachKind::UnreadableEvent,
        topic: Topic::BadData,
        offset: Some(4),
    },
    Damage {
        name: "a row that calls reported what was not",
        hurt: |world| {
            change_row(world, |row| {
                row.reported =
                    row.last_seen.map(|silence_from| Reported { silence_from, warn: false, error: true });
            });
        },
        kind: BreachKind::LostEvent,
        topic: Topic::Changelog,
        offset: None,
    },
    Damage {
        name: "a last-seen that is too high",
        hurt: |world| change_row(world, |row| row.last_seen = row.last_seen.map(|time| time + 1)),
        kind: BreachKind::WrongLastSeen,
        topic: Topic::Changelog,
        offset: None,
    },
    Damage {
        name: "a last-seen that is too low",
        hurt: |world| change_row(world, |row| row.last_seen = row.last_seen.map(|time| time - 1)),
        kind: BreachKind::WrongLastSeen,
        topic: Topic::Changelog,
        offset: None,
    },
    Damage {
        name: "a symbol's row that is gone",
        hurt: |world| {
            let row = last_row(world);
            world.changelog[row].value = None;
        },
        kind: BreachKind::WrongLastSeen,
        topic: Topic::Changelog,
        offset: None,
    },
    Damage {
        name: "a row that cannot be read",
        hurt: |world| {
            let row = last_row(world);
            world.changelog[row].value = Some(vec![99]);
        },
        kind: BreachKind::UnreadableRow,
        topic: Topic::Changelog,
        offset: None,
    },
    Damage {
        name: "a silence of a class twice",
        hurt: |world| {
            let silent = feed_event(Kind::FeedSilent, "default", START_MS, START_MS + 700_000);
            world.bad_data.insert(3, silent.clone());
            world.bad_data.insert(4, silent);
        },
        kind: BreachKind::DuplicateEvent,
        topic: Topic::BadData,
        offset: Some(4),
    },
    Damage {
        name: "a silence of a class that was too short",
        hurt: |world| {
            world.bad_data.insert(3, feed_event(Kind::FeedSilent, "default", START_MS, START_MS + 600_000));
        },
        kind: BreachKind::FalseEvent,
        topic: Topic::BadData,
        offset: Some(3),
    },
    Damage {
        name: "the end of a class's silence without its begin",
        hurt: |world| {
            world
                .bad_data
                .insert(3, feed_event(Kind::FeedRecovered, "default", START_MS, START_MS + 700_000));
        },
        kind: BreachKind::UnmatchedRecovered,
        topic: Topic::BadData,
        offset: Some(3),
    },
    Damage {
        name: "a class row that calls reported what was not",
        hurt: |world| {
            let row = ClassRow { last_accepted: None, silent_from: Some(START_MS) };
            world.changelog.insert(0, class_row("default", &row));
        },
        kind: BreachKind::LostEvent,
        topic: Topic::Changelog,
        offset: Some(0),
    },
    Damage {
        name: "a class row of a quote that never came",
        hurt: |world| {
            let row = ClassRow { last_accepted: Some(START_MS - 1), silent_from: None };
            world.changelog.insert(0, class_row("default", &row));
        },
        kind: BreachKind::WrongLastSeen,
        topic: Topic::Changelog,
        offset: Some(0),
    },
    Damage {
        name: "a checkpoint that lags",
        hurt: |world| drop(world.changelog.pop()),
        kind: BreachKind::WrongCheckpoint,
        topic: Topic::Changelog,
        offset: None,
    },
    Damage {
        name: "no changelog at all",
        hurt: |world| world.changelog.clear(),
        kind: BreachKind::WrongCheckpoint,
        topic: Topic::Changelog,
        offset: None,
    },
    Damage {
        name: "a committed offset that was moved back",
        hurt: |world| world.cut -= 2,
        kind: BreachKind::WrongCheckpoint,
        topic: Topic::Changelog,
        offset: None,
    },
    Damage {
        name: "a committed offset beyond the end",
        hurt: |world| world.cut += 2,
        kind: BreachKind::CutBeyondEnd,
        topic: Topic::Staging,
        offset: None,
    },
];

/// The place of the last symbol row that holds a last-seen.
fn last_row(world: &World) -> usize {
    world
        .changelog
        .iter()
        .rposition(|entry| entry.value.is_some() && entry.key.as_deref() != Some(b"k"))
        .unwrap()
}

fn change_event(entry: &mut Entry, change: impl FnOnce(&mut Freshness)) {
    let kind = Kind::from_name(std::str::from_utf8(header_of(entry, headers::KIND)).unwrap()).unwrap();
    let mut event = Event::from_json(kind, entry.value.as_deref().unwrap()).unwrap().unwrap();
    let (Event::Stale(said) | Event::Recovered(said)) = &mut event else { panic!("{event:?}") };
    change(said);
    entry.value = Some(event.to_json());
}

fn change_row(world: &mut World, change: fn(&mut SymbolRow)) {
    let place = last_row(world);
    let value = world.changelog[place].value.as_mut().unwrap();
    let mut row = SymbolRow::decode(value).unwrap();
    change(&mut row);
    *value = row.encode();
}

/// The last header of that name.
fn header_of<'a>(entry: &'a mut Entry, name: &str) -> &'a mut Vec<u8> {
    entry.headers.iter_mut().rev().find(|(found, _)| found == name).map(|(_, value)| value).unwrap()
}
