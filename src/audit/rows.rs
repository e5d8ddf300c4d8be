//! The last value of each key of one partition of the changelog.

use std::collections::BTreeMap;

use tickgate_state::{CheckpointRow, ClassRow, Reported, RowError, RowKey, SymbolRow};

use super::message::Message;
use crate::model::Offset;

/// A symbol's row, as far as it is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct SymbolSeen {
    /// Where in the changelog it is.
    pub(super) offset: Offset,
    pub(super) last_seen: Option<i64>,
    pub(super) reported: Option<Reported>,
    pub(super) listed_at: Option<i64>,
}

/// The partition's rows as of where the changelog was read to, which is the end of a round.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) symbols: BTreeMap<String, SymbolSeen>,
    pub(super) classes: BTreeMap<String, (Offset, ClassRow)>,
    pub(super) checkpoint: Option<(Offset, CheckpointRow)>,
}

impl Rows {
    /// Takes in the next record.
    pub(super) fn push(&mut self, message: &Message<'_>) -> Result<(), RowError> {
        match RowKey::decode(message.key.unwrap_or_default())? {
            RowKey::Symbol(symbol) => {
                let Some(value) = message.value else {
                    self.symbols.remove(symbol);
                    return Ok(());
                };
                let row = SymbolRow::decode(value)?;
                let seen = SymbolSeen {
                    offset: message.offset,
                    last_seen: row.last_seen,
                    reported: row.reported,
                    listed_at: row.listed_at,
                };
                match self.symbols.get_mut(symbol) {
                    Some(known) => *known = seen,
                    None => drop(self.symbols.insert(symbol.to_owned(), seen)),
                }
            }
            RowKey::Class(class) => match message.value {
                Some(value) => {
                    let row = (message.offset, ClassRow::decode(value)?);
                    self.classes.insert(class.to_owned(), row);
                }
                None => drop(self.classes.remove(class)),
            },
            RowKey::Checkpoint => {
                self.checkpoint = match message.value {
                    Some(value) => Some((message.offset, CheckpointRow::decode(value)?)),
                    None => None,
                };
            }
        }
        Ok(())
    }

    /// The input that the rows stand for, exclusive.
    pub(super) fn next_offset(&self) -> Option<Offset> {
        self.checkpoint.as_ref().map(|(_, row)| row.next_offset)
    }
}
