//! Questions and answers, over a store that holds what the worst feed may have sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use tickgate_state::{Position, Row, RowKey, Store, StoreIdentity, StoreOptions};

use super::described::{assert_described, assert_fits, routed};
use super::*;
use crate::model::{CheckpointRow, Level, Partition, Price, Reported, SymbolRow};
use crate::telemetry::health::{self, Pages, Readiness};
use crate::telemetry::instance::InstanceView;
use crate::telemetry::metrics::Metrics;

/// Symbols as feeds spell them, and as nobody should.
const NAMES: [&str; 12] = [
    "AAPL",
    "IC MARKETS:1",
    "BINANCE:BTCUSDT",
    "A/B",
    "..",
    ".",
    "%41%2F",
    "?level=warn&limit=0#x",
    "quote\"and\\back",
    "line\r\nX-Injected: 1",
    "naïve 🚀",
    "<script>",
];

struct Held {
    _dir: TempDir,
    store: Arc<Store>,
}

fn row(last_seen: i64) -> SymbolRow {
    SymbolRow {
        last_seen: Some(last_seen),
        price: Some(Price { mantissa: 18_912, scale: 2 }),
        ..SymbolRow::default()
    }
}

fn silent(warn: bool, error: bool) -> SymbolRow {
    SymbolRow { reported: Some(Reported { silence_from: 1, warn, error }), ..row(1) }
}

fn checkpoint(next_offset: i64) -> Row {
    let row = CheckpointRow { next_offset, epoch: 3, fingerprint: 0, input_time: None };
    (RowKey::Checkpoint.encode(), Some(row.encode()))
}

/// Each partition's rows, at changelog offset 100 + partition.
fn held(partitions: &[(u16, Vec<Row>)]) -> Held {
    let dir = tempfile::tempdir().unwrap();
    let identity = StoreIdentity { group: "g".to_owned(), changelog: "c".to_owned(), cluster: String::new() };
    let store = Arc::new(Store::open(dir.path(), &identity, &StoreOptions::default()).unwrap());
    for (partition, rows) in partitions {
        let writer = store.writer(*partition).unwrap();
        let position = Position { changelog_next: 100 + i64::from(*partition) };
        store.restore_slice(&writer, rows.clone(), position, 1_000).unwrap();
    }
    Held { _dir: dir, store }
}

fn symbol(name: &str, row: &SymbolRow) -> Row {
    (RowKey::Symbol(name).encode(), Some(row.encode()))
}

fn stopped(_: Partition) -> Holder {
    Holder::Stopped
}

/// All pages of a question: partition and symbol of each row, and how many pages there were.
fn all(store: &Store, mut question: Question) -> (Vec<(Partition, String)>, usize) {
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let page = symbols(&store.snapshot(), &question, stopped, 1_000).unwrap();
        assert!(page.symbols.len() <= question.limit);
        for row in &page.symbols {
            assert!(
                page.partitions.iter().any(|at| at.partition == row.partition),
                "a row without its place"
            );
        }
        pages += 1;
        found.extend(page.symbols.into_iter().map(|row| (row.partition, row.symbol)));
        let Some(next) = page.next else { return (found, pages) };
        question.after = Some(Cursor::read(&next).unwrap());
    }
}

#[test]
fn paging_visits_every_symbol_once_over_all_partitions() {
    let rows = |from: usize, to: usize| (from..to).map(|n| symbol(&format!("S{n:03}"), &row(1))).collect();
    let held = held(&[(0, rows(0, 7)), (2, vec![checkpoint(5)]), (3, rows(5, 30)), (300, rows(0, 3))]);
    let expected: Vec<(Partition, String)> = [(0, 0..7), (3, 5..30), (300, 0..3)]
        .into_iter()
        .flat_map(|(partition, names)| names.map(move |n| (partition, format!("S{n:03}"))))
        .collect();
    for limit in [1, 2, 3, 5, 7, 34, 35, 36, 10_000] {
        let (found, pages) = all(&held.store, Question { limit, ..Question::default() });
        assert_eq!(found, expected, "{limit}");
        assert!(pages <= expected.len() / limit + 1, "{pages} pages of {limit}");
    }
    let of = |partition, prefix: &str| {
        let question = Question { partition, prefix: prefix.to_owned(), limit: 4, ..Question::default() };
        all(&held.store, question).0
    };
    assert_eq!(of(Some(3), "").len(), 25);
    assert_eq!(of(Some(1), ""), vec![]);
    assert_eq!(of(None, "S00").len(), 7 + 5 + 3);
    assert_eq!(of(None, "S9"), vec![]);
}

