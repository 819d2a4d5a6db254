//! `packhorse server`

use std::path::{Path, PathBuf};

use packhorse_server::Initialised;

use crate::api::url_elsewhere;
use crate::args::{InitArgs, ServerRunArgs, ServerVerb};
use crate::failure::{Outcome, Within};
use crate::{logs, say, signals, systems};

use super::{large_runtime, name_or_own, shell_quoted};

/// Runs a verb.
///
/// # Errors
/// The verb's.
pub fn run(verb: ServerVerb) -> Outcome {
    match verb {
        ServerVerb::Init(args) => init(&args),
        ServerVerb::Run(args) => serve(&args),
    }
}

fn init(args: &InitArgs) -> Outcome {
    logs::of_command();
    let name = name_or_own(args.name.as_ref())?;
    let made = systems::init(&args.data, args.listen, &name, &args.addresses)
        .within(|| format!("making {}", args.data.display()))?;
    let elsewhere =
        if args.listen.ip().is_loopback() { made.url.clone() } else { url_elsewhere(&made.url, &name) };
    say::line(&next_steps(&args.data, &made, &elsewhere))
}

/// What to do next, ready to be copied.
fn next_steps(data: &Path, made: &Initialised, url: &str) -> String {
    let data = shell_quoted(data);
    let access = shell_quoted(&absolute(&made.access_file));
    format!(
        "{title}\n\n\
         run it:                packhorse server run --data {data}\n\
         be its administrator:  export PACKHORSE_CONTEXT={access}\n\
         a second machine:      packhorse token new     # here: prints a TOKEN, good for one machine and one hour\n\
         \u{20}                      packhorse client join --server {url} --token TOKEN     # there\n\
         \u{20}                      packhorse client run                                   # there\n\n\
         A relay system joins with `packhorse token new --relay` and `packhorse relay join`. Machines know this\n\
         system by its certificate authority, which every token carries: {fingerprint}\n\
         Keep a copy of {data} in a safe place: whoever has it is the managing server.",
        title = say::styled(say::HEAD, format!("Made a managing server in {data}, to be reached at {url}.")),
        fingerprint = made.fingerprint,
    )
}

/// An absolute path works from wherever the administrator goes next.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn serve(args: &ServerRunArgs) -> Outcome {
    logs::of_system();
    signals::obey_parent();
    large_runtime()?.block_on(systems::run_server(&args.data, args.history_days, args.silent_days))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_steps_can_be_copied() {
        let made = Initialised {
            url: "https://hq:8440".into(),
            access_file: "/srv/hq/admin.toml".into(),
            fingerprint: "ab12".into(),
        };
        let text = next_steps(Path::new("hq"), &made, "https://hq:8440");
        for line in [
            "packhorse server run --data hq",
            "export PACKHORSE_CONTEXT=/srv/hq/admin.toml",
            "packhorse client join --server https://hq:8440 --token TOKEN",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
