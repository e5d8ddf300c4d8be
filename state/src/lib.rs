//! The durable store: RocksDB with its position, and the codecs of what it and the changelog hold.
