//! The pictures of the README: an hour of a small market, with what goes wrong in one, and a page that looks at it.

use std::{env, fs, path::PathBuf, thread, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    producer::{BaseRecord, Producer as _, ThreadedProducer},
};

use super::{Pump, address, browser::Browser};
use crate::{
    cluster::Settings,
    draft::{Draft, FAULTS},
    feed::now_ms,
    gate::Gate,
    role::Role,
    sink::{loader::Loader, tables},
};

const SYMBOLS: [(&str, u32); 34] = [
    ("AAPL", 18_912),
    ("AMZN", 14_530),
    ("AMD", 15_120),
    ("AVGO", 131_050),
    ("BA", 17_840),
    ("BAC", 3_940),
    ("BINANCE:BTCUSDT", 6_731_200),
    ("BINANCE:ETHUSDT", 342_880),
    ("COST", 84_510),
    ("CRM", 27_190),
    ("CVX", 15_630),
    ("DIS", 10_120),
    ("GOOGL", 17_560),
    ("GS", 45_830),
    ("HD", 35_420),
    ("IBM", 17_330),
    ("IC MARKETS:1", 10_853),
    ("INTC", 3_080),
    ("JNJ", 14_790),
    ("JPM", 19_850),
    ("KO", 6_240),
    ("META", 50_120),
    ("MSFT", 41_560),
    ("NFLX", 64_480),
    ("NKE", 9_430),
    ("NVDA", 12_110),
    ("ORCL", 12_490),
    ("PEP", 16_830),
    ("PFE", 2_810),
    ("SBUX", 7_960),
    ("TSLA", 17_790),
    ("V", 27_410),
    ("WMT", 6_730),
    ("XOM", 11_420),
];
/// Symbols that fell silent so many minutes ago.
const SILENT: [(&str, i64); 4] = [("IC MARKETS:1", 26), ("KO", 14), ("NKE", 8), ("PFE", 7)];
const HOUR_S: i64 = 3_600;

/// Sends an hour of quotes and of what goes wrong, each with the Kafka time that it would have had; the last prices.
fn an_hour(settings: &Settings) -> [u32; SYMBOLS.len()] {
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", settings.direct())
        .set("partitioner", "murmur2")
        .create::<ThreadedProducer<rdkafka::producer::DefaultProducerContext>>()
        .unwrap();
    let topic = settings.topic("staging");
    let send = |draft: Draft, time_ms: i64| {
        let sent = draft.finish();
        let mut record = BaseRecord::<[u8], [u8]>::to(&topic).timestamp(time_ms);
        (record.key, record.payload) = (sent.key.as_deref(), sent.value.as_deref());
        producer.send(record).map_err(|(error, _)| error).unwrap();
    };
    let now = now_ms();
    let mut chance = 12_345_u32;
    let mut next = move |below: u32| {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (chance >> 8) % below
    };
    let mut prices = SYMBOLS.map(|(_, cents)| cents);
    for second in (0..HOUR_S).step_by(5) {
        let time_ms = now - (HOUR_S - second) * 1_000;
        for (at, (symbol, _)) in SYMBOLS.iter().enumerate() {
            let gone = SILENT.iter().any(|(of, minutes)| of == symbol && second > HOUR_S - minutes * 60);
            if gone || next(4) == 0 {
                continue;
            }
            let step = prices[at] / 1_400 + 1;
            prices[at] =
                prices[at] + next(2 * step + 1) - step + u32::from(second % 600 < 200 && at % 3 == 0);
            let jumps = second == HOUR_S / 2 && at == 8;
            send(Draft::new(symbol, prices[at] * if jumps { 2 } else { 1 }, 1 + next(90), time_ms), time_ms);
            let worse = if (1_500..1_980).contains(&second) { 40 } else { 150 };
            if next(worse) == 0 {
                let (rules, spoil) = FAULTS[(next(7) * next(7)) as usize % FAULTS.len()];
                let mut draft = Draft::new(symbol, prices[at], 10, time_ms);
                spoil(&mut draft);
                if !rules.contains(&"too_large") {
                    send(draft, time_ms);
                }
            }
        }
    }
    producer.flush(Duration::from_mins(1)).unwrap();
    prices
}

#[test]
#[ignore = "takes a minute, and shows nothing that the other tests don't: dev/screenshots runs it"]
fn pictures_of_the_three_views() {
    // dev/screenshots says where to; without it they are made all the same.
    let aside = tempfile::tempdir().unwrap();
    let folder = env::var_os("TICKGATE_PICTURES").map_or_else(|| aside.path().to_owned(), PathBuf::from);
    let settings = tables::settings("pictures")
        .with("FRESHNESS__ERROR_AFTER", "10m")
        .with("RULES__PRICE_JUMP_FACTOR", "1.5")
        .with("SERVE__HTTP", "127.0.0.1:0")
        .with("SERVE__HISTORY", "cassandra");
    settings.run(&["topics", "apply"]).ended(0);
    settings.run(&["sink", "schema", "--apply"]).ended(0);
    // So that the hour has passed, for the brokers too.
    let admin: AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", settings.direct()).create().unwrap();
    let staging = settings.topic("staging");
    let altered =
        AlterConfig::new(ResourceSpecifier::Topic(&staging)).set("message.timestamp.type", "CreateTime");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(admin.alter_configs(&[altered], &AdminOptions::new())).unwrap()[0].as_ref().unwrap();
    let gates = [Gate::start(&settings), Gate::start(&settings)];
    gates.iter().for_each(Gate::wait_ready);
    let prices = an_hour(&settings);
    let is_live = |symbol: &str| !SILENT.iter().any(|(of, _)| *of == symbol);
    let live: Vec<(&str, u32)> = SYMBOLS
        .iter()
        .zip(prices)
        .filter(|((symbol, _), _)| is_live(symbol))
        .map(|((symbol, _), price)| (*symbol, price))
        .collect();
    let _pump = Pump::start(&settings, &live, Duration::from_millis(150));
    let loader = Loader::start(&settings);
    loader.wait_ready();
    let watched = [gates[0].address(), gates[1].address(), loader.address()];
    let page = Role::start(&settings.with("SERVE__INSTANCES", &watched.join(",")), &["serve"]);
    page.wait_ready();
    thread::sleep(Duration::from_secs(25));

    let mut browser = Browser::start(1360, 800);
    let mut take = |name: &str, scheme: &str, address: &str, shown: &str| {
        browser.prefer(scheme);
        browser.open(address);
        browser.wait(shown);
        thread::sleep(Duration::from_secs(3));
        fs::write(folder.join(format!("{name}.webp")), browser.screenshot("webp")).unwrap();
    };
    let root = format!("http://{}/", address(&page));
    let chart = "document.querySelector('#legend').textContent.includes('O ')";
    take("markets", "dark", &format!("{root}?1#/markets/BINANCE%3ABTCUSDT"), chart);
    take("quality", "light", &format!("{root}?2#/quality"), "document.querySelector('.q-detail td')");
    take(
        "pipeline",
        "dark",
        &format!("{root}?3#/pipeline"),
        "document.querySelectorAll('.map li').length > 1",
    );
}
