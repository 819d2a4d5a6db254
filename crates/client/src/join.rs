//! Joining: becoming a client of a higher system.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use packhorse_domain::ids::Name;
use packhorse_domain::job::HostRole;
use packhorse_wire::enroll::{self, EnrollError, Enrolled, IdentityFolder, private_folder};

use crate::ClientError;
use crate::error::file_error;
use crate::options::Settings;

/// What a client joins with.
#[derive(Clone)]
pub struct JoinOptions {
    /// The data folder to make.
    pub data: PathBuf,
    /// The higher system's URL.
    pub url: String,
    /// The join token's text.
    pub token: String,
    /// The host's name.
    pub name: String,
    /// Install below this folder instead of `/`.
    pub root: Option<PathBuf>,
}

impl std::fmt::Debug for JoinOptions {
    /// Without the token, which is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinOptions")
            .field("data", &self.data)
            .field("url", &self.url)
            .field("name", &self.name)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// A client that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its name.
    pub name: String,
    /// Its id, hexadecimal.
    pub id: String,
    /// Its higher system's name.
    pub higher: String,
}

/// Joins and writes the data folder. A refused token leaves nothing behind.
///
/// # Errors
/// Why it was not let in, or what could not be written.
pub async fn join(options: &JoinOptions) -> Result<Joined, ClientError> {
    let name = Name::for_host(&options.name)?;
    let folder = IdentityFolder::at(&options.data);
    if folder.exists() {
        // Before the token is shown to anybody: it would be used up for nothing.
        return Err(EnrollError::Exists(options.data.clone()).into());
    }
    // Made before the token is used up, so that a folder that cannot be made costs none.
    let made = Made::folders(&[Some(&options.data), options.root.as_deref()])?;
    let enrolled = enroll::join(&options.url, &options.token, HostRole::Client, &name, &[]).await?;
    write(options, &folder, &enrolled)?;
    made.keep();
    let identity = enrolled.identity;
    Ok(Joined { name: identity.name, id: identity.id.to_string(), higher: identity.higher.name })
}

fn write(options: &JoinOptions, folder: &IdentityFolder, enrolled: &Enrolled) -> Result<(), ClientError> {
    let absolute = |root: &PathBuf| fs::canonicalize(root).map_err(file_error(root));
    let root = options.root.as_ref().map(absolute).transpose()?;
    private_folder(&options.data)?;
    Settings::new(root).save(&options.data)?;
    Ok(folder.save(enrolled)?)
}

/// Folders that were not there before; they go again unless they are kept.
struct Made(Vec<PathBuf>);

impl Made {
    fn folders(wanted: &[Option<&Path>]) -> Result<Made, ClientError> {
        let mut made = Made(Vec::new());
        for path in wanted.iter().flatten() {
            // The outermost missing folder takes what is made in it along.
            let missing = path.ancestors().take_while(|part| !part.as_os_str().is_empty() && !part.exists());
            made.0.extend(missing.last().map(Path::to_owned));
            fs::create_dir_all(path).map_err(file_error(path))?;
        }
        Ok(made)
    }

    fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.drain(..) {
            if let Err(error) = fs::remove_dir_all(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a folder made for joining could not be removed");
            }
        }
    }
}
