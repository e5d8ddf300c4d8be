//! The simulator and the client over real sockets.

use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Message;
use super::simulator::{self, Change, Control, Simulator, Spoil, Walk};
use super::stream::{self, BackoffSettings, End, Endpoint, Event};

/// No step of a test takes longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Client {
    events: mpsc::Receiver<Event>,
    _task: JoinSet<()>,
}

impl Client {
    fn new(simulator: &Simulator, token: &str, symbols: &[String], silent_after: Duration) -> Self {
        let backoff = BackoffSettings { first: Duration::from_millis(50), ..BackoffSettings::default() };
        Self::with_backoff(simulator, token, symbols, silent_after, backoff)
    }

    fn with_backoff(
        simulator: &Simulator,
        token: &str,
        symbols: &[String],
        silent_after: Duration,
        backoff: BackoffSettings,
    ) -> Self {
        let settings = stream::Settings {
            endpoint: Endpoint::new(&format!("ws://{}", simulator.address()), token).unwrap(),
            symbols: symbols.to_vec(),
            silent_after,
            connect_timeout: PATIENCE,
            backoff,
        };
        let (sender, events) = mpsc::channel(16);
        let mut task = JoinSet::new();
        task.spawn(stream::run(settings, ChaCha8Rng::seed_from_u64(1), sender));
        Self { events, _task: task }
    }

    async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("a running client")
    }

    /// The next event that is not a message.
    async fn turn(&mut self) -> Event {
        loop {
            match self.next().await {
                Event::Received(_) => {}
                event => return event,
            }
        }
    }

    /// The staging values of the next `count` trades, and how many elements were none.
    async fn values(&mut self, count: usize) -> (Vec<String>, usize) {
        let (mut values, mut bad) = (Vec::new(), 0);
        while values.len() + bad < count {
            let Event::Received(bytes) = self.next().await else { continue };
            let Message::Trades(trades) = Message::read(&bytes) else { continue };
            for trade in trades {
                match trade {
                    Ok(trade) => values.push(String::from_utf8(trade.staging_value()).unwrap()),
                    Err(_) => bad += 1,
                }
            }
        }
        (values, bad)
    }
}

async fn simulator(settings: simulator::Settings) -> Simulator {
    Simulator::start("127.0.0.1:0", settings).await.unwrap()
}

