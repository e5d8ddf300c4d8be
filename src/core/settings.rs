//! What the core must know of the settings.

use std::sync::Arc;

use super::class::Classes;
use super::rules::RuleSettings;

/// The gate's settings, durations in milliseconds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of the input topic, for the coordinates in rejections.
    pub staging: String,
    /// How long a round takes up records before it commits.
    pub commit_interval_ms: i64,
    /// How many records end a round earlier.
    pub round_max_records: usize,
    /// What the silences of symbols are held to.
    pub classes: Arc<Classes>,
    /// Symbols that are watched from when they were first listed.
    pub watchlist: Arc<Vec<Arc<str>>>,
    /// How long the clock waits after a deadline before it looks.
    pub grace_ms: i64,
    /// A partition without a round for so long gets one without records.
    pub renew_after_ms: i64,
    /// Bound on the symbols held in memory, over all partitions of the worker.
    pub hot_symbols: usize,
    /// How many symbols a page of deadlines is cut to.
    pub page_symbols: usize,
    /// How many rows are read from the store at once; at least 2.
    pub scan_rows_max: usize,
    /// Go on where staging no longer holds what should come next.
    pub accept_loss: bool,
    /// The rules' own.
    pub rules: RuleSettings,
    /// Stands for all settings that change a verdict or an event.
    pub fingerprint: u64,
}

/// Few enough that a look at one due symbol reads little else, and enough that pages take no memory to speak of.
pub const PAGE_SYMBOLS: usize = 64;
/// Some milliseconds' worth, as records wait meanwhile.
pub const SCAN_ROWS_MAX: usize = 10_000;
