use std::{fs, path::Path, time::Duration};

use proptest::prelude::*;

use super::*;

fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tickgate.toml");
    fs::write(&path, toml).unwrap();
    load_file(Some(&path), environment)
}

fn load_file(path: Option<&Path>, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(path, environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

/// The message of the error that `toml` and `environment` cause.
fn message(toml: &str, environment: &[(&str, &str)]) -> String {
    load(toml, environment).unwrap_err().to_string()
}

fn setting<'a>(config: &'a Config, key: &str) -> &'a Setting {
    config.settings().iter().find(|setting| setting.key == key).unwrap()
}

#[test]
fn nothing_given_is_the_documented_defaults() {
    let config = load_file(None, &[]).unwrap();
    assert_eq!(config.kafka.brokers, ["127.0.0.1:9092"]);
    assert_eq!((config.topics.partitions, config.topics.replication), (12, 3));
    assert_eq!(config.topics.bad_data_retention, Duration::from_hours(30 * 24));
    assert_eq!(config.process.commit_interval, Duration::from_millis(100));
    assert_eq!(config.process.instance_id, None);
    assert_eq!(config.freshness.error_after, Duration::from_hours(4));
    assert_eq!(config.changelog(), "tickgate-last_seen-changelog");
    assert!(config.settings().iter().all(|setting| setting.source == Source::Default));
}

#[test]
fn the_environment_wins_over_the_file_and_both_are_named() {
    let toml = "[process]\ngroup = \"fromfile\"\nworkers = 2\n";
    let config = load(toml, &[("TICKGATE_PROCESS__WORKERS", "3")]).unwrap();
    assert_eq!((config.process.group.as_str(), config.process.workers), ("fromfile", 3));
    let variable = "TICKGATE_PROCESS__WORKERS".to_owned();
    assert_eq!(setting(&config, "process.workers").source, Source::Environment { variable });
    assert!(matches!(setting(&config, "process.group").source, Source::File { line: 2, .. }));
}

#[test]
fn lists_are_arrays_or_texts_with_commas() {
    let array = load("kafka.brokers = [\"a:1\", \"b:2\"]", &[]).unwrap();
    let text = load("kafka.brokers = \"a:1, b:2\"", &[]).unwrap();
    let variable = load("", &[("TICKGATE_KAFKA__BROKERS", "a:1,b:2")]).unwrap();
    assert_eq!(array.kafka.brokers, ["a:1", "b:2"]);
    assert_eq!(array.kafka, text.kafka);
    assert_eq!(array.kafka, variable.kafka);
}

#[test]
fn unknown_keys_name_the_nearest_known_one_and_their_place() {
    let text = message("[kafka]\nbrokers = \"a:1\"\n\n[process]\ncommit_intervall = \"1s\"\n", &[]);
    assert!(text.contains("`process.commit_intervall`"), "{text}");
    assert!(text.contains("tickgate.toml:5"), "{text}");
    assert!(text.contains("did you mean `process.commit_interval`"), "{text}");
    let text = message("[kafka]\npartitions = 3\n", &[]);
    assert!(text.contains("did you mean `topics.partitions`"), "{text}");
    let text = message("", &[("TICKGATE_KAFKA__BROKER", "a:1")]);
    assert!(text.contains("did you mean `TICKGATE_KAFKA__BROKERS`"), "{text}");
    let text = message("", &[("TICKGATE_KAFKA_BROKERS", "a:1")]);
    assert!(text.contains("did you mean `TICKGATE_KAFKA__BROKERS`"), "{text}");
}

#[test]
fn variables_that_are_no_settings_are_left_alone() {
    load("", &[("TICKGATE_LOG", "debug"), ("TICKGATE_PORT", "tcp://10.0.0.1:80"), ("HOME", "/")]).unwrap();
}

#[test]
fn librdkafka_properties_pass_from_dotted_keys_and_from_variables() {
    let toml = "[kafka.properties]\nsasl.mechanism = \"PLAIN\"\n\"ssl.ca.location\" = \"/ca\"\n";
    let config = load(toml, &[("TICKGATE_KAFKA__PROPERTIES__SASL_PASSWORD", "hunter2")]).unwrap();
    let properties = config.kafka.properties.iter().collect::<Vec<_>>();
    let expected = [("sasl.mechanism", "PLAIN"), ("sasl.password", "hunter2"), ("ssl.ca.location", "/ca")];
    assert_eq!(properties, expected);
    assert!(
        message("kafka.properties.isolation.level = \"read_uncommitted\"", &[]).contains("isolation.level")
    );
}

