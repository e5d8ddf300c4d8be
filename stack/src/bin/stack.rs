//! `stack`: starts, breaks and stops real Kafka brokers by hand.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use tickgate_stack::{Broker, Stack};

/// Real Kafka brokers on this machine, apart from any other stack.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The stack's folder, for data and logs.
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

fn find(stack: &Stack, id: usize) -> Result<&Broker> {
    let found = stack.brokers().iter().find(|broker| broker.id() == id);
    found.with_context(|| format!("expected a broker from 1 to {}, found {id}", stack.brokers().len()))
}
