//! `packhorse page`

use crate::api::Api;
use crate::args::PageArgs;
use crate::failure::Outcome;
use crate::patience;
use crate::say;

use super::small_runtime;

/// Prints an address for a browser.
///
/// # Errors
/// The system gives none.
pub fn run(args: &PageArgs) -> Outcome {
    crate::logs::of_command();
    let context = args.access.context.as_ref();
    let api = match &args.relay {
        Some(url) => Api::open_relay(context, url)?,
        None => Api::open(context)?,
    };
    small_runtime()?.block_on(async {
        patience::until_it_listens(api.url()).await;
        let (address, looks_secs) = api.page().await?;
        say::line(&say::clean(&address))?;
        if say::is_terminal() {
            let hours = looks_secs / 3600;
            say::note(&format!("opens once, within ten minutes; that browser may look for {hours} h"));
        }
        Ok(())
    })
}
