//! A program that runs in a folder of its own: its process in `pid`, all it says in `log`.
//!
//! The folder outlives this process, so that a program which was [released](Program::release) is found
//! again. One that was not goes with its owner. Every method takes `&self`: a test breaks a program from
//! other threads than the one that owns it.

use std::{
    fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use std::os::unix::process::CommandExt;

use nix::sys::signal::Signal;

use crate::{StackError, process::Process};

const KILL_TIMEOUT: Duration = Duration::from_secs(10);
const LOG_TAIL_LINES: usize = 20;

/// A program and its folder; dropping it kills what it started.
#[derive(Debug)]
pub struct Program {
    dir: PathBuf,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    process: Option<Process>,
    /// The handle to wait for it, if this process started it.
    child: Option<Child>,
    ended: Option<ExitStatus>,
}

impl Program {
    /// The program of a folder, which is made if need be; it may be running from an earlier run.
    pub fn new(dir: impl Into<PathBuf>) -> Result<Self, StackError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(StackError::file("make", &dir))?;
        let running = Running { process: Process::load(&dir.join("pid")), ..Running::default() };
        Ok(Self { dir, running: Mutex::new(running) })
    }

    /// Starts it, apart from this process's terminal and signals. Must not be running already.
    pub fn start(&self, mut command: Command) -> Result<(), StackError> {
        let mut running = self.lock();
        let child = command
            .stdin(Stdio::null())
            .stdout(self.open_log()?)
            .stderr(self.open_log()?)
            .process_group(0) // Ctrl-C on the terminal is for its owner alone
            .spawn()
            .map_err(|error| StackError::Program {
                program: command.get_program().to_string_lossy().into_owned(),
                reason: error.to_string(),
            })?;
        let process = Process::find(child.id());
        *running = Running { process, child: Some(child), ended: None };
        let path = self.dir.join("pid");
        process.map_or(Ok(()), |process| process.save(&path)).map_err(StackError::file("write", path))
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its process, while it runs.
    pub fn process(&self) -> Option<Process> {
        let mut running = self.lock();
        if let Some(child) = &mut running.child
            && let Ok(Some(status)) = child.try_wait()
        {
            *running = Running { ended: Some(status), ..Running::default() };
        }
        running.process.filter(|process| process.alive())
    }

    /// How it ended, if this process started it.
    pub fn ended(&self) -> Option<ExitStatus> {
        if self.process().is_none()
            && let Some(child) = &mut self.lock().child
        {
            // It is gone, but the system says how only when its last thread is.
            let _ = child.wait();
        }
        self.process(); // reaps it
        self.lock().ended
    }

    /// Sends it a signal, if it runs: `SIGSTOP` and `SIGCONT` pause and resume it.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = self.process() {
            process.signal(signal);
        }
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&self) -> Result<(), StackError> {
        self.end(Signal::SIGKILL, KILL_TIMEOUT)
    }

    /// Asks it to stop (SIGTERM) and waits; kills it when `timeout` has passed. Says whether it stopped by
    /// itself.
    pub fn terminate(&self, timeout: Duration) -> Result<bool, StackError> {
        self.signal(Signal::SIGTERM);
        self.signal(Signal::SIGCONT); // a paused one could not hear it
        if self.wait(timeout) {
            return Ok(true);
        }
        self.kill().map(|()| false)
    }

    /// Waits until it has ended; false when `timeout` passed first.
    pub fn wait(&self, timeout: Duration) -> bool {
        let gone = self.process().is_none_or(|process| process.wait_gone(timeout));
        self.process(); // reaps it
        gone
    }

    /// The file with everything it said, over all its starts.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// Lets it live on after this process.
    pub fn release(&self) {
        self.lock().child = None;
    }

    pub(crate) fn open_log(&self) -> Result<File, StackError> {
        let path = self.log();
        File::options().create(true).append(true).open(&path).map_err(StackError::file("open", path))
    }

    fn end(&self, signal: Signal, timeout: Duration) -> Result<(), StackError> {
        let Some(process) = self.process() else { return Ok(()) };
        process.signal(signal);
        if self.wait(timeout) { Ok(()) } else { Err(StackError::Alive(process.pid())) }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.lock().child.is_some() {
            // Nobody is left to be told; the folder still names the process.
            let _ = self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeping() -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo here; exec sleep 60"]);
        command
    }

    #[test]
    fn a_program_goes_with_its_owner_unless_released() {
        let dir = tempfile::tempdir().unwrap();
        let program = Program::new(dir.path()).unwrap();
        program.start(sleeping()).unwrap();
        let first = program.process().unwrap();
        drop(program);
        assert!(!first.alive());

        let program = Program::new(dir.path()).unwrap();
        assert_eq!(program.process(), None);
        program.start(sleeping()).unwrap();
        program.release();
        let second = program.process().unwrap();
        drop(program);
        assert!(second.alive());
        let program = Program::new(dir.path()).unwrap();
        assert_eq!(program.process(), Some(second));
        program.kill().unwrap();
        assert!(!second.alive());
    }

    #[test]
    fn a_paused_program_can_be_terminated() {
        let dir = tempfile::tempdir().unwrap();
        let program = Program::new(dir.path()).unwrap();
        program.start(sleeping()).unwrap();
        program.signal(Signal::SIGSTOP);
        assert!(program.terminate(Duration::from_secs(5)).unwrap());
        assert!(!program.ended().unwrap().success());
    }
}
