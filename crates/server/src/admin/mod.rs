//! The administrator's API.

use std::sync::Arc;

use axum::Router;

use crate::system::System;

/// The routes.
pub fn router(system: Arc<System>) -> Router {
    Router::new().with_state(system)
}
