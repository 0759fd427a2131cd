//! Tells others that routers and groups moved: runs programs, writes lines to FIFOs.
//!
//! Owns [`Notifier`]. Programs start in the order of the moves, and none waits for the end of another, as with Keepalived.
//! Nothing here makes the control thread wait: what does not fit is dropped and said.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::Plan;
use mainstay_engine::plan::{NotifyFifo, NotifyScript, ScriptUser};
use mainstay_engine::vrrp::notify::Notification;
use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, chown, mkfifo};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::program::{Running, TERMINATION_PATIENCE, account};

/// Programs that run at once; the next one starts when one of them ends. Far more than a move of all routers needs.
const RUNNING: usize = 64;

/// Programs that wait to be started; what comes then is dropped, newest first.
const WAITING: usize = 1024;

/// How long programs may go on when the daemon stops, before they are asked to end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Where it goes that somebody could not be told: whom, and why.
pub type Report = Arc<dyn Fn(String, String) + Send + Sync>;

/// Tells others about moves.
pub struct Notifier {
    runtime: Handle,
    accounts: Vec<(ScriptUser, (Uid, Gid))>,
    fifos: Vec<Fifo>,
    queue: mpsc::Sender<Job>,
    runner: JoinHandle<()>,
    stop: watch::Sender<bool>,
    report: Report,
}

/// A program that is to be started.
struct Job {
    arguments: Vec<String>,
    account: Option<(Uid, Gid)>,
}

/// An open FIFO.
struct Fifo {
    path: String,
    /// Open for both sides, so that a line can be written before anybody reads.
    file: File,
    /// Whether it was made here, and goes at the end.
    made: bool,
}

impl Notifier {
    /// For the programs and FIFOs of `plan`. Programs that read FIFOs are started.
    ///
    /// # Errors
    /// A program should run as a user or group that this machine does not have, or a FIFO cannot be made.
    pub fn start(runtime: Handle, plan: &Plan, report: Report) -> Result<Self, String> {
        let scripts = plan.notify_scripts().filter_map(|script| script.user.as_ref());
        let fifos = plan.notify_fifos.iter().filter_map(|fifo| fifo.user.as_ref());
        let mut accounts: Vec<(ScriptUser, (Uid, Gid))> = Vec::new();
        for user in scripts.chain(fifos) {
            if !accounts.iter().any(|(known, _)| known == user) {
                accounts.push((user.clone(), account(user)?));
            }
        }
        let (queue, jobs) = mpsc::channel(WAITING);
        let (stop, stopping) = watch::channel(false);
        let runner = runtime.spawn(run(jobs, stopping, Arc::clone(&report)));
        let mut notifier = Self { runtime, accounts, fifos: Vec::new(), queue, runner, stop, report };
        for fifo in &plan.notify_fifos {
            let user = fifo.user.as_ref().and_then(|user| notifier.account(user));
            let open = Fifo::open(fifo, user).map_err(|error| format!("FIFO {}: {error}", fifo.path))?;
            notifier.fifos.push(open);
            if let Some(script) = &fifo.script {
                notifier.run(script);
            }
        }
        Ok(notifier)
    }

    /// Tells everybody about one move, as far as that is possible without waiting.
    pub fn tell(&mut self, notification: &Notification) {
        for command in &notification.commands {
            self.run(command);
        }
        for fifo in &mut self.fifos {
            if let Err(error) = fifo.file.write_all(notification.line.as_bytes()) {
                let reason = match error.kind() {
                    io::ErrorKind::WouldBlock => "it is full, and nobody reads it".to_owned(),
                    _ => error.to_string(),
                };
                (self.report)(format!("FIFO {}", fifo.path), reason);
            }
        }
    }

    /// Lets programs that still run come to an end: by themselves, for a while; then they are made to.
    pub fn finish(self) {
        let Self { runtime, fifos, queue, runner, stop, .. } = self;
        // Who reads a FIFO finds its end.
        drop((fifos, queue));
        let _ = stop.send(true);
        let most = STOP_PATIENCE + TERMINATION_PATIENCE * 3;
        if runtime.block_on(async { timeout(most, runner).await }).is_err() {
            tracing::warn!("programs that are told about changes did not end in time");
        }
    }

