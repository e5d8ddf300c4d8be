//! The tables' check finds each kind of damage, and none where there is none.

use rust_decimal::Decimal;
use tickgate::audit::{BreachKind, Findings, Loadable, TableCheck, Unjudged};
use tickgate::model::row::{StoredLatest, StoredRow, cql_decimal};
use tickgate::model::{EventTime, Row, Source};

/// Records, rows and latest quotes that belong together.
#[derive(Clone)]
struct World {
    retired: bool,
    dead: Vec<i64>,
    records: Vec<Loadable>,
    stock: Vec<StoredRow>,
    latest: Vec<StoredLatest>,
}

/// Damages a world.
type Hurt = fn(&mut World);

fn row(symbol: &str, offset: i64, time_ms: i64) -> Row {
    Row {
        symbol: symbol.to_owned(),
        event_time: EventTime(time_ms),
        source: Source { partition: 0, offset },
        last_price: Decimal::new(18_912, 2),
        volume: Decimal::new(offset, 0),
    }
}

fn stored(row: &Row) -> StoredRow {
    StoredRow {
        symbol: row.symbol.clone(),
        day: row.day(),
        time_ms: row.event_time.0,
        source: row.source,
        last_price: Some((cql_decimal(row.last_price), row.write_time_us())),
        volume: Some((cql_decimal(row.volume), row.write_time_us())),
    }
}

fn latest(row: &Row) -> StoredLatest {
    let (price, volume) = (cql_decimal(row.last_price), cql_decimal(row.volume));
    let quote = (row.source.offset, row.event_time.0, price, volume, row.write_time_us());
    StoredLatest { symbol: row.symbol.clone(), quote: Some(quote) }
}

/// Ten records of two symbols, two of them in the same millisecond, one dead, the last one not loaded yet.
fn whole() -> World {
    let rows: Vec<Row> = (0..10)
        .map(|number| row(["A", "B"][usize::from(number % 2 == 0)], 100 + number, 5_000 + number / 3))
        .collect();
    let record = |row: &Row| Loadable {
        partition: 0,
        offset: row.source.offset + 7,
        row: Some(row.clone()),
        is_loaded: row.source.offset < 109,
        may_be_expired: false,
    };
    let mut records: Vec<Loadable> = rows.iter().map(record).collect();
    records[4].row = None;
    let stock = rows.iter().enumerate().filter(|(at, _)| *at != 4 && *at != 9);
    World {
        retired: false,
        dead: vec![111],
        stock: stock.map(|(_, row)| stored(row)).collect(),
        latest: vec![latest(&rows[7]), latest(&rows[8])],
        records,
    }
}

fn check(world: &World) -> Findings {
    let mut check = TableCheck::new(10);
    world.dead.iter().for_each(|offset| check.dead(0, *offset));
    check.partition(0, world.retired);
    world.records.iter().for_each(|record| check.record(record.clone()));
    world.stock.iter().for_each(|row| check.stock(row));
    world.latest.iter().for_each(|row| check.latest(row));
    check.finish()
}

#[test]
fn nothing_is_found_where_all_is_whole() {
    let findings = check(&whole());
    assert!(findings.is_whole(), "{findings:?}");
    assert_eq!(findings.unjudged(Unjudged::RowsBeyondCut), 1);
}

#[test]
fn each_damage_is_found_and_named() {
    let damages: [(BreachKind, Hurt); 13] = [
        (BreachKind::LostRow, |world| drop(world.stock.remove(3))),
        (BreachKind::LostRow, |world| world.dead.clear()),
        (BreachKind::DoubledRow, |world| {
            let mut again = world.stock[3].clone();
            again.time_ms += 1;
            world.stock.push(again);
        }),
        (BreachKind::StrayRow, |world| world.stock.push(stored(&row("A", 99, 5_000)))),
        (BreachKind::StrayRow, |world| world.stock[0].source.partition = 8),
        (BreachKind::AlteredRow, |world| world.stock[2].day += 1),
        (BreachKind::AlteredRow, |world| world.stock[2].symbol = "C".to_owned()),
        // The same number with another scale is another text.
        (BreachKind::AlteredRow, |world| {
            world.stock[2].last_price = Some((cql_decimal(Decimal::new(189_120, 3)), 5_000_000));
        }),
        (BreachKind::AlteredRow, |world| world.stock[2].volume.as_mut().unwrap().1 += 1),
        (BreachKind::AlteredRow, |world| world.stock[2].volume = None),
        (BreachKind::WrongLatest, |world| world.latest[1] = latest(&row("B", 106, 5_002))),
        (BreachKind::WrongLatest, |world| drop(world.latest.remove(1))),
        (BreachKind::WrongLatest, |world| world.latest.push(latest(&row("C", 1, 1)))),
    ];
    for (at, (kind, hurt)) in damages.into_iter().enumerate() {
        let mut world = whole();
        hurt(&mut world);
        let findings = check(&world);
        assert!(findings.breaches(kind) > 0, "damage {at}: no {kind:?} in {findings:?}");
    }
}

#[test]
fn what_is_gone_for_a_reason_is_counted_only() {
    let mut world = whole();
    world.retired = true;
    world.stock.push(stored(&row("A", 50, 1)));
    world.stock.push(stored(&row("A", 200, 1)));
    world.records.iter_mut().for_each(|record| record.may_be_expired = true);
    world.stock.remove(3);
    let findings = check(&world);
    assert!(findings.is_whole(), "{findings:?}");
    for why in [Unjudged::RowsRetired, Unjudged::RowsBeyondRead, Unjudged::RowsExpired] {
        assert_eq!(findings.unjudged(why), 1, "{why:?}");
    }
}
