//! A watch over this process: when it dies without a word, its programs are ended.

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
};

use std::os::unix::process::CommandExt;

use crate::StackError;

/// Ends every [`Program`](crate::Program) in a folder of `$1` when its input closes without the word
/// `done`: the process that held the other end has died. Removes `$1` when `$2` says so.
const SCRIPT: &str = r#"
read -r word && [ "$word" = done ] && exit 0
for file in "$1"/*/pid; do
  read -r pid started <"$file" || continue
  found=$(cut -d ' ' -f 22 "/proc/$pid/stat" 2>/dev/null) || continue
  [ "$found" = "$started" ] && kill -9 "$pid"
done
[ "$2" = wipe ] && sleep 1 && rm -rf -- "$1"
exit 0
"#;

/// A shell that outlives this process; dropping the guard dismisses it, and the programs stay.
#[derive(Debug)]
pub struct Guard {
    shell: Child,
}

impl Guard {
    /// Watches over the programs in the folders of `dir`; `wipe` removes `dir` after they were ended.
    pub fn over(dir: &Path, wipe: bool) -> Result<Self, StackError> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "tickgate-stack-guard"])
            .arg(dir)
            .arg(if wipe { "wipe" } else { "keep" })
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // must outlive a Ctrl-C
            .spawn()
            .map_err(|error| StackError::Program { program: "sh".to_owned(), reason: error.to_string() })?;
        Ok(Self { shell })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut input) = self.shell.stdin.take() {
            // A guard that is gone needs no dismissal.
            let _ = input.write_all(b"done\n");
        }
        let _ = self.shell.wait();
    }
}
