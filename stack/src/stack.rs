//! A stack: the brokers of one folder, started together and stopped together.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use std::io::Read;

use crate::{
    Broker, Guard, StackError, folder, jars, ports,
    settings::{Behind, Layout, Node},
};

/// How long dropping a stack waits for brokers that keep their data to stop in order.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);
/// The file in its folder that says how a stack is laid out.
const DESCRIPTION: &str = "stack.json";

/// How a stack is to be; made by [`Stack::builder`].
#[derive(Debug)]
pub struct Builder {
    brokers: usize,
    dir: Option<PathBuf>,
    keep: bool,
    heap: Option<String>,
    full_jit: bool,
    proxied: bool,
    properties: Vec<(String, String)>,
}

impl Builder {
    /// How many brokers: 1 (the default) or 3.
    #[must_use]
    pub fn brokers(mut self, count: usize) -> Self {
        self.brokers = count;
        self
    }

    /// The folder for data and logs. A folder that a stack has left is taken up again, data and ports.
    /// Without one it is a temporary folder that goes with the stack.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Leaves a temporary folder in place when the stack goes, for a look at data and logs.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// The largest heap of each broker, as `-Xmx` takes it (`"1g"`).
    #[must_use]
    pub fn heap(mut self, heap: &str) -> Self {
        self.heap = Some(heap.to_owned());
        self
    }

    /// Lets a single broker compile fully and collect in parallel, as one in production does: slower to
    /// start, faster at work. Three brokers always do.
    #[must_use]
    pub fn full_jit(mut self) -> Self {
        self.full_jit = true;
        self
    }

    /// Puts a [`Proxy`](crate::Proxy) before each broker: clients reach it only through that, while brokers
    /// and controllers talk to each other directly. The proxies are this process's: [`Stack::detach`] leaves
    /// none.
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// A broker setting on top of the stack's own.
    #[must_use]
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts the brokers and waits until each of them lists all of them. When that fails, nothing is left
    /// running and the folder stays, with the logs.
    pub fn start(self) -> Result<Stack, StackError> {
        if self.brokers != 1 && self.brokers != 3 {
            return Err(StackError::Brokers(self.brokers));
        }
        let jars = jars::kafka()?;
        let temporary = self.dir.is_none();
        let dir = folder::make(self.dir.as_deref())?;
        let layout = self.layout(&dir)?;
        let brokers = brokers(&dir, &jars, &layout)?;
        if let Some(pid) = brokers.iter().find_map(Broker::pid) {
            return Err(StackError::Busy { dir, pid });
        }
        let mut stack = Stack { dir, jars, layout, brokers, wipe: false, owned: true, guard: None };
        stack.format()?;
        stack.guard = Some(Guard::over(&stack.dir, temporary && !self.keep)?);
        for broker in &mut stack.brokers {
            broker.start_proxy()?;
            broker.start()?;
        }
        stack.wait_ready()?;
        // Only now: the logs of a stack that failed to start are wanted.
        stack.wipe = temporary && !self.keep;
        Ok(stack)
    }

    /// The layout that `dir` has, or a new one written to it.
    fn layout(&self, dir: &Path) -> Result<Layout, StackError> {
        let new = |nodes, cluster| Layout {
            cluster,
            nodes,
            heap: self.heap.clone(),
            full_jit: self.full_jit,
            properties: self.properties.clone(),
        };
        let mut layout = match read_layout(dir) {
            Ok(old) if old.nodes.len() == self.brokers => new(old.nodes, old.cluster),
            Ok(old) => {
                let (expected, found) = (self.brokers, old.nodes.len());
                return Err(StackError::Layout { dir: dir.to_owned(), expected, found });
            }
            Err(StackError::Absent { .. }) => {
                let ports = ports::take(self.brokers * 2)?;
                let nodes = ports.chunks(2).map(|pair| Node {
                    port: pair[0],
                    controller_port: pair[1],
                    behind: None,
                });
                new(nodes.collect(), cluster_id()?)
            }
            Err(error) => return Err(error),
        };
        for node in &mut layout.nodes {
            node.behind = self.behind(node.behind)?;
        }
        folder::describe(&dir.join(DESCRIPTION), &layout)?;
        Ok(layout)
    }

    /// The ports that a proxied node needs, those of an earlier start if it had some.
    fn behind(&self, old: Option<Behind>) -> Result<Option<Behind>, StackError> {
        if !self.proxied || old.is_some() {
            return Ok(old.filter(|_| self.proxied));
        }
        let ports = ports::take(2)?;
        Ok(Some(Behind { proxy_port: ports[0], client_port: ports[1] }))
    }
}

/// One or three running brokers. Dropping it ends them, and removes a temporary folder.
#[derive(Debug)]
pub struct Stack {
    dir: PathBuf,
    jars: PathBuf,
    layout: Layout,
    brokers: Vec<Broker>,
    wipe: bool,
    owned: bool,
    guard: Option<Guard>,
}

