//! End to end: the real binary in real processes over real sockets.
//!
//! | module | what |
//! |---|---|
//! | [`binary`], [`process`], [`ports`], [`wait`] | the program, started and ended; conditions with a deadline |
//! | [`world`], [`system`], [`cli`] | a managing server, relays, clients, each with its own folder; the administrator's commands |
//! | [`access`], [`raw`], [`history`] | what no command shows: the administrator's API, the protocol spoken by hand, reports |
//! | [`visitor`], [`chromium`] | what a browser asks and is answered; a real one |
//! | [`proxy`] | a line between two systems that counts, delays, loses, cuts, stalls |
//! | [`net`] | a network of namespaces with lines of different width, and thirteen systems in it |
//! | [`source`], [`handmade`], [`tree`], [`deb`] | packages, and what they become on a client |
//! | [`evil`] | a relay system with real keys that lies |

pub mod access;
pub mod binary;
pub mod chromium;
pub mod cli;
pub mod deb;
pub mod evil;
pub mod handmade;
pub mod history;
pub mod net;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod small_disk;
pub mod source;
pub mod system;
pub mod tree;
pub mod visitor;
pub mod wait;
pub mod world;
