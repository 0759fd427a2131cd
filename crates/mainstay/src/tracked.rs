//! Watches tracked files and processes.
//!
//! Owns [`watch`]. Both are looked at again and again: a file may be on any file system, and the kernel tells about
//! processes only the initial network namespace. What it costs is bounded by the times between two looks and by how much
//! is read; a look that takes long puts the next one off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::Plan;
use mainstay_engine::plan::{
    FileId, InitialValue, Parameters, ProcessId, ProcessMatch, ProcessTarget, TrackedFile,
};
use nix::libc;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};

use crate::scripts::Probe;

/// Time between two looks at all tracked files.
const FILES_EVERY: Duration = Duration::from_millis(250);

/// Time between two looks at all processes.
const PROCESSES_EVERY: Duration = Duration::from_secs(1);

/// How much of a tracked file is read: as much as Keepalived does.
const FILE_BYTES: u64 = 127;

/// How much of a command line is read.
const COMMAND_LINE_BYTES: u64 = 65_536;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// How a file begins.
    File(FileId, Vec<u8>),
    /// How many processes there are.
    Processes(ProcessId, u32),
}

/// Where findings go: the first ones, and those that are different from the last.
pub type Report = Arc<dyn Fn(Finding) + Send + Sync>;

/// Starts to watch what `plan` tracks. Without a data plane of its own to ask, `probe` is `None`.
pub fn watch(runtime: &Handle, plan: &Plan, probe: Option<&Probe>, report: &Report) {
    if !plan.files.is_empty() {
        plan.files.iter().for_each(initialise);
        let (files, report) = (plan.files.clone(), Arc::clone(report));
        runtime.spawn(look_again(FILES_EVERY, report, move || {
            (0..).zip(&files).map(|(id, file)| Finding::File(FileId(id), contents(file))).collect()
        }));
    }
    if !plan.processes.is_empty() {
        let (processes, probe) = (plan.processes.clone(), probe.cloned());
        runtime.spawn(look_again(PROCESSES_EVERY, Arc::clone(report), move || {
            let wanted: Vec<Option<&ProcessMatch>> = processes
                .iter()
                .map(|process| match &process.target {
                    ProcessTarget::DataPlane(_) if probe.is_some() => None,
                    ProcessTarget::DataPlane(own) | ProcessTarget::Matching(own) => Some(own),
                })
                .collect();
            let serves = wanted.contains(&None) && probe.as_ref().is_some_and(|probe| probe().is_ok());
            let counts = count(&wanted);
            let found = (0..).zip(&processes).zip(counts).map(|((id, process), count)| {
                // One data plane is as good as all the processes that HAProxy consists of.
                let own = if serves { process.quorum.max(1) } else { 0 };
                Finding::Processes(ProcessId(id), count.unwrap_or(own))
            });
            found.collect()
        }));
    }
}

/// Looks every so often, and reports what is different from the last time.
async fn look_again(
    every: Duration,
    report: Report,
    look: impl Fn() -> Vec<Finding> + Send + Sync + 'static,
) {
    let look = Arc::new(look);
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Vec<Finding> = Vec::new();
    loop {
        ticks.tick().await;
        let look = Arc::clone(&look);
        let Ok(found) = tokio::task::spawn_blocking(move || look()).await else {
            tracing::error!("a look at tracked files or processes failed; they are not watched any more");
            return;
        };
        for (index, finding) in found.iter().enumerate() {
            if last.get(index) != Some(finding) {
                report(finding.clone());
            }
        }
        last = found;
    }
}

/// Writes what `init_file` asks for. A file that cannot be written is said, and read all the same.
fn initialise(file: &TrackedFile) {
    let Some(InitialValue { value, overwrite }) = file.initial else { return };
    let is_there = fs::metadata(&file.path);
    if is_there.as_ref().is_ok_and(|there| !overwrite || !there.is_file()) {
        return;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o644).custom_flags(libc::O_NOFOLLOW);
    let written = options.open(&file.path).and_then(|mut open| writeln!(open, "{value}"));
    if let Err(error) = written {
        tracing::warn!("cannot initialise track_file {} ({}): {error}", file.name, file.path);
    }
}

/// How a file begins; nothing if it is not there.
fn contents(file: &TrackedFile) -> Vec<u8> {
    // A FIFO without a writer does not hold the look up.
    let mut options = OpenOptions::new();
    let open = options.read(true).custom_flags(libc::O_NONBLOCK).open(&file.path);
    open.and_then(|open| begin_of(open, FILE_BYTES)).unwrap_or_default()
}

