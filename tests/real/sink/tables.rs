//! The node that these tests share, and what stands in its tables.

use std::{
    fmt::Debug,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures_util::TryStreamExt;
use scylla::{
    client::{session::Session, session_builder::SessionBuilder},
    value::{CqlDate, CqlDecimal, CqlTimestamp},
};
use tickgate_stack::Cassandra;
use tokio::runtime::Runtime;

use crate::cluster::Settings;

/// One node, up; ended with this process, however it ends.
pub fn node() -> &'static Cassandra {
    static NODE: OnceLock<Cassandra> = OnceLock::new();
    NODE.get_or_init(|| Cassandra::builder().start().expect("a Cassandra node starts"))
}

/// Topics, groups and a keyspace that carry the test's name, on the shared brokers and the shared node.
pub fn settings(test: &str) -> Settings {
    settings_on(node(), test)
}

/// The same on another node.
pub fn settings_on(node: &Cassandra, test: &str) -> Settings {
    into(node, test, Settings::of(test))
}

/// Settings of any brokers, with a node's keyspace that carries the test's name.
pub fn into(node: &Cassandra, test: &str, settings: Settings) -> Settings {
    settings
        .with("SINK__GROUP", &format!("{test}-sink"))
        .with("SINK__CONTACT_POINTS", &node.contact_point())
        .with("SINK__KEYSPACE", &keyspace(test))
        .with("SINK__REPLICATION", "1")
        .with("SINK__HTTP", "127.0.0.1:0")
}

/// The test's keyspace.
pub fn keyspace(test: &str) -> String {
    test.replace('-', "_")
}

/// A row of `stock`: symbol, day, time in ms, source, price and volume as unscaled bytes and scale, and the write
/// times of both.
pub type Row = (String, u32, i64, i32, i64, (Vec<u8>, i32), (Vec<u8>, i32), i64, i64);
/// A row of `latest`: symbol, quote (offset, time in ms, price, volume), write time.
pub type Latest = (String, (i64, i64, (Vec<u8>, i32), (Vec<u8>, i32)), i64);

/// A client of a node, past the binary.
pub struct Tables {
    runtime: Runtime,
    session: Arc<Session>,
    keyspace: String,
}

impl Tables {
    /// The tables of a test on the shared node.
    pub fn of(test: &str) -> Self {
        Self::on(node(), test)
    }

    /// The tables of a test on another node.
    pub fn on(node: &Cassandra, test: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let session = runtime.block_on(SessionBuilder::new().known_node(node.direct()).build()).unwrap();
        Self { runtime, session: Arc::new(session), keyspace: keyspace(test) }
    }

    /// Carries out one statement; `KS` in it stands for the keyspace.
    pub fn execute(&self, cql: &str) {
        let cql = cql.replace("KS", &self.keyspace);
        self.runtime.block_on(self.session.query_unpaged(cql, ())).unwrap();
    }

    /// All rows of `stock`, sorted.
    pub fn stock(&self) -> Vec<Row> {
        type Columns = (String, CqlDate, CqlTimestamp, i32, i64, CqlDecimal, CqlDecimal, i64, i64);
        let mut rows = self.all::<Columns, Row>(
            "SELECT symbol, day, timestamp, source_partition, source_offset, last_price, volume, \
             WRITETIME(last_price), WRITETIME(volume) FROM KS.stock",
            |(symbol, day, time, partition, offset, price, volume, price_written, volume_written)| {
                let (price, volume) = (decimal(price), decimal(volume));
                (symbol, day.0, time.0, partition, offset, price, volume, price_written, volume_written)
            },
        );
        rows.sort();
        rows
    }

    /// All rows of `latest`, sorted.
    pub fn latest(&self) -> Vec<Latest> {
        type Columns = (String, (i64, CqlTimestamp, CqlDecimal, CqlDecimal), i64);
        let mut rows = self.all::<Columns, Latest>(
            "SELECT symbol, quote, WRITETIME(quote) FROM KS.latest",
            |(symbol, (offset, time, price, volume), written)| {
                (symbol, (offset, time.0, decimal(price), decimal(volume)), written)
            },
        );
        rows.sort();
        rows
    }

    /// The seconds that price and volume of each row of `stock`, and the quotes of `latest`, have still to live;
    /// `None` for ever.
    pub fn lives(&self) -> Vec<Option<i32>> {
        type Two = (Option<i32>, Option<i32>);
        let stock = self.all::<Two, _>("SELECT TTL(last_price), TTL(volume) FROM KS.stock", |two| two);
        let latest = self.all::<(Option<i32>,), _>("SELECT TTL(quote) FROM KS.latest", |(one,)| one);
        stock.into_iter().flat_map(|(price, volume)| [price, volume]).chain(latest).collect()
    }

    /// How many rows `stock` has.
    pub fn count(&self) -> usize {
        let cql = "SELECT source_offset FROM KS.stock";
        self.all::<(i64,), i64>(cql, |(offset,)| offset).len()
    }

    fn all<Columns, Row>(&self, cql: &str, row: impl Fn(Columns) -> Row) -> Vec<Row>
    where
        Columns: for<'a, 'b> scylla::deserialize::row::DeserializeRow<'a, 'b> + Debug,
    {
        let cql = cql.replace("KS", &self.keyspace);
        self.runtime.block_on(async {
            let mut statement = scylla::statement::Statement::new(cql);
            statement.set_request_timeout(Some(Duration::from_mins(1)));
            let pager = self.session.query_iter(statement, ()).await.unwrap();
            let stream = pager.rows_stream::<Columns>().unwrap();
            stream.map_ok(row).try_collect::<Vec<Row>>().await.unwrap()
        })
    }
}

fn decimal(number: CqlDecimal) -> (Vec<u8>, i32) {
    number.into_signed_be_bytes_and_exponent()
}
