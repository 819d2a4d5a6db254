//! What an administrator is told when a request is refused.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use packhorse_content::store::StoreError;
use packhorse_wire::admin::Problem;

use crate::db::DbError;
use crate::error::ServerError;

/// An error with its status; the body is a [`Problem`].
#[derive(Debug)]
pub struct AdminError {
    status: StatusCode,
    problem: Problem,
}

impl AdminError {
    /// A refusal: a word, a sentence.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> AdminError {
        AdminError { status, problem: Problem { code: code.to_owned(), message: message.into(), hint: None } }
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> AdminError {
        self.problem.hint = Some(hint.into());
        self
    }

    /// The word of it.
    pub fn code(&self) -> &str {
        &self.problem.code
    }

    /// With another sentence, made of the one it has.
    #[must_use]
    pub fn reworded(mut self, reword: impl FnOnce(&str) -> String) -> AdminError {
        self.problem.message = reword(&self.problem.message);
        self
    }

    /// The request is not one of this API.
    pub fn bad_request(message: impl Into<String>) -> AdminError {
        AdminError::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// Something went wrong inside: for the log; outside it is enough that it did.
    pub fn internal(what: &str, error: &dyn std::fmt::Display) -> AdminError {
        tracing::error!(%error, "{what}");
        let message = format!("this system has trouble with {what}; its log says more");
        AdminError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        (self.status, Json(self.problem)).into_response()
    }
}

/// The status of a refusal's word.
fn status_of(code: &str) -> StatusCode {
    match code {
        _ if code.starts_with("unknown_") => StatusCode::NOT_FOUND,
        "not_own" | "not_delegated" | "not_at_a_relay" | "promised_above" => StatusCode::FORBIDDEN,
        "exists" | "in_use" | "ended" | "root_key_away" | "nothing_to_retry" | "cancelled" | "suspended"
        | "not_growing" | "has_lower" | "retired" | "is_the_server" => StatusCode::CONFLICT,
        _ => StatusCode::BAD_REQUEST,
    }
}

impl From<DbError> for AdminError {
    fn from(error: DbError) -> AdminError {
        match error {
            DbError::Refused(refusal) => {
                let problem = Problem { code: refusal.code, message: refusal.message, hint: refusal.hint };
                AdminError { status: status_of(&problem.code), problem }
            }
            other => AdminError::internal("its database", &other),
        }
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> AdminError {
        if error.is_no_space() {
            return AdminError::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "no_space",
                "this system's disk is full",
            )
            .hint("make room on the managing server's disk, or remove packages");
        }
        AdminError::internal("its store", &error)
    }
}

impl From<ServerError> for AdminError {
    fn from(error: ServerError) -> AdminError {
        match error {
            ServerError::Db(error) => error.into(),
            ServerError::Store(error) => error.into(),
            other => AdminError::internal("its keys", &other),
        }
    }
}

impl From<tokio::task::JoinError> for AdminError {
    fn from(error: tokio::task::JoinError) -> AdminError {
        AdminError::internal("a task", &error)
    }
}
