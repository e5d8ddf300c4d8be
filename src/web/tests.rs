//! The page over HTTP, as anybody asks for it, without a broker.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value;

use super::assets::ASSETS;
use super::*;
use crate::config::Config;
use crate::core::Classes;
use crate::model::Kind;
use crate::model::rejection::{Broken, Rejection};
use crate::model::{Rule, Source, WallTime};
use crate::query::described::{assert_described, assert_fits, routed};
use crate::telemetry::health::{Pages, Readiness};
use crate::telemetry::metrics::Metrics;

const HOSTILE: &str = "<img src=x onerror=\"alert(1)\">\r\nX-Injected: 1/../?#%00";

struct Page {
    board: Board,
    address: SocketAddr,
    runtime: tokio::runtime::Runtime,
}

impl Page {
    fn of(environment: &[(&str, &str)]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let environment =
            environment.iter().map(|(name, value)| (format!("TICKGATE_SERVE__{name}"), (*value).to_owned()));
        let mut config = Config::load(None, environment).unwrap();
        config.serve.http.set_port(0);
        let (metrics, readiness) = (Metrics::new(), Readiness::default());
        let streams = config.serve.streams_max;
        let classes = Classes::of_one(None, Some(60_000));
        let board = Board::new(Shown::of(&config), classes, streams, readiness.clone(), metrics.serve());
        let pages = Pages { metrics, readiness, instance: None };
        let mut address = serve(&config.serve, &board, pages).unwrap();
        address.set_ip([127, 0, 0, 1].into());
        let telling = board.clone();
        tokio::spawn(async move { telling.tell().await });
        drop(entered);
        Self { board, address, runtime }
    }

    fn trade(&self, symbol: &str, price: i64) {
        let (price, volume) = (Decimal::new(price, 2), Decimal::ONE);
        let time_ms = WallTime::now().0;
        self.board.trade(&Trade { symbol, price, volume, time_ms, kafka_ms: time_ms, marks: vec!["late"] });
    }

    fn reject(&self, offset: i64, rule: Rule) {
        let broken = Broken::new(rule, "timestamp", HOSTILE, "RFC 3339");
        let source = Source { partition: 1, offset: 5 };
        let header = Rejection { broken: vec![broken] }.to_header("staging", source);
        let (kind, value, rejection) = (Some(Kind::Rejected), Some(&b"{"[..]), Some(&header[..]));
        let key = Some(HOSTILE.as_bytes());
        let time_ms = 60_000;
        self.board.bad(&BadRecord { partition: 0, offset, time_ms, kind, key, value, rejection });
    }