#[test]
fn secrets_are_never_shown() {
    let environment =
        [("TICKGATE_FINNHUB__TOKEN", "hunter2"), ("TICKGATE_KAFKA__PROPERTIES__SASL_PASSWORD", "hunter2")];
    let config = load("", &environment).unwrap();
    assert_eq!(config.finnhub.token.as_ref().unwrap().reveal(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(setting(&config, "finnhub.token").value, "\"***\"");
}

#[test]
fn the_sink_logs_in_and_proves_who_is_there_where_asked_to() {
    let sink = load("", &[]).unwrap().sink;
    assert_eq!(
        (sink.dead_letter.as_str(), sink.cassandra.user.as_ref(), sink.cassandra.tls.as_ref()),
        ("stock_data_dead", None, None)
    );
    let toml = "[sink]\nuser = \"me\"\ntls = true\ntls_name = \"node\"\nreplication = \"east:3,west:2\"\n";
    let sink = load(toml, &[("TICKGATE_SINK__PASSWORD", "hunter2")]).unwrap().sink;
    assert_eq!(sink.cassandra.password.as_ref().unwrap().reveal(), "hunter2");
    assert_eq!(sink.cassandra.tls.as_ref().unwrap().name.as_deref(), Some("node"));
    let copies = [("east".to_owned(), 3), ("west".to_owned(), 2)];
    assert_eq!(sink.cassandra.replication, Replication::ByDatacenter(copies.to_vec()));
    assert!(!format!("{sink:?}").contains("hunter2"));
}

#[test]
fn a_secret_may_come_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "hunter2\n").unwrap();
    let path = path.to_str().unwrap();
    let environment =
        [("TICKGATE_FINNHUB__TOKEN_FILE", path), ("TICKGATE_KAFKA__PROPERTIES__SASL_PASSWORD_FILE", path)];
    let config = load("", &environment).unwrap();
    assert_eq!(config.finnhub.token, Some(Secret::new("hunter2".to_owned())));
    assert_eq!(config.kafka.properties.iter().collect::<Vec<_>>(), [("sasl.password", "hunter2")]);
    assert!(message("", &[("TICKGATE_FINNHUB__TOKEN_FILE", "/nowhere")]).contains("/nowhere"));
}

