//! An evil relay: it joined as a real relay does, has a real relay's certificate and keys and no delegation, and serves its
//! lower systems itself, on [`packhorse_wire::net::serve`] like the real one. What it says to them and upwards is up to a
//! [`Behaviour`], which can be changed while it runs.
//!
//! | module | what |
//! |---|---|
//! | `behaviour` | the list of lies |
//! | `relay` | joining, running, changing the behaviour |
//! | `state` | what it was told from above and below |
//! | `above` | its lower side: orders in, reports out |
//! | `serve` | its upper side: what lower systems ask |
//! | `orders` | the orders of one host: first as an honest relay would pass them on, then bent |
//! | `forge` | documents signed with the wrong keys |
//! | `content` | bodies: honest, then bent |
//! | `lies` | reports about others |

mod above;
mod behaviour;
mod content;
mod forge;
mod lies;
mod orders;
mod relay;
mod serve;
mod state;

pub use behaviour::Behaviour;
pub use relay::EvilRelay;
