//! Cassandra stops while records flow: alerts, and what the page says.

use std::thread;

use serde_json::Value;

use super::{Closes, Market, monitoring::Monitoring};
use crate::{
    gate::{Gate, PATIENCE, wait_for},
    role::Role,
    sink::{
        breaking::Breakable,
        loader::Loader,
        source::{tables, topics},
        tables::settings_on,
    },
};

#[test]
#[ignore = "starts Cassandra a second time"]
fn a_cassandra_that_stops_reaches_people_and_so_does_its_return() {
    let breakable = Breakable::take();
    let settings = topics(settings_on(breakable.node(), "alerts-table"));
    tables(&settings);
    let market = Market::default();
    let (gate, loader) = (Gate::start(&settings), Loader::start(&settings));
    thread::scope(|scope| {
        scope.spawn(|| market.run(&settings));
        let _closes = Closes(&market);
        gate.wait_ready();
        loader.wait_ready();
        let monitoring = Monitoring::start();
        monitoring.scrape("process", &[gate.address()]);
        monitoring.scrape("sink", &[loader.address()]);
        let page = settings.clone().with("SERVE__HTTP", "127.0.0.1:0").with("SERVE__HISTORY", "cassandra");
        let page = Role::start(&page, &["serve"]);
        page.wait_ready();
        monitoring.wait_value("sum(up{job=\"tickgate-sink\"})", 1.0);
        wait_for("rows", PATIENCE, || (loader.metric("tickgate_sink_rows_total") > 100.0).then_some(()));
        assert_eq!(monitoring.webhook.heard("TickgateSinkFailing"), []);

        breakable.node().kill().unwrap();
        // Whoever looks at the page sees what it waits for, and charts from what it has read.
        page.wait_unready("cassandra waits for an answer");
        let symbols: Value = serde_json::from_str(&page.ask("/v1/markets?limit=1").unwrap().1).unwrap();
        let symbol = symbols["symbols"][0]["symbol"].as_str().unwrap().replace(' ', "%20");
        wait_for("chart without Cassandra", PATIENCE, || {
            let (_, body) =
                page.ask(&format!("/v1/markets/{symbol}/history")).filter(|(status, _)| *status == 200)?;
            let past: Value = serde_json::from_str(&body).unwrap();
            let says = past["note"].as_str().is_some_and(|note| note.contains("Cassandra does not answer"));
            (says && past["source"] == "memory").then_some(())
        });
        let failing = monitoring.webhook.wait_firing("TickgateSinkFailing");
        assert_eq!((failing.label("instance"), failing.label("severity")), (&*loader.address(), "critical"));
        breakable.heal();
        monitoring.webhook.wait_resolved("TickgateSinkFailing");
        page.wait_ready();
        monitoring.webhook.assert_readable();
    });
}