    fn run(&self, script: &NotifyScript) {
        let account = script.user.as_ref().and_then(|user| self.account(user));
        if self.queue.try_send(Job { arguments: script.arguments.clone(), account }).is_err() {
            let program = script.arguments.join(" ");
            (self.report)(format!("`{program}`"), format!("{WAITING} programs wait to be started"));
        }
    }

    fn account(&self, user: &ScriptUser) -> Option<(Uid, Gid)> {
        self.accounts.iter().find(|(known, _)| known == user).map(|(_, account)| *account)
    }
}

impl Fifo {
    fn open(fifo: &NotifyFifo, user: Option<(Uid, Gid)>) -> io::Result<Self> {
        let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH;
        let made = match mkfifo(Path::new(&fifo.path), mode) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let open = Self::open_there(fifo, user.filter(|_| made), made);
        if open.is_err() && made {
            let _ = fs::remove_file(&fifo.path);
        }
        open
    }

    fn open_there(fifo: &NotifyFifo, owner: Option<(Uid, Gid)>, made: bool) -> io::Result<Self> {
        if let Some((user, group)) = owner {
            chown(fifo.path.as_str(), Some(user), Some(group))?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
        let file = options.open(&fifo.path)?;
        if !file.metadata()?.file_type().is_fifo() {
            return Err(io::Error::other("something else is there"));
        }
        Ok(Self { path: fifo.path.clone(), file, made })
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove the FIFO {}: {error}", self.path);
        }
    }
}

/// Starts programs in their order until there are no more, and waits for the last one.
async fn run(mut jobs: mpsc::Receiver<Job>, stopping: watch::Receiver<bool>, report: Report) {
    let slots = Arc::new(Semaphore::new(RUNNING));
    let mut running = JoinSet::new();
    while let Some(job) = jobs.recv().await {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        while running.try_join_next().is_some() {}
        let (stopping, report) = (stopping.clone(), Arc::clone(&report));
        match Running::start(&job.arguments, job.account) {
            Ok(program) => {
                running.spawn(async move {
                    attend(program, &job.arguments, stopping, &report).await;
                    drop(slot);
                });
            }
            Err(phrase) => report(format!("`{}`", job.arguments.join(" ")), phrase),
        }
    }
    while running.join_next().await.is_some() {}
}

