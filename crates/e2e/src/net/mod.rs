//! A network of network namespaces: a head office and three sites behind lines of different width.
//!
//! ```text
//!                     hq          10.77.0.0/24   managing server
//!                    /  \
//!     10.77.1.0/24 osaka sendai   10.77.3.0/24   a relay and three clients each
//!                  /
//!               sakai             10.77.2.0/24   a relay below osaka's, and three clients
//! ```
//!
//! Each site has a router with a bridge, on which every host hangs by a cable of its own; the sites' cables go from router to
//! router. A cable is as wide as its token bucket (`tc tbf`) lets it be, and counts. What wants to leave a site is turned
//! (`nft`) through a [`Proxy`](crate::proxy::Proxy) in the site's router, which delays, loses, cuts and counts, and which no
//! host knows of: everybody calls everybody by the address it has.
//!
//! | module | what |
//! |---|---|
//! | [`namespace`] | networks that leave nothing behind |
//! | [`cable`] | a line: its width, its counters, pulled and put back |
//! | [`sites`] | the routers, the addresses, the proxies |
//! | [`fleet`] | the thirteen systems in it |

pub mod cable;
pub mod fleet;
pub mod namespace;
pub mod sites;
