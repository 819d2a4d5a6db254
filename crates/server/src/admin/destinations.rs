//! What `--to` means.

use packhorse_domain::ids::HostId;
use packhorse_domain::job::{CLAUSES_MAX, Clause, HostRole};
use packhorse_domain::merkle::{self, LEAVES_MAX, Prover};

use crate::db::DbError;
use crate::db::groups::{Groups, unknown as unknown_group};
use crate::db::hosts::{Fleet, HostRow};
use crate::db::retire;

/// Names shown of a longer list.
const NAMES_SHOWN: usize = 5;

/// Destinations that were understood.
#[derive(Debug, Clone, Default)]
pub struct Destinations {
    /// Hosts named one by one, in route order.
    pub hosts: Vec<HostRow>,
    /// Clauses that name hosts by where they stand.
    pub clauses: Vec<Clause>,
    /// What was understood, as it can be written again.
    pub words: Vec<String>,
}

impl Destinations {
    /// Whether hosts that join later are taken in.
    pub fn grows(&self) -> bool {
        !self.clauses.is_empty()
    }

    /// All clauses, and the whole list of hosts named one by one as it is proved.
    ///
    /// # Errors
    /// The list is longer than a list may be.
    pub fn signed(&self, fleet: &Fleet) -> Result<(Vec<Clause>, Option<Prover>), DbError> {
        let mut clauses = self.clauses.clone();
        let (list, prover) = list(fleet, &self.hosts)?;
        clauses.splice(0..0, list);
        Ok((clauses, prover))
    }
}

/// The clause over a list of hosts in route order, and its prover; nothing for an empty list.
///
/// # Errors
/// The list is longer than a list may be.
pub fn list(fleet: &Fleet, rows: &[HostRow]) -> Result<(Option<Clause>, Option<Prover>), DbError> {
    if rows.is_empty() {
        return Ok((None, None));
    }
    let ids: Vec<HostId> = rows.iter().filter_map(|row| fleet.get(*row)).map(|host| host.id).collect();
    let size = u32::try_from(ids.len()).ok().filter(|size| *size <= LEAVES_MAX).ok_or_else(|| {
        let message = format!("{} hosts by name, at most {LEAVES_MAX} are possible", ids.len());
        DbError::refused("limit", message, Some("--to all, or below:RELAY"))
    })?;
    let root = merkle::root(&ids);
    let prover = Prover::whole(ids).ok_or_else(|| DbError::internal("a list that cannot be proved"))?;
    Ok((Some(Clause::Hosts { root, size }), Some(prover)))
}

/// Understands destinations. Everything that is not there is named.
///
/// # Errors
/// A refusal with what to do.
pub fn understand(fleet: &Fleet, groups: &Groups, to: &[String]) -> Result<Destinations, DbError> {
    let mut found = Destinations::default();
    let mut unknown: Vec<&str> = Vec::new();
    for word in to {
        match one(fleet, groups, word)? {
            Some(One::Host(row)) => found.hosts.push(row),
            Some(One::Clause(clause)) => found.clauses.push(clause),
            Some(One::Group(clauses)) => found.clauses.extend(clauses),
            None => unknown.push(word),
        }
        if !found.words.contains(word) {
            found.words.push(word.clone());
        }
    }
    refuse_unknown(&unknown)?;
    if to.is_empty() {
        let hint = "--to HOST, --to group:NAME, --to below:RELAY, --to all";
        return Err(DbError::refused("no_destination", "the job has no destination", Some(hint)));
    }
    found.hosts = fleet.in_route_order(found.hosts);
    dedup(&mut found.clauses);
    if found.clauses.len() >= CLAUSES_MAX {
        let message = format!("a job has at most {} destinations that are no hosts", CLAUSES_MAX - 1);
        return Err(DbError::refused("limit", message, None));
    }
    Ok(found)
}

/// Begins a destination whose relays are meant, as it is written down: `--for pc17` is `for:pc17`.
pub const FOR: &str = "for:";

