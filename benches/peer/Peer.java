import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.LocalDate;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.CloseOptions.GroupMembershipOperation;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.LagInfo;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.ThreadMetadata;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.RocksDBConfigSetter;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.LRUCache;
import org.rocksdb.Options;
import org.rocksdb.WriteBufferManager;

/**
 * The gate's job in Kafka Streams, as somebody would write it who knows Kafka Streams well: the peer that
 * benches measure tickgate beside. It stops at a record's first broken rule, keeps a row of 24 bytes a symbol,
 * and notices no silences.
 *
 * <p>What it tells on standard output, a line of JSON each, is for setting a measurement up; what is measured
 * is seen from outside.
 */
public final class Peer {
    private static final String STORE = "last_seen";
    private static final long FUTURE_SKEW_MS = 5_000;

    private final AtomicLong restored = new AtomicLong();

    /** Arguments: brokers, application id, state directory, commit interval in ms, standbys, static name or "". */
    public static void main(String[] args) throws InterruptedException {
        new Peer().run(args);
    }

    private void run(String[] args) throws InterruptedException {
        int standbys = Integer.parseInt(args[4]);
        KafkaStreams streams = new KafkaStreams(topology(), settings(args, standbys));
        streams.setGlobalStateRestoreListener(new Restores());
        CountDownLatch stopped = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            say("\"state\":\"" + now + "\"");
            if (now == KafkaStreams.State.ERROR) {
                Runtime.getRuntime().halt(1);
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            // By default its members stay in the group until their session ends.
            streams.close(CloseOptions.groupMembershipOperation(GroupMembershipOperation.LEAVE_GROUP)
                .withTimeout(Duration.ofSeconds(20)));
            stopped.countDown();
        }));
        streams.start();
        while (stopped.getCount() > 0) {
            Thread.sleep(250);
            tell(streams, standbys > 0);
        }
    }

    private static Properties settings(String[] args, int standbys) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, args[2]);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args[3]);
        settings.put(StreamsConfig.NUM_STANDBY_REPLICAS_CONFIG, standbys);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64 << 20);
        settings.put(StreamsConfig.ROCKSDB_CONFIG_SETTER_CLASS_CONFIG, SharedMemory.class);
        // An instance that comes back counts as caught up at once: otherwise it waits for a probing rebalance.
        settings.put(StreamsConfig.ACCEPTABLE_RECOVERY_LAG_CONFIG, Long.MAX_VALUE);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6_000);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 300);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
        settings.put(StreamsConfig.restoreConsumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 20);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        // 10 s by default: a dead owner's open transaction holds up whoever takes over.
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG), 6_000);
        if (!args[5].isEmpty()) {
            settings.put(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG, args[5]);
        }
        return settings;
    }

    private static Topology topology() {
        ByteArrayDeserializer reads = new ByteArrayDeserializer();
        ByteArraySerializer writes = new ByteArraySerializer();
        return new Topology()
            .addSource("staging", reads, reads, "staging")
            .addProcessor("gate", new Gates(), "staging")
            .addSink("good", "stock_data", writes, writes, "gate")
            .addSink("bad", "bad_data", writes, writes, "gate");
    }

    private void tell(KafkaStreams streams, boolean hasStandbys) {
        int active = 0;
        int standby = 0;
        for (ThreadMetadata thread : streams.metadataForLocalThreads()) {
            active += thread.activeTasks().size();
            standby += thread.standbyTasks().size();
        }
        long behind = 0;
        if (hasStandbys && streams.state() == KafkaStreams.State.RUNNING) {
            try {
                for (Map<Integer, LagInfo> store : streams.allLocalStorePartitionLags().values()) {
                    for (LagInfo lag : store.values()) {
                        behind += lag.offsetLag();
                    }
                }
            } catch (RuntimeException rebalancing) {
                behind = Long.MAX_VALUE;
            }
        }
        say(String.format("\"state\":\"%s\",\"active\":%d,\"standby\":%d,\"behind\":%d",
            streams.state(), active, standby, behind));
    }

    private static void say(String fields) {
        System.out.println("{\"at_ms\":" + System.currentTimeMillis() + "," + fields + "}");
    }

    /** Tells what is restored. */
    private final class Restores implements StateRestoreListener {
        @Override
        public void onRestoreStart(TopicPartition partition, String store, long from, long to) {
            say("\"restoring\":" + partition.partition());
        }

        @Override
        public void onBatchRestored(TopicPartition partition, String store, long end, long count) {
            restored.addAndGet(count);
        }

        @Override
        public void onRestoreEnd(TopicPartition partition, String store, long count) {
            say("\"restored\":" + partition.partition() + ",\"rows\":" + restored.get());
        }
    }

    /** Makes a gate for each task, and their store. */
    private static final class Gates implements ProcessorSupplier<byte[], byte[], byte[], byte[]> {
        @Override
        public Processor<byte[], byte[], byte[], byte[]> get() {
            return new Gate();
        }

        @Override
        public Set<StoreBuilder<?>> stores() {
            return Set.of(Stores.keyValueStoreBuilder(
                    Stores.persistentKeyValueStore(STORE), Serdes.ByteArray(), Serdes.ByteArray())
                .withCachingEnabled()
                .withLoggingEnabled(Map.of()));
        }
    }

    /** One task: judges, remembers, passes on. */
    private static final class Gate implements Processor<byte[], byte[], byte[], byte[]> {
        private ProcessorContext<byte[], byte[]> context;
        private KeyValueStore<byte[], byte[]> store;
        private final Quote quote = new Quote();

        @Override
        public void init(ProcessorContext<byte[], byte[]> context) {
            this.context = context;
            store = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<byte[], byte[]> record) {
            byte[] key = record.key();
            if (record.value() == null && key != null) {
                store.delete(key);
                record.headers().add("kind", "removed".getBytes(StandardCharsets.UTF_8));
                context.forward(record, "bad");
                return;
            }
            String rule = quote.brokenRule(key, record.value(), record.timestamp());
            if (rule != null) {
                record.headers().add("kind", "rejected".getBytes(StandardCharsets.UTF_8));
                record.headers().add("rule", rule.getBytes(StandardCharsets.UTF_8));
                context.forward(record, "bad");
                return;
            }
            remember(key);
            context.forward(record, "good");
        }

        /** Last seen in ms, last price, and since when it has been the same, 8 bytes each. */
        private void remember(byte[] key) {
            byte[] known = store.get(key);
            long since = quote.timeMs;
            if (known != null) {
                ByteBuffer row = ByteBuffer.wrap(known);
                if (row.getLong(0) > quote.timeMs) {
                    return;
                }
                since = row.getDouble(8) == quote.price ? row.getLong(16) : quote.timeMs;
            }
            byte[] row = new byte[24];
            ByteBuffer.wrap(row).putLong(quote.timeMs).putDouble(quote.price).putLong(since);
            store.put(key, row);
        }
    }

    /** A record's value, read in one pass. */
    private static final class Quote {
        private static final JsonFactory JSON =
            JsonFactory.builder().enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER).build();
        private static final int SYMBOL = 1;
        private static final int PRICE = 2;
        private static final int VOLUME = 4;
        private static final int TIME = 8;
        private static final int ALL = 15;

        private double price;
        private long timeMs;

        /** The first rule that the record breaks; null when it breaks none. */
        String brokenRule(byte[] key, byte[] value, long kafkaTimeMs) {
            if (key == null || key.length == 0) {
                return "missing_key";
            }
            try (JsonParser json = JSON.createParser(value)) {
                if (json.nextToken() != JsonToken.START_OBJECT) {
                    return "not_an_object";
                }
                int seen = 0;
                while (json.nextToken() == JsonToken.FIELD_NAME) {
                    String name = json.currentName();
                    JsonToken token = json.nextToken();
                    int field = switch (name) {
                        case "symbol" -> SYMBOL;
                        case "last_price" -> PRICE;
                        case "volume" -> VOLUME;
                        case "timestamp" -> TIME;
                        default -> 0;
                    };
                    if (field == 0) {
                        json.skipChildren();
                        continue;
                    }
                    if ((seen & field) != 0) {
                        return "duplicate_field";
                    }
                    seen |= field;
                    String rule = brokenBy(field, token, json, key);
                    if (rule != null) {
                        return rule;
                    }
                }
                if (json.currentToken() != JsonToken.END_OBJECT || json.nextToken() != null) {
                    return "not_json";
                }
                if (seen != ALL) {
                    return "missing_field";
                }
                return timeMs > kafkaTimeMs + FUTURE_SKEW_MS ? "future_time" : null;
            } catch (IOException notJson) {
                return "not_json";
            }
        }

        private String brokenBy(int field, JsonToken token, JsonParser json, byte[] key) throws IOException {
            if (token == JsonToken.VALUE_NULL) {
                return "null_field";
            }
            if (field == PRICE || field == VOLUME) {
                if (token != JsonToken.VALUE_NUMBER_FLOAT && token != JsonToken.VALUE_NUMBER_INT) {
                    return "wrong_type";
                }
                double number = json.getDoubleValue();
                if (Double.isInfinite(number)) {
                    return "not_finite";
                }
                if (field == VOLUME) {
                    return number < 0 ? "negative_volume" : null;
                }
                price = number;
                return number > 0 ? null : "price_not_positive";
            }
            if (token != JsonToken.VALUE_STRING) {
                return "wrong_type";
            }
            String text = json.getText();
            if (field == SYMBOL) {
                return text.equals(new String(key, StandardCharsets.UTF_8)) ? null : "key_mismatch";
            }
            return readTime(text) ? null : "bad_time";
        }

        /** {@code 2026-11-22T14:00:00.123Z}, with any or no fraction, in UTC or with an offset. */
        private boolean readTime(String text) {
            try {
                if (text.length() < 20 || text.charAt(4) != '-' || text.charAt(7) != '-' || text.charAt(10) != 'T'
                    || text.charAt(13) != ':' || text.charAt(16) != ':') {
                    return false;
                }
                long days = LocalDate.of(number(text, 0, 4), number(text, 5, 7), number(text, 8, 10)).toEpochDay();
                int hour = number(text, 11, 13);
                int minute = number(text, 14, 16);
                int second = number(text, 17, 19);
                int at = 19;
                int millis = 0;
                if (text.charAt(at) == '.') {
                    int scale = 100;
                    for (at++; Character.isDigit(text.charAt(at)); at++, scale /= 10) {
                        millis += scale * (text.charAt(at) - '0');
                    }
                }
                int offset = 0;
                if (text.charAt(at) != 'Z') {
                    int sign = text.charAt(at) == '-' ? -1 : 1;
                    offset = sign * (number(text, at + 1, at + 3) * 60 + number(text, at + 4, at + 6));
                }
                if (hour > 23 || minute > 59 || second > 59) {
                    return false;
                }
                timeMs = ((days * 24 + hour) * 60 + minute - offset) * 60_000 + second * 1_000L + millis;
                return true;
            } catch (NumberFormatException | DateTimeException | StringIndexOutOfBoundsException broken) {
                return false;
            }
        }

        private static int number(String text, int from, int to) {
            return Integer.parseInt(text, from, to, 10);
        }
    }

    /** One cache and one budget of write buffers for the stores of all tasks, as Kafka's manual has it. */
    public static final class SharedMemory implements RocksDBConfigSetter {
        private static final LRUCache CACHE = new LRUCache(192L << 20, -1, false, 0.1);
        private static final WriteBufferManager BUFFERS = new WriteBufferManager(96L << 20, CACHE);

        @Override
        public void setConfig(String store, Options options, Map<String, Object> settings) {
            BlockBasedTableConfig table = (BlockBasedTableConfig) options.tableFormatConfig();
            table.setBlockCache(CACHE);
            table.setCacheIndexAndFilterBlocks(true);
            table.setCacheIndexAndFilterBlocksWithHighPriority(true);
            table.setPinTopLevelIndexAndFilter(true);
            options.setTableFormatConfig(table);
            options.setWriteBufferManager(BUFFERS);
            options.setWriteBufferSize(8L << 20);
            options.setMaxWriteBufferNumber(2);
        }

        @Override
        public void close(String store, Options options) {
            // Cache and budget are all stores'.
        }
    }
}
