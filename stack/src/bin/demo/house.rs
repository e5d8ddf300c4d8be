//! Everything the demo runs: the brokers and tickgate's roles, each a process with a folder of its own.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tickgate_stack::{Guard, Program, Stack, ports};

use super::{
    Args,
    scrape::{self, Samples},
    view::Reading,
};

/// How long a role may take to open its http address.
const ROLE_TIMEOUT: Duration = Duration::from_mins(1);
/// The roles promise to stop within 5 s; a loaded machine gets more.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// The running demo. Dropping it ends everything; what was asked to stop in order before is left alone.
pub struct House {
    // In the order in which they have to go.
    roles: Vec<Role>,
    stack: Stack,
    _guard: Guard,
    dir: PathBuf,
    environment: Vec<(String, String)>,
}

/// A long-running role of tickgate.
struct Role {
    name: String,
    program: Program,
    http: SocketAddr,
}

impl House {
    /// Starts three brokers and makes the topics.
    pub fn start(dir: &Path, args: &Args) -> Result<Self> {
        let stack = Stack::builder().brokers(3).dir(dir.join("stack")).start()?;
        let roles = dir.join("roles");
        fs::create_dir_all(&roles).with_context(|| format!("cannot make `{}`", roles.display()))?;
        let guard = Guard::over(&roles, false)?;
        let set = |name: &str, value: String| (format!("TICKGATE_{name}"), value);
        let environment = vec![
            set("KAFKA__BROKERS", stack.bootstrap()),
            set("FRESHNESS__ERROR_AFTER", format!("{}s", args.stale_after)),
            set("FRESHNESS__GRACE", "1s".to_owned()),
        ];
        let house = Self { roles: Vec::new(), stack, _guard: guard, dir: roles, environment };
        let status = house.run(&["topics", "apply"])?;
        if !status.success() {
            bail!("`tickgate topics apply` ended with {status}");
        }
        Ok(house)
    }

    /// Starts the gate's instances.
    pub fn start_gate(&mut self, instances: u32) -> Result<()> {
        for instance in 1..=instances {
            let name = format!("process-{instance}");
            let mut process = self.command(&["process"], &[]);
            process
                .env("TICKGATE_PROCESS__STATE_DIR", self.dir.join(&name).join("state"))
                .env("TICKGATE_PROCESS__HTTP", "127.0.0.1:0");
            self.add(&name, process, None)?;
        }
        Ok(())
    }

    /// Starts the feed, and its way into staging.
    pub fn start_feed(&mut self, args: &Args) -> Result<()> {
        let ports = ports::take(4)?;
        let address = |at: usize| SocketAddr::from(([127, 0, 0, 1], ports[at]));
        let (feed, feed_http, ingest_http) = (address(0), address(1), address(2));
        let simulate = self.command(
            &["simulate", "--listen", &feed.to_string(), "--http", &feed_http.to_string()],
            &[
                ("--rest", address(3).to_string()),
                ("--symbols", args.symbols.to_string()),
                ("--rate", args.rate.to_string()),
                ("--bad", args.bad.to_string()),
                ("--silent", format!("SYM00003@10s+{}s", args.stale_after * 2)),
            ],
        );
        self.add("simulate", simulate, Some(feed_http))?;
        let mut ingest = self.command(&["ingest"], &[]);
        ingest
            .env("TICKGATE_FINNHUB__URL", format!("ws://{feed}"))
            .env("TICKGATE_FINNHUB__SYMBOLS", args.symbols.to_string())
            .env("TICKGATE_INGEST__HTTP", ingest_http.to_string());
        self.add("ingest", ingest, Some(ingest_http))
    }

    /// Starts the page; where it answers.
    pub fn start_page(&mut self) -> Result<SocketAddr> {
        let http = SocketAddr::from(([127, 0, 0, 1], ports::take(1)?[0]));
        let watched = self.roles.iter().filter(|role| role.name != "simulate");
        let watched: Vec<String> = watched.map(|role| role.http.to_string()).collect();
        let mut serve = self.command(&["serve"], &[]);
        serve
            .env("TICKGATE_SERVE__HTTP", http.to_string())
            .env("TICKGATE_SERVE__INSTANCES", watched.join(","));
        self.add("serve", serve, Some(http))?;
        Ok(http)
    }

    /// Where the brokers answer.
    pub fn bootstrap(&self) -> String {
        self.stack.bootstrap()
    }

