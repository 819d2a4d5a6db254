//! Who asks at the user's socket, and whether that user may choose: from the host's own files, without starting anything.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use packhorse_domain::job::Choosers;
use packhorse_domain::report::USER_BYTES_MAX;

/// Most of a file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Sessions by logind.
const SESSIONS: &str = "run/systemd/sessions";
/// Where the record of sessions is that older systems keep.
const UTMP: [&str; 2] = ["run/utmp", "var/run/utmp"];
/// Sizes of a record of it, by architecture.
const UTMP_RECORD_BYTES: [usize; 2] = [384, 400];
/// What a record of a user's session has in its first two bytes.
const USER_PROCESS: i16 = 7;
/// Where a record has the user's name, and how long that is.
const UTMP_USER: std::ops::Range<usize> = 44..76;

/// Who asks, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// User.
    pub uid: u32,
    /// Group it runs as.
    pub gid: u32,
}

/// The host's users.
#[derive(Debug, Clone)]
pub(crate) struct Users {
    root: PathBuf,
}

/// A line of `/etc/passwd`, as far as it matters.
struct Account {
    name: String,
    gid: u32,
}

impl Users {
    /// Those of the system below a root folder.
    pub fn below(root: &Path) -> Users {
        Users { root: root.to_owned() }
    }

    /// What a user is called; one without an entry goes by its number.
    pub fn name(&self, peer: Peer) -> String {
        let name = self.account(peer.uid).map(|account| account.name);
        name.unwrap_or_else(|| format!("uid {}", peer.uid))
    }

    /// Whether a user may choose. Root may always.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub fn may_choose(&self, peer: Peer, choosers: &Choosers) -> Result<(), String> {
        if peer.uid == 0 {
            return Ok(());
        }
        let (may, who) = match choosers {
            Choosers::Any => (true, String::new()),
            Choosers::Active => (self.has_session(peer), "users with a login session".to_owned()),
            Choosers::Group(group) => (self.is_member(peer, group), format!("members of group {group}")),
        };
        if may { Ok(()) } else { Err(format!("only {who} and root may decide; {} asks", self.name(peer))) }
    }

    fn account(&self, uid: u32) -> Option<Account> {
        let text = self.read("etc/passwd")?;
        text.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let is_it = fields.get(2)?.parse() == Ok(uid);
            let (name, gid) = (*fields.first()?, fields.get(3)?.parse().ok()?);
            let fits = !name.is_empty() && name.len() <= USER_BYTES_MAX;
            (is_it && fits).then(|| Account { name: name.to_owned(), gid })
        })
    }

    fn is_member(&self, peer: Peer, group: &str) -> bool {
        let account = self.account(peer.uid);
        let Some(text) = self.read("etc/group") else { return false };
        text.lines().any(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let (Some(name), Some(gid)) = (fields.first(), fields.get(2)) else { return false };
            let gid: Option<u32> = gid.parse().ok();
            let named = account.as_ref().is_some_and(|account| {
                let members = fields.get(3).copied().unwrap_or_default();
                Some(account.gid) == gid || members.split(',').any(|member| member == account.name)
            });
            *name == group && (named || Some(peer.gid) == gid)
        })
    }

    /// By logind where it runs, else by the record of sessions; a host that keeps neither lets any local user choose.
    fn has_session(&self, peer: Peer) -> bool {
        if let Ok(entries) = fs::read_dir(self.root.join(SESSIONS)) {
            return entries.flatten().any(|entry| {
                let name = entry.file_name();
                let path = Path::new(SESSIONS).join(&name);
                let is_session = !name.to_string_lossy().ends_with(".ref");
                is_session && self.read(&path).is_some_and(|text| is_users_session(&text, peer.uid))
            });
        }
        let Some(record) = UTMP.iter().find_map(|path| self.bytes(path).filter(|bytes| !bytes.is_empty()))
        else {
            return true;
        };
        let Some(account) = self.account(peer.uid) else { return false };
        in_record(&record, &account.name)
    }

    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        self.bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.root.join(path)).ok()?;
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// A session of a person, as opposed to one of a service or of the screen that asks for the password.
fn is_users_session(text: &str, uid: u32) -> bool {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value("UID").and_then(|found| found.parse().ok()) == Some(uid)
        && value("CLASS").is_none_or(|class| class.starts_with("user"))
        && value("STATE") != Some("closing")
}

fn in_record(record: &[u8], user: &str) -> bool {
    let Some(size) = UTMP_RECORD_BYTES.into_iter().find(|size| record.len().is_multiple_of(*size)) else {
        return false;
    };
    record.chunks_exact(size).any(|entry| {
        let name = &entry[UTMP_USER];
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        i16::from_le_bytes([entry[0], entry[1]]) == USER_PROCESS && name[..end] == *user.as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn host() -> (tempfile::TempDir, Users) {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\nbad line\nmia:x:1000:1000::/:\nbob:x:1001:50:::\n",
        );
        write(root.path(), "etc/group", "mia:x:1000:\nsales:x:60:bob,mia\nstaff:x:50:\n");
        let users = Users::below(root.path());
        (root, users)
    }

    const ROOT: Peer = Peer { uid: 0, gid: 0 };
    const MIA: Peer = Peer { uid: 1000, gid: 1000 };
    const BOB: Peer = Peer { uid: 1001, gid: 50 };
    const NOBODY: Peer = Peer { uid: 4711, gid: 4711 };

    #[test]
    fn users_go_by_their_names() {
        let (_root, users) = host();
        assert_eq!((users.name(MIA).as_str(), users.name(NOBODY).as_str()), ("mia", "uid 4711"));
    }

    #[test]
    fn groups_count_by_membership_and_by_the_users_own_group() {
        let (_root, users) = host();
        let may = |peer, group: &str| users.may_choose(peer, &Choosers::Group(group.into())).is_ok();
        assert!(may(MIA, "sales") && may(BOB, "sales") && may(BOB, "staff") && may(ROOT, "sales"));
        assert!(!may(NOBODY, "sales") && !may(MIA, "staff") && !may(MIA, "none") && !may(MIA, "mi"));
        let why = users.may_choose(MIA, &Choosers::Group("staff".into())).unwrap_err();
        assert_eq!(why, "only members of group staff and root may decide; mia asks");
        assert!(users.may_choose(NOBODY, &Choosers::Any).is_ok());
    }

    #[test]
    fn sessions_are_logind_s_else_the_record_s_else_not_looked_at() {
        let (root, users) = host();
        let may = |peer| users.may_choose(peer, &Choosers::Active).is_ok();
        assert!(may(MIA) && may(NOBODY) && may(ROOT), "no record of sessions: any local user");
        write(root.path(), "run/utmp", "");
        assert!(may(BOB), "an empty one is none");
        let mut entry = vec![0u8; 384];
        entry[0] = 7;
        entry[44..47].copy_from_slice(b"mia");
        let mut gone = entry.clone();
        gone[0] = 8;
        gone[44..47].copy_from_slice(b"bob");
        write(root.path(), "run/utmp", [entry, gone].concat());
        assert!(may(MIA) && !may(BOB) && !may(NOBODY) && may(ROOT));
        write(root.path(), "run/systemd/sessions/3", "UID=1001\nCLASS=user\nSTATE=online\n");
        write(root.path(), "run/systemd/sessions/c1", "UID=1000\nCLASS=greeter\nSTATE=active\n");
        write(root.path(), "run/systemd/sessions/4.ref", "UID=4711\nCLASS=user\n");
        assert!(may(BOB) && !may(MIA) && !may(NOBODY) && may(ROOT), "logind knows better");
    }
}