impl Stack {
    /// One broker in a temporary folder, unless told otherwise.
    pub fn builder() -> Builder {
        Builder {
            brokers: 1,
            dir: None,
            keep: false,
            heap: None,
            full_jit: false,
            proxied: false,
            properties: Vec::new(),
        }
    }

    /// The stack that lives in `dir`, running or not, without owning it: dropping it changes nothing.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StackError> {
        let absent = || StackError::Absent { dir: dir.as_ref().to_owned() };
        let dir = fs::canonicalize(&dir).map_err(|_| absent())?;
        let layout = read_layout(&dir)?;
        let jars = jars::kafka()?;
        let brokers = brokers(&dir, &jars, &layout)?;
        Ok(Self { dir, jars, layout, brokers, wipe: false, owned: false, guard: None })
    }

    /// What clients take as `bootstrap.servers`: `127.0.0.1:p1,127.0.0.1:p2`.
    pub fn bootstrap(&self) -> String {
        self.layout.bootstrap(Node::public_port)
    }

    /// The same past the proxies, for clients that their faults must not reach.
    pub fn direct(&self) -> String {
        self.layout.bootstrap(|node| node.port)
    }

    /// The folder with data and logs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All brokers, in the order of their ids.
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// The broker with this id, from 1 on. Panics when there is none.
    pub fn broker(&self, id: usize) -> &Broker {
        id.checked_sub(1)
            .and_then(|index| self.brokers.get(index))
            .unwrap_or_else(|| panic!("this stack has brokers 1 to {}, not {id}", self.brokers.len()))
    }

    /// Waits until every broker lists all of them.
    pub fn wait_ready(&self) -> Result<(), StackError> {
        self.brokers.iter().try_for_each(|broker| broker.wait_ready(self.brokers.len()))
    }

    /// One of Kafka's command-line tools by its main class, ready for arguments: see Kafka's `bin/*.sh`.
    pub fn tool(&self, main_class: &str) -> Command {
        let mut command = Command::new("java");
        command.arg("-cp").arg(self.jars.join("*")).args(["-XX:TieredStopAtLevel=1", main_class]);
        command
    }

    /// Stops all brokers in order, keeping the data (unless the folder is temporary).
    pub fn stop(&self) -> Result<(), StackError> {
        // At once, for the last one to go has no quorum to say goodbye to.
        thread::scope(|scope| {
            let stopping: Vec<_> = self
                .brokers
                .iter()
                .filter(|broker| broker.pid().is_some())
                .map(|broker| scope.spawn(|| broker.terminate()))
                .collect();
            stopping.into_iter().try_for_each(|thread| thread.join().expect("stopping does not panic"))
        })
    }

    /// Removes the folder, once nothing in it runs.
    pub fn wipe(self) -> Result<(), StackError> {
        if let Some(pid) = self.brokers.iter().find_map(Broker::pid) {
            return Err(StackError::Busy { dir: self.dir.clone(), pid });
        }
        fs::remove_dir_all(&self.dir).map_err(StackError::file("remove", &self.dir))
    }

    /// Lets the brokers live on after this process; [`Stack::open`] finds them again.
    pub fn detach(mut self) {
        self.owned = false;
        self.guard = None;
    }

    /// Formats all brokers at once: each takes a JVM's start.
    fn format(&self) -> Result<(), StackError> {
        thread::scope(|scope| {
            let formatting: Vec<_> =
                self.brokers.iter().map(|broker| scope.spawn(|| broker.format())).collect();
            formatting.into_iter().try_for_each(|thread| thread.join().expect("formatting does not panic"))
        })
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if !self.owned {
            self.brokers.iter().for_each(Broker::release);
            return;
        }
        for broker in &self.brokers {
            // What cannot be ended here, the error of a later start names by its process.
            let _ = if self.wipe { broker.kill() } else { broker.terminate_within(DROP_TIMEOUT) };
        }
        if self.wipe {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn brokers(dir: &Path, jars: &Path, layout: &Layout) -> Result<Vec<Broker>, StackError> {
    (1..=layout.nodes.len()).map(|id| Broker::new(id, dir, jars.to_owned(), layout.clone())).collect()
}

fn read_layout(dir: &Path) -> Result<Layout, StackError> {
    folder::description(&dir.join(DESCRIPTION))?.ok_or_else(|| StackError::Absent { dir: dir.to_owned() })
}

/// 16 bytes of chance in base64url: 21 characters of six bits each and one of two.
fn cluster_id() -> Result<String, StackError> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = [0_u8; 22];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(StackError::file("read", "/dev/urandom"))?;
    bytes[0] %= 62; // Kafka takes an id with a leading dash for an option
    bytes[21] &= 0b0011_0000;
    Ok(bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte & 63)])).collect())
}