    /// Reads what all roles say of themselves; fails when one of them has ended.
    pub fn read(&self, seconds: f64) -> Result<Reading> {
        let mut reading = Reading { seconds, ..Reading::default() };
        for role in &self.roles {
            role.check()?;
            // One that does not answer now may answer next time.
            let samples = Samples::scrape(role.http).unwrap_or_default();
            if role.name.starts_with("process") {
                reading.gate.add(&samples);
                reading.instances.push((role.name.clone(), role.partitions().ok()));
            } else if role.name == "ingest" {
                reading.ingest = samples;
            }
        }
        Ok(reading)
    }

    /// Stops the roles whose name begins with `name`, in order; fails unless each of them ended well.
    pub fn stop(&mut self, name: &str) -> Result<()> {
        let (going, staying) = self.roles.drain(..).partition(|role| role.name.starts_with(name));
        self.roles = staying;
        let going: Vec<Role> = going;
        thread::scope(|scope| {
            let stopping: Vec<_> = going.iter().map(|role| scope.spawn(|| role.stop())).collect();
            stopping.into_iter().try_for_each(|thread| thread.join().expect("stopping does not panic"))
        })
    }

    /// Runs tickgate to its end, with its output as ours.
    pub fn run(&self, arguments: &[&str]) -> Result<ExitStatus> {
        let mut command = self.command(arguments, &[]);
        command.stdin(Stdio::null());
        command.status().with_context(|| format!("cannot run `{}`", tickgate().display()))
    }

    /// Stops the brokers in order.
    pub fn close(self) -> Result<()> {
        Ok(self.stack.stop()?)
    }

    fn command(&self, arguments: &[&str], options: &[(&str, String)]) -> Command {
        let mut command = Command::new(tickgate());
        command.args(arguments);
        for (option, value) in options {
            command.arg(option).arg(value);
        }
        // Somebody's own settings are not the demo's.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("TICKGATE_") && name.to_string_lossy().contains("__") {
                command.env_remove(name);
            }
        }
        command.env_remove("TICKGATE_CONFIG").envs(self.environment.iter().cloned());
        command
    }

    /// Starts a role and waits for its http address: the one given or, without, what it writes to its
    /// state folder.
    fn add(&mut self, name: &str, command: Command, http: Option<SocketAddr>) -> Result<()> {
        let program = Program::new(self.dir.join(name))?;
        program.start(command)?;
        let mut role = Role { name: name.to_owned(), program, http: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let deadline = Instant::now() + ROLE_TIMEOUT;
        let told = role.program.dir().join("state/http");
        loop {
            role.check()?;
            let address = http.or_else(|| fs::read_to_string(&told).ok()?.trim().parse().ok());
            if let Some(address) = address
                && scrape::get(address, "/livez").is_ok()
            {
                role.http = address;
                break;
            }
            if Instant::now() >= deadline {
                bail!(
                    "`{name}` did not answer within {} s; its log ends:\n{}",
                    ROLE_TIMEOUT.as_secs(),
                    role.program.log_tail()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.roles.push(role);
        Ok(())
    }
}

impl Role {
    fn check(&self) -> Result<()> {
        match self.program.ended() {
            None => Ok(()),
            Some(status) => {
                bail!("`{}` ended with {status}; its log ends:\n{}", self.name, self.program.log_tail())
            }
        }
    }

    fn stop(&self) -> Result<()> {
        self.check()?;
        let by_itself = self.program.terminate(STOP_TIMEOUT)?;
        let well = self.program.ended().is_some_and(|status| status.success());
        if !by_itself || !well {
            let how = self.program.ended().map_or_else(|| "?".to_owned(), |status| status.to_string());
            bail!(
                "`{}` did not stop in order ({how}); its log ends:\n{}",
                self.name,
                self.program.log_tail()
            );
        }
        Ok(())
    }

    /// The partitions that an instance owns, from `/v1/instance`.
    fn partitions(&self) -> Result<Vec<u32>> {
        let instance: serde_json::Value = serde_json::from_str(&scrape::get(self.http, "/v1/instance")?)?;
        let workers = instance["workers"].as_object().context("`/v1/instance` has no workers")?;
        let owned = workers.values().filter_map(|worker| worker["partitions"].as_object());
        let mut partitions: Vec<u32> =
            owned.flat_map(serde_json::Map::keys).filter_map(|partition| partition.parse().ok()).collect();
        partitions.sort_unstable();
        Ok(partitions)
    }
}

/// The binary, beside this one.
fn tickgate() -> PathBuf {
    env::current_exe().unwrap_or_default().with_file_name("tickgate")
}
