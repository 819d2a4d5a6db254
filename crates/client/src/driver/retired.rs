//! A host that was retired: nobody serves it any more. By the managing server's own word it installs nothing from then on; an
//! installer that runs is let come to its end.

use packhorse_domain::agent::{Effect, Input, LineId};
use packhorse_wire::signed::RetiredDoc;
use serde_bytes::ByteBuf;

use super::Driver;
use crate::judge::{Judge, Refused};
use crate::store::Commit;

/// Whether a retired host still takes this in: what becomes of an installer that runs.
pub(super) fn still_counts(input: &Input) -> bool {
    matches!(
        input,
        Input::NotStarted(..)
            | Input::Exited(..)
            | Input::Checked(..)
            | Input::Recovered(..)
            | Input::Stopping
    )
}

/// Whether an effect only ends what has begun.
pub(super) fn is_ending(effect: &Effect) -> bool {
    !matches!(effect, Effect::Probe(_) | Effect::Obtain(_) | Effect::Install(_) | Effect::Send)
}

/// What a word that was kept says, if it counts: the machine may have joined anew since.
pub(super) fn kept(judge: &Judge, word: Option<&[u8]>, role: &str, certificate: u64) -> Option<String> {
    match judge.retired(word?) {
        Ok(doc) => doc.filter(|doc| counts(doc, certificate)).map(|doc| told(&doc, role)),
        Err(refused) => {
            tracing::warn!(text = refused.text, "the kept word that this host was retired counts no more");
            None
        }
    }
}

fn counts(doc: &RetiredDoc, certificate: u64) -> bool {
    doc.generation >= certificate
}

fn told(doc: &RetiredDoc, role: &str) -> String {
    let text = doc.sentence(role);
    tracing::error!("{text}");
    text
}

impl Driver {
    /// Takes words in: one about this host, and about a certificate as new as its own, ends its work.
    pub(super) fn words(&mut self, words: &[ByteBuf], commit: &mut Commit) -> Result<(), Refused> {
        for word in words {
            let Some(doc) = self.judge.retired(word)?.filter(|doc| counts(doc, self.certificate)) else {
                continue;
            };
            self.retired = Some(told(&doc, self.role));
            commit.retired = Some(word.to_vec());
        }
        Ok(())
    }

    /// What a retired host is taking in, or looking at, is given up.
    pub(super) fn end_what_is_coming(&mut self) {
        if self.retired.is_none() {
            return;
        }
        let coming: Vec<LineId> = self
            .running
            .iter()
            .filter(|(_, running)| !running.installs)
            .map(|(line, _)| line.clone())
            .collect();
        for line in coming {
            self.stop(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use packhorse_domain::agent::Exit;
    use packhorse_domain::ids::{JobKey, PackageId};
    use packhorse_domain::report::FailClass;

    use super::*;

    #[test]
    fn only_what_an_installer_does_comes_to_its_end() {
        let line = || LineId { job: JobKey::server(1, 1), place: 0, package: PackageId([1; 32]) };
        let exit = Exit {
            ok: true,
            code: Some(0),
            class: FailClass::Installer,
            text: String::new(),
            tail: String::new(),
            retries: 0,
        };
        assert!(still_counts(&Input::Exited(line(), exit)) && still_counts(&Input::Checked(line(), Ok(()))));
        assert!(!still_counts(&Input::Tick));
        assert!(is_ending(&Effect::Check(line())) && is_ending(&Effect::Recover(line())));
        assert!(!is_ending(&Effect::Obtain(line())) && !is_ending(&Effect::Install(line())));
    }
}