    fn ask(&self, path: &str) -> Answer {
        self.say(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address))
    }

    fn ask_as(&self, path: &str, authorization: &str) -> u16 {
        let host = self.address;
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: {authorization}"
        );
        self.say(&format!("{head}\r\n\r\n")).status
    }

    fn say(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answer { status: head[9..12].parse().unwrap(), head: head.to_lowercase(), body: body.to_owned() }
    }

    /// A stream that is open, after its first event.
    fn listen(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "GET /v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).unwrap();
        read_until(&mut stream, "event: status");
        stream
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

fn read_until(stream: &mut TcpStream, words: &str) -> String {
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while !text.contains(words) {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "it ended without `{words}`: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    text
}

fn encoded(name: &str) -> String {
    let bytes: Vec<String> = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    bytes.concat()
}

#[test]
fn whatever_a_symbol_is_called_it_is_data() {
    let page = Page::of(&[]);
    let names = [HOSTILE, "IC MARKETS:1", "..", "é", "=1+1"];
    for name in names {
        page.trade(name, 18_912);
    }
    let all = page.ask("/v1/markets").json();
    assert_eq!(all["symbols"].as_array().unwrap().len(), names.len());
    for name in names {
        let one = page.ask(&format!("/v1/markets/{}", encoded(name)));
        assert_eq!((one.status, &one.json()["symbol"]), (200, &name.into()));
        assert_eq!(one.json()["last_price"], "189.12");
        let past = page.ask(&format!("/v1/markets/{}/history?range=1h", encoded(name))).json();
        assert_eq!((&past["source"], &past["bars"][0]["close"]), (&"memory".into(), &"189.12".into()));
        let csv = page.ask(&format!("/v1/markets/{}/history.csv", encoded(name)));
        assert!(csv.body.contains(",189.12,1,1\n") && !csv.head.contains("\nx-injected"), "{}", csv.head);
        assert!(csv.head.contains("content-type: text/csv"), "{}", csv.head);
        assert!(csv.head.contains("content-disposition: attachment; filename=\""), "{}", csv.head);
    }
}

#[test]
fn questions_are_answered_in_pages_and_wrong_ones_say_what_is_wrong() {
    let page = Page::of(&[]);
    (0..7).for_each(|n| page.trade(&format!("S{n}"), 100));
    let mut found = Vec::new();
    let mut next = String::new();
    loop {
        let answer = page.ask(&format!("/v1/markets?limit=3&search=s{next}")).json();
        found.extend(answer["symbols"].as_array().unwrap().iter().map(|row| row["symbol"].clone()));
        let Some(cursor) = answer["next"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    assert_eq!(found, ["S0", "S1", "S2", "S3", "S4", "S5", "S6"]);
    assert_eq!(page.ask("/v1/markets?level=error").json()["symbols"], Value::Array(vec![]));
    let refused = [
        ("/v1/markets?limit=0", 400, "a number from 1 to 10000"),
        ("/v1/markets?colour=red", 400, "`colour`"),
        ("/v1/markets?cursor=zz", 400, "an earlier answer"),
        ("/v1/markets?limit=1&limit=2", 400, "at most once"),
        ("/v1/markets/NONE", 404, "/v1/markets"),
        ("/v1/markets/%ff", 400, "UTF-8"),
        ("/v1/markets/S0/history?range=1y", 400, "`3d`"),
        ("/v1/markets/NONE/history.csv", 404, "`NONE`"),
        ("/v1/quality/rejections?rule=ugly", 400, "name of a rule"),
        ("/v1/quality/rejections?cursor=7", 400, "an earlier answer"),
        ("/v1/nothing", 404, "openapi.json"),
    ];
    for (path, status, words) in refused {
        let answer = page.ask(path);
        assert_eq!((answer.status, &answer.json()["status"]), (status, &status.into()), "{path}");
        assert!(answer.body.contains(words), "{path}: {}", answer.body);
    }
}

#[test]
fn rejections_are_shown_with_their_evidence() {
    let page = Page::of(&[]);
    for (offset, rule) in (0..).zip([Rule::BadTime, Rule::NotJson, Rule::BadTime]) {
        page.reject(offset, rule);
    }
    let first = page.ask("/v1/quality/rejections?rule=bad_time&limit=1").json();
    assert_eq!((&first["rejections"][0]["offset"], &first["next"]), (&2.into(), &"0:2".into()));
    assert_eq!(first["rejections"][0]["rules"][0]["found"], HOSTILE);
    let second = page.ask("/v1/quality/rejections?rule=bad_time&limit=1&cursor=0:2").json();
    assert_eq!((&second["rejections"][0]["offset"], &second["next"]), (&0.into(), &Value::Null));
    let counted = page.ask("/v1/quality").json();
    assert_eq!((&counted["rules"]["bad_time"], &counted["minutes"][0]["time"]), (&2.into(), &60.into()));
}

#[test]
fn pages_go_on_where_they_were_when_new_rejections_come() {
    let page = Page::of(&[]);
    (0..10).for_each(|offset| page.reject(offset, Rule::BadTime));
    let (mut found, mut next, mut newest) = (Vec::new(), String::new(), 10);
    loop {
        let answer = page.ask(&format!("/v1/quality/rejections?limit=3{next}")).json();
        let shown = answer["rejections"].as_array().unwrap();
        found.extend(shown.iter().map(|one| one["offset"].as_i64().unwrap()));
        let Some(cursor) = answer["next"].as_str() else { break };
        next = format!("&cursor={cursor}");
        (newest..newest + 2).for_each(|offset| page.reject(offset, Rule::BadTime));
        newest += 2;
    }
    assert_eq!(found, (0..10).rev().collect::<Vec<_>>());
    // What it stands at is forgotten, and all that was behind it.
    (newest..newest + 500).for_each(|offset| page.reject(offset, Rule::BadTime));
    let answer = page.ask("/v1/quality/rejections?cursor=0:5").json();
    assert_eq!((&answer["rejections"], &answer["next"]), (&Value::Array(vec![]), &Value::Null));
}

#[test]
fn every_answer_forbids_what_the_page_does_not_do() {
    let page = Page::of(&[]);
    for path in ["/", "/app.js", "/v1/status", "/nothing", "/livez", "/metrics"] {
        let head = page.ask(path).head;
        let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && policy.contains("trusted-types"), "{policy}");
        for header in ["x-content-type-options: nosniff", "x-frame-options: deny", "referrer-policy"] {
            assert!(head.contains(header), "{path}: {head}");
        }
    }
    let html = page.ask("/").body;
    assert!(!html.contains("style=") && !html.contains("<style") && !html.contains("onclick"), "{html}");
    assert_eq!(html.matches("<script").count(), 1, "one script, and that is a file");
}

#[test]
fn files_are_packed_and_asked_for_once() {
    let page = Page::of(&[]);
    let host = page.address;
    let plain = page.ask("/app.js");
    let tag = plain.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let again =
        format!("GET /app.js HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nIf-None-Match: {tag}\r\n\r\n");
    assert_eq!(page.say(&again).status, 304);
    let mut stream = TcpStream::connect(host).unwrap();
    let request =
        "GET /vendor/lightweight-charts.js HTTP/1.1\r\nAccept-Encoding: gzip\r\nConnection: close\r\n";
    write!(stream, "{request}Host: {host}\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert!(bytes.len() < 80_000, "{} bytes", bytes.len());
    for (path, _, text) in ASSETS {
        assert_eq!(page.ask(path).body, text, "{path}");
    }
}

#[test]
fn who_is_asked_has_to_say_who_it_is() {
    let page = Page::of(&[("HTTP", "0.0.0.0:1"), ("TOKEN", "hunter2"), ("USER", "me"), ("PASSWORD", "p:w")]);
    let basic = |login: &str| format!("Basic {}", data_encoding::BASE64.encode(login.as_bytes()));
    for path in ["/", "/v1/status", "/metrics", "/v1/events", "/app.js", "/nothing"] {
        let answer = page.ask(path);
        assert_eq!((answer.status, &answer.json()["status"]), (401, &401.into()), "{path}");
        assert!(answer.head.contains("www-authenticate: basic"), "{}", answer.head);
    }
    assert_eq!((page.ask("/livez").status, page.ask("/readyz").status), (200, 200));
    let good = ["Bearer hunter2".to_owned(), basic("me:p:w"), basic("anybody:hunter2")];
    for authorization in good {
        assert_eq!(page.ask_as("/v1/status", &authorization), 200, "{authorization}");
    }
    let wrong = [basic("me:hunter3"), basic("you:p:w"), basic("p:w"), basic("hunter2"), basic("me:")];
    let odd = ["Bearer", "Bearer ", "Bearer p:w", "Basic", "Basic !", "bearer hunter2x", "Digest x"];
    for authorization in wrong.iter().map(String::as_str).chain(odd) {
        assert_eq!(page.ask_as("/v1/status", authorization), 401, "{authorization}");
    }
}

#[test]
fn a_name_that_somebody_made_mean_this_address_is_refused() {
    let page = Page::of(&[]);
    let by = |host: &str| {
        page.say(&format!("GET /v1/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).status
    };
    assert_eq!((by("localhost:8080"), by("rebound.example:8080"), by("")), (200, 403, 403));
    let asked = Page::of(&[("TOKEN", "hunter2")]);
    let request =
        "GET /v1/status HTTP/1.1\r\nHost: page.example\r\nConnection: close\r\nAuthorization: Bearer hunter2";
    assert_eq!(asked.say(&format!("{request}\r\n\r\n")).status, 200);
}

#[test]
fn requests_have_bounds() {
    let page = Page::of(&[("CONNECTIONS_MAX", "2"), ("STREAMS_MAX", "1")]);
    let host = page.address;
    let long = format!("GET /{} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", "x".repeat(40_000));
    let mut stream = TcpStream::connect(host).unwrap();
    let _ = stream.write_all(long.as_bytes());
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    let post =
        format!("POST /v1/status HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(page.say(&post).status, 405);

    let first = page.listen();
    let second = page.ask("/v1/events");
    assert!(second.status == 503 && second.body.contains("serve.streams_max"), "{}", second.body);
    let idle = TcpStream::connect(host).unwrap();
    let mut third = TcpStream::connect(host).unwrap();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    write!(third, "GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    assert!(third.read(&mut [0; 1]).is_err(), "two connections at a time, and a third waits");
    drop((first, idle));
    third.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(read_until(&mut third, "alive").starts_with("HTTP/1.1 200"));
}

#[test]
fn an_instance_is_found_by_its_name() {
    let page = Page::of(&[]);
    let (port, board) = (page.address.port(), page.board.clone());
    let names = [format!("localhost:{port}"), "nobody.invalid:1".to_owned()];
    page.runtime.spawn(async move { watch_instances(&board, &names).await });
    let instances = || page.ask("/v1/pipeline").json()["instances"].as_array().unwrap().clone();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while instances().len() < 2 && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let instances = instances();
    assert_eq!(instances.len(), 2, "{instances:?}");
    assert_eq!(
        (&instances[0]["address"], &instances[0]["is_up"]),
        (&page.address.to_string().into(), &true.into())
    );
    assert_eq!(
        (&instances[1]["address"], &instances[1]["is_up"]),
        (&"nobody.invalid:1".into(), &false.into())
    );
    assert!(instances[1]["error"].as_str().unwrap().contains("no address"), "{instances:?}");
}

#[test]
fn changes_come_together_and_only_once() {
    let page = Page::of(&[]);
    page.trade("OLD", 1);
    std::thread::sleep(Duration::from_millis(500));
    let mut stream = page.listen();
    (0..1_000).for_each(|n| page.trade(["A", "B"][n % 2], 100));
    page.trade("B", 18_912);
    let text = read_until(&mut stream, "189.12");
    assert!(!text.contains("OLD"), "what had changed before is asked for: {text}");
    let frames = text.matches("event: markets").count();
    assert!((1..10).contains(&frames), "{frames} frames for 1001 changes");
}

#[test]
fn the_description_knows_every_path() {
    let page = Page::of(&[]);
    page.trade("A", 100);
    let described = page.ask("/v1/openapi.json").json();
    let paths: Vec<&String> = described["paths"].as_object().unwrap().keys().collect();
    let routed = routed(include_str!("pages.rs"));
    assert!(routed.len() > 8, "{routed:?}");
    for path in &routed {
        assert!(paths.iter().any(|known| known == path), "{path} is not described");
    }
    assert_eq!(paths.len(), routed.len() + 1, "and the description itself");
}

#[test]
fn every_answer_is_as_it_is_described() {
    let page = Page::of(&[]);
    let description = page.ask("/v1/openapi.json").json();
    let mut stream = page.listen();
    page.trade("A", 100);
    page.reject(0, Rule::BadTime);
    let stale = concat!(
        r#"{"symbol":"A","class":"default","last_seen":"2026-11-22T14:00:00.123Z","level":"error","#,
        r#""threshold_ms":1,"calendar":"24x7","detected_at":"2026-11-22T18:00:05.000Z","noticed_by":"clock"}"#
    );
    let silent = concat!(
        r#"{"class":"crypto","last_seen":"2026-11-22T14:00:00.123Z","threshold_ms":1,"calendar":"24x7","#,
        r#""detected_at":"2026-11-22T18:00:05.000Z","noticed_by":"clock","silence_ms":2}"#
    );
    for (kind, value) in [(Kind::Stale, stale), (Kind::FeedSilent, silent)] {
        let (value, key) = (Some(value.as_bytes()), Some(&b"A"[..]));
        let (partition, offset, time_ms, rejection) = (0, 1, 60_000, None);
        page.board.bad(&BadRecord { partition, offset, time_ms, kind: Some(kind), key, value, rejection });
    }
    page.board.told("127.0.0.1:1", Err("refused".to_owned()));
    let asked = [
        ("/v1/status", "/v1/status"),
        ("/v1/markets", "/v1/markets?limit=1"),
        ("/v1/markets/{symbol}", "/v1/markets/A"),
        ("/v1/markets/{symbol}/history", "/v1/markets/A/history"),
        ("/v1/quality", "/v1/quality"),
        ("/v1/quality/rejections", "/v1/quality/rejections"),
        ("/v1/pipeline", "/v1/pipeline"),
    ];
    for (path, question) in asked {
        assert_described(&description, path, &page.ask(question).json());
    }
    let quality = page.ask("/v1/quality").json();
    assert_eq!(
        (quality["events"].as_array().unwrap().len(), &quality["silent_feeds"][0]["class"]),
        (2, &"crypto".into())
    );

    let mut text = read_until(&mut stream, "event: pipeline");
    text.push_str(&read_until(&mut stream, "event: status"));
    text.push_str(&read_until(&mut stream, "\n\n"));
    let events =
        &description["paths"]["/v1/events"]["get"]["responses"]["200"]["content"]["text/event-stream"];
    let mut names = Vec::new();
    for (name, data) in events_of(&text) {
        let all = events["schema"]["items"]["anyOf"].as_array().unwrap();
        let one = all.iter().find(|one| one["properties"]["event"]["const"] == name.as_str());
        let schema = &one.unwrap_or_else(|| panic!("`{name}` is not described"))["properties"]["data"];
        assert_fits(&description, &schema["contentSchema"], &data);
        names.push(name);
    }
    for name in ["markets", "quality", "pipeline", "status"] {
        assert!(names.iter().any(|known| known == name), "{name}: {text}");
    }
}

/// The events of a stream's text that are whole.
fn events_of(text: &str) -> Vec<(String, Value)> {
    let events = text.split("event: ").filter_map(|event| {
        let (name, rest) = event.split_once("\ndata: ")?;
        Some((name.to_owned(), serde_json::from_str(rest.split_once("\n\n")?.0).ok()?))
    });
    events.collect()
}
