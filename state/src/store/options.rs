//! How much memory and how many files the database may take. Everything else is fixed here.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, Options, WriteBufferManager,
};

/// More than one memtable, so that writes go on while one is flushed.
const WRITE_BUFFERS_MAX: i32 = 4;

const BLOOM_BITS_PER_KEY: f64 = 10.0;
const METADATA_BLOCK_BYTES: usize = 4096;
const LOG_FILES_MAX: usize = 4;
const LOG_FILE_BYTES: usize = 4 << 20;

/// What an operator may set. The defaults serve about 2 million symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// The cache of blocks, filters, indexes and, charged to it, memtables.
    pub block_cache_bytes: usize,
    /// One memtable; small ones are faster.
    pub write_buffer_bytes: usize,
    /// How many files the database keeps open.
    pub max_open_files: i32,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { block_cache_bytes: 64 << 20, write_buffer_bytes: 16 << 20, max_open_files: 512 }
    }
}

impl StoreOptions {
    /// The database's options, and those of its column family.
    pub(super) fn to_rocksdb(self) -> (Options, Options) {
        // The hyper clock cache has no shards that a filter could outgrow, as an LRU cache of this size has.
        let cache = Cache::new_hyper_clock_cache(self.block_cache_bytes, 0);
        let memtables_bytes =
            self.write_buffer_bytes.saturating_mul(WRITE_BUFFERS_MAX.unsigned_abs() as usize);
        let memtables =
            WriteBufferManager::new_write_buffer_manager_with_cache(memtables_bytes, false, cache.clone());

        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&cache);
        table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(true);
        table.set_metadata_block_size(METADATA_BLOCK_BYTES);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_pin_top_level_index_and_filter(true);

        let mut data = Options::default();
        data.set_block_based_table_factory(&table);
        data.set_compression_type(DBCompressionType::Lz4);
        data.set_write_buffer_size(self.write_buffer_bytes);
        data.set_max_write_buffer_number(WRITE_BUFFERS_MAX);

        let mut db = Options::default();
        db.create_if_missing(true);
        db.set_paranoid_checks(true);
        db.set_max_open_files(self.max_open_files);
        db.set_write_buffer_manager(&memtables);
        db.set_keep_log_file_num(LOG_FILES_MAX);
        db.set_max_log_file_size(LOG_FILE_BYTES);
        (db, data)
    }
}
