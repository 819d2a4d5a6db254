use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ids::GroupId;

#[derive(Default)]
struct Seen {
    facts: BTreeMap<&'static str, &'static str>,
    below: Vec<HostId>,
    groups: Vec<GroupId>,
}

impl Host for Seen {
    fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).copied()
    }

    fn is_below(&self, relay: &HostId) -> bool {
        self.below.contains(relay)
    }

    fn is_member(&self, group: &GroupId) -> bool {
        self.groups.contains(group)
    }
}

fn seen() -> Seen {
    let facts = [
        ("os", "linux"),
        ("os_id", "debian"),
        ("os_version", "12.4"),
        ("kernel", "6.8.0-45-generic"),
        ("cpus", "8"),
        ("disk_free", "20400000000"),
        ("zone", "Asia/Tokyo"),
    ];
    Seen { facts: facts.into(), below: vec![HostId([1; 16])], groups: vec![GroupId([2; 16])] }
}

fn judge(text: &str) -> Truth {
    Condition::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).judge(&seen())
}

#[test]
fn what_holds_and_what_does_not() {
    let below = format!("below #{}", HostId([1; 16]));
    let elsewhere = format!("below #{}", HostId([9; 16]));
    let group = format!("group #{}", GroupId([2; 16]));
    let long = format!("os = linux and disk_free > 20GB and {below}");
    for text in [
        "os = linux",
        "os = Linux",
        "os == \"linux\"",
        "os != windows",
        "disk_free > 20GB",
        "disk_free > 20 GB",
        "disk_free >= 20.4gb",
        "disk_free < 19 GiB or disk_free >= 19GiB",
        "cpus >= 8 and cpus <= 8 and not cpus < 8",
        "kernel > 6",
        "kernel > 6.5",
        "kernel < 6.10",
        "kernel >= 6.8",
        "os_version = 12.4",
        "os_version = 12.4.0",
        "os_version > 9",
        "os_id in (rhel, debian)",
        "os_id not in (rhel, fedora)",
        "has zone",
        "not has colour",
        "zone = Asia/Tokyo",
        "(os = windows or os = linux) and has zone",
        "NOT os = windows AND has os",
        &below,
        &group,
        &long,
    ] {
        assert_eq!(judge(text), Truth::True, "{text}");
        assert_eq!(judge(&format!("not ({text})")), Truth::False, "{text}");
    }
    assert_eq!(judge(&elsewhere), Truth::False);
}

#[test]
fn what_is_not_known_is_neither_true_nor_false() {
    for text in ["colour = red", "colour != red", "colour in (red)", "colour > 3", "os > 3", "zone >= 1.2"] {
        assert_eq!(judge(text), Truth::Unknown, "{text}");
        assert_eq!(judge(&format!("not {text}")), Truth::Unknown, "{text}");
    }
    assert_eq!(judge("colour = red and os = windows"), Truth::False);
    assert_eq!(judge("colour = red and os = linux"), Truth::Unknown);
    assert_eq!(judge("colour = red or os = linux"), Truth::True);
    assert_eq!(judge("colour = red or os = windows"), Truth::Unknown);
    assert_eq!(judge("below osaka"), Truth::Unknown);
}

#[test]
fn errors_say_the_column_and_what_was_expected() {
    for (text, column, says) in [
        ("", 1, "expected the name of a fact"),
        ("os", 3, "expected a comparison or 'in' after 'os', found the end"),
        ("os = ", 6, "expected a value after '=', found the end"),
        ("os = linux disk_free > 1", 12, "expected 'and', 'or' or the end, found 'disk_free'"),
        ("os = linux and", 15, "found the end"),
        ("os > linux", 4, "'>' needs a number, a size or a version"),
        ("(os = linux", 12, "expected 'and', 'or' or ')'"),
        ("os = linux)", 11, "')' without a '('"),
        ("os in linux", 7, "expected '(' after 'in'"),
        ("os in (linux", 13, "expected ',' or ')'"),
        ("os in ()", 8, "expected a value, found ')'"),
        ("Os = linux", 1, "is not the name of a fact"),
        ("os = 'linux'", 6, "double quotes"),
        ("os = \"linux", 6, "does not end"),
        ("a = 1 && b = 2", 7, "'&' is written 'and'"),
        ("!os = linux", 1, "'!' is written 'not'"),
        ("below", 6, "expected a relay's name after 'below'"),
        ("below -x", 7, "a name is made of"),
        ("group #12", 7, "expected 32 hexadecimal digits"),
        ("os = and", 6, "expected a value after '=', found 'and'"),
        ("disk_free > 99999999999TB", 13, "is not a size that can be"),
        ("os not linux", 8, "expected 'in' after 'not'"),
        ("os ; linux", 4, "';' does not belong here"),
    ] {
        let error = Condition::parse(text).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(says), "{text}: {error}");
    }
}

#[test]
fn there_are_limits() {
    let bad = |text: &str| Condition::parse(text).expect_err("too much").message;
    assert!(bad(&"x".repeat(5000)).contains("at most 4096"));
    assert!(bad(&format!("{}a = 1", "not ".repeat(40))).contains("more than 32 deep"));
    assert!(bad(&format!("{}a = 1{}", "(".repeat(40), ")".repeat(40))).contains("more than 32 deep"));
    assert!(bad(&vec!["a = 1"; 257].join(" or ")).contains("more than 256 tests"));
    assert!(bad(&format!("a in ({})", vec!["1"; 300].join(","))).contains("more than 256 tests"));
}

