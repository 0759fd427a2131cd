//! Moves bytes in one direction, from a source to a sink, without waiting for either.
//!
//! Owns [`Side`], what is known of one end of a session, and [`Relay`], what is on its way in one direction. Nothing is
//! read that cannot be passed on: while the sink takes nothing, the source is left alone, and the kernel's own flow
//! control holds its sender back. So an idle session holds no buffer, and a blocked one at most one read.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::sys::epoll::EpollFlags;

use super::pipes::{PIPE_BYTES, Pipe};
use super::worker::Tools;

/// Bytes one direction of one session may move before the other sessions of the worker get their turn.
const TURN_BYTES: u64 = 512 * 1024;

/// Bytes read at once from a source whose sink has just refused some: bounds what a slow reader makes us hold.
const WINDOW_SMALLEST: usize = 16 * 1024;

/// Bytes read at once to begin with. Doubles with every read that the sink takes whole.
const WINDOW_FIRST: usize = 64 * 1024;

/// A direction that moved this much in reads of at least [`BULK_READ`] is bulk, and is spliced.
const BULK_BYTES: u64 = 128 * 1024;

/// A read smaller than this is not part of a bulk transfer.
const BULK_READ: usize = 16 * 1024;

/// One end of a session, as far as epoll and the last calls told.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) stream: TcpStream,
    /// Reading may give something.
    pub(super) readable: bool,
    /// Writing may take something.
    pub(super) writable: bool,
    /// The peer has finished or is gone: a short read does not mean that nothing is left.
    pub(super) hung_up: bool,
    /// The connection is broken: nothing written to it arrives.
    pub(super) failed: bool,
    /// Whether the peer still sends.
    pub(super) end: End,
    /// We have told the peer that nothing more comes.
    pub(super) finished: bool,
    /// When it last gave or took a byte.
    pub(super) active: Instant,
}

/// What the peer of a side said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It may send more.
    Open,
    /// It has sent everything.
    Finished,
    /// It broke off.
    Reset,
}

impl Side {
    pub(super) fn new(stream: TcpStream, now: Instant) -> Self {
        Self {
            stream,
            readable: false,
            writable: false,
            hung_up: false,
            failed: false,
            end: End::Open,
            finished: false,
            active: now,
        }
    }

    /// Remembers what epoll reported. Being edge-triggered, it does not report it again.
    pub(super) fn note(&mut self, events: EpollFlags) {
        let broken = events.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
        self.failed |= events.contains(EpollFlags::EPOLLERR);
        self.hung_up |= broken || events.contains(EpollFlags::EPOLLRDHUP);
        self.readable |= broken || events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP);
        self.writable |= broken || events.contains(EpollFlags::EPOLLOUT);
    }

    /// A write failed: the connection is gone, and reading will say how.
    fn fail(&mut self) {
        self.failed = true;
        self.hung_up = true;
        self.readable = true;
    }
}

/// One direction of a session.
#[derive(Debug)]
pub(super) struct Relay {
    pending: Pending,
    window: usize,
    bulk: u64,
    /// Whether anything ever went this way.
    pub(super) talked: bool,
}

/// What has been read and not yet been written.
#[derive(Debug)]
enum Pending {
    Nothing,
    Bytes(Box<Leftover>),
    Piped(Box<Piped>),
}

#[derive(Debug)]
struct Leftover {
    bytes: Vec<u8>,
    written: usize,
}

#[derive(Debug)]
struct Piped {
    pipe: Pipe,
    held: usize,
}

/// How far [`Relay::forward`] came.
#[derive(Debug)]
pub(super) struct Progress {
    /// Bytes read from the source.
    pub(super) moved: u64,
    /// It stopped to be fair, not because there was nothing to do.
    pub(super) more: bool,
}

/// Whether a write got rid of everything.
enum Written {
    All,
    SinkFull,
    SinkFailed,
}

impl Relay {
    /// `bytes` go to the sink before anything from the source.
    pub(super) fn starting_with(bytes: Vec<u8>) -> Self {
        let pending = match bytes.is_empty() {
            true => Pending::Nothing,
            false => Pending::Bytes(Box::new(Leftover { bytes, written: 0 })),
        };
        Self { pending, window: WINDOW_FIRST, bulk: 0, talked: false }
    }

    /// Whether something was read that has not been written.
    pub(super) fn is_pending(&self) -> bool {
        !matches!(self.pending, Pending::Nothing)
    }

    /// Whether it is the sink that this direction waits for.
    pub(super) fn waits_for_sink(&self, source: &Side, sink: &Side) -> bool {
        self.is_pending() || source.readable && !sink.writable
    }

    /// Drops what the sink will never take.
    pub(super) fn discard(&mut self) {
        self.pending = Pending::Nothing;
    }

