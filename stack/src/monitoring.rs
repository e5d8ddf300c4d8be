//! Prometheus and Alertmanager, as processes on free ports of loopback, and their tools.
//!
//! They come from the distribution's packages, unpacked by `dev/monitoring`; a machine's own are taken where
//! there are none of these.

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{Guard, Program, StackError, jars, ports};

/// How long a server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two questions whether it does.
const ASK_PAUSE: Duration = Duration::from_millis(50);
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// One of Prometheus's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MonitoringTool {
    /// The server that scrapes and evaluates rules.
    Prometheus,
    /// What checks and tests settings and rules.
    Promtool,
    /// The server that tells people.
    Alertmanager,
    /// What checks Alertmanager's settings.
    Amtool,
}

/// A running Prometheus or Alertmanager; dropping it ends it.
#[derive(Debug)]
pub struct MonitoringServer {
    program: Program,
    address: SocketAddr,
    /// Held for what it does when this process dies.
    _guard: Guard,
}

impl MonitoringTool {
    /// Its file.
    pub fn path(self) -> Result<PathBuf, StackError> {
        let unpacked = jars::cache().join("monitoring/bin");
        let own = env::var_os("PATH").unwrap_or_default();
        let folders = || std::iter::once(unpacked.clone()).chain(env::split_paths(&own));
        let among = |name: &&str| folders().map(|folder| folder.join(name)).find(|file| file.is_file());
        self.names().iter().find_map(among).ok_or_else(|| StackError::Program {
            program: self.names()[0].to_owned(),
            reason: format!("it is neither in `{}` nor in PATH", unpacked.display()),
        })
    }

    /// To run it.
    pub fn command(self) -> Result<Command, StackError> {
        self.path().map(Command::new)
    }

    /// What it is called, by Debian first.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Prometheus => &["prometheus"],
            Self::Promtool => &["promtool"],
            Self::Alertmanager => &["prometheus-alertmanager", "alertmanager"],
            Self::Amtool => &["amtool"],
        }
    }
}

impl MonitoringServer {
    /// Starts a Prometheus with these settings, its data in a folder of `dir`; waits until it is ready.
    pub fn prometheus(dir: &Path, settings: &Path) -> Result<Self, StackError> {
        let arguments = |data: &Path| {
            vec![
                format!("--config.file={}", settings.display()),
                format!("--storage.tsdb.path={}", data.display()),
            ]
        };
        Self::start(MonitoringTool::Prometheus, &dir.join("prometheus"), arguments)
    }

    /// Starts an Alertmanager, which finds no other, likewise.
    pub fn alertmanager(dir: &Path, settings: &Path) -> Result<Self, StackError> {
        let arguments = |data: &Path| {
            vec![
                format!("--config.file={}", settings.display()),
                format!("--storage.path={}", data.display()),
                "--cluster.listen-address=".to_owned(),
            ]
        };
        Self::start(MonitoringTool::Alertmanager, &dir.join("alertmanager"), arguments)
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The body that `path` answers 200 with; `None` while it does not.
    pub fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(ASK_TIMEOUT)).ok()?;
        // HTTP/1.0: the body ends where the connection does.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        (head.split(' ').nth(1) == Some("200")).then(|| body.to_owned())
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.program.log_tail()
    }

    fn start(
        tool: MonitoringTool,
        dir: &Path,
        arguments: impl Fn(&Path) -> Vec<String>,
    ) -> Result<Self, StackError> {
        let program = Program::new(dir.join("server"))?;
        let data = dir.join("data");
        fs::create_dir_all(&data).map_err(StackError::file("make", &data))?;
        let address = SocketAddr::from(([127, 0, 0, 1], ports::take(1)?[0]));
        let mut command = tool.command()?;
        command.args(arguments(&data)).arg(format!("--web.listen-address={address}")).arg("--log.level=warn");
        let server = Self { program, address, _guard: Guard::over(dir, false)? };
        server.program.start(command)?;
        let deadline = Instant::now() + START_TIMEOUT;
        while server.ask("/-/ready").is_none() {
            if server.program.process().is_none() || Instant::now() >= deadline {
                let reason = format!("it did not get ready; its log ends:\n{}", server.log_tail());
                return Err(StackError::Program { program: tool.names()[0].to_owned(), reason });
            }
            thread::sleep(ASK_PAUSE);
        }
        Ok(server)
    }
}
