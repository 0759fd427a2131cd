//! mainstay: the Linux shell round [`mainstay_engine`]. Talks to the kernel, decides nothing the engine could.

pub mod checks;
pub mod proxy;
