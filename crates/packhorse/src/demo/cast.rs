//! Who plays, and where each stands.

/// A relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relay {
    /// Its name.
    pub name: &'static str,
    /// The system it joins through.
    pub higher: &'static str,
}

/// A client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub name: &'static str,
    /// The system it joins through.
    pub higher: &'static str,
}

/// The managing server's folder and name.
pub const SERVER: &str = "hq";

/// The relay next to the server.
pub const OSAKA: Relay = Relay { name: "osaka", higher: SERVER };

/// The relay below it.
pub const NAMBA: Relay = Relay { name: "namba", higher: "osaka" };

/// The relays, from the top.
pub const RELAYS: [Relay; 2] = [OSAKA, NAMBA];

/// The clients; the last one is off at first.
pub const CLIENTS: [Client; 6] = [
    Client { name: "pc1", higher: "osaka" },
    Client { name: "pc2", higher: "osaka" },
    Client { name: "pc3", higher: "namba" },
    Client { name: "pc4", higher: "namba" },
    Client { name: "pc5", higher: "namba" },
    Client { name: "pc6", higher: "namba" },
];

/// The client that is off at first.
pub const LATE: Client = CLIENTS[5];

/// The clients that are on from the start.
pub fn early() -> impl Iterator<Item = Client> {
    CLIENTS.into_iter().filter(|client| *client != LATE)
}

/// How many of the early clients stand directly below a relay.
pub fn early_below(relay: Relay) -> u64 {
    early().filter(|client| client.higher == relay.name).count() as u64
}
