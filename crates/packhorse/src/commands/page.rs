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
        let granted = api.page().await?;
        say::line(&say::clean(&format!("{}{}", api.url().trim_end_matches('/'), granted.path)))?;
        if say::is_terminal() {
            say::note(&format!(
                "opens once, within ten minutes; that browser may look for {} h",
                granted.looks_secs / 3600
            ));
        }
        Ok(())
    })
}