#[test]
fn a_question_that_finds_nothing_costs_no_more_than_one_that_does() {
    let rows = (0..45_000).map(|n| symbol(&format!("S{n:05}"), &row(1))).collect();
    let held = held(&[(0, rows), (1, vec![symbol("SILENT", &silent(false, true))])]);
    let question = Question { level: Some(Level::Error), ..Question::default() };
    let first = symbols(&held.store.snapshot(), &question, stopped, 0).unwrap();
    assert!(first.symbols.is_empty() && first.next.is_some(), "all was gone through at once");
    assert_eq!(all(&held.store, question), (vec![(1, "SILENT".to_owned())], 3));
}

#[test]
fn levels_are_the_highest_that_were_reported() {
    let rows = vec![
        symbol("BOTH", &silent(true, true)),
        symbol("ERROR", &silent(false, true)),
        symbol("HEARD", &row(5)),
        symbol("WARN", &silent(true, false)),
    ];
    let held = held(&[(0, rows)]);
    let at = |level| {
        let (found, _) = all(&held.store, Question { level, ..Question::default() });
        found.into_iter().map(|(_, symbol)| symbol).collect::<Vec<_>>()
    };
    assert_eq!(at(Some(Level::Warn)), ["WARN"]);
    assert_eq!(at(Some(Level::Error)), ["BOTH", "ERROR"]);
    assert_eq!(at(None).len(), 4);
}

struct Answer {
    status: u16,
    head: String,
    body: Value,
}

fn ask(address: SocketAddr, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {path} gives {answer}"));
    Answer { status: head[9..12].parse().unwrap(), head: head.to_owned(), body }
}

fn encoded(name: &str) -> String {
    let bytes: Vec<String> = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    bytes.concat()
}

#[test]
fn pages_answer_in_json_whatever_is_asked() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut rows: Vec<Row> = NAMES.iter().map(|name| symbol(name, &row(1_000))).collect();
    rows.push(checkpoint(55));
    let held = held(&[(0, rows), (1, vec![symbol("AAPL", &silent(true, false)), checkpoint(66)])]);
    let instance = InstanceView::new("host-1", "g", 1);
    instance.update(0, |worker| {
        worker.partitions.entry(0).or_default().phase = "running";
        worker.partitions.entry(1).or_default().phase = "restoring";
    });
    let pages =
        Pages { metrics: Metrics::new(), readiness: Readiness::default(), instance: Some(instance.clone()) };
    let own = routes(Asked::new(Arc::clone(&held.store), instance, Peers::new(Vec::new(), 2)));
    let address = health::serve_with("127.0.0.1:0".parse().unwrap(), None, pages, own).unwrap();

    for name in NAMES {
        for path in
            [format!("/v1/symbols/{}", encoded(name)), format!("/v1/symbols?symbol={}", encoded(name))]
        {
            let Answer { status, head, body } = ask(address, &path);
            assert_eq!(status, 200, "{path}: {body}");
            assert!(!head.contains("X-Injected"), "{head}");
            assert_eq!(body["symbols"][0]["symbol"], name);
            assert_eq!(body["symbols"][0]["last_price"], "189.12");
            assert_eq!(body["partitions"][0]["changelog_next"], 100);
            assert_eq!(body["partitions"][0]["next_offset"], 55);
            assert_eq!(body["partitions"][0]["source"], "owner");
        }
    }
    let both = ask(address, "/v1/symbols/AAPL").body;
    assert_eq!(both["symbols"][1]["level"], "warn");
    assert_eq!(both["partitions"][1]["source"], "replica");
    let places = ask(address, "/v1/partitions").body;
    assert_eq!((&places["group"], &places["partitions"][1]["epoch"]), (&"g".into(), &3.into()));
    let raw = ask(address, "/v1/partitions/1/rows?limit=1").body;
    assert_eq!(raw["has_more"], true);
    assert_eq!(raw["rows"][0]["key"], "6b", "the checkpoint comes first");
    let raw = ask(address, "/v1/partitions/1/rows?after=6b").body;
    assert_eq!((&raw["has_more"], &raw["rows"][0]["key"]), (&false.into(), &"734141504c".into()));

    let refused = [
        ("/v1/symbols/NONE", 404, "no row of `NONE` in the 2 partitions"),
        ("/v1/symbols/AAPL?consistency=owner", 503, "none for partitions 1"),
        ("/v1/symbols/AAPL?consistency=all", 400, "`any` or `owner`"),
        ("/v1/symbols/AAPL?source=owner", 400, "`consistency`"),
        ("/v1/symbols?consistency=owner&consistency=any", 400, "at most once"),
        ("/v1/symbols?consistency=owner&partition=1", 503, "none for partitions 1"),
        ("/v1/symbols/%ff%fe", 400, "UTF-8"),
        ("/v1/symbols?limit=many", 400, "a number from 1 to 10000"),
        ("/v1/symbols?colour=red", 400, "`colour`"),
        ("/v1/partitions/x/rows", 400, "a number from 0 to 65535"),
        ("/v1/partitions/9/rows", 404, "one of `/v1/partitions`"),
        ("/v1/partitions/1/rows?after=zz", 400, "in hex"),
    ];
    for (path, expected, words) in refused {
        let Answer { status, body, .. } = ask(address, path);
        assert_eq!((status, &body["status"]), (expected, &expected.into()), "{path}: {body}");
        assert!(body.to_string().contains(words), "{path}: {body}");
    }
    assert_eq!(ask(address, "/v1/instance").body["instance"], "host-1", "the other pages are there too");
    the_description_is_true(address);
}

