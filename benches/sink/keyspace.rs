//! One run's keyspace, when the run is over.

use anyhow::Context;
use scylla::client::{session::Session, session_builder::SessionBuilder};

use crate::{bare::date, rows::Rows};

/// A keyspace that was written.
pub(crate) struct Keyspace<'a> {
    session: Session,
    name: &'a str,
}

impl<'a> Keyspace<'a> {
    pub(crate) async fn open(contact_point: &str, name: &'a str) -> anyhow::Result<Self> {
        Ok(Self { session: SessionBuilder::new().known_node(contact_point).build().await?, name })
    }

    /// Fails unless `stock` holds as many rows as there are; `latest`, if it was written, a row a symbol.
    pub(crate) async fn check(&self, rows: Rows) -> anyhow::Result<()> {
        let name = self.name;
        let count = format!("SELECT COUNT(*) FROM {name}.stock WHERE symbol = ? AND day = ?");
        let count = self.session.prepare(count).await?;
        let mut found = 0;
        for symbol in (0..rows.symbols).map(Rows::symbol) {
            let answer = self.session.execute_unpaged(&count, (symbol, date(rows.day()))).await?;
            found += answer.into_rows_result()?.single_row::<(i64,)>()?.0;
        }
        anyhow::ensure!(u64::try_from(found)? == rows.count, "{name}.stock has {found} rows");
        Ok(())
    }

    /// Removes it: what one run leaves to be compacted is not the next one's.
    pub(crate) async fn remove(&self) -> anyhow::Result<()> {
        let statement = format!("DROP KEYSPACE {}", self.name);
        self.session.query_unpaged(statement, ()).await.context("removing a keyspace")?;
        Ok(())
    }
}
