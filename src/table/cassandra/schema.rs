//! The schema: what it is to be, as CQL; what it is; where the two differ.
//!
//! A table is never altered. Columns that others add to it are left alone, unless they are part of the key.

use std::fmt::Write as _;

use scylla::client::session::Session;
use scylla::statement::{Consistency, Statement};

use super::session::{ConnectError, open};
use super::write::reason_of;
use crate::config::{CassandraConfig, Replication};

/// A column as it is to be.
#[derive(Debug, Clone, Copy)]
struct Column {
    table: &'static str,
    name: &'static str,
    /// As Cassandra writes it in `system_schema.columns`.
    cql_type: &'static str,
    part: Part,
}

/// What a column is to its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Decides the node, as the how-manieth.
    Partition(i32),
    /// Decides the place on it, newest first.
    Newest(i32),
    Value,
}

const STOCK: &str = "stock";
const LATEST: &str = "latest";

const COLUMNS: [Column; 9] = [
    Column { table: STOCK, name: "symbol", cql_type: "text", part: Part::Partition(0) },
    Column { table: STOCK, name: "day", cql_type: "date", part: Part::Partition(1) },
    Column { table: STOCK, name: "timestamp", cql_type: "timestamp", part: Part::Newest(0) },
    Column { table: STOCK, name: "source_partition", cql_type: "int", part: Part::Newest(1) },
    Column { table: STOCK, name: "source_offset", cql_type: "bigint", part: Part::Newest(2) },
    Column { table: STOCK, name: "last_price", cql_type: "decimal", part: Part::Value },
    Column { table: STOCK, name: "volume", cql_type: "decimal", part: Part::Value },
    Column { table: LATEST, name: "symbol", cql_type: "text", part: Part::Partition(0) },
    Column {
        table: LATEST,
        name: "quote",
        // source_offset, timestamp, last_price, volume: equal write times settle on one whole quote.
        cql_type: "frozen<tuple<bigint, timestamp, decimal, decimal>>",
        part: Part::Value,
    },
];

/// A keyspace that rows can't be written to.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It isn't there.
    #[error("the keyspace `{0}` does not exist; `tickgate sink schema --apply` makes it")]
    Missing(String),
    /// Its tables are others.
    #[error("{}", told(.keyspace, .differences))]
    Different {
        /// The keyspace.
        keyspace: String,
        /// Where; never empty.
        differences: Vec<Difference>,
    },
    /// A node won't say or do it.
    #[error("can't {doing} ({cause})")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// The driver's words.
        cause: String,
        /// Whether it may be done later.
        is_passing: bool,
    },
}

/// One thing that is not as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// The column; `None` when the whole table is missing.
    pub column: Option<String>,
    /// What is to be there.
    pub expected: String,
    /// What is.
    pub found: String,
}

impl SchemaError {
    /// Whether it may go away by itself.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Refused { is_passing: true, .. })
    }
}

/// The statements that make the keyspace and its tables, without semicolons; each does nothing the second time.
pub fn statements(config: &CassandraConfig) -> [String; 3] {
    let keyspace = &config.keyspace;
    let replication = match &config.replication {
        Replication::Everywhere(copies) => format!(", 'replication_factor': {copies}"),
        Replication::ByDatacenter(known) => known.iter().fold(String::new(), |mut text, (name, copies)| {
            let _ = write!(text, ", '{name}': {copies}");
            text
        }),
    };
    let strategy = &config.replication_strategy;
    let of = |table: &'static str, key: &str, order: &str| {
        let columns = COLUMNS.iter().filter(|column| column.table == table);
        let columns = columns.map(|column| format!("  {} {},\n", column.name, column.cql_type));
        let columns = columns.collect::<String>();
        format!("CREATE TABLE IF NOT EXISTS {keyspace}.{table} (\n{columns}  PRIMARY KEY ({key})\n){order}")
    };
    let order = "timestamp DESC, source_partition DESC, source_offset DESC";
    [
        format!(
            "CREATE KEYSPACE IF NOT EXISTS {keyspace}\n  WITH replication = {{'class': '{strategy}'{replication}}}"
        ),
        of(
            STOCK,
            "(symbol, day), timestamp, source_partition, source_offset",
            &format!("\n  WITH CLUSTERING ORDER BY ({order})"),
        ),
        of(LATEST, "symbol", ""),
    ]
}

