//! The few numbers on top.

use askama::Template;
use packhorse_domain::job::HostRole;

use super::look::Look;
use crate::admin::around::Around;

/// The few numbers on top.
#[derive(Template)]
#[template(path = "page_head.html")]
pub struct Head {
    clients: Of,
    relays: Of,
    /// Machines that were not heard for very long: in none of these numbers.
    silent: u64,
    open_jobs: u64,
    open_lines: u64,
}

/// So many of so many.
#[derive(Default)]
struct Of {
    there: u64,
    all: u64,
}

impl Head {
    /// Counts.
    pub fn of(around: &Around<'_>, look: &Look) -> Head {
        let own = look.scene.fleet.own().map(|own| own.row);
        let (mut clients, mut relays, mut silent) = (Of::default(), Of::default(), 0);
        for host in look.scene.fleet.hosts().iter().filter(|host| Some(host.row) != own) {
            if around.is_silent(host) {
                silent += 1;
                continue;
            }
            let of = if host.role == HostRole::Relay { &mut relays } else { &mut clients };
            of.all += 1;
            of.there += u64::from(around.present(host).online);
        }
        Head { clients, relays, silent, open_jobs: look.open_jobs, open_lines: look.open_total }
    }
}