fn the_description_is_true(address: SocketAddr) {
    let Answer { head, body: description, .. } = ask(address, "/v1/openapi.json");
    assert!(head.contains("content-type: application/json"), "{head}");
    let mut routes = routed(include_str!("pages.rs"));
    routes.push("/v1/instance");
    routes.sort_unstable();
    let described: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
    assert_eq!(described, routes);
    let asked = [
        ("/v1/symbols", "/v1/symbols?limit=2"),
        ("/v1/symbols", "/v1/symbols?level=warn&prefix=A&partition=1&limit=1"),
        ("/v1/symbols", "/v1/symbols?symbol=AAPL"),
        ("/v1/symbols", "/v1/symbols?consistency=owner&partition=0"),
        ("/v1/symbols", "/v1/symbols?source=owner"),
        ("/v1/symbols/{symbol}", "/v1/symbols/AAPL?consistency=any"),
        ("/v1/partitions", "/v1/partitions"),
        ("/v1/partitions/{partition}/rows", "/v1/partitions/1/rows?limit=1"),
        ("/v1/instance", "/v1/instance"),
    ];
    for (path, question) in asked {
        let Answer { status, body, .. } = ask(address, question);
        assert_eq!(status, 200, "{question}: {body}");
        assert_described(&description, path, &body);
        // Each parameter that is asked with is one that is described.
        let told = description["paths"][path]["get"]["parameters"].as_array().cloned().unwrap_or_default();
        for pair in
            question.split_once('?').map_or("", |(_, query)| query).split('&').filter(|p| !p.is_empty())
        {
            let name = pair.split('=').next().unwrap();
            assert!(told.iter().any(|parameter| parameter["name"] == name), "{path}: `{name}`");
        }
    }
    let refused = ask(address, "/v1/symbols/NONE").body;
    assert_fits(&description, &description["components"]["schemas"]["Refused"], &refused);
}