/// Makes what is missing, waits until the nodes agree, and holds the result against what is expected. One
/// attempt; doing it again is harmless.
pub async fn apply(config: &CassandraConfig) -> Result<(), ConnectError> {
    let session = open(config).await?;
    for (doing, statement) in ["make the keyspace", "make the table `stock`", "make the table `latest`"]
        .into_iter()
        .zip(statements(config))
    {
        session.query_unpaged(statement, ()).await.map_err(|error| SchemaError::Refused {
            doing,
            cause: error.to_string(),
            is_passing: reason_of(&error).is_some(),
        })?;
    }
    session.await_schema_agreement().await.map_err(|error| SchemaError::Refused {
        doing: "wait until all nodes have the schema",
        cause: error.to_string(),
        is_passing: true,
    })?;
    Ok(check(&session, &config.keyspace).await?)
}

/// Whether the keyspace has the tables that rows are written to.
pub(super) async fn check(session: &Session, keyspace: &str) -> Result<(), SchemaError> {
    let cql = "SELECT table_name, column_name, type, kind, position, clustering_order \
               FROM system_schema.columns WHERE keyspace_name = ?";
    let refused = |cause: String, is_passing| SchemaError::Refused {
        doing: "read the schema of `sink.keyspace`",
        cause,
        is_passing,
    };
    let mut statement = Statement::new(cql);
    // Each node tells what it knows by itself; the consistency of writes may be out of reach for that.
    statement.set_consistency(Consistency::One);
    let answer = session.query_unpaged(statement, (keyspace,)).await;
    let answer = answer.map_err(|error| refused(error.to_string(), reason_of(&error).is_some()))?;
    let rows = answer.into_rows_result().map_err(|error| refused(error.to_string(), false))?;
    let mut found = Vec::new();
    for row in rows.rows::<FoundRow>().map_err(|error| refused(error.to_string(), false))? {
        let (table, name, cql_type, kind, position, order) =
            row.map_err(|error| refused(error.to_string(), false))?;
        found.push(Found { table, name, cql_type, kind, position, order });
    }
    if found.is_empty() {
        return Err(SchemaError::Missing(keyspace.to_owned()));
    }
    let differences = differences(&found);
    if differences.is_empty() {
        return Ok(());
    }
    Err(SchemaError::Different { keyspace: keyspace.to_owned(), differences })
}

type FoundRow = (String, String, String, String, i32, String);

/// A column as it is: a row of `system_schema.columns`.
#[derive(Debug, Clone)]
struct Found {
    table: String,
    name: String,
    cql_type: String,
    kind: String,
    position: i32,
    order: String,
}

fn differences(found: &[Found]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for table in [STOCK, LATEST] {
        let there: Vec<&Found> = found.iter().filter(|column| column.table == table).collect();
        if there.is_empty() {
            let (expected, found) = ("the table".to_owned(), "nothing".to_owned());
            differences.push(Difference { table, column: None, expected, found });
            continue;
        }
        for column in COLUMNS.iter().filter(|column| column.table == table) {
            let is = there.iter().find(|is| is.name == column.name);
            let (expected, found) = (column.told(), is.map_or("nothing".to_owned(), |is| is.told()));
            if expected != found {
                differences.push(Difference { table, column: Some(column.name.to_owned()), expected, found });
            }
        }
        let is_known = |is: &Found| COLUMNS.iter().any(|it| it.table == table && it.name == is.name);
        for is in there.iter().filter(|is| is.is_key() && !is_known(is)) {
            let expected = "no such part of the key".to_owned();
            differences.push(Difference { table, column: Some(is.name.clone()), expected, found: is.told() });
        }
    }
    differences
}

impl Column {
    fn told(self) -> String {
        let Self { cql_type, part, .. } = self;
        match part {
            Part::Partition(at) => format!("{cql_type}, partition key {}", at + 1),
            Part::Newest(at) => format!("{cql_type}, clustering key {} descending", at + 1),
            Part::Value => format!("{cql_type}, a value"),
        }
    }
}

impl Found {
    fn is_key(&self) -> bool {
        self.kind == "partition_key" || self.kind == "clustering"
    }

    fn told(&self) -> String {
        let Self { cql_type, kind, position, order, .. } = self;
        match (kind.as_str(), order.as_str()) {
            ("partition_key", _) => format!("{cql_type}, partition key {}", position + 1),
            ("clustering", "desc") => format!("{cql_type}, clustering key {} descending", position + 1),
            ("clustering", _) => format!("{cql_type}, clustering key {} ascending", position + 1),
            ("regular", _) => format!("{cql_type}, a value"),
            (other, _) => format!("{cql_type}, {other}"),
        }
    }
}