fn begin_of(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How many processes match each of `wanted`; `None` for what is not to be counted.
fn count(wanted: &[Option<&ProcessMatch>]) -> Vec<Option<u32>> {
    let mut counts: Vec<Option<u32>> = wanted.iter().map(|wanted| wanted.map(|_| 0)).collect();
    if wanted.iter().all(Option::is_none) {
        return counts;
    }
    let reads_lines = wanted.iter().flatten().any(|wanted| wanted.command_line.is_some());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit())) {
            continue;
        }
        let Some(process) = Process::read(&entry.path(), reads_lines) else { continue };
        for (count, wanted) in counts.iter_mut().zip(wanted) {
            if let (Some(count), Some(wanted)) = (count, wanted)
                && process.matches(wanted)
            {
                *count += 1;
            }
        }
    }
    counts
}

/// What is compared of a process.
struct Process {
    name: String,
    command_line: Vec<String>,
}

impl Process {
    /// `None` if it is gone, or dead and not buried.
    fn read(directory: &std::path::Path, reads_line: bool) -> Option<Self> {
        // PID (NAME) STATE ..., where the name may contain anything.
        let stat = String::from_utf8_lossy(&fs::read(directory.join("stat")).ok()?).into_owned();
        let (before, after) = stat.rsplit_once(')')?;
        if after.trim_start().starts_with('Z') {
            return None;
        }
        let line = if reads_line { File::open(directory.join("cmdline")).ok() } else { None };
        let line = line.and_then(|line| begin_of(line, COMMAND_LINE_BYTES).ok()).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let words = line.strip_suffix('\0').unwrap_or(&line).split('\0').map(str::to_owned);
        Some(Self { name: before.split_once('(')?.1.to_owned(), command_line: words.collect() })
    }

    fn matches(&self, wanted: &ProcessMatch) -> bool {
        let Some(parameters) = &wanted.command_line else { return self.name == wanted.command };
        let Some((command, words)) = self.command_line.split_first() else { return false };
        if *command != wanted.command {
            return false;
        }
        match parameters {
            Parameters::Any => true,
            Parameters::Exactly(wanted) => words == wanted.as_slice(),
            Parameters::Beginning(wanted) => words.starts_with(wanted),
            Parameters::Initial(wanted) => match wanted.split_last() {
                None => true,
                Some((last, before)) => {
                    words.starts_with(before)
                        && words.get(before.len()).is_some_and(|word| word.starts_with(last.as_str()))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn wanted(command: &str, command_line: Option<Parameters>) -> ProcessMatch {
        ProcessMatch { command: command.to_owned(), command_line }
    }

    #[test]
    fn processes_are_counted_by_name_and_by_command_line() {
        // A duration nobody else sleeps for.
        let seconds = format!("{}.25", 100_000 + std::process::id());
        let mut sleeper = Command::new("sleep").args([&seconds, "1"]).stdin(Stdio::null()).spawn().unwrap();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let counted = |parameters| count(&[Some(&wanted("sleep", Some(parameters)))])[0].unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(20);
        // Between fork and exec it is another process.
        while counted(Parameters::Exactly(words(&[&seconds, "1"]))) != 1 {
            assert!(std::time::Instant::now() < until, "it is not found");
        }
        assert_eq!(counted(Parameters::Exactly(words(&[&seconds]))), 0);
        assert_eq!(counted(Parameters::Beginning(words(&[&seconds]))), 1);
        assert_eq!(counted(Parameters::Initial(words(&[&seconds[..7]]))), 1);
        assert_eq!(counted(Parameters::Beginning(words(&[&seconds[..7]]))), 0);
        assert!(counted(Parameters::Any) >= 1);
        assert!(count(&[Some(&wanted("sleep", None)), None])[0].unwrap() >= 1);
        sleeper.kill().unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(20);
        // Nobody has waited for it, so it is a zombie, which does not count.
        while counted(Parameters::Beginning(words(&[&seconds]))) != 0 {
            assert!(std::time::Instant::now() < until, "a zombie counts");
        }
        sleeper.wait().unwrap();
    }

    #[test]
    fn a_file_is_initialised_and_read() {
        let path = std::env::temp_dir().join(format!("mainstay-tracked-{}", std::process::id()));
        let file =
            |initial| TrackedFile { name: "f".to_owned(), path: path.to_str().unwrap().to_owned(), initial };
        assert_eq!(contents(&file(None)), b"");
        initialise(&file(Some(InitialValue { value: -7, overwrite: false })));
        assert_eq!(contents(&file(None)), b"-7\n");
        initialise(&file(Some(InitialValue { value: 9, overwrite: false })));
        assert_eq!(contents(&file(None)), b"-7\n", "it was there");
        initialise(&file(Some(InitialValue { value: 9, overwrite: true })));
        assert_eq!(contents(&file(None)), b"9\n");
        fs::write(&path, vec![b'1'; 1000]).unwrap();
        assert_eq!(contents(&file(None)).len(), 127);
        fs::remove_file(&path).unwrap();
    }
}