/// An instance that owns some of the partitions, and is behind in the others: there are so many symbols in each.
fn start(symbols: &[usize], owned: &[Partition], peers: Vec<String>) -> (SocketAddr, Held) {
    let rows = |(partition, count): (usize, &usize)| {
        let newer = owned.contains(&Partition::try_from(partition).unwrap());
        let row = row(if newer { 2_000 } else { 1_000 });
        let rows = NAMES[..*count].iter().map(|name| symbol(name, &row)).collect();
        (u16::try_from(partition).unwrap(), rows)
    };
    let held = held(&symbols.iter().enumerate().map(rows).collect::<Vec<_>>());
    let instance = InstanceView::new("host", "g", 1);
    for partition in owned {
        instance.update(0, |worker| worker.partitions.entry(*partition).or_default().phase = "running");
    }
    let pages = Pages { metrics: Metrics::new(), readiness: Readiness::default(), instance: None };
    let peers = Peers::new(peers, symbols.len().try_into().unwrap());
    let own = routes(Asked::new(Arc::clone(&held.store), instance, peers));
    let address = health::serve_with("127.0.0.1:0".parse().unwrap(), None, pages, own).unwrap();
    (address, held)
}

/// How new each row of an answer is: the second of its last quote.
fn seconds(body: &Value) -> Vec<&str> {
    let rows = body["symbols"].as_array().unwrap().iter();
    rows.map(|row| &row["last_seen"].as_str().unwrap()[18..19]).collect()
}

#[test]
fn an_owner_is_found_among_the_peers() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let (other, _other) = start(&[1, 1], &[1], Vec::new());
    let (asked, _asked) = start(&[1, 1], &[0], vec!["127.0.0.1:9".to_owned(), other.to_string()]);
    let path = format!("/v1/symbols/{}", encoded(NAMES[0]));
    assert_eq!(seconds(&ask(asked, &path).body), ["2", "1"], "the nearest");
    let body = ask(asked, &format!("{path}?consistency=owner")).body;
    assert_eq!(seconds(&body), ["2", "2"], "the newest");
    assert!(body["partitions"].as_array().unwrap().iter().all(|at| at["source"] == "owner"), "{body}");
    assert_eq!(ask(other, &format!("{path}?consistency=owner")).status, 503, "it knows no peers");
    // One that has no copy of what others own.
    let (alone, _alone) = start(&[0, 0], &[], vec![other.to_string()]);
    let refused = ask(alone, &format!("{path}?consistency=owner")).body;
    assert_eq!(refused["found"], "none for partitions 0", "{refused}");
}

#[test]
fn the_owners_pages_are_one_list() {
    const SYMBOLS: [usize; 5] = [3, 12, 0, 7, 2];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let (one, _one) = start(&SYMBOLS, &[0, 3], Vec::new());
    let (other, _other) = start(&SYMBOLS, &[1], Vec::new());
    let (asked, _asked) = start(&SYMBOLS, &[2, 4], vec![one.to_string(), other.to_string()]);
    let all: usize = SYMBOLS.iter().sum();
    for limit in [1, 2, 3, 5, all - 1, all, 100] {
        let (mut found, mut pages, mut next) = (Vec::new(), 0, String::new());
        loop {
            let page = ask(asked, &format!("/v1/symbols?consistency=owner&limit={limit}{next}")).body;
            assert!(seconds(&page).iter().all(|second| *second == "2"), "{limit}: {page}");
            let rows = page["symbols"].as_array().unwrap();
            assert!(rows.len() <= limit);
            found.extend(
                rows.iter().map(|row| (row["partition"].as_u64().unwrap(), row["symbol"].to_string())),
            );
            pages += 1;
            match page["next"].as_str() {
                Some(cursor) => next = format!("&cursor={cursor}"),
                None => break,
            }
        }
        let mut sorted = found.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), all, "{limit}: {found:?}");
        assert!(found.is_sorted_by_key(|(partition, _)| *partition), "{limit}: {found:?}");
        assert!(pages <= all / limit + 1, "{pages} pages of {limit}");
    }
    let of = |question: &str| ask(asked, &format!("/v1/symbols?consistency=owner&{question}")).body;
    assert_eq!(of("partition=3")["symbols"].as_array().unwrap().len(), 7);
    assert_eq!(of("prefix=AAPL")["symbols"].as_array().unwrap().len(), 4);
    assert_eq!(of("symbol=AAPL")["partitions"].as_array().unwrap().len(), 5);
    assert_eq!(ask(asked, "/v1/symbols?source=owner").body["symbols"].as_array().unwrap().len(), 2);
}
