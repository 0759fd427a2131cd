//! Signed adverts (`auth_hmac`), from keepalived.conf to the wire and back: engines on a simulated LAN, each with a
//! wall clock that can be stepped.

mod lan;
mod mistakes;
mod pairs;
mod wire;
