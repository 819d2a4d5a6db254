//! What keeps a relay from taking packages in although somebody waits for them: suspended jobs.

use packhorse_domain::ids::PackageId;

use crate::db::copies;
use crate::system::System;

/// Ends when a package that is being taken in is to wait.
pub async fn told(system: &System, package: PackageId) {
    let mut changes = system.orders_news.subscribe();
    loop {
        match system.db.read(move |connection| copies::suspended(connection, &package)).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "whether a package is to wait"),
        }
        if changes.changed().await.is_err() {
            // The system is ending, and this with it.
            std::future::pending::<()>().await;
        }
    }
}
