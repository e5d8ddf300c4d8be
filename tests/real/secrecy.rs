//! The token: sent to the feed, and shown nowhere else, whatever fails.

use std::{fs, net::TcpListener, time::Duration};

use tickgate::finnhub::simulator::{
    Change, Control, RestFault, RestFaults, Settings as Feed, Simulator, synthetic_symbols,
};
use tokio::runtime::Runtime;

use crate::{cluster::Settings, gate::PATIENCE, gate::wait_for, role::Role};

/// Nothing else in the world is called so, and `%` shows whether it is hidden in an address, too.
const TOKEN: &str = "tk9secret%7Ftoken";
const ENCODED: &str = "tk9secret%257Ftoken";

fn settings() -> Settings {
    Settings::of("secrecy")
        .with("FINNHUB__TOKEN", TOKEN)
        .with("FINNHUB__SYMBOLS", "SYM00001,SYM00002")
        .with("FINNHUB__ANSWER_TIMEOUT", "300ms")
        .with("INGEST__LEASE", "none")
        .with("INGEST__HTTP", "127.0.0.1:0")
        .with("RECORD__HTTP", "127.0.0.1:0")
        // Everything that any library logs, handshakes included.
        .with("LOG", "trace,tungstenite::handshake::client=trace,librdkafka=info,rdkafka=info")
}

fn assert_silent(what: &str, text: &str) {
    for secret in [TOKEN, ENCODED] {
        if let Some(at) = text.find(secret) {
            let from = text.floor_char_boundary(at.saturating_sub(300));
            panic!("{what} shows the token: …{}", &text[from..text.ceil_char_boundary(at + 60)]);
        }
    }
}

/// Runs a role until its log has `sign`, and looks at all that can be seen of it from outside.
fn watch(settings: &Settings, arguments: &[&str], sign: &str) {
    let role = Role::start(settings, arguments);
    role.wait_logged(sign);
    look_at(role, &format!("{arguments:?}, {sign}"));
}

fn look_at(mut role: Role, what: &str) {
    for path in ["/metrics", "/readyz", "/livez"] {
        let (_, page) = wait_for("page", PATIENCE, || role.ask(path));
        assert_silent(path, &page);
    }
    let line = fs::read(format!("/proc/{}/cmdline", role.pid())).unwrap();
    assert!(!line.is_empty());
    assert_silent("the command line", &String::from_utf8_lossy(&line));
    let (code, _) = role.terminate();
    assert_eq!(code, Some(0), "{what}");
    assert_silent(&format!("the log of {what}"), &role.log());
}

/// A server that repeats the token in what it says: of ingest, for a recording logs no complaint. Without the
/// libraries' traces, which tell every frame.
fn watch_complaints(settings: &Settings, control: &Control) {
    let role = Role::start(&settings.clone().with("LOG", "debug,tungstenite=info"), &["ingest"]);
    role.wait_logged("connected to the feed");
    for words in ["too many symbols for", "no such key:"] {
        let complain = Some(format!("{words} {TOKEN} ({ENCODED})"));
        let change = Change { complain, ..Change::default() };
        wait_for(words, PATIENCE, || {
            control.change(&change).unwrap();
            role.log().contains(words).then_some(())
        });
    }
    look_at(role, "ingest that was told its token");
}

