//! Who may look. A browser has no administrator's certificate: the command line, which has one, asks for an address with a
//! secret in it; the address is good for one opening, which gives the browser another secret as a cookie.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::{Mutex, OnceCell};

use crate::db::DbError;
use crate::db::page::{self, Pass, SavePasses};
use crate::system::{System, now};

/// How long an address waits to be opened, in seconds.
pub const OPEN_SECS: i64 = 600;
/// How long a browser may look, in seconds.
pub const LOOK_SECS: i64 = 12 * 3600;
/// Most addresses that wait, and most browsers that look; the oldest give way.
const PASSES_MAX: usize = 32;
/// Longest secret that is looked at, in characters: ours have 43.
const SECRET_CHARS_MAX: usize = 64;

/// The hash a secret is known by. (The secrets are random: nothing slow is needed.)
#[derive(Clone, Copy)]
pub struct Key(blake3::Hash);

/// Everybody who may look.
pub struct Doors {
    system: Arc<System>,
    passes: OnceCell<Mutex<Vec<Pass>>>,
}

impl Doors {
    /// Those of a system.
    pub fn new(system: Arc<System>) -> Doors {
        Doors { system, passes: OnceCell::new() }
    }

    /// The cookie's name. Browsers send cookies to every port of a machine: each system has its own, so that two on one
    /// machine do not push each other out.
    pub fn cookie_name(&self) -> String {
        let id = self.system.id.to_string();
        format!("__Host-packhorse-{}", id.get(..8).unwrap_or(&id))
    }

    /// An address' secret, good for one opening within [`OPEN_SECS`].
    ///
    /// # Errors
    /// The database's.
    pub async fn grant(&self) -> Result<String, DbError> {
        let (secret, key) = fresh();
        let pass = Pass { hash: *key.0.as_bytes(), opens: true, ends: now().plus_secs(OPEN_SECS).0 };
        self.change(|passes| {
            make_room(passes, true);
            passes.push(pass);
            true
        })
        .await?;
        Ok(secret)
    }

    /// Opens once: the secret of the address for that of a browser. `None`: it is not known (any more).
    ///
    /// # Errors
    /// The database's.
    pub async fn open(&self, secret: &str) -> Result<Option<String>, DbError> {
        let Some(key) = key(secret) else { return Ok(None) };
        let (cookie, cookie_key) = fresh();
        let pass = Pass { hash: *cookie_key.0.as_bytes(), opens: false, ends: now().plus_secs(LOOK_SECS).0 };
        let opened = self.change(|passes| {
            let before = passes.len();
            passes.retain(|pass| !(pass.opens && key.is(pass)));
            let found = passes.len() < before;
            if found {
                make_room(passes, false);
                passes.push(pass);
            }
            found
        });
        Ok(opened.await?.then_some(cookie))
    }

    /// Until when the browser that sent these headers may look; `None`: it may not.
    ///
    /// # Errors
    /// The database's.
    pub async fn looks(&self, headers: &HeaderMap) -> Result<Option<Key>, DbError> {
        let Some(key) = self.cookie(headers).as_deref().and_then(key) else { return Ok(None) };
        Ok(self.still(&key).await?.then_some(key))
    }

    /// Whether a browser may go on looking.
    ///
    /// # Errors
    /// The database's.
    pub async fn still(&self, key: &Key) -> Result<bool, DbError> {
        let at = now().0;
        let passes = self.passes().await?.lock().await;
        // All are compared, each in constant time.
        let found = passes.iter().filter(|pass| !pass.opens && key.is(pass) && pass.ends > at).count();
        Ok(found > 0)
    }

    /// The browser looks no more.
    ///
    /// # Errors
    /// The database's.
    pub async fn leave(&self, headers: &HeaderMap) -> Result<(), DbError> {
        let Some(key) = self.cookie(headers).as_deref().and_then(key) else { return Ok(()) };
        self.change(|passes| {
            let before = passes.len();
            passes.retain(|pass| pass.opens || !key.is(pass));
            passes.len() < before
        })
        .await?;
        Ok(())
    }

    fn cookie(&self, headers: &HeaderMap) -> Option<String> {
        let name = self.cookie_name();
        // HTTP/2 may bring the cookies in several headers.
        let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies =
            lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        cookies.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
    }

    async fn passes(&self) -> Result<&Mutex<Vec<Pass>>, DbError> {
        let load = || async { Ok(Mutex::new(self.system.db.read(page::passes).await?)) };
        self.passes.get_or_try_init(load).await
    }

    /// Changes the list and writes it down, if `change` says that it did.
    async fn change(&self, change: impl FnOnce(&mut Vec<Pass>) -> bool) -> Result<bool, DbError> {
        let mut passes = self.passes().await?.lock().await;
        let at = now().0;
        let mut fresh: Vec<Pass> = passes.iter().copied().filter(|pass| pass.ends > at).collect();
        let changed = change(&mut fresh);
        if changed {
            self.system.db.write(SavePasses(fresh.clone())).await?;
            *passes = fresh;
        }
        Ok(changed)
    }
}

impl Key {
    fn is(&self, pass: &Pass) -> bool {
        // Hashes compare in constant time.
        self.0 == blake3::Hash::from_bytes(pass.hash)
    }
}

fn make_room(passes: &mut Vec<Pass>, opens: bool) {
    while passes.iter().filter(|pass| pass.opens == opens).count() >= PASSES_MAX {
        // They are pushed behind one another and live equally long: the first is the oldest.
        match passes.iter().position(|pass| pass.opens == opens) {
            Some(oldest) => passes.remove(oldest),
            None => return,
        };
    }
}

fn fresh() -> (String, Key) {
    let mut bytes = [0; 32];
    if let Err(error) = getrandom::fill(&mut bytes) {
        // Without the system's randomness nothing here is safe to go on with.
        tracing::error!(%error, "the system gives no random numbers");
        std::process::abort()
    }
    let secret = URL_SAFE_NO_PAD.encode(bytes);
    let key = hashed(&secret);
    (secret, key)
}

fn key(secret: &str) -> Option<Key> {
    (!secret.is_empty() && secret.len() <= SECRET_CHARS_MAX).then(|| hashed(secret))
}

fn hashed(secret: &str) -> Key {
    Key(blake3::Hash::from_bytes(blake3::derive_key("packhorse 2026-11 page", secret.as_bytes())))
}