fn told(keyspace: &str, differences: &[Difference]) -> String {
    let lines = differences.iter().map(|Difference { table, column, expected, found }| {
        let column = column.as_ref().map_or(String::new(), |column| format!(" column `{column}`:"));
        format!("`{keyspace}.{table}`:{column} expected {expected}, found {found}")
    });
    let is_missing = differences.iter().all(|difference| difference.column.is_none());
    let remedy = if is_missing {
        "`tickgate sink schema --apply` makes it"
    } else {
        "tables are never altered: name another `sink.keyspace`, or drop the table, \
         run `tickgate sink schema --apply` and load it from the start with another `sink.group`"
    };
    format!("{}; {remedy}", lines.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn as_wanted() -> Vec<Found> {
        let found = |column: &Column| {
            let (kind, position, order) = match column.part {
                Part::Partition(at) => ("partition_key", at, "none"),
                Part::Newest(at) => ("clustering", at, "desc"),
                Part::Value => ("regular", -1, "none"),
            };
            let (table, name, cql_type) = (column.table.into(), column.name.into(), column.cql_type.into());
            Found { table, name, cql_type, kind: kind.into(), position, order: order.into() }
        };
        COLUMNS.iter().map(found).collect()
    }

    #[test]
    fn the_statements_follow_the_settings() {
        let load = |environment: &[(&str, &str)]| {
            let own = environment
                .iter()
                .map(|(name, value)| (format!("TICKGATE_SINK__{name}"), (*value).to_owned()));
            statements(&Config::load(None, own).unwrap().sink.cassandra)
        };
        let [keyspace, stock, latest] = load(&[]);
        assert_eq!(
            keyspace,
            "CREATE KEYSPACE IF NOT EXISTS stock_data\n  \
             WITH replication = {'class': 'NetworkTopologyStrategy', 'replication_factor': 3}"
        );
        assert!(
            stock.contains("PRIMARY KEY ((symbol, day), timestamp, source_partition, source_offset)"),
            "{stock}"
        );
        assert!(latest.contains("  quote frozen<tuple<bigint, timestamp, decimal, decimal>>,\n"), "{latest}");
        let by_datacenter = load(&[("REPLICATION", "east:3,west:2"), ("KEYSPACE", "k")]);
        assert!(
            by_datacenter[0].ends_with("'NetworkTopologyStrategy', 'east': 3, 'west': 2}"),
            "{}",
            by_datacenter[0]
        );
        let simple = load(&[("REPLICATION", "1"), ("REPLICATION_STRATEGY", "SimpleStrategy")]);
        assert!(simple[0].ends_with("{'class': 'SimpleStrategy', 'replication_factor': 1}"), "{}", simple[0]);
    }

    #[test]
    fn each_difference_names_column_expected_and_found() {
        assert_eq!(differences(&as_wanted()), []);
        let with = |change: fn(&mut Found), name: &str| {
            let mut found = as_wanted();
            change(found.iter_mut().find(|column| column.name == name).unwrap());
            let differences = differences(&found);
            assert_eq!(differences.len(), 1, "{differences:?}");
            told("k", &differences)
        };
        let text = with(|column| column.cql_type = "double".to_owned(), "last_price");
        assert!(text.starts_with(
            "`k.stock`: column `last_price`: expected decimal, a value, found double, a value;"
        ));
        assert!(text.contains("tables are never altered"), "{text}");
        let text = with(|column| column.order = "asc".to_owned(), "timestamp");
        assert!(
            text.contains("clustering key 1 descending, found timestamp, clustering key 1 ascending"),
            "{text}"
        );
        let text = with(|column| column.kind = "regular".to_owned(), "source_offset");
        assert!(text.contains("found bigint, a value"), "{text}");
    }

    #[test]
    fn a_missing_table_is_made_and_columns_of_others_stay() {
        let mut found = as_wanted();
        found.retain(|column| column.table == STOCK);
        let missing = told("k", &differences(&found));
        assert_eq!(
            missing,
            "`k.latest`: expected the table, found nothing; `tickgate sink schema --apply` makes it"
        );
        let mut found = as_wanted();
        let mut own = found[5].clone();
        own.name = "note".to_owned();
        found.push(own.clone());
        assert_eq!(differences(&found), []);
        (own.kind, own.position) = ("clustering".to_owned(), 3);
        found.push(own);
        assert!(told("k", &differences(&found)).contains("`note`: expected no such part of the key"));
    }
}
