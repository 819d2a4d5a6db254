use super::*;

const GOOD: &str = r#"[package]
name = "editor"
version = "2.1"
kind = "files"

[install]
to = "/opt/editor"
"#;

fn check(text: &str) -> Result<Recipe, String> {
    parse(Path::new("packhorse.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn what_may_be_left_out_has_defaults() {
    let recipe = check(GOOD).unwrap();
    assert_eq!(
        recipe,
        Recipe {
            name: "editor".into(),
            version: "2.1".into(),
            version_order: VersionOrder::Semver,
            summary: String::new(),
            kind: Kind::Files,
            keep: Keep::Days(90),
            install: Install {
                to: Some("/opt/editor".into()),
                timeout_secs: 1800,
                retry: 0,
                timing: Timing::Now,
                install_at: None,
            },
            check_file: None,
        }
    );
}

#[test]
fn everything_supported_is_read() {
    let recipe = check(
        r#"[package]
name = "editor"
version = "1:2.1~rc1"
version_order = "deb"
summary = "Text editor for the office"
kind = "files"
keep = "2126-12-03"
[install]
to = "/opt/editor"
timeout = "2h"
retry = 3
install_at = "2026-12-01 07:00"
[check]
file = "/opt/editor/bin/editor"
"#,
    )
    .unwrap();
    assert_eq!((recipe.install.timeout_secs, recipe.install.retry), (7200, 3));
    assert_eq!(
        recipe.install.install_at.map(crate::timing::install_at_text).as_deref(),
        Some("2026-12-01 07:00")
    );
    assert_eq!(check(&with(8, "timing = \"stop\"")).unwrap().install.timing, Timing::Stop);
    assert_eq!(recipe.keep.to_string(), "2126-12-03");
    assert_eq!(recipe.check_file.as_deref(), Some("/opt/editor/bin/editor"));
}

/// Replaces a line of the good recipe (from 1), or adds one.
fn with(line: usize, new: &str) -> String {
    let mut lines: Vec<&str> = GOOD.lines().collect();
    if line <= lines.len() {
        lines[line - 1] = new;
    } else {
        lines.push(new);
    }
    lines.join("\n")
}

#[test]
fn refusals_say_where_and_what() {
    let table: &[(usize, &str, &str)] = &[
        (2, "nam = \"editor\"", "packhorse.toml:2: unknown key `package.nam`"),
        (2, "", "packhorse.toml:1: `package.name` is missing"),
        (2, "name = \"Editor\"", "packhorse.toml:2: `package.name`: \"Editor\" is no package name"),
        (2, "name = \"../x\"", "packhorse.toml:2: `package.name`"),
        (2, "name = 3", "packhorse.toml:2: `package.name` must be a text"),
        (3, "version = \"two\"", "packhorse.toml:3: `package.version`: 'two' is not a version"),
        (
            3,
            "version = \"1.0\"\nversion_order = \"rpm\"",
            "packhorse.toml:4: `package.version_order`: version_order \"rpm\" is not supported yet",
        ),
        (3, "", "packhorse.toml:1: `package.version` is missing"),
        (4, "kind = \"rpm\"", "packhorse.toml:4: `package.kind`: kind \"rpm\" is not supported yet"),
        (4, "kind = \"zip\"", "packhorse.toml:4: `package.kind`: kind \"zip\" is unknown"),
        (4, "kind = \"deb\"", "packhorse.toml:7: `install.to` is only for kind files"),
        (5, "keep = \"0d\"", "packhorse.toml:5: `package.keep`"),
        (5, "keep = \"99999d\"", "packhorse.toml:5: `package.keep`"),
        (5, "keep = \"2026-13-40\"", "packhorse.toml:5: `package.keep`"),
        (5, "keep = \"forever\"", "packhorse.toml:5: `package.keep`"),
        (5, "keep = \"2026-01-31\"", "packhorse.toml:5: `package.keep`: keep \"2026-01-31\" is in the past"),
        (7, "to = \"opt/editor\"", "packhorse.toml:7: `install.to`"),
        (7, "to = \"/opt/../etc\"", "packhorse.toml:7: `install.to`"),
        (7, "to = \"/\"", "packhorse.toml:7: `install.to`"),
        (7, "", "packhorse.toml:6: `install.to` is missing"),
        (8, "timeout = \"400d\"", "packhorse.toml:8: `install.timeout`"),
        (8, "timeout = \"0s\"", "packhorse.toml:8: `install.timeout`"),
        (8, "timeout = \"é\"", "packhorse.toml:8: `install.timeout`"),
        (8, "timeout = 30", "packhorse.toml:8: `install.timeout` must be a text"),
        (8, "retry = 1000", "packhorse.toml:8: `install.retry` must be a whole number from 0 to 100"),
        (8, "timing = \"later\"", "packhorse.toml:8: `install.timing`: timing \"later\" is not known"),
        (
            8,
            "install_at = \"07:00\"",
            "packhorse.toml:8: `install.install_at`: install_at \"07:00\" is not a time",
        ),
        (
            8,
            "timing = \"start\"\ninstall_at = \"2026-12-01 07:00\"",
            "packhorse.toml:9: timing \"start\" and install_at exclude each other",
        ),
        (8, "retry = -1", "packhorse.toml:8: `install.retry`"),
        (8, "restart = \"ask\"", "packhorse.toml:8: `install.restart` is not supported yet"),
        (8, "before = \"hooks/x.sh\"", "packhorse.toml:8: `install.before` is not supported yet"),
        (8, "[conditions]\nos = [\"linux\"]", "packhorse.toml:8: `conditions` is not supported yet"),
        (8, "[check]\nfile = \"bin/editor\"", "packhorse.toml:9: `check.file`"),
        (8, "[check]\nhash = \"x\"", "packhorse.toml:9: unknown key `check.hash`"),
        (8, "[extra]", "packhorse.toml:8: unknown key `extra`"),
        (8, "to = \"/again\"", "packhorse.toml:8: "),
        (8, "retry = ", "packhorse.toml:8: "),
    ];
    for (line, new, expected) in table {
        let error = check(&with(*line, new)).expect_err(new);
        assert!(error.starts_with(expected), "{new}\n  expected {expected}\n  got      {error}");
    }
}

#[test]
fn all_not_yet_keys_are_named() {
    for key in NOT_YET_INSTALL {
        let error = check(&with(8, &format!("{key} = \"x\""))).expect_err(key);
        assert!(error.contains("not supported yet"), "{error}");
    }
}

#[test]
fn an_absurd_recipe_is_not_read() {
    let error = check(&"#".repeat(300_000)).unwrap_err();
    assert!(error.starts_with("packhorse.toml:1: has 300000 bytes"), "{error}");
}
