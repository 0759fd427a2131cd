//! Why a connection ended, and how far it had come: the two letters of HAProxy's termination state.
//!
//! Owns [`Termination`]. The letters and their meaning are those of HAProxy's manual, "Session state at disconnection".

use std::fmt;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination {
    /// Who or what ended it.
    pub cause: Cause,
    /// How far it had come.
    pub stage: Stage,
}

/// Who or what ended a connection before both sides had said that they were finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The client broke off.
    Client,
    /// The server broke off, or refused.
    Server,
    /// A rule, or a limit.
    Proxy,
    /// It was answered here.
    Local,
    /// Something ran out: memory, descriptors, ports.
    Resource,
    /// A bug.
    Internal,
    /// Its server went down, and its connections are closed then.
    Down,
    /// Its backup server is not needed any more.
    Up,
    /// An operator.
    Killed,
    /// The client was silent too long.
    ClientTimeout,
    /// The server was silent too long, or the connect or the queue took too long.
    ServerTimeout,
}

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing had been decided about it.
    Request,
    /// It waited for a slot.
    Queue,
    /// It was being connected.
    Connect,
    /// Both sides were connected.
    Data,
    /// The server had finished, and the client had not got everything.
    Last,
}

impl Termination {
    /// `cause` in `stage`.
    pub const fn new(cause: Cause, stage: Stage) -> Self {
        Self { cause, stage }
    }
}

impl fmt::Display for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match self.cause {
            Cause::Client => 'C',
            Cause::Server => 'S',
            Cause::Proxy => 'P',
            Cause::Local => 'L',
            Cause::Resource => 'R',
            Cause::Internal => 'I',
            Cause::Down => 'D',
            Cause::Up => 'U',
            Cause::Killed => 'K',
            Cause::ClientTimeout => 'c',
            Cause::ServerTimeout => 's',
        };
        let stage = match self.stage {
            Stage::Request => 'R',
            Stage::Queue => 'Q',
            Stage::Connect => 'C',
            Stage::Data => 'D',
            Stage::Last => 'L',
        };
        write!(f, "{cause}{stage}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_of_haproxy() {
        assert_eq!(Termination::new(Cause::ServerTimeout, Stage::Queue).to_string(), "sQ");
        assert_eq!(Termination::new(Cause::Client, Stage::Data).to_string(), "CD");
    }
}
