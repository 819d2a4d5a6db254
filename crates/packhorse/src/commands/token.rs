//! `packhorse token`

use packhorse_wire::admin::NewToken;

use crate::args::{TokenNewArgs, TokenVerb};
use crate::failure::Outcome;
use crate::render::table;
use crate::say;

use super::ask;

/// Runs a verb.
///
/// # Errors
/// The verb's.
pub fn run(verb: TokenVerb) -> Outcome {
    match verb {
        TokenVerb::New(args) => new(&args),
        TokenVerb::List(args) => {
            ask(&args.access, async |api| table::print(&api.tokens().await?, args.format, "no tokens"))
        }
        TokenVerb::Revoke { id, access } => ask(&access, async |api| {
            api.revoke_token(id).await?;
            say::note(&format!("token {id} is worthless now"));
            Ok(())
        }),
    }
}

fn new(args: &TokenNewArgs) -> Outcome {
    ask(&args.access, async |api| {
        let token = NewToken {
            relay: args.relay,
            uses: args.uses,
            ends_secs: args.ends,
            replace: args.replace.clone(),
        };
        let made = api.new_token(&token).await?;
        say::line(&say::clean(&made.token))?;
        if say::is_terminal() {
            say::note(&join_line(args, &api.url_elsewhere()));
        }
        Ok(())
    })
}

/// The command for the other machine. Only for eyes: in `$(…)` nobody reads it.
fn join_line(args: &TokenNewArgs, url: &str) -> String {
    let role = if args.relay { "relay" } else { "client" };
    let name = args.replace.as_deref().map_or(String::new(), |name| format!(" --name {name}"));
    format!(
        "there: packhorse {role} join --server {url} --token TOKEN{name}   (or the address of the relay above it)"
    )
}
