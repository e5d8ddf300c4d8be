//! `docs/access.md`: what it says is enough for each role, on a broker that denies everything else.

use std::{fs, path::Path, process::Stdio, thread, time::Duration};

use tickgate::finnhub::simulator::{Settings as Market, Simulator, Spoil, synthetic_symbols};
use tickgate_stack::Stack;

use crate::{
    cluster::Settings,
    feed::{Feed, now_ms},
    gate::{Gate, PATIENCE, wait_for},
    offsets::wait_caught_up,
    role::Role,
    sink::{
        loader::Loader,
        source::{PARTITIONS, Straight, append, letters, tables},
        tables::{into, node},
    },
};

const TEST: &str = "access";
const PASSWORD: &str = "secret";
const USERS: [&str; 7] = ["topics", "ingest", "process", "sink", "serve", "audit", "nobody"];

/// A line of the table.
struct Grant {
    user: String,
    resource: String,
    name: String,
    operations: Vec<String>,
}

fn grants() -> Vec<Grant> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/access.md");
    let text = fs::read_to_string(path).unwrap();
    let cells = text.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', ""));
        let mut next = || cells.next().unwrap();
        let (user, resource, name) = (next(), next(), next());
        let operations = next().split(", ").map(str::to_owned).collect();
        Grant { user, resource, name, operations }
    });
    cells.collect()
}

/// A broker whose clients, past the tests' own, show who they are and may do nothing that is not granted.
fn strict() -> Stack {
    let users = USERS.map(|user| format!("user_{user}=\"{PASSWORD}\"")).join(" ");
    let login = format!("org.apache.kafka.common.security.plain.PlainLoginModule required {users};");
    Stack::builder()
        .proxied()
        .property(
            "listener.security.protocol.map",
            "BROKER:PLAINTEXT,CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        )
        .property("listener.name.client.sasl.enabled.mechanisms", "PLAIN")
        .property("listener.name.client.plain.sasl.jaas.config", &login)
        .property("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
        .property("super.users", "User:ANONYMOUS")
        .start()
        .expect("a broker with an authorizer starts")
}

fn grant(stack: &Stack, grant: &Grant) {
    // The table has the default names.
    let name = match grant.name.strip_prefix("tickgate") {
        Some(rest) => format!("{TEST}{rest}"),
        None => format!("{TEST}.{}", grant.name),
    };
    let mut tool = stack.tool("org.apache.kafka.tools.AclCommand");
    tool.args(["--bootstrap-server", &stack.direct(), "--add"]);
    tool.args(["--allow-principal", &format!("User:{}", grant.user)]);
    for operation in &grant.operations {
        tool.args(["--operation", operation]);
    }
    let (name, pattern) = name.strip_suffix('*').map_or((&*name, "literal"), |prefix| (prefix, "prefixed"));
    tool.args([&format!("--{}", grant.resource), name, "--resource-pattern-type", pattern]);
    let output = tool.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn as_user(settings: &Settings, user: &str) -> Settings {
    settings
        .clone()
        .with("KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        .with("KAFKA__PROPERTIES__SASL_MECHANISM", "PLAIN")
        .with("KAFKA__PROPERTIES__SASL_USERNAME", user)
        .with("KAFKA__PROPERTIES__SASL_PASSWORD", PASSWORD)
}

fn feed_in(settings: &Settings) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let symbols = synthetic_symbols(5);
    let spoil = Spoil { bad: 0.2, ..Spoil::default() };
    let market = Market { symbols: symbols.clone(), rate: 200.0, spoil, ..Market::default() };
    let simulator = runtime.block_on(Simulator::start("127.0.0.1:0", market)).unwrap();
    let settings = settings
        .clone()
        .with("FINNHUB__URL", &format!("ws://{}", simulator.address()))
        .with("FINNHUB__SYMBOLS", &symbols.join(","))
        .with("INGEST__HTTP", "127.0.0.1:0");
    let mut ingest = Role::start(&settings, &["ingest"]);
    ingest.wait_ready();
    wait_for("trades", PATIENCE, || (ingest.counter("tickgate_ingest_delivered_total") > 300).then_some(()));
    // With 0: nothing was refused, of trades and of what is none.
    assert_eq!(ingest.terminate().0, Some(0));
}

#[test]
#[ignore = "takes a minute: two dozen starts of Kafka's command line tools"]
fn what_the_table_grants_is_enough_for_each_role() {
    let stack = strict();
    let grants = grants();
    thread::scope(|scope| {
        for some in grants.chunks(grants.len().div_ceil(2)) {
            scope.spawn(|| some.iter().for_each(|one| grant(&stack, one)));
        }
    });
    let plain = Settings::on(&stack, TEST)
        .with("TOPICS__PARTITIONS", &PARTITIONS.to_string())
        .with("TOPICS__REPLICATION", "1");
    let settings = into(node(), TEST, plain);
    tables(&settings);
    as_user(&settings, "topics").run(&["topics", "apply"]).ended(0);
    as_user(&settings, "topics").run(&["topics", "describe"]).ended(0);

    feed_in(&as_user(&settings, "ingest"));
    // Killed once, so that its successor has somebody to fence.
    let process = as_user(&settings, "process");
    let mut gate = Gate::start(&process);
    let mut feed = Feed::new(15, PARTITIONS);
    feed.flow(&settings, 300, Duration::from_millis(300));
    wait_caught_up(&settings, PATIENCE);
    gate.kill();
    feed.flow(&settings, 300, Duration::from_millis(300));
    gate.start_again(&[]);
    wait_caught_up(&settings, PATIENCE);
    assert_eq!(gate.terminate(), Some(0));

    let sink = as_user(&settings, "sink");
    Loader::catch_up(&sink);
    as_user(&settings, "audit").run(&["audit", "--rows"]).ended(0);
    let serve = Role::start(&as_user(&settings, "serve").with("SERVE__HTTP", "127.0.0.1:0"), &["serve"]);
    for topic in ["stock_data", "bad_data"] {
        let read = format!("tickgate_serve_records_total{{topic=\"{topic}\"}}");
        wait_for(topic, PATIENCE, || {
            (serve.ask("/metrics").is_some() && serve.counter(&read) > 100).then_some(())
        });
    }
    drop(serve);
    let bad = Straight { source: None, ..Straight::quote("AAPL", 1, now_ms(), 0) };
    append(&settings, [bad]);
    Loader::catch_up(&sink);
    assert_eq!(letters(&settings).len(), 1);

    // And the broker does ask who comes.
    for command in [&["audit"][..], &["topics", "apply"]] {
        let refused = as_user(&settings, "nobody").run(&[command, &["--timeout", "3s"]].concat());
        assert!(refused.code.is_some_and(|code| code != 0), "{command:?}: {}", refused.out);
    }
}
