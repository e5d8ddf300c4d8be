//! `stack`: starts, breaks and stops real Kafka brokers by hand, and runs a Cassandra.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use tickgate_stack::{Broker, Cassandra, Stack};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

/// Real servers on this machine, apart from any other stack: Kafka brokers that are left running, and a
/// Cassandra that goes with the command.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The brokers' folder, for data and logs.
    #[arg(long, global = true, default_value = "data/stack")]
    dir: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Start the brokers, leave them running and print their addresses.
    Up {
        /// 1 or 3.
        #[arg(long, default_value_t = 3)]
        brokers: usize,
        /// The largest heap of each broker, as java's -Xmx takes it.
        #[arg(long)]
        heap: Option<String>,
    },
    /// Show the brokers; fails when one of them does not run.
    Status,
    /// End a broker at once (kill -9).
    Kill(Which),
    /// Stop a broker in order (SIGTERM).
    Terminate(Which),
    /// Keep a broker from running without ending it (SIGSTOP).
    Pause(Which),
    /// Let a paused broker run on (SIGCONT).
    Resume(Which),
    /// Start a broker that was ended and wait until it serves.
    Start(Which),
    /// Stop all brokers.
    Down {
        /// Remove the folder too.
        #[arg(long)]
        wipe: bool,
    },
    /// Run a Cassandra node until SIGINT or SIGTERM, and print its contact point.
    Cassandra(Node),
}

#[derive(Args)]
struct Node {
    /// The node's folder, for data and logs; without it they are gone when the node is.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The largest heap, as java's -Xmx takes it.
    #[arg(long)]
    heap: Option<String>,
    /// Ask clients for the user and password `cassandra`.
    #[arg(long)]
    login: bool,
    /// Speak TLS; prints the file of the authority to trust on a second line.
    #[arg(long)]
    tls: bool,
}

#[derive(Args)]
struct Which {
    /// The broker's id.
    #[arg(long)]
    broker: usize,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stack: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Cli { command, dir } = Cli::parse();
    let on = |which: &Which, act: fn(&Broker) -> Result<()>| act(find(&Stack::open(&dir)?, which.broker)?);
    match command {
        Command::Up { brokers, heap } => up(&dir, brokers, heap.as_deref()),
        Command::Status => status(&dir),
        Command::Kill(which) => on(&which, |broker| Ok(broker.kill()?)),
        Command::Terminate(which) => on(&which, |broker| Ok(broker.terminate()?)),
        Command::Pause(which) => on(&which, |broker| Ok(broker.pause()?)),
        Command::Resume(which) => on(&which, |broker| Ok(broker.resume()?)),
        Command::Start(which) => on(&which, |broker| {
            broker.start()?;
            Ok(broker.wait_ready(1)?)
        }),
        Command::Down { wipe } => down(&dir, wipe),
        Command::Cassandra(node) => cassandra(node),
    }
}

fn up(dir: &Path, brokers: usize, heap: Option<&str>) -> Result<()> {
    let mut builder = Stack::builder().brokers(brokers).dir(dir);
    if let Some(heap) = heap {
        builder = builder.heap(heap);
    }
    let stack = builder.start()?;
    println!("{}", stack.bootstrap());
    stack.detach();
    Ok(())
}

fn status(dir: &Path) -> Result<()> {
    let stack = Stack::open(dir)?;
    let mut down = 0;
    for broker in stack.brokers() {
        let process = broker.pid().map(|pid| format!("process {pid}"));
        down += usize::from(process.is_none());
        println!("broker {}  {}  {}", broker.id(), broker.address(), process.as_deref().unwrap_or("down"));
    }
    if down > 0 {
        bail!("{down} of {} brokers do not run: `stack start --broker ID` starts one", stack.brokers().len());
    }
    Ok(())
}

fn down(dir: &Path, wipe: bool) -> Result<()> {
    let stack = Stack::open(dir)?;
    stack.stop()?;
    if wipe {
        stack.wipe()?;
    }
    Ok(())
}

fn cassandra(node: Node) -> Result<()> {
    // From here on, so that a signal during the start ends the node in order too.
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let mut builder = Cassandra::builder();
    if let Some(data) = node.data {
        builder = builder.dir(data);
    }
    if let Some(heap) = &node.heap {
        builder = builder.heap(heap);
    }
    if node.login {
        builder = builder.login();
    }
    if node.tls {
        builder = builder.tls();
    }
    let cassandra = builder.start()?;
    println!("{}", cassandra.contact_point());
    if let Some(authority) = cassandra.authority() {
        println!("{}", authority.certificate_file().display());
    }
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    Ok(())
}

fn find(stack: &Stack, id: usize) -> Result<&Broker> {
    let found = stack.brokers().iter().find(|broker| broker.id() == id);
    found.with_context(|| format!("expected a broker from 1 to {}, found {id}", stack.brokers().len()))
}
