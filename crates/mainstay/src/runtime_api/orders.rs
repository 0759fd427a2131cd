//! Commands that change something: what they ask for, and HAProxy's answers.
//!
//! Owns [`Task`]. `parse` has the words of the commands, `text` those of the answers. The engine carries orders out; a
//! server that nobody knows is reported before a value that makes no sense, as with HAProxy. An answer is what HAProxy
//! writes before the empty line that ends every answer.

pub(super) mod parse;
mod text;

use std::sync::Arc;

use mainstay_engine::admin::{Reply, Request};
use mainstay_engine::config::lower::haproxy::Additions;
use mainstay_engine::health::order::{FrontendOrder, Order, Outcome, Refusal, ServerOrder};

use super::Answers;
use crate::configuration::surroundings;
use crate::proxy::SessionId;

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Change a server, or say what is wrong with the change if there is such a server.
    Server {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// What about it; the error is the answer.
        change: Result<ServerChange, String>,
    },
    /// Read a server with [`Task::read_server`], and add it.
    AddServer {
        /// The pool's name.
        pool: String,
        /// The server's name and what follows it.
        words: Vec<String>,
    },
    /// Have the engine do something else.
    Other(Order),
    /// Close one session.
    KillSession(SessionId),
}

/// A change of a server, with what its answer depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ServerChange {
    /// Nothing is said of it if it goes well.
    Quiet(ServerOrder),
    /// Its address, and what is said of its port.
    Address(ServerOrder, PortWish),
    /// What its agent says or is asked; it is looked whether there is one.
    Aim(AgentPart),
}

/// What of an agent is to change, and does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AgentPart {
    /// What it said, by a word that says nothing.
    Word,
    /// What it is sent.
    Text,
    /// Where it is asked.
    Place,
}

/// What a command says about a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PortWish {
    /// Nothing.
    None,
    /// This one.
    Port(u16),
    /// Something that is no port.
    Unreadable(String),
    /// One relative to the port that the client connected to.
    Mapped,
}

impl Task {
    /// What the engine has to do for it; `None` if that is nothing, or for a server that has to be read first.
    fn order(&self) -> Option<Order> {
        match self {
            Self::Server { pool, server, change } => {
                let change = match change {
                    Ok(ServerChange::Quiet(order) | ServerChange::Address(order, _)) => *order,
                    Ok(ServerChange::Aim(_)) => ServerOrder::AimAgent,
                    // Only to know whether there is such a server.
                    Err(_) => ServerOrder::ShowWeight,
                };
                Some(Order::Server { pool: pool.clone(), server: server.clone(), change })
            }
            Self::Other(order) => Some(order.clone()),
            Self::AddServer { .. } | Self::KillSession(_) => None,
        }
    }

    /// The order that adds the server of a [`Task::AddServer`]. Looks up names, which takes its time.
    ///
    /// # Errors
    /// The answer.
    fn read_server(pool: &str, words: &[String], additions: &Additions) -> Result<Order, String> {
        if words.len() < 2 {
            return Err("'server' expects <name> and <addr>[:<port>] as arguments.\n".to_owned());
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let server = additions.server(pool, &words, &surroundings());
        let server = server.map_err(|found| match found.into_iter().next() {
            Some(diagnostic) => format!("{}\n", diagnostic.message),
            None => "No such backend.".to_owned(),
        })?;
        Ok(Order::AddServer { pool: pool.to_owned(), server: Box::new(server) })
    }

    /// What HAProxy says when the engine has answered `result`.
    fn answer(&self, result: Result<Outcome, Refusal>) -> String {
        match (self, result) {
            (Self::Server { change: Err(text), .. }, Ok(_)) => text.clone(),
            (Self::Server { change: Ok(change), .. }, Ok(outcome)) => text::of_change(change, outcome),
            (Self::Server { change, .. }, Err(refusal)) => text::of_refusal(change.as_ref().ok(), refusal),
            (Self::AddServer { .. }, result) => text::of_addition(result),
            (Self::Other(Order::RemoveServer { .. }), result) => text::of_removal(result),
            (Self::Other(Order::Frontend { change, .. }), Err(refusal)) => {
                text::of_frontend(*change, refusal)
            }
            (Self::Other(_), Err(_)) => "Value out of range.\n".to_owned(),
            (Self::Other(_) | Self::KillSession(_), _) => String::new(),
        }
    }
}

impl Answers {
    /// Has a task done, and says what came of it.
    pub(super) async fn carry_out(&self, task: &Task) -> String {
        let order = match task {
            Task::KillSession(session) => {
                let Some(proxy) = &self.proxy else { return NO_SESSION.to_owned() };
                return if proxy.kill(*session).await { String::new() } else { NO_SESSION.to_owned() };
            }
            Task::AddServer { pool, words } => {
                let (additions, pool, words) = (Arc::clone(&self.additions), pool.clone(), words.clone());
                // Looking up a name may take a while.
                let reading =
                    tokio::task::spawn_blocking(move || Task::read_server(&pool, &words, &additions));
                match reading.await {
                    Ok(Ok(order)) => Some(order),
                    Ok(Err(text)) => return text,
                    Err(_) => None,
                }
            }
            task => task.order(),
        };
        let Some(order) = order else { return String::new() };
        if let (Order::ClearCounters { .. }, Some(proxy)) = (&order, &self.proxy) {
            proxy.reset_maxima();
        }
        match self.request(Request::Order(order)).await {
            Ok(Reply::Order(result)) => task.answer(result),
            Ok(_) => String::new(),
            Err(sentence) => format!("{sentence}\n"),
        }
    }
}

/// There is no session to be closed.
const NO_SESSION: &str = "No such session (use 'show sess').\n";

/// A change of a frontend.
fn frontend(name: &str, change: FrontendOrder) -> Task {
    Task::Other(Order::Frontend { frontend: name.to_owned(), change })
}

#[cfg(test)]
mod tests;