#[test]
fn no_role_shows_the_token_whatever_fails() {
    let runtime = Runtime::new().unwrap();
    let feed = Feed { symbols: synthetic_symbols(2), rate: 50.0, ..Feed::default() };
    let mut simulator = runtime.block_on(Simulator::start("127.0.0.1:0", feed)).unwrap();
    let rest = runtime.block_on(simulator.serve_rest("127.0.0.1:0")).unwrap();
    let control = simulator.control();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let settings = settings();
    settings.run(&["topics", "apply", "--timeout", "3m"]).ended(0);
    // Nobody listens where somebody just has.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let stream = settings.clone().with("FINNHUB__URL", &format!("ws://{}", simulator.address()));
    watch(&stream, &["ingest"], "connected to the feed");
    watch_complaints(&stream, &control);
    watch(&stream, &["record", "--out", &file("a")], "connected to the feed");
    control.change(&Change { refuse: Some(401), ..Change::default() }).unwrap();
    watch(&stream, &["ingest"], "http status 401");
    watch(&stream, &["record", "--out", &file("b")], "http status 401");
    let stream = settings.clone().with("FINNHUB__URL", &format!("ws://{nobody}"));
    watch(&stream, &["ingest"], "connection to the feed failed");
    // TLS where none is spoken.
    let stream = settings.clone().with("FINNHUB__URL", &format!("wss://{rest}"));
    watch(&stream, &["ingest"], "connection to the feed failed");

    let poll = settings.clone().with("FINNHUB__MODE", "poll");
    let answering = poll.clone().with("FINNHUB__REST_URL", &format!("http://{rest}/api/v1"));
    watch(&answering, &["ingest"], "the REST interface answers");
    for (fault, sign) in [
        (RestFault::Status { code: 401 }, "refuses the token"),
        (RestFault::Status { code: 302 }, "http status 302"),
        (RestFault::Limited { retry_after: None, as_date: false }, "limit of calls"),
        (RestFault::Stall, "did not answer"),
    ] {
        let rest = vec![RestFaults { fault, calls: 1 }];
        control.change(&Change { rest, ..Change::default() }).unwrap();
        watch(&answering, &["ingest"], sign);
    }
    watch(
        &poll.clone().with("FINNHUB__REST_URL", &format!("http://{nobody}")),
        &["ingest"],
        "call of Finnhub failed",
    );
    watch(
        &poll.clone().with("FINNHUB__REST_URL", &format!("https://{rest}")),
        &["ingest"],
        "call of Finnhub failed",
    );
}

#[test]
fn no_setting_that_is_wrong_shows_the_token() {
    let settings = settings();
    for (name, value) in [
        ("FINNHUB__URL", "ws://127.0.0.1:1/?token=tk9secret%7Ftoken"),
        ("FINNHUB__TOKEN", "tk9secret%7Ftoken\n"),
        ("FINNHUB__CALLS_PER_MINUTE", "many"),
        ("FINNHUB__TOKEN_FILE", "/dev/null"),
        ("FINNHUB__TOKENS", "x"),
    ] {
        let wrong = settings.clone().with(name, value).with("FINNHUB__MODE", "poll");
        for arguments in [&["config", "check"], &["config", "show"], &["ingest", ""], &["topics", "describe"]]
        {
            let arguments: Vec<&str> = arguments.iter().copied().filter(|word| !word.is_empty()).collect();
            if arguments == ["ingest"] && name == "FINNHUB__URL" {
                continue; // poll doesn't use it, and would run on
            }
            let run = wrong.run(&arguments);
            assert_silent(&format!("{arguments:?} with {name}"), &format!("{}{}", run.out, run.err));
        }
    }
    let shown = settings.run(&["config", "show"]).ended(0);
    assert!(shown.out.contains("token = \"***\""), "{}", shown.out);
}

#[test]
fn a_redirect_takes_the_token_nowhere() {
    // Whoever is redirected to would be seen to be called here.
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = here.local_addr().unwrap();
    let target = elsewhere.local_addr().unwrap();
    let answer = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = here.accept().unwrap();
        let mut asked = vec![0; 4096];
        let read = stream.read(&mut asked).unwrap();
        let head = format!("HTTP/1.1 302 Found\r\nLocation: http://{target}/\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        String::from_utf8_lossy(&asked[..read]).into_owned()
    });
    let settings = settings().with("FINNHUB__MODE", "poll");
    settings.run(&["topics", "apply", "--timeout", "3m"]).ended(0);
    let mut ingest =
        Role::start(&settings.with("FINNHUB__REST_URL", &format!("http://{address}/api/v1")), &["ingest"]);
    ingest.wait_logged("http status 302");
    let asked = answer.join().unwrap().to_lowercase();
    assert!(asked.starts_with("get /api/v1/quote?symbol=sym00001 http/1.1"), "{asked}");
    assert!(asked.contains(&format!("x-finnhub-token: {}", TOKEN.to_lowercase())), "{asked}");
    std::thread::sleep(Duration::from_millis(300));
    elsewhere.set_nonblocking(true).unwrap();
    assert!(elsewhere.accept().is_err(), "the redirect was followed");
    assert_eq!(ingest.terminate().0, Some(0));
}
