//! Charts from Cassandra, and the first price of a day. What is shown while it is away: `alerts/table.rs`.

use serde_json::Value;

use crate::{
    draft::Draft,
    feed::{Producer, now_ms},
    gate::{Gate, PATIENCE, wait_for},
    offsets::wait_caught_up,
    role::Role,
    sink::{loader::Loader, tables},
};

#[test]
fn charts_come_from_the_table_and_say_so() {
    let settings =
        tables::settings("page-history").with("TOPICS__PARTITIONS", "1").with("SERVE__HTTP", "127.0.0.1:0");
    settings.run(&["topics", "apply"]).ended(0);
    settings.run(&["sink", "schema", "--apply"]).ended(0);
    let mut gate = Gate::start(&settings);
    gate.wait_ready();
    let producer = Producer::new(&settings);
    let now = now_ms();
    for (hours, cents) in [(50, 100), (20, 200), (1, 300), (0, 400)] {
        producer.send(&Draft::new("IC MARKETS:1", cents, 7, now - hours * 3_600_000 - 60_000).finish());
    }
    producer.flush();
    wait_caught_up(&settings, PATIENCE);
    Loader::catch_up(&settings);
    assert_eq!(gate.terminate(), Some(0));

    // Nothing is read of the topics, so that what is shown is the table's.
    let settings = settings.with("SERVE__HISTORY", "cassandra");
    let page = settings.clone().with("SERVE__LOOK_BACK_RECORDS", "0");
    let page = Role::start(&page, &["serve"]);
    page.wait_ready();
    let ask = |range: &str| -> Value {
        let path = format!("/v1/markets/IC%20MARKETS:1/history?range={range}");
        // A node that is busy with other tests may be too slow for a chart, which then says so.
        wait_for("chart of the table", PATIENCE, || {
            let (_, body) = page.ask(&path).filter(|(status, _)| *status == 200)?;
            Some(serde_json::from_str::<Value>(&body).unwrap()).filter(|past| past["source"] == "cassandra")
        })
    };
    for (range, closes) in [
        ("1h", vec!["4.00"]),
        ("1d", vec!["2.00", "3.00", "4.00"]),
        ("3d", vec!["1.00", "2.00", "3.00", "4.00"]),
        ("all", vec!["1.00", "2.00", "3.00", "4.00"]),
    ] {
        let past = ask(range);
        let bars = past["bars"].as_array().unwrap();
        let found: Vec<&str> = bars.iter().map(|bar| bar["close"].as_str().unwrap()).collect();
        assert_eq!(found, closes, "{range}: {past}");
        assert_eq!(past["note"], Value::Null);
    }
    drop(page);

    // One quote is read, with the marker of its commit, and the day began before it.
    let page = settings.with("SERVE__LOOK_BACK_RECORDS", "2");
    let page = Role::start(&page, &["serve"]);
    let day = |hours: i64| (now - hours * 3_600_000 - 60_000).div_euclid(86_400_000);
    let (_, first) =
        [(20, 2.0), (1, 3.0), (0, 4.0)].into_iter().find(|(hours, _)| day(*hours) == day(0)).unwrap();
    wait_for("change since the first price of the day", PATIENCE, || {
        let (_, body) = page.ask("/v1/markets/IC%20MARKETS:1").filter(|(status, _)| *status == 200)?;
        let change = serde_json::from_str::<Value>(&body).unwrap()["change_day"].as_f64()?;
        ((change - (4.0 - first) / first * 100.0).abs() < 1e-9).then_some(())
    });
}