    /// Moves what can be moved now.
    pub(super) fn forward(&mut self, source: &mut Side, sink: &mut Side, tools: &mut Tools) -> Progress {
        let mut moved = 0;
        let mut more = false;
        while !sink.failed && self.flush(sink, tools) && sink.writable {
            if !source.readable || source.end != End::Open {
                break;
            }
            if moved >= TURN_BYTES {
                more = true;
                break;
            }
            moved += self.read(source, sink, tools);
        }
        self.talked |= moved > 0;
        Progress { moved, more }
    }

    /// Reads once and passes on what the sink takes. Returns how much was read.
    fn read(&mut self, source: &mut Side, sink: &mut Side, tools: &mut Tools) -> u64 {
        let pipe = if self.bulk >= BULK_BYTES { tools.pipes.take() } else { None };
        let read = match pipe {
            Some(pipe) => self.read_spliced(pipe, source, tools),
            None => self.read_copied(source, sink, tools),
        };
        let count = match read {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                source.readable = false;
                return 0;
            }
            Err(_) => {
                source.end = End::Reset;
                return 0;
            }
        };
        if count == 0 {
            source.end = End::Finished;
        } else {
            source.active = tools.now;
        }
        let bytes = u64::try_from(count).unwrap_or(u64::MAX);
        self.bulk = if count < BULK_READ { 0 } else { self.bulk.saturating_add(bytes) };
        bytes
    }

    fn read_copied(&mut self, source: &mut Side, sink: &mut Side, tools: &mut Tools) -> io::Result<usize> {
        let length = self.window.min(tools.scratch.len());
        let buffer = tools.scratch.get_mut(..length).unwrap_or_default();
        let count = (&source.stream).read(buffer)?;
        // A short read emptied the socket; what comes later is a new edge. Not so with an end behind it.
        if count < length && !source.hung_up {
            source.readable = false;
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        let mut written = 0;
        match write(sink, bytes, &mut written, tools.now) {
            Written::All => self.window = self.window.saturating_mul(2).min(tools.scratch.len()),
            Written::SinkFull => {
                self.window = WINDOW_SMALLEST;
                let bytes = bytes.get(written..).unwrap_or_default().to_vec();
                self.pending = Pending::Bytes(Box::new(Leftover { bytes, written: 0 }));
            }
            Written::SinkFailed => {}
        }
        Ok(count)
    }

    fn read_spliced(&mut self, pipe: Pipe, source: &Side, tools: &mut Tools) -> io::Result<usize> {
        let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        // The pipe is empty: if this blocks, it is the source that has nothing.
        match splice(&source.stream, None, &pipe.write, None, PIPE_BYTES, flags) {
            Ok(0) => {
                tools.pipes.give_back(pipe);
                Ok(0)
            }
            Ok(held) => {
                self.pending = Pending::Piped(Box::new(Piped { pipe, held }));
                Ok(held)
            }
            Err(error) => {
                tools.pipes.give_back(pipe);
                Err(error.into())
            }
        }
    }

    /// Writes what is pending. Whether nothing is pending any more.
    fn flush(&mut self, sink: &mut Side, tools: &mut Tools) -> bool {
        let written = match &mut self.pending {
            Pending::Nothing => return true,
            _ if !sink.writable => return false,
            Pending::Bytes(leftover) => {
                let Leftover { bytes, written } = &mut **leftover;
                write(sink, bytes, written, tools.now)
            }
            Pending::Piped(piped) => drain(sink, piped, tools),
        };
        match written {
            Written::All => {
                if let Pending::Piped(piped) = std::mem::replace(&mut self.pending, Pending::Nothing) {
                    tools.pipes.give_back(piped.pipe);
                }
                true
            }
            Written::SinkFull => false,
            Written::SinkFailed => {
                self.discard();
                true
            }
        }
    }
}

/// Writes `bytes` from `written` on.
fn write(sink: &mut Side, bytes: &[u8], written: &mut usize, now: Instant) -> Written {
    while let Some(rest) = bytes.get(*written..).filter(|rest| !rest.is_empty()) {
        // Until the kernel says that it is full: only then does it report that there is room again.
        match (&sink.stream).write(rest) {
            Ok(count) => {
                *written += count;
                sink.active = now;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sink.writable = false;
                return Written::SinkFull;
            }
            Err(_) => {
                sink.fail();
                return Written::SinkFailed;
            }
        }
    }
    Written::All
}

/// Empties a pipe into the sink.
fn drain(sink: &mut Side, piped: &mut Piped, tools: &Tools) -> Written {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    while piped.held > 0 {
        match splice(&piped.pipe.read, None, &sink.stream, None, piped.held, flags) {
            Ok(count) => {
                piped.held = piped.held.saturating_sub(count);
                sink.active = tools.now;
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                tools.shared.counters.bytes_spliced.fetch_add(count, Ordering::Relaxed);
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                sink.writable = false;
                return Written::SinkFull;
            }
            Err(_) => {
                sink.fail();
                return Written::SinkFailed;
            }
        }
    }
    Written::All
}
