//! Processes by id and start time: an id alone may belong to somebody else by the time it is used. And what they
//! use of the machine.
//!
//! Linux only, through `/proc`. A process that ended but was not waited for (a zombie) counts as gone.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Linux shows times to user space in these, whatever the kernel's own tick is.
const TICKS_PER_SECOND: u32 = 100;

/// A process that was running when this was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pid: u32,
    /// Clock ticks since boot.
    started: u64,
}

impl Process {
    /// The running process with this id, if there is one.
    pub fn find(pid: u32) -> Option<Self> {
        Some(Self { pid, started: start_time(pid)? })
    }

    /// The process that [`save`](Self::save) wrote to `path`, if it still runs.
    pub fn load(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, started: started.parse().ok()? })
            .filter(|process| process.alive())
    }

    /// Writes id and start time to `path`, for a later run to find the process again.
    pub fn save(self, path: &Path) -> std::io::Result<()> {
        fs::write(path, format!("{} {}\n", self.pid, self.started))
    }

    /// The process id.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// Whether it still runs.
    pub fn alive(self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// User and system time, its ended threads included, in steps of 10 ms; `None` when it is gone.
    pub fn cpu_time(self) -> Option<Duration> {
        // utime and stime are fields 14 and 15 of proc(5).
        let fields = stat(self.pid)?;
        let ticks = |at: usize| fields.split(' ').nth(at)?.parse::<u32>().ok();
        let sum = ticks(11)? + ticks(12)?;
        self.alive().then(|| Duration::from_secs(sum.into()) / TICKS_PER_SECOND)
    }

    /// The largest resident memory since it started or [`forget_peak`](Self::forget_peak), in bytes; `None` when it
    /// is gone.
    pub fn peak_memory(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim_end_matches("kB").trim().parse().ok()?;
        self.alive().then_some(kib * 1024)
    }

    /// Lets the largest resident memory begin anew with what is resident now.
    pub fn forget_peak(self) -> std::io::Result<()> {
        // 5 of proc_pid_clear_refs(5)
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5")
    }

    /// Sends it a signal; a process that is gone is left alone.
    pub fn signal(self, signal: Signal) {
        if self.alive()
            && let Ok(pid) = i32::try_from(self.pid)
        {
            // It may have ended since: then there is nobody left to tell.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Waits until it is gone; false when `timeout` passed first.
    pub fn wait_gone(self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while self.alive() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

/// When process `pid` started, in ticks since boot; `None` when it does not run.
fn start_time(pid: u32) -> Option<u64> {
    let fields = stat(pid)?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    // `starttime` is field 22 of proc(5), the state field 3.
    fields.nth(18)?.parse().ok()
}

/// The fields of `/proc/<pid>/stat` from the third on, the state.
fn stat(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
    Some(stat.rsplit_once(") ")?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_found_again_until_it_ends() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let process = Process::find(child.id()).unwrap();
        process.save(file.path()).unwrap();
        assert_eq!(Process::load(file.path()), Some(process));
        process.signal(Signal::SIGKILL);
        assert!(process.wait_gone(Duration::from_secs(5)));
        assert_eq!(Process::load(file.path()), None);
        child.wait().unwrap();
    }

    #[test]
    fn what_a_process_uses_is_known_until_it_ends() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let process = Process::find(child.id()).unwrap();
        while process.cpu_time().unwrap().is_zero() {}
        let peak = process.peak_memory().unwrap();
        assert!((100_000..100_000_000).contains(&peak), "{peak}");
        process.forget_peak().unwrap();
        assert!(process.peak_memory().unwrap() <= peak);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((process.cpu_time(), process.peak_memory()), (None, None));
    }

    #[test]
    fn a_later_process_with_the_same_id_is_another() {
        let myself = Process::find(std::process::id()).unwrap();
        let earlier = Process { started: myself.started - 1, ..myself };
        assert!(myself.alive());
        assert!(!earlier.alive());
    }
}
