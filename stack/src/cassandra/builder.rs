//! How a node is to be, and its first start.

use std::path::{Path, PathBuf};

use super::{
    Cassandra,
    probe::Probe,
    settings::{Encryption, Options, Ports},
};
use crate::{Authority, Guard, Program, Proxy, StackError, folder, jars, ports};

/// The file in its folder that says on which ports a node is found.
const DESCRIPTION: &str = "cassandra.json";

/// How a node is to be; made by [`Cassandra::builder`].
#[derive(Debug, Default)]
pub struct CassandraBuilder {
    dir: Option<PathBuf>,
    keep: bool,
    proxied: bool,
    tls: Tls,
    options: Options,
}

/// Who shows a certificate.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Tls {
    #[default]
    Nobody,
    Server,
    Both,
}

impl CassandraBuilder {
    /// The folder for data and logs. A folder that a node has left is taken up again, data and ports.
    /// Without one it is a temporary folder that goes with the node.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Leaves a temporary folder in place when the node goes, for a look at data and logs.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// The largest heap, as `-Xmx` takes it (`"1g"`); 768 MiB by default.
    #[must_use]
    pub fn heap(mut self, heap: &str) -> Self {
        self.options.heap = Some(heap.to_owned());
        self
    }

    /// Lets it compile fully and collect in parallel, as one in production does: slower to start, faster at
    /// work.
    #[must_use]
    pub fn full_jit(mut self) -> Self {
        self.options.full_jit = true;
        self
    }

    /// Puts a [`Proxy`] before it, which clients are to use: drivers stay on the port they were given.
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// Asks clients for a name and a password: [`Cassandra::USER`] and [`Cassandra::PASSWORD`].
    #[must_use]
    pub fn login(mut self) -> Self {
        self.options.login = true;
        self
    }

    /// Speaks TLS with clients, and nothing else, under a certificate for `localhost` and `127.0.0.1` that
    /// its own [authority](Cassandra::authority) signs anew at each start of the stack.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = Tls::Server;
        self
    }

    /// [TLS](Self::tls) that also asks clients for a certificate of the same authority.
    #[must_use]
    pub fn client_certificates(mut self) -> Self {
        self.tls = Tls::Both;
        self
    }

    /// A top-level line of `cassandra.yaml`, beside the stack's own or in place of one; `value` is YAML.
    #[must_use]
    pub fn setting(mut self, key: &str, value: &str) -> Self {
        self.options.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts the node and waits until it serves. When that fails, nothing is left running and the folder
    /// stays, with the log.
    pub fn start(mut self) -> Result<Cassandra, StackError> {
        let jars = jars::cassandra()?;
        let temporary = self.dir.is_none();
        let dir = folder::make(self.dir.as_deref())?;
        let program = Program::new(dir.join("cassandra"))?;
        if let Some(process) = program.process() {
            return Err(StackError::CassandraUp { dir, pid: process.pid() });
        }
        let ports = self.ports(&dir)?;
        let encrypted = self.tls != Tls::Nobody;
        let authority = encrypted.then(|| Authority::new(&dir.join("tls"))).transpose()?;
        if let Some(authority) = &authority {
            self.options.encryption = Some(self.encryption(authority)?);
        }
        let mut node = Cassandra {
            probe: Probe::new(ports.native, self.options.login, authority.as_ref())?,
            proxy: ports.proxy.map(|proxy| Proxy::opaque(proxy, ports.native)).transpose()?,
            _guard: Guard::over(&dir, temporary && !self.keep)?,
            wipe: false,
            options: self.options,
            dir,
            jars,
            ports,
            program,
            authority,
        };
        node.write_settings()?;
        node.start()?;
        node.wait_ready()?;
        // Only now: the log of a node that failed to start is wanted.
        node.wipe = temporary && !self.keep;
        Ok(node)
    }

    /// The ports that `dir` has, or new ones written to it.
    fn ports(&self, dir: &Path) -> Result<Ports, StackError> {
        let path = dir.join(DESCRIPTION);
        let mut ports = if let Some(known) = folder::description(&path)? {
            known
        } else {
            let free = ports::take(2)?;
            Ports { native: free[0], storage: free[1], proxy: None }
        };
        ports.proxy = match ports.proxy {
            None if self.proxied => Some(ports::take(1)?[0]),
            known => known.filter(|_| self.proxied),
        };
        folder::describe(&path, &ports)?;
        Ok(ports)
    }

    fn encryption(&self, authority: &Authority) -> Result<Encryption, StackError> {
        let server = authority.server("cassandra", &["localhost", "127.0.0.1"])?;
        Ok(Encryption {
            keystore: server.both,
            truststore: authority.certificate_file(),
            clients_too: self.tls == Tls::Both,
        })
    }
}
