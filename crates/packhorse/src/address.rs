//! What people write to name things: destinations and jobs.

use packhorse_domain::ids::{JobAddress, Name, PackageQuery};

use crate::failure::{Failure, Outcome};

const DESTINATIONS: &str =
    "a destination is a host's name, group:NAME, below:RELAY, all (all clients) or all+relays";

/// Checks the form of a destination; `option` is named in refusals (`--to`, `--for`). Whether it exists is the server's to say.
///
/// # Errors
/// What is wrong with it.
pub fn destination(option: &str, text: &str) -> Outcome<String> {
    let wrong = |why: String| Err(Failure::usage(format!("{option} {text:?}: {why}")).hint(DESTINATIONS));
    match text {
        "all" | "all+relays" => return Ok(text.to_owned()),
        "all-relays" if option == "--for" => return wrong("goes with --to".into()),
        "all-relays" => return wrong("is a destination of transfers only".into()),
        _ => {}
    }
    let name = match text.split_once(':') {
        Some(("below" | "group", name)) => name,
        Some((kind, _)) => return wrong(format!("{kind:?} is no kind of destination")),
        None => text,
    };
    match Name::for_host(name) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => wrong(error.to_string()),
    }
}

/// Checks the form of a transfer's destination.
///
/// # Errors
/// What is wrong with it.
pub fn relay(text: &str) -> Outcome<String> {
    if text == "all-relays" {
        return Ok(text.to_owned());
    }
    let hint = "a transfer goes to a relay's name or all-relays; --for takes whom the packages are for";
    let wrong = |why: String| Failure::usage(format!("--to {text:?}: {why}")).hint(hint);
    Name::for_host(text).map(|name| name.to_string()).map_err(|error| wrong(error.to_string()))
}

/// A job as it stands in a path of the API: `3`, or `osaka:3` for `osaka/3`.
///
/// # Errors
/// It is no job's address.
pub fn job_path(text: &str) -> Outcome<String> {
    let address: JobAddress = text
        .parse()
        .map_err(|error| Failure::usage(format!("{error}")).hint("`packhorse job list` shows the jobs"))?;
    Ok(match address.issuer {
        Some(issuer) => format!("{issuer}:{}", address.number),
        None => address.number.to_string(),
    })
}

/// Checks the form of a package's address.
///
/// # Errors
/// It is none.
pub fn package(text: &str) -> Outcome<String> {
    match text.parse::<PackageQuery>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Failure::usage(format!("package {text:?}: {error}"))
            .hint("write cabinet/name, cabinet/name@version or cabinet/name@version:generation; a ':' in a version is %3A")),
    }
}

/// A text as part of a URL's path or query.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        for good in ["pc17", "below:osaka", "all", "all+relays"] {
            assert_eq!(destination("--to", good).unwrap(), good);
        }
        for (bad, why) in [
            ("", "a name has"),
            ("pc 17", "a name is made of"),
            ("group:", "a name has"),
            ("all-relays", "transfers only"),
            ("beneath:osaka", "no kind of destination"),
            ("below:", "a name has"),
            ("server", "cannot be a name"),
            ("../x", "begins with"),
        ] {
            let failure = destination("--to", bad).unwrap_err();
            assert!(failure.message().contains(why), "{bad}: {}", failure.message());
        }
    }

    #[test]
    fn jobs() {
        for (text, path) in [("3", "3"), ("osaka/3", "osaka:3"), ("server/12", "server:12")] {
            assert_eq!(job_path(text).unwrap(), path);
        }
        for bad in ["", "x", "osaka/", "/3", "osaka:3", "-1", "3/osaka", "a b/3"] {
            assert!(job_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn packages_and_encoding() {
        assert!(package("office/editor@2.1:1").is_ok() && package("editor").is_ok());
        assert!(package("a/b/c").is_err() && package("").is_err());
        assert_eq!(encode("office/editor@2%3A1:1 ä"), "office%2Feditor%402%253A1%3A1%20%C3%A4");
    }
}
