//! The brokers that tests share, and the binary run against them.

use std::{
    process::{Command, Output},
    sync::OnceLock,
};

use tickgate_stack::Stack;

/// Three brokers, up. They are never dropped: the stack's guard ends them, and removes their folder, when
/// this process ends, however it ends.
pub fn cluster() -> &'static Stack {
    static CLUSTER: OnceLock<Stack> = OnceLock::new();
    // What was open when its owner died ends soon after its timeout, where nothing ends it sooner.
    let soon = ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "1000");
    CLUSTER.get_or_init(|| {
        Stack::builder().brokers(3).property(soon.0, soon.1).start().expect("three brokers start")
    })
}

/// The settings of one test, as environment variables.
#[derive(Debug, Clone)]
pub struct Settings {
    variables: Vec<(String, String)>,
    test: String,
    direct: String,
}

impl Settings {
    /// Topics and a group that carry the test's name, on the shared brokers.
    pub fn of(test: &str) -> Self {
        Self::on(cluster(), test)
    }

    /// The same on other brokers.
    pub fn on(stack: &Stack, test: &str) -> Self {
        let settings = Self { variables: Vec::new(), test: test.to_owned(), direct: stack.direct() };
        ["staging", "stock_data", "bad_data"]
            .into_iter()
            .fold(settings.with("KAFKA__BROKERS", &stack.bootstrap()), |settings, topic| {
                let variable = format!("TOPICS__{}", topic.to_uppercase());
                let name = settings.topic(topic);
                settings.with(&variable, &name)
            })
            .with("PROCESS__GROUP", test)
            // Rows of classes would be among those that tests count; `watched.rs` has them.
            .with("FRESHNESS__FEED_AFTER", "off")
    }

    /// The same with `TICKGATE_<name>` set.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let name = format!("TICKGATE_{name}");
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
        self
    }

    /// The same with a variable that is no setting.
    #[cfg(feature = "fault-points")]
    pub fn with_plain(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The brokers as the test's own clients reach them, whatever happens to the binary's.
    pub fn direct(&self) -> &str {
        &self.direct
    }

    /// The group.
    pub fn group(&self) -> &str {
        &self.test
    }

    /// This test's name of a topic.
    pub fn topic(&self, topic: &str) -> String {
        format!("{}.{topic}", self.test)
    }

    /// The binary with these settings and no other variable of ours.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tickgate"));
        self.give(&mut command);
        command.args(arguments);
        command
    }

    /// Gives a program these settings and no other variable of ours.
    pub fn give(&self, command: &mut Command) {
        let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TICKGATE_"));
        for (name, _) in ours {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().cloned());
    }

    /// Runs the binary to its end.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("the binary starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the binary writes UTF-8");
        Run { code: status.code(), out: text(stdout), err: text(stderr) }
    }
}

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Run {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Run {
    /// The output of a run that has ended with `code`.
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }
}