/// Settings that are none, and a part of what is said of each.
const ILLEGAL: &[(&str, &str)] = &[
    ("process.session_timeout = \"5s\"", "from 6s"),
    ("process.group_protocol = \"eager\"", "`cooperative`"),
    ("process.group_protocol = \"consumer\"\nprocess.instance_id = \"a\"", "group_protocol"),
    ("process.commit_interval = 100", "100ms"),
    ("process.commit_interval = \"40s\"", "process.transaction_timeout"),
    ("process.group = \"a.b\"", "dots"),
    ("process.group = \"\"", "1 to 100"),
    ("process.workers = 0", "from 1 to 64"),
    ("process.http = \"here\"", "127.0.0.1:9464"),
    ("topics.partitions = 10001", "from 1 to 10000"),
    ("topics.partitions = [1, 2]", "a list of 2"),
    ("topics.bad_data = \"staging\"", "another's name"),
    ("topics.staging = \"a b\"", "Kafka topic name"),
    ("freshness.error_after = \"0s\"", "from 1ms"),
    ("freshness.error_after = \"4x\"", "`4x`"),
    ("freshness.warn_after = \"4h\"", "less than `error_after`"),
    ("freshness.warn_after = \"never\"", "`off` or a duration"),
    ("freshness.calendar = \"moon\"", "`nasdaq`, `nyse`"),
    ("freshness.exempt = \"perhaps\"", "`true` or `false`"),
    ("[[freshness.class]]\nsymbols = \"A\"", "freshness.class.0.name"),
    ("[[freshness.class]]\nname = \"a\"", "exact names and globs"),
    ("[[freshness.class]]\nname = \"default\"\nsymbols = \"A\"", "not `default`"),
    (
        "[[freshness.class]]\nname = \"a\"\nsymbols = \"A\"\n[[freshness.class]]\nname = \"a\"\nsymbols = \"B\"",
        "no other class's",
    ),
    (
        "[[freshness.class]]\nname = \"a\"\nsymbols = \"A\"\nwarn_aftr = \"1h\"",
        "freshness.class.0.warn_after`",
    ),
    ("freshness.calendars.x.sessions = \"monday\"", "mon-fri 09:30-16:00"),
    ("freshness.calendars.x.zone = \"UTC\"", "mon-fri 09:30-16:00"),
    ("freshness.calendars.x.sessions = \"mon 1:00-2:00\"\nfreshness.calendars.x.zone = \"Mars\"", "IANA"),
    ("freshness.calendars.x.based_on = \"lse\"", "`nyse`"),
    ("freshness.calendars.x.based_on = \"nyse\"\nfreshness.calendars.x.holidays = [\"soon\"]", "2026-12-25"),
    ("freshness.calendars.24x7.sessions = \"mon 1:00-2:00\"", "another name"),
    ("rules.price_jump_factor = 1", "from 1.001"),
    ("rules.price_jump_factor = 1.5005", "3 decimals"),
    ("rules.late = \"reject\"", "`suspect` or `off`"),
    ("rules.wrong_partition = \"refuse\"", "`reject`"),
    ("rules.max_symbol_bytes = 5000", "from 1 to 4096"),
    ("kafka.brokers = \"\"", "addresses"),
    ("kafka.brokers = \"host\"", "addresses"),
    ("kafka.brokers = [[1]]", "a list of those"),
    ("journal.kind = \"paper\"", "`kafka`"),
    ("finnhub.url = \"http://x\"", "ws://"),
    ("simulate.rate = nan", "found `nan`"),
    ("sink.group = \"tickgate\"", "process.group"),
    ("sink.dead_letter = \"bad_data\"", "another's name"),
    ("sink.keyspace = \"Quotes\"", "a keyspace"),
    ("sink.contact_points = \"host\"", "127.0.0.1:9042"),
    ("sink.consistency = \"ANY\"", "LOCAL_QUORUM"),
    ("sink.replication = \"0\"", "dc1:3"),
    ("sink.replication = \"dc1:x\"", "dc1:3"),
    ("sink.replication = \"dc1:3\"\nsink.replication_strategy = \"SimpleStrategy\"", "`1` to `100`"),
    ("sink.user = \"me\"", "together"),
    ("sink.tls_name = \"node\"", "`true`"),
    ("sink.tls = true\nsink.tls_key = \"key.pem\"", "together"),
    ("serve.auth = \"required\"", "serve.token"),
    ("serve.auth = \"maybe\"", "`none`"),
    ("serve.user = \"me\"", "together"),
    ("serve.instances = \"host\"", "127.0.0.1:9464"),
    ("serve.history = \"paper\"", "`memory` or `cassandra`"),
    ("[kafka", "not TOML (/"),
];

#[test]
fn illegal_values_say_what_was_found_and_expected() {
    for (toml, expected) in ILLEGAL {
        let text = message(toml, &[]);
        assert!(text.contains(expected), "{toml}: {text}");
    }
}

#[test]
fn a_page_that_others_reach_asks_who_they_are_or_is_told_not_to() {
    let serve = load("", &[]).unwrap().serve;
    assert_eq!(serve.instances, ["127.0.0.1:9464", "127.0.0.1:9465", "127.0.0.1:9467"]);
    assert!(serve.http.ip().is_loopback() && !serve.access.is_asked);
    assert_eq!(load("process.http = \"127.0.0.1:0\"", &[]).unwrap().serve.instances.len(), 2);
    let open = "[serve]\nhttp = \"0.0.0.0:8080\"\n";
    let text = message(open, &[]);
    assert!(text.contains("serve.auth") && text.contains("serve.token"), "{text}");
    assert!(!load(&format!("{open}auth = \"none\"\n"), &[]).unwrap().serve.access.is_asked);
    let asked = load(open, &[("TICKGATE_SERVE__TOKEN", "hunter2")]).unwrap();
    assert!(asked.serve.access.is_asked && !format!("{asked:?}").contains("hunter2"));
    assert!(load("serve.user = \"me\"", &[("TICKGATE_SERVE__PASSWORD", "x")]).unwrap().serve.access.is_asked);
}