#[test]
fn names_become_ids_and_groups_conditions() {
    let written = Condition::parse("below osaka and not group sales").unwrap();
    let mut relay = |name: &Name| match name.as_str() {
        "osaka" => Ok(HostId([1; 16])),
        other => Err(other.to_owned()),
    };
    let mut group = |_: &Name| Condition::parse("os = linux or os = bsd").map_err(|error| error.to_string());
    let resolved = written.resolve(&mut relay, &mut group).unwrap();
    let text = format!("below #{} and not (os = linux or os = bsd)", HostId([1; 16]));
    assert_eq!(resolved.to_string(), text);
    assert_eq!(Condition::parse_signed(&text), Ok(resolved));
    assert!(Condition::parse_signed("below osaka").is_err());
    let nowhere = Condition::parse("below kyoto").unwrap().resolve(&mut relay, &mut group);
    assert_eq!(nowhere, Err("kyoto".to_owned()));
}

#[test]
fn it_says_what_was_found() {
    let condition =
        Condition::parse("os = linux and (disk_free > 30GB or colour = red) and os != bsd").unwrap();
    assert_eq!(condition.found(&seen()), "os linux, disk_free 20.4GB, colour is not known");
    assert_eq!(condition.facts().collect::<Vec<_>>(), ["os", "disk_free", "colour", "os"]);
}

#[test]
fn it_is_printed_one_way() {
    for (text, printed) in [
        ("((os=linux))and(cpus>4)", "os = linux and cpus > 4"),
        ("a = 1 and (b = 2 and c = 3)", "a = 1 and b = 2 and c = 3"),
        ("(a = 1 or b = 2) and c = 3", "(a = 1 or b = 2) and c = 3"),
        ("a = 1 or (b = 2 and c = 3)", "a = 1 or b = 2 and c = 3"),
        ("not (a = 1 and b = 2)", "not (a = 1 and b = 2)"),
        ("a > 1.5 GB and b > 2048 KiB", "a > 1500MB and b > 2MiB"),
        ("a = \"x y\\\"z\" and b = \"12\"", "a = \"x y\\\"z\" and b = \"12\""),
        ("a = \"and\" and b = -5 and c = 0B", "a = \"and\" and b = -5 and c = 0B"),
        ("a not in (1,2.0,x)", "not a in (1, 2.0, x)"),
    ] {
        assert_eq!(Condition::parse(text).unwrap().to_string(), printed);
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[ -~é]{0,12}".prop_map(Value::Text),
        any::<i64>().prop_map(Value::Number),
        any::<u64>().prop_map(Value::Size),
        (any::<u64>(), 0u32..3).prop_map(|(n, zeros)| Value::Size((n >> 24) * 1000u64.pow(zeros))),
        "[0-9]{1,3}\\.[0-9]{1,3}(-rc[0-9])?".prop_map(Value::Version),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let fact = || "x[a-z0-9_]{0,6}";
    let named = || {
        prop_oneof![
            any::<[u8; 16]>().prop_map(Named::Id),
            "[a-z][a-z0-9.-]{0,6}".prop_map(|name| Named::Name(Name::new(&name).unwrap())),
        ]
    };
    let test = prop_oneof![
        (fact(), prop::sample::select(&Op::ALL[..]), value()).prop_map(|(fact, op, value)| {
            let op = if value.has_order() { op } else { Op::Equal };
            Condition::Compare { fact, op, value }
        }),
        (fact(), prop::collection::vec(value(), 1..4))
            .prop_map(|(fact, values)| Condition::OneOf { fact, values }),
        fact().prop_map(Condition::Has),
        named().prop_map(Condition::Below),
        named().prop_map(Condition::Group),
    ];
    test.prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::all),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::any),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(condition in condition()) {
        let text = condition.to_string();
        prop_assert_eq!(parse::parse(&text, Bounds::SIGNED), Ok(condition), "{}", text);
    }

    #[test]
    fn no_text_upsets_the_parser(text in "[a-z0-9 ()=<>!,\"\\\\.#é-]{0,60}") {
        if let Ok(condition) = Condition::parse(&text) {
            let again = Condition::parse(&condition.to_string());
            prop_assert_eq!(again, Ok(condition));
        }
    }

    #[test]
    fn not_turns_what_is_known(condition in condition()) {
        let host = seen();
        let turned = Condition::Not(Box::new(condition.clone())).judge(&host);
        prop_assert_eq!(turned, !condition.judge(&host));
    }

    #[test]
    fn versions_are_in_one_order(a in "[0-9]{1,3}(\\.[0-9a-c]{1,2}){0,3}", b in "[0-9]{1,3}(\\.[0-9a-c]{1,2}){0,3}") {
        let less = Value::Version(b.clone()).holds(Op::Less, &a);
        let more = Value::Version(a).holds(Op::More, &b);
        prop_assert_eq!(less, more);
        prop_assert!(less.is_some());
    }
}