/// Understands the destinations of a transfer: relays, `all-relays`, and `for:DEST`, which means the relays on the way to
/// DEST. A client is refused by name.
///
/// # Errors
/// A refusal with what to do.
pub fn of_transfer(fleet: &Fleet, groups: &Groups, to: &[String]) -> Result<Destinations, DbError> {
    let (mut relays, mut for_hosts) = (Destinations::default(), Vec::new());
    for word in to {
        match word.strip_prefix(FOR) {
            Some(dest) => for_hosts.push(dest.to_owned()),
            None if word == "all-relays" => relays.clauses.push(Clause::Relays),
            None => relays.hosts.extend(relay_of(fleet, word)?),
        }
    }
    if for_hosts.is_empty() && to.is_empty() {
        let hint = "--to RELAY, --to all-relays, --for DEST";
        return Err(DbError::refused("no_destination", "the transfer has no destination", Some(hint)));
    }
    if !for_hosts.is_empty() {
        let found = understand(fleet, groups, &for_hosts)?;
        for row in &found.hosts {
            let Some(host) = fleet.get(*row).filter(|host| fleet.route(host).is_empty()) else { continue };
            let message =
                format!("no relay is on the way to {}: it calls the managing server itself", host.name);
            let hint = "packhorse install brings packages to clients";
            return Err(DbError::refused("no_relay", message, Some(hint)));
        }
        relays.hosts.extend(found.hosts);
        relays.clauses.extend(found.clauses);
    }
    relays.hosts = fleet.in_route_order(relays.hosts);
    dedup(&mut relays.clauses);
    relays.words = to.to_vec();
    relays.words.dedup();
    Ok(relays)
}

fn relay_of(fleet: &Fleet, word: &str) -> Result<Option<HostRow>, DbError> {
    if let Some(host) = fleet.any_named(word) {
        retire::in_use(host)?;
    }
    match fleet.named(word) {
        Some(relay) if relay.role == HostRole::Relay => Ok(Some(relay.row)),
        Some(client) => {
            let message = format!("{} is a client: a transfer goes to relay systems", client.name);
            let hint = format!("--for {0}: the relays on the way to {0}; or packhorse install", client.name);
            Err(DbError::refused("not_a_relay", message, Some(&hint)))
        }
        None => {
            let shown: String = word.chars().take(80).collect();
            let hint = "packhorse relay list shows the names; --for takes destinations of installs";
            Err(DbError::refused("unknown_relay", format!("there is no relay system {shown}"), Some(hint)))
        }
    }
}

enum One {
    Host(HostRow),
    Clause(Clause),
    Group(Vec<Clause>),
}

/// One word; `None`: nothing of that name is there.
fn one(fleet: &Fleet, groups: &Groups, word: &str) -> Result<Option<One>, DbError> {
    let refuse = |code, message: String, hint| Err(DbError::refused(code, message, Some(hint)));
    match (word, word.split_once(':')) {
        ("all", _) => Ok(Some(One::Clause(Clause::All { relays: false }))),
        ("all+relays", _) => Ok(Some(One::Clause(Clause::All { relays: true }))),
        ("all-relays", _) => {
            let message = "all-relays is a destination of transfers".to_owned();
            refuse("bad_destination", message, "--to all, or all+relays")
        }
        (_, Some(("below", name))) => match fleet.named(name) {
            Some(relay) if relay.role == HostRole::Relay => Ok(Some(One::Clause(Clause::Below(relay.id)))),
            Some(_) => {
                let message = format!("{name} is a client: nothing is below it");
                refuse("bad_destination", message, "packhorse relay list shows the relay systems")
            }
            None => Ok(None),
        },
        (_, Some(("group", name))) => {
            let group = groups.named(name).ok_or_else(|| unknown_group(name))?;
            Ok(Some(One::Group(groups.clauses(fleet, group)?)))
        }
        _ => host_of(fleet, word),
    }
}

fn host_of(fleet: &Fleet, word: &str) -> Result<Option<One>, DbError> {
    let Some(host) = fleet.any_named(word) else { return Ok(None) };
    retire::in_use(host)?;
    Ok(Some(One::Host(host.row)))
}

fn refuse_unknown(unknown: &[&str]) -> Result<(), DbError> {
    if unknown.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> =
        unknown.iter().take(NAMES_SHOWN).map(|word| word.chars().take(80).collect()).collect();
    let more = match unknown.len().saturating_sub(NAMES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(DbError::refused(
        "unknown_host",
        format!("there is no {}{more}", shown.join(", ")),
        Some("packhorse host list shows the names"),
    ))
}

/// The same destination twice is one; `all+relays` is more than `all`.
fn dedup(clauses: &mut Vec<Clause>) {
    if clauses.contains(&Clause::All { relays: true }) {
        clauses.retain(|clause| *clause != Clause::All { relays: false });
    }
    let mut seen: Vec<Clause> = Vec::new();
    clauses.retain(|clause| {
        let fresh = !seen.contains(clause);
        seen.push(clause.clone());
        fresh
    });
}

/// A long list of names as it is shown: the first few, and how many more.
pub fn shown(words: Vec<String>) -> Vec<String> {
    let more = words.len().saturating_sub(NAMES_SHOWN);
    if more <= 1 {
        return words;
    }
    let mut shown: Vec<String> = words.into_iter().take(NAMES_SHOWN).collect();
    shown.push(format!("and {more} more"));
    shown
}
