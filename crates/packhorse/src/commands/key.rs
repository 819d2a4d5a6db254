//! `packhorse key`

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use packhorse_wire::envelope::SigningKey;

use crate::args::KeyVerb;
use crate::failure::{Failure, Outcome};
use crate::say;

/// Runs a verb.
///
/// # Errors
/// The verb's.
pub fn run(verb: KeyVerb) -> Outcome {
    let KeyVerb::New { out } = verb;
    let public = new_key(&out)?;
    say::note(&format!("{} signs packages: keep it to yourself, offline if you can", out.display()));
    say::line(&public)
}

/// Makes a key in `out` (0600) and its public half beside it; answers the public file's name.
///
/// # Errors
/// One of the files is there already, or cannot be written.
pub fn new_key(out: &Path) -> Outcome<String> {
    let public_path = out.with_extension("pub");
    if public_path == out {
        return Err(Failure::usage("--out must not end in .pub: that is the public half's name"));
    }
    let key = SigningKey::generate()?;
    let mut public_file = create(&public_path, 0o644)?;
    let written = create(out, 0o600).and_then(|mut file| {
        file.write_all(key.to_text()?.as_bytes())?;
        public_file.write_all(format!("{}\n", key.public()).as_bytes())?;
        public_file.set_permissions(Permissions::from_mode(0o644))?;
        Ok(file.sync_all()?)
    });
    if let Err(failure) = written {
        // The public half of a key that does not exist would only confuse.
        let _ = std::fs::remove_file(&public_path);
        return Err(failure);
    }
    Ok(public_path.display().to_string())
}

fn create(path: &Path, mode: u32) -> Outcome<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(|error| {
        let failure = Failure::new(format!("{}: {error}", path.display()));
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                failure.hint("a key is never overwritten: choose another name")
            }
            _ => failure,
        }
    })
}

/// Reads a packager's key.
///
/// # Errors
/// There is none in it.
pub fn signing_key(path: &Path) -> Outcome<SigningKey> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display())).hint("packhorse key new --out FILE")
    })?;
    SigningKey::from_text(&text).map_err(|error| {
        let failure = Failure::new(format!("{}: {error}", path.display()));
        if text.starts_with("packhorse-key:") {
            failure.hint("this is the public half; signing needs the file that was made with it")
        } else {
            failure
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("packager.key");
        let public = new_key(&out).unwrap();
        assert!(public.ends_with("packager.pub"));
        let key = signing_key(&out).unwrap();
        assert_eq!(super::super::public_key(Path::new(&public)).unwrap(), key.public());
        assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(new_key(&out).is_err());
        assert_eq!(signing_key(&out).unwrap().public(), key.public());
        assert!(signing_key(Path::new(&public)).is_err());
        assert!(new_key(&dir.path().join("x.pub")).is_err());
    }
}
