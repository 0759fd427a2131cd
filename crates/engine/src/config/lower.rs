//! The only maker of a [`Plan`](crate::Plan): from the trees of the readers, with every default and every check.

pub mod haproxy;
pub mod keepalived;
pub mod nat;
