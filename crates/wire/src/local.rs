//! The protocol over the agent's local socket: one request and one answer, each a line of JSON of at most
//! [`LINE_BYTES_MAX`] bytes. Who asks is taken from the socket, never from the request.

use serde::{Deserialize, Serialize};

/// Longest line in bytes.
pub const LINE_BYTES_MAX: usize = 256 << 10;

/// What a user on the host may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum LocalRequest {
    /// Who am I, what waits and why.
    Status,
    /// Ask the higher system now.
    Sync,
    /// What may I choose, and what may I put off?
    Offers,
    /// I want it: now, or at that time. Also changes the time of a choice that has not begun.
    Choose {
        /// Which offer: the id that `Offers` answered.
        offer: String,
        /// When, RFC 3339; `None`: now.
        at: Option<String>,
    },
    /// I do not want it; or, of something chosen that has not begun, not any more: then it is only offered again.
    Reject {
        /// Which offer.
        offer: String,
        /// Take a choice back instead of rejecting the offer.
        withdraw: bool,
    },
    /// Not now: an install that allows it.
    Postpone {
        /// Which, as in `Offers`.
        offer: String,
        /// To when, RFC 3339; `None`: the agent's usual time.
        #[serde(default)]
        until: Option<String>,
    },
    /// The system is about to stop: install what is held for that. Root only.
    Stopping,
}

/// The agent's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum LocalResponse {
    /// To `Status`.
    Status(Box<LocalStatus>),
    /// To `Sync`: the higher system has answered (or not: why).
    Synced {
        /// Orders that came.
        orders: u64,
        /// Why not, if it did not answer.
        error: Option<String>,
    },
    /// To `Offers`.
    Offers {
        /// The newest job first.
        offers: Vec<LocalOffer>,
    },
    /// To `Choose`, `Reject` and `Postpone`: how it stands now.
    Changed(Box<LocalOffer>),
    /// To `Stopping`: it is done.
    Stopped {
        /// How many packages were held for it.
        installed: u64,
    },
    /// Not done.
    Refused {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// The agent in a few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalStatus {
    /// Its name.
    pub name: String,
    /// Its id, hexadecimal.
    pub id: String,
    /// `client` or `relay`.
    pub role: String,
    /// Name of its higher system.
    pub higher: String,
    /// The systems it may call, in order; empty: the one it joined.
    #[serde(default)]
    pub calls: Vec<String>,
    /// It calls its higher system by itself: since when and why, as one sentence.
    #[serde(default)]
    pub fallback: Option<String>,
    /// Where that is.
    pub url: String,
    /// Connected now.
    pub online: bool,
    /// Last answer, RFC 3339; `None`: never.
    pub last_contact: Option<String>,
    /// Why the higher system does not serve it, as one sentence: not reached, refused, held as one of two machines.
    #[serde(default)]
    pub trouble: Option<String>,
    /// The certificate's end, RFC 3339.
    pub certificate_until: String,
    /// Reports that the managing server has not receipted.
    pub unreceipted: u64,
    /// What waits or is being worked on.
    pub lines: Vec<LocalLine>,
    /// What is installed by Packhorse: `cabinet/name@version:generation`.
    pub installed: Vec<String>,
}

/// A line at the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalLine {
    /// `server/3`.
    pub job: String,
    /// `cabinet/name@version:generation`.
    pub package: String,
    /// The attempt.
    pub attempt: u32,
    /// The state's word.
    pub state: String,
    /// Why it waits, as one sentence.
    pub reason: Option<String>,
    /// How much of the package is there.
    pub percent: Option<u8>,
}

/// Something the user may decide on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalOffer {
    /// Names it in a request.
    pub id: String,
    /// `server/3`.
    pub job: String,
    /// `offer`, or `install` for what may be put off.
    pub kind: String,
    /// `cabinet/name@version:generation`.
    pub package: String,
    /// The name alone.
    pub name: String,
    /// The version alone.
    pub version: String,
    /// What it is, in the packager's words; empty until the manifest is known.
    pub summary: String,
    /// Size of its content, bytes.
    pub size_bytes: u64,
    /// Bytes that would have to come, given what is here.
    pub missing_bytes: Option<u64>,
    /// The system it would come from.
    pub from: String,
    /// About how long that takes, in seconds, by the measured rate; `None`: nothing measured yet.
    pub takes_secs: Option<u64>,
    /// `offered`, `chosen`, `rejected`, or the state's word once it goes on.
    pub state: String,
    /// Chosen for then, RFC 3339.
    pub chosen_for: Option<String>,
    /// Until when it may be chosen, or put off; RFC 3339.
    pub until: String,
    /// From when it is installed without being chosen, RFC 3339.
    pub required_from: Option<String>,
    /// How often it may still be put off.
    pub postpones_left: u32,
    /// Why it waits, as one sentence.
    pub reason: Option<String>,
    /// Whether the user who asks may decide; why not, otherwise, stands in `reason`.
    pub may_choose: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_goes_over_the_socket_and_back() {
        let offer = LocalOffer {
            id: "1".into(),
            job: "server/3".into(),
            kind: "offer".into(),
            package: "main/editor@1:1".into(),
            name: "editor".into(),
            version: "1".into(),
            summary: String::new(),
            size_bytes: 1,
            missing_bytes: None,
            from: "osaka".into(),
            takes_secs: None,
            state: "offered".into(),
            chosen_for: None,
            until: "2026-12-01T00:00:00Z".into(),
            required_from: None,
            postpones_left: 0,
            reason: None,
            may_choose: true,
        };
        for answer in [
            LocalResponse::Offers { offers: vec![offer.clone()] },
            LocalResponse::Changed(Box::new(offer)),
            LocalResponse::Synced { orders: 1, error: None },
            LocalResponse::Stopped { installed: 1 },
            LocalResponse::Refused { message: "no".into(), hint: None },
        ] {
            let text = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<LocalResponse>(&text).unwrap(), answer);
        }
        let asked: LocalRequest = serde_json::from_str(r#"{"ask":"postpone","offer":"1"}"#).unwrap();
        assert_eq!(asked, LocalRequest::Postpone { offer: "1".into(), until: None });
    }
}
