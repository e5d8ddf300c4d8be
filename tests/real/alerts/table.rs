//! Cassandra stops while records flow.

use std::thread;

use super::{Closes, Market, monitoring::Monitoring};
use crate::{
    gate::{Gate, PATIENCE, wait_for},
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
        monitoring.wait_value("sum(up{job=\"tickgate-sink\"})", 1.0);
        wait_for("rows", PATIENCE, || (loader.metric("tickgate_sink_rows_total") > 100.0).then_some(()));
        assert_eq!(monitoring.webhook.heard("TickgateSinkFailing"), []);

        breakable.node().kill().unwrap();
        let failing = monitoring.webhook.wait_firing("TickgateSinkFailing");
        assert_eq!((failing.label("instance"), failing.label("severity")), (&*loader.address(), "critical"));
        breakable.heal();
        monitoring.webhook.wait_resolved("TickgateSinkFailing");
        monitoring.webhook.assert_readable();
    });
}
