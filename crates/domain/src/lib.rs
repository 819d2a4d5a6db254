//! What Packhorse decides, without doing any of it.
//!
//! No IO, no clock, no async, no serde, no chance: every function takes what it needs (`now` included) and answers what
//! should be written, sent and done. `server` and `client` execute the answers; `sim` runs the very same functions over a
//! store double. Where a rule comes from the design, its section is named.
//!
//! | file | what it decides |
//! |---|---|
//! | [`ids`], [`time`], [`version`] | names, ids, instants, the order of versions |
//! | [`facts`], [`condition`] | what hosts say of themselves, and conditions on it |
//! | [`place`] | where a host stands, its memberships |
//! | [`job`] | what a job asks, its revisions, whom its destination clauses mean |
//! | [`merkle`] | proofs that a host is in a signed list |
//! | [`instruction`] | the one table of states |
//! | [`reason`] | the closed list of reasons why something waits |
//! | [`report`] | what systems say upwards |
//! | [`feed`], [`outbox`] | numbered orders down, numbered reports up |
//! | [`ingest`] | what a system does with reports from below |
//! | [`planner`] | one job × one direct lower system → the order for it |
//! | [`agent`] | the client: from an order to a result, through every restart |
//! | [`calling`] | which of the systems it may call a host calls |
//! | [`delegated`] | what a relay may issue, and whether a job of its counts |
//! | [`line`](mod@line) | what a relay's line to its higher system may carry at a time |
//! | [`lease`], [`room`] | keeping time of a relay's copies; who may write how much, and what gives way |
//! | [`transfer`] | the job type: what it asks of each system, when it is done |
//! | [`fetch`] | which chunks to ask for next |
//! | [`twins`] | one machine or two under one name |

pub mod agent;
pub mod calling;
pub mod condition;
pub mod delegated;
pub mod facts;
pub mod feed;
pub mod fetch;
pub mod ids;
pub mod ingest;
pub mod instruction;
pub mod job;
pub mod lease;
pub mod line;
pub mod merkle;
pub mod outbox;
pub mod place;
pub mod planner;
pub mod reason;
pub mod report;
pub mod room;
pub mod time;
pub mod transfer;
pub mod twins;
pub mod version;
