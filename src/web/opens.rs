//! The first price of the day of each symbol, from the table: what was read of `stock_data` may begin later.

use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::MissedTickBehavior;

use super::board::Board;

/// How often it is seen to who is missing.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks after which those are asked for again of which the table had nothing so old.
const AGAIN_EVERY: u64 = 30;
/// Symbols that are asked for in one look, and at a time.
const SYMBOLS_MAX: usize = 1_000;
const AT_ONCE: usize = 8;

/// Asks for those that are missing, for ever. Where the table does not answer, they are missing until it does.
pub async fn watch_opens(board: &Board) {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in 0_u64.. {
        tick.tick().await;
        let Some(table) = board.table() else { continue };
        // The sink may be behind what was read here.
        let missing = board.market().without_open(SYMBOLS_MAX, look.is_multiple_of(AGAIN_EVERY));
        let each = missing.into_iter().map(async |(symbol, day)| {
            let first = table.first_of_day(&symbol, day).await;
            (symbol, day, first)
        });
        let mut answers = stream::iter(each).buffer_unordered(AT_ONCE);
        while let Some((symbol, day, first)) = answers.next().await {
            match first {
                Ok(first) => {
                    let first = first.map(|first| (first.time_ms, first.price));
                    board.market().opened(&symbol, day, first);
                }
                Err(error) => {
                    tracing::debug!(%error, "the first prices of the day are asked for again");
                    break;
                }
            }
        }
    }
}