#[test]
fn all_problems_are_listed_at_once() {
    let text = message("process.workers = 0\ntopics.partitions = 0\nkafka.nonsense = 1\n", &[]);
    for expected in ["3 settings", "process.workers", "topics.partitions", "kafka.nonsense"] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn the_fingerprint_is_the_same_for_ever_and_follows_what_counts() {
    let fingerprint = |toml: &str| load(toml, &[]).unwrap().fingerprint();
    // Written down once: checkpoint rows of older versions hold it.
    assert_eq!(fingerprint(""), 0xa4b5_dbd1_ef1c_6d72);
    assert_eq!(fingerprint("freshness.error_after = \"240m\""), fingerprint(""));
    assert_eq!(fingerprint("process.workers = 2"), fingerprint(""));
    assert_eq!(fingerprint("freshness.grace = \"1s\""), fingerprint(""));
    assert_ne!(fingerprint("freshness.error_after = \"2s\""), fingerprint(""));
    assert_ne!(fingerprint("freshness.future_skew = \"6s\""), fingerprint(""));
    assert_eq!(fingerprint("rules.price_jump_factor = 2.00\nrules.late = \"suspect\""), fingerprint(""));
    assert_eq!(fingerprint("freshness.warn_after = \"3h\""), fingerprint(""));
    let others = [
        "late = \"off\"",
        "price_jump = \"off\"",
        "price_jump_factor = 1.5",
        "repeated_price = \"off\"",
        "repeated_price_after = \"2h\"",
        "wrong_partition = \"off\"",
        "wrong_partition = \"reject\"",
        "max_value_bytes = 1000",
        "max_symbol_bytes = 16",
    ];
    let prints: std::collections::BTreeSet<u64> =
        others.iter().map(|other| fingerprint(&format!("[rules]\n{other}"))).collect();
    assert_eq!(prints.len(), others.len());
    assert!(!prints.contains(&fingerprint("")));
    let class = "[[freshness.class]]\nname = \"a\"\nsymbols = \"A\"\n";
    let others = [
        "freshness.warn_after = \"2h\"".to_owned(),
        "freshness.warn_after = \"off\"".to_owned(),
        "freshness.calendar = \"nyse\"".to_owned(),
        "freshness.exempt = true".to_owned(),
        class.to_owned(),
        format!("{class}exempt = true"),
        format!("{class}calendar = \"nyse\""),
        format!(
            "{class}calendar = \"nyse\"\n[freshness.calendars.nyse]\nbased_on = \"nyse\"\nholidays = [2026-01-05]"
        ),
        format!("{class}warn_after = \"1h\""),
        format!("{class}error_after = \"5h\""),
    ];
    let prints: std::collections::BTreeSet<u64> = others.iter().map(|other| fingerprint(other)).collect();
    assert_eq!(prints.len(), others.len());
    assert!(!prints.contains(&fingerprint("")));
    // What nobody uses changes no event.
    assert_eq!(fingerprint("[freshness.calendars.x]\nsessions = \"mon 01:00-02:00\""), fingerprint(""));
}

#[test]
fn classes_and_calendars_are_read_in_their_order() {
    let toml = r#"
        [freshness]
        warn_after = "2h"
        calendar = "nyse"
        [[freshness.class]]
        name = "coins"
        symbols = ["BINANCE:*", "COINBASE:*"]
        calendar = "24x7"
        error_after = "10m"
        [[freshness.class]]
        name = "funds"
        symbols = "SPY, QQQ"
        exempt = true
        [freshness.calendars.nyse]
        based_on = "nyse"
        holidays = ["2026-01-05", 2026-01-06]
        half_days = ["2026-01-07 12:00"]
        open_days = ["2026-12-25"]
    "#;
    let config = load(toml, &[("TICKGATE_FRESHNESS__CLASS__1__SYMBOLS", "SPY")]).unwrap();
    let [coins, funds, default] = &config.freshness.all_classes()[..] else { panic!() };
    assert_eq!((coins.name.as_str(), coins.calendar.as_str()), ("coins", "24x7"));
    assert_eq!((coins.warn_after, coins.error_after), (None, Duration::from_mins(10)));
    assert_eq!((&funds.symbols[..], funds.exempt), (&["SPY".to_owned()][..], true));
    assert_eq!(
        (funds.warn_after, funds.error_after),
        (Some(Duration::from_hours(2)), Duration::from_hours(4))
    );
    assert_eq!((default.name.as_str(), default.calendar.as_str()), ("default", "nyse"));
    let nyse = &config.freshness.calendars["nyse"];
    let has = |date: &str| nyse.holidays.contains(&date.parse().unwrap());
    assert!(has("2026-01-05") && has("2026-01-06") && has("2026-11-26") && !has("2026-12-25"));
    let again = load(&shown(&config), &[]).unwrap();
    assert_eq!(again.freshness, config.freshness);
    assert_eq!(again.fingerprint(), config.fingerprint());
}

#[test]
fn a_warning_is_there_by_default_where_it_would_come_first() {
    let warn_after = |toml: &str| load(toml, &[]).unwrap().freshness.warn_after;
    assert_eq!(warn_after(""), Some(Duration::from_hours(3)));
    assert_eq!(warn_after("freshness.error_after = \"3h\""), None);
    assert_eq!(warn_after("freshness.warn_after = \"off\""), None);
}

#[test]
fn a_broken_file_does_not_give_secrets_away() {
    let text = message("[finnhub]\ntoken = hunter2\n", &[]);
    assert!(text.contains("tickgate.toml:2") && !text.contains("hunter2"), "{text}");
}

/// Every setting as `tickgate config show` writes it.
fn shown(config: &Config) -> String {
    let lines = config.settings().iter().map(|setting| format!("{} = {}\n", setting.key, setting.value));
    lines.collect::<Vec<_>>().concat()
}

proptest! {
    #[test]
    fn settings_that_are_shown_can_be_read_back(
        group in "[a-zA-Z0-9_-]{1,100}",
        folder in any::<String>().prop_filter("a folder has a name", |folder| !folder.is_empty()),
        topic in "[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,200}",
        counts in (1..=64_u32, 1..=10_000_i32, 0..=100_000_000_u32),
        times_ms in (1..=30_000_u64, 2_000..=14_400_000_u64, 60_000..=315_360_000_000_u64),
        port in any::<u16>(),
        symbols in proptest::collection::vec("[ -~]{1,12}", 1..4),
        property in any::<String>(),
        choices in (0..3_usize, any::<bool>(), any::<bool>(), 1_001..=1_000_000_u32),
        class in ("[a-z]{1,12}", "[A-Z*?]{1,12}").prop_filter("others have it", |(name, _)| name != "default"),
    ) {
        let (workers, partitions, hot) = counts;
        let text = toml::Value::String;
        let (protocol, is_off, is_exempt, jump_permille) = choices;
        let some = |choice: &str| text(choice.to_owned());
        let jump = format!("{}.{:03}", jump_permille / 1_000, jump_permille % 1_000);
        let given = [
            ("finnhub.symbols", toml::Value::Array(symbols.iter().cloned().map(text).collect())),
            ("process.group", text(group)),
            ("process.state_dir", text(folder)),
            ("process.http", text(format!("[::1]:{port}"))),
            ("topics.bad_data", text(format!("other_{topic}"))),
            ("process.commit_interval", text(format!("{}ms", times_ms.0))),
            ("freshness.error_after", text(format!("{}ms", times_ms.1))),
            ("topics.staging_retention", text(format!("{}ms", times_ms.2))),
            ("kafka.properties.client.rack", text(property)),
            ("process.workers", toml::Value::Integer(workers.into())),
            ("topics.partitions", toml::Value::Integer(partitions.into())),
            ("process.hot_symbols", toml::Value::Integer(hot.into())),
            ("process.group_protocol", some(["range", "cooperative", "consumer"][protocol])),
            ("rules.late", some(if is_off { "off" } else { "suspect" })),
            ("rules.price_jump_factor", toml::Value::Float(jump.parse().unwrap())),
            ("freshness.feed_after", some(if is_off { "off" } else { "90m" })),
            ("sink.tls", toml::Value::Boolean(is_off)),
            ("serve.history", some(if is_off { "cassandra" } else { "memory" })),
            ("ingest.lease", some(if is_exempt { "kafka" } else { "none" })),
        ];
        let given: String = given.map(|(key, value)| format!("{key} = {value}\n")).concat();
        let (name, symbols_of_class) = class;
        let given = format!(
            "{given}[[freshness.class]]\nname = \"{name}\"\nsymbols = \"{symbols_of_class}\"\nexempt = {is_exempt}\n"
        );
        let config = load(&given, &[]).unwrap();
        prop_assert_eq!(config.process.commit_interval, Duration::from_millis(times_ms.0));
        prop_assert_eq!(&config.finnhub.symbols, &symbols);
        let again = load(&shown(&config), &[]).unwrap();
        prop_assert_eq!(&again.process, &config.process);
        prop_assert_eq!(&again.topics, &config.topics);
        prop_assert_eq!(&again.freshness, &config.freshness);
        prop_assert_eq!(&again.kafka, &config.kafka);
        prop_assert_eq!(&again.finnhub, &config.finnhub);
        prop_assert_eq!(&again.sink, &config.sink);
        prop_assert_eq!(&again.rules, &config.rules);
        prop_assert_eq!(&again.ingest, &config.ingest);
        prop_assert_eq!(&again.record, &config.record);
        prop_assert_eq!(&again.simulate, &config.simulate);
        prop_assert_eq!(&again.serve, &config.serve);
        prop_assert_eq!(&again.journal, &config.journal);
        prop_assert_eq!(shown(&again), shown(&config));
        prop_assert_eq!(again.fingerprint(), config.fingerprint());
    }
}
