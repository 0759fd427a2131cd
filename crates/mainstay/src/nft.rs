//! Runs of `nft`, which are never awaited for longer than whoever needs them can bear.

use std::io::{Read, Write as _};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Runs `nft` with these arguments, gives it `script` to read, and returns what it says on standard output. One that takes longer
/// than `patience` is killed, so that it does not do later what is not wanted any more.
///
/// # Errors
/// A sentence: there is no `nft`, it refused, or it took too long.
pub fn run(arguments: &[&str], script: &str, patience: Duration) -> Result<String, String> {
    let deadline = Instant::now() + patience;
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run nft: {error}"))?;
    let input = child.stdin.take();
    let said = thread::scope(|scope| {
        if let Some(mut input) = input {
            // A refusal shows in how it ends, and an end of it ends this.
            scope.spawn(move || drop(input.write_all(script.as_bytes())));
        }
        let said = hear(&mut child, deadline);
        if said.is_none() {
            let _ = child.kill();
        }
        said
    });
    let status = child.wait().map_err(|error| format!("cannot wait for nft: {error}"))?;
    let Some([out, complaints]) = said else {
        return Err(too_late(patience));
    };
    if status.success() {
        return Ok(out);
    }
    Err(format!("nft refused: {}", complaints.lines().next().unwrap_or("it does not say why")))
}

/// What is said of one that takes longer than that.
pub fn too_late(patience: Duration) -> String {
    format!("nft did not end within {} ms", patience.as_millis())
}

/// All that comes out of both pipes up to their ends; `None` if those do not come in time.
fn hear(child: &mut Child, deadline: Instant) -> Option<[String; 2]> {
    let (mut out, mut complaints) = (child.stdout.take()?, child.stderr.take()?);
    let mut said = [Vec::new(), Vec::new()];
    let mut open = [true, true];
    while open.contains(&true) {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let wanted = |open| if open { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut pipes =
            [PollFd::new(out.as_fd(), wanted(open[0])), PollFd::new(complaints.as_fd(), wanted(open[1]))];
        match poll(&mut pipes, patience) {
            Ok(0) => return None,
            Err(Errno::EINTR) => continue,
            Ok(_) | Err(_) => {}
        }
        let ready = pipes.map(|pipe| pipe.any().unwrap_or(true));
        if open[0] && ready[0] {
            open[0] = read_some(&mut out, &mut said[0]);
        }
        if open[1] && ready[1] {
            open[1] = read_some(&mut complaints, &mut said[1]);
        }
    }
    Some(said.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whether there may be more.
fn read_some(pipe: &mut impl Read, said: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16_384];
    match pipe.read(&mut buffer) {
        Ok(0) | Err(_) => false,
        Ok(length) => {
            said.extend_from_slice(buffer.get(..length).unwrap_or_default());
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_refuses_is_said_in_its_words() {
        let refusal = run(&["-c", "-f", "-"], "no such thing\n", Duration::from_secs(10)).unwrap_err();
        assert!(refusal.starts_with("nft refused: ") && refusal.contains("syntax error"), "{refusal}");
    }
}
