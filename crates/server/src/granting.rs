//! How something more is granted to a relay. A grant takes the place of the one before, and what it leaves out stops: so the
//! command that is named carries all that was granted, and what is missing beside it.

use packhorse_wire::signed::DelegationDoc;

/// What a relay lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacks<'a> {
    /// That it counts, with what it was for.
    Force,
    /// A type of jobs.
    Type(&'a str),
    /// A cabinet, or a packager of it.
    Cabinet(&'a str),
}

/// The command that grants it. `standing`: what was granted last.
pub fn command(relay: &str, standing: Option<&DelegationDoc>, lacks: Lacks<'_>) -> String {
    let mut words: Vec<String> = Vec::new();
    let granted = |word: &str| standing.is_some_and(|doc| doc.job_types.iter().any(|known| known == word));
    for word in ["install", "offer"] {
        let lacking = match lacks {
            Lacks::Type(lacking) => lacking == word,
            Lacks::Force => standing.is_none(),
            Lacks::Cabinet(_) => false,
        };
        if granted(word) || lacking {
            words.push(format!("--{word}"));
        }
    }
    let cabinets = || standing.into_iter().flat_map(|doc| &doc.cabinets).map(|cabinet| cabinet.name.as_str());
    words.extend(cabinets().map(|name| format!("--cabinet {name}")));
    let mut note = "";
    if let Lacks::Cabinet(name) = lacks {
        if cabinets().all(|known| known != name) {
            words.push(format!("--cabinet {name}"));
        }
        words.push("--key packager.pub".to_owned());
        if cabinets().next().is_some() {
            note =
                ", with a --key for every packager of these cabinets (they take the place of those before)";
        }
    }
    format!("packhorse relay grant {relay} {}{note}, at the managing server", words.join(" "))
}

#[cfg(test)]
mod tests {
    use packhorse_wire::bytes::Fixed;
    use packhorse_wire::signed::{DELEGATION_VERSION, DelegatedCabinet};

    use super::*;

    fn doc(job_types: &[&str], cabinets: &[&str]) -> DelegationDoc {
        let cabinet = |name: &&str| DelegatedCabinet { name: (*name).to_owned(), keys: vec![Fixed([3; 32])] };
        DelegationDoc {
            v: DELEGATION_VERSION,
            relay: Fixed([1; 16]),
            name: "osaka".to_owned(),
            key: Fixed([2; 32]),
            job_types: job_types.iter().map(|word| (*word).to_owned()).collect(),
            cabinets: cabinets.iter().map(cabinet).collect(),
            revision: 1,
            expires: 1,
            revoked: false,
        }
    }

    #[test]
    fn whoever_obeys_loses_nothing() {
        let has = |standing: Option<&DelegationDoc>, lacks| {
            let told = command("osaka", standing, lacks);
            let begins = told.strip_prefix("packhorse relay grant osaka ").expect("the command");
            begins.split_once(',').expect("where").0.to_owned()
        };
        let site = doc(&["install"], &["own", "test"]);
        assert_eq!(has(None, Lacks::Force), "--install --offer");
        assert_eq!(has(Some(&site), Lacks::Force), "--install --cabinet own --cabinet test");
        assert_eq!(has(Some(&site), Lacks::Type("offer")), "--install --offer --cabinet own --cabinet test");
        assert_eq!(has(Some(&doc(&["offer"], &[])), Lacks::Type("install")), "--install --offer");
        let first = has(Some(&doc(&["install", "offer"], &[])), Lacks::Cabinet("NAME"));
        assert_eq!(first, "--install --offer --cabinet NAME --key packager.pub");
        let more = command("osaka", Some(&site), Lacks::Cabinet("NAME"));
        assert!(more.contains("--install --cabinet own --cabinet test --cabinet NAME --key packager.pub"));
        // One key would take the place of all that they have.
        assert!(more.contains("a --key for every packager of these cabinets"), "{more}");
        let packager = has(Some(&doc(&[], &["own"])), Lacks::Cabinet("own"));
        assert_eq!(packager, "--cabinet own --key packager.pub");
    }
}