/// Starts the market once everyone is subscribed, so that nobody misses its first trade.
async fn open_market(control: &Control, subscriptions: u64, rate: f64) {
    let subscribed = async {
        while control.counts().subscriptions < subscriptions {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, subscribed).await.expect("subscriptions in time");
    control.change(&Change { rate: Some(rate), ..Change::default() }).unwrap();
}

fn paused() -> simulator::Settings {
    simulator::Settings { rate: 0.0, ..simulator::Settings::default() }
}

const LONG: Duration = Duration::from_hours(1);

#[tokio::test]
async fn every_trade_of_the_seed_arrives_in_order() {
    let settings = simulator::Settings { trades: Some(20_000), ..paused() };
    let (seed, symbols) = (settings.seed, settings.symbols.clone());
    let simulator = simulator(settings).await;
    let mut client = Client::new(&simulator, "t", &symbols, LONG);
    open_market(&simulator.control(), symbols.len() as u64, 50_000.0).await;
    let (values, bad) = client.values(20_000).await;
    assert_eq!((values.len(), bad), (20_000, 0));
    let mut walk = Walk::new(seed, &symbols);
    for value in values {
        let tick = walk.next_tick();
        let start = format!(
            "{{\"symbol\":\"{}\",\"last_price\":{},\"volume\":{},\"timestamp\":",
            symbols[tick.symbol],
            tick.price_text(),
            tick.volume_text()
        );
        assert!(value.starts_with(&start), "expected {start}, found {value}");
    }
    let counts = simulator.control().counts();
    assert_eq!((counts.made, counts.sent, counts.connections), (20_000, 20_000, 1));
}

#[tokio::test]
async fn only_what_was_subscribed_to_arrives_and_the_rest_is_complained_of() {
    let simulator = simulator(paused()).await;
    let wanted = ["SYM00003".to_owned(), "NOPE".to_owned()];
    let mut client = Client::new(&simulator, "t", &wanted, LONG);
    open_market(&simulator.control(), 1, 2_000.0).await;
    assert_eq!(client.next().await, Event::Connected);
    let Event::Received(bytes) = client.next().await else { panic!("expected a message") };
    assert_eq!(Message::read(&bytes), Message::Error("Invalid symbol NOPE".to_owned()));
    let (values, _) = client.values(20).await;
    assert!(values.iter().all(|value| value.contains("SYM00003")));
}

#[tokio::test]
async fn a_silent_stall_is_noticed_and_everything_subscribed_to_again() {
    let simulator =
        simulator(simulator::Settings { ping_every: Duration::from_millis(20), ..paused() }).await;
    let symbols = simulator::synthetic_symbols(10);
    let silent_after = Duration::from_millis(400);
    let mut client = Client::new(&simulator, "t", &symbols, silent_after);
    let control = simulator.control();
    open_market(&control, 10, 0.0).await;
    assert_eq!(client.turn().await, Event::Connected);
    // Pings alone keep it alive.
    for _ in 0..30 {
        assert!(matches!(client.next().await, Event::Received(_)));
    }
    control.change(&Change { stall: true, ..Change::default() }).unwrap();
    let Event::Ended { end, .. } = client.turn().await else { panic!("expected an end") };
    assert_eq!(end, End::Silent(silent_after));
    assert_eq!(client.turn().await, Event::Connected);
    open_market(&control, 10, 1_000.0).await;
    client.values(50).await;
}

#[tokio::test]
async fn a_disconnect_is_followed_by_a_full_subscription() {
    let simulator = simulator(paused()).await;
    let symbols = simulator::synthetic_symbols(10);
    let mut client = Client::new(&simulator, "t", &symbols, LONG);
    let control = simulator.control();
    for _ in 0..2 {
        assert_eq!(client.turn().await, Event::Connected);
        open_market(&control, 10, 1_000.0).await;
        client.values(50).await;
        control.change(&Change { disconnect: true, ..Change::default() }).unwrap();
        assert!(matches!(client.turn().await, Event::Ended { .. }));
    }
}

#[tokio::test]
async fn a_second_connection_closes_the_first_which_keeps_away() {
    let simulator = simulator(paused()).await;
    let symbols = simulator::synthetic_symbols(1);
    let mut first = Client::new(&simulator, "same", &symbols, LONG);
    assert_eq!(first.turn().await, Event::Connected);
    let mut other = Client::new(&simulator, "other", &symbols, LONG);
    assert_eq!(other.turn().await, Event::Connected);
    let mut second = Client::new(&simulator, "same", &symbols, LONG);
    assert_eq!(second.turn().await, Event::Connected);
    let Event::Ended { end, retry_in } = first.turn().await else { panic!("expected an end") };
    assert_eq!(end, End::TakenOver);
    assert!(retry_in >= Duration::from_secs(15), "{retry_in:?}");
    assert_eq!(simulator.control().counts().connections, 2);
}

#[tokio::test]
async fn two_with_one_token_do_not_fight() {
    for tells_takeover in [true, false] {
        let simulator = simulator(simulator::Settings { tells_takeover, ..paused() }).await;
        let symbols = simulator::synthetic_symbols(1);
        let ms = Duration::from_millis;
        let backoff = BackoffSettings {
            first: ms(10),
            longest: ms(300),
            taken_over: ms(100),
            taken_over_longest: ms(5_000),
            healthy_after: ms(2_000),
        };
        let start = || Client::with_backoff(&simulator, "same", &symbols, LONG, backoff.clone());
        let mut both = [start(), start()];
        let (mut ends, over) = (Vec::new(), tokio::time::Instant::now() + ms(3_000));
        while tokio::time::Instant::now() < over {
            for client in &mut both {
                if let Ok(Some(Event::Ended { end, .. })) =
                    tokio::time::timeout(ms(5), client.events.recv()).await
                {
                    ends.push(end.as_str());
                }
            }
        }
        let counts = simulator.control().counts();
        // Without growing waits there would be hundreds.
        assert!((2..=20).contains(&counts.taken_over), "{tells_takeover}: {counts:?}");
        assert!(ends.contains(&"taken_over"), "{tells_takeover}: {ends:?}");
    }
}

#[tokio::test]
async fn an_absent_server_is_tried_again() {
    let simulator = simulator(paused()).await;
    let mut client = Client::new(&simulator, "secret", &[], LONG);
    assert_eq!(client.turn().await, Event::Connected);
    drop(simulator);
    for _ in 0..3 {
        let Event::Ended { end, .. } = client.turn().await else { panic!("expected an end") };
        assert!(["broken", "closed"].contains(&end.as_str()), "{end}");
        assert!(!end.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn spoilt_trades_do_not_cost_a_good_one() {
    let spoil = Spoil { bad: 0.2, ..Spoil::default() };
    let simulator = simulator(simulator::Settings { spoil, trades: Some(5_000), ..paused() }).await;
    let symbols = simulator::synthetic_symbols(10);
    let mut client = Client::new(&simulator, "t", &symbols, LONG);
    open_market(&simulator.control(), 10, 20_000.0).await;
    let (values, bad) = client.values(5_000).await;
    let counts = simulator.control().counts();
    let unkeyed: u64 =
        counts.spoilt.iter().filter(|(kind, _)| !kind.has_symbol()).map(|(_, count)| count).sum();
    assert_eq!(counts.sent, 5_000);
    assert_eq!(bad as u64, unkeyed);
    assert_eq!(values.len() as u64, 5_000 - unkeyed);
    assert_eq!(counts.spoilt.len(), simulator::FaultKind::ALL.len());
}

#[tokio::test]
async fn a_silent_symbol_is_held_back_and_comes_back() {
    let simulator = simulator(paused()).await;
    let symbols = simulator::synthetic_symbols(2);
    let mut client = Client::new(&simulator, "t", &symbols, LONG);
    let control = simulator.control();
    let silent = |silent: &[&str]| Change {
        silent: Some(silent.iter().map(|&text| text.to_owned()).collect()),
        ..Change::default()
    };
    control.change(&silent(&["SYM00001@0s"])).unwrap();
    open_market(&control, 2, 5_000.0).await;
    let (values, _) = client.values(100).await;
    assert!(values.iter().all(|value| value.contains("SYM00002")));
    control.change(&silent(&[])).unwrap();
    let heard_again =
        async { while !client.values(10).await.0.iter().any(|value| value.contains("SYM00001")) {} };
    tokio::time::timeout(PATIENCE, heard_again).await.expect("the symbol in time");
    assert!(control.change(&silent(&["SYM00001"])).is_err());
}