/// Waits for the end of one program.
async fn attend(
    mut program: Running,
    arguments: &[String],
    mut stopping: watch::Receiver<bool>,
    report: &Report,
) {
    let patience = async {
        // Fails when there is no daemon any more.
        let _ = stopping.wait_for(|stopping| *stopping).await;
        sleep(STOP_PATIENCE).await;
    };
    let ended = tokio::select! {
        ended = program.wait() => ended,
        () = patience => {
            program.end().await;
            Err("it was ended, because the daemon stops".to_owned())
        }
    };
    if let Err(phrase) = ended {
        report(format!("`{}`", arguments.join(" ")), phrase);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::path::PathBuf;
    use std::sync::Mutex;
    use std::time::Instant;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    struct Bench {
        runtime: Runtime,
        failures: Arc<Mutex<Vec<String>>>,
        directory: PathBuf,
    }

    impl Bench {
        fn new(name: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("mainstay-notify-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            Self { runtime, failures: Arc::default(), directory }
        }

        fn start(&self, plan: &Plan) -> Result<Notifier, String> {
            let failures = Arc::clone(&self.failures);
            let report =
                Arc::new(move |what, reason| failures.lock().unwrap().push(format!("{what}: {reason}")));
            Notifier::start(self.runtime.handle().clone(), plan, report)
        }

        fn path(&self, name: &str) -> String {
            self.directory.join(name).to_str().unwrap().to_owned()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }

    fn shell(line: &str, more: &[&str]) -> NotifyScript {
        let own = ["/bin/sh", "-c", line, "sh"];
        let words = own.iter().chain(more).map(|word| (*word).to_owned());
        NotifyScript { arguments: words.collect(), user: None }
    }

    fn notification(commands: Vec<NotifyScript>) -> Notification {
        Notification { commands, line: "INSTANCE \"V\" MASTER 100\n".to_owned() }
    }

    #[test]
    fn programs_are_run_and_the_stop_waits_for_them() {
        let bench = Bench::new("run");
        let mut notifier = bench.start(&Plan::default()).unwrap();
        let file = bench.path("told");
        let line = format!("sleep 0.3; echo \"$@\" >>{file}");
        notifier.tell(&notification(vec![shell(&line, &["INSTANCE", "V 1", "MASTER", "100"])]));
        notifier.tell(&notification(vec![shell("exit 3", &[])]));
        notifier.finish();
        assert_eq!(fs::read_to_string(&file).unwrap(), "INSTANCE V 1 MASTER 100\n");
        let failures = bench.failures.lock().unwrap();
        assert_eq!(failures.as_slice(), ["`/bin/sh -c exit 3 sh`: exit status 3"]);
    }

    #[test]
    fn a_stop_does_not_wait_for_ever() {
        let bench = Bench::new("stop");
        let mut notifier = bench.start(&Plan::default()).unwrap();
        notifier.tell(&notification(vec![shell("sleep 600", &[])]));
        let began = Instant::now();
        notifier.finish();
        assert!((STOP_PATIENCE..STOP_PATIENCE * 4).contains(&began.elapsed()), "{:?}", began.elapsed());
        assert!(bench.failures.lock().unwrap()[0].contains("because the daemon stops"));
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let bench = Bench::new("flood");
        let mut notifier = bench.start(&Plan::default()).unwrap();
        let many = vec![shell("exec sleep 600", &[]); RUNNING + 1 + WAITING + 100];
        notifier.tell(&notification(many));
        let failures = bench.failures.lock().unwrap().len();
        assert!((100..=100 + RUNNING + 1).contains(&failures), "{failures}");
    }

    fn with_fifo(path: &str, script: Option<NotifyScript>) -> Plan {
        let fifo = NotifyFifo { path: path.to_owned(), user: None, script };
        Plan { notify_fifos: vec![fifo], ..Plan::default() }
    }

    #[test]
    fn a_fifo_takes_lines_until_it_is_full() {
        let bench = Bench::new("fifo");
        let path = bench.path("fifo");
        let mut notifier = bench.start(&with_fifo(&path, None)).unwrap();
        notifier.tell(&notification(Vec::new()));
        let mut line = String::new();
        BufReader::new(File::open(&path).unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "INSTANCE \"V\" MASTER 100\n");
        for _ in 0..4096 {
            notifier.tell(&notification(Vec::new()));
        }
        assert!(bench.failures.lock().unwrap()[0].ends_with("it is full, and nobody reads it"));
        notifier.finish();
        assert!(!Path::new(&path).exists(), "it was made here");
    }

    #[test]
    fn the_program_of_a_fifo_reads_all_of_it() {
        let bench = Bench::new("reader");
        let (path, told) = (bench.path("fifo"), bench.path("told"));
        let line = format!("cat \"$1\" >{told}");
        let mut notifier = bench.start(&with_fifo(&path, Some(shell(&line, &[&path])))).unwrap();
        for _ in 0..3 {
            notifier.tell(&notification(Vec::new()));
        }
        let opened = Instant::now() + Duration::from_secs(20);
        while fs::read_to_string(&told).unwrap_or_default().lines().count() < 3 {
            assert!(Instant::now() < opened, "it does not read");
            std::thread::yield_now();
        }
        notifier.finish();
        assert!(bench.failures.lock().unwrap().is_empty(), "it ended by itself when the FIFO did");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let bench = Bench::new("refuse");
        let path = bench.path("file");
        fs::write(&path, "").unwrap();
        let refusal = bench.start(&with_fifo(&path, None)).err().unwrap();
        assert!(refusal.ends_with("something else is there"), "{refusal}");
        assert!(Path::new(&path).exists());
        let user = ScriptUser { user: "no-such-user".to_owned(), group: None };
        let script = NotifyScript { user: Some(user), ..shell("true", &[]) };
        let script = Some(script);
        let fifo = with_fifo(&bench.path("fifo"), script);
        assert_eq!(bench.start(&fifo).err().unwrap(), "there is no user `no-such-user`");
    }
}
