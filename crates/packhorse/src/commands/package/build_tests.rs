use super::*;
use std::path::PathBuf;

const GOOD: &str = r#"[package]
name = "editor"
version = "2.1"
kind = "files"

[install]
to = "/opt/editor"
"#;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(recipe: &str) -> Place {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("editor")).unwrap();
        std::fs::write(dir.path().join("editor/packhorse.toml"), recipe).unwrap();
        std::fs::write(dir.path().join("editor/readme.txt"), "hello ".repeat(50_000)).unwrap();
        Place { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn build(&self, key: &SigningKey) -> Outcome<build::BuildStats> {
        build_file(&self.path("editor"), key, &self.path("editor.phk"))
    }

    fn check(&self, keys: &[PathBuf]) -> Outcome {
        check(&CheckArgs { file: self.path("editor.phk"), keys: keys.to_vec(), format: Default::default() })
    }
}

#[test]
fn what_is_built_is_in_order() {
    let place = Place::new(GOOD);
    let key_path = place.path("packager.key");
    super::super::super::key::new_key(&key_path).unwrap();
    let key = signing_key(&key_path).unwrap();
    let stats = place.build(&key).unwrap();
    assert_eq!(stats.plain_bytes, 300_000);
    place.check(&[]).unwrap();
    place.check(&[place.path("packager.pub")]).unwrap();
    assert_eq!(signers(&place.path("editor.phk")).unwrap(), [key.public().id().to_string()]);

    super::super::super::key::new_key(&place.path("other.key")).unwrap();
    let refused = place.check(&[place.path("other.pub")]).unwrap_err();
    assert!(refused.message().contains("0 of 1 needed signatures"), "{}", refused.message());
}

#[test]
fn a_flipped_bit_is_found() {
    let place = Place::new(GOOD);
    let key = SigningKey::generate().unwrap();
    place.build(&key).unwrap();
    let file = place.path("editor.phk");
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    std::fs::write(&file, &bad).unwrap();
    let refused = place.check(&[]).unwrap_err();
    assert!(refused.message().contains("editor.phk: byte "), "{}", refused.message());
    std::fs::write(&file, &good[..last]).unwrap();
    assert!(place.check(&[]).unwrap_err().message().contains("ended in the middle"));
    std::fs::write(&file, b"something else").unwrap();
    assert!(place.check(&[]).unwrap_err().message().contains("is no package file"));
}

#[test]
fn bad_recipes_are_refused_with_file_and_line() {
    let key = SigningKey::generate().unwrap();
    for (recipe, line, what) in [
        (GOOD.replace("kind = \"files\"", "kind = \"files\"\ncolour = 1"), 5, "colour"),
        (GOOD.replace("version = \"2.1\"\n", ""), 1, "version"),
        (GOOD.replace("\"2.1\"", "\"two\""), 3, "two"),
        (GOOD.replace("\"files\"", "\"rpm\""), 4, "not supported yet"),
        (GOOD.replace("/opt/editor", "../editor"), 7, "absolute"),
        (GOOD.replace("[install]", "[install]\nbefore = \"x.sh\""), 7, "before"),
        (format!("{GOOD}[conditions]\nos = [\"linux\"]\n"), 8, "conditions"),
        ("[package".to_owned(), 1, ""),
    ] {
        let place = Place::new(&recipe);
        let refused = place.build(&key).unwrap_err();
        let message = refused.message();
        assert!(message.contains(&format!("packhorse.toml:{line}: ")), "{message}");
        assert!(message.contains(what), "{message}");
        assert!(!place.path("editor.phk").exists());
    }
}

#[test]
fn a_link_out_of_the_package_is_refused() {
    let place = Place::new(GOOD);
    std::os::unix::fs::symlink("/etc/passwd", place.path("editor/link")).unwrap();
    let refused = place.build(&SigningKey::generate().unwrap()).unwrap_err();
    assert!(refused.message().contains("editor/link"), "{}", refused.message());
}

#[test]
fn a_folder_without_recipe_is_refused() {
    let place = Place::new(GOOD);
    std::fs::remove_file(place.path("editor/packhorse.toml")).unwrap();
    let refused = place.build(&SigningKey::generate().unwrap()).unwrap_err();
    assert!(refused.message().contains("packhorse.toml"), "{}", refused.message());
}

#[test]
fn a_package_is_not_written_into_what_is_packed() {
    let place = Place::new(GOOD);
    assert!(lies_in(&place.path("editor"), &place.path("editor")));
    assert!(!lies_in(folder_of(&place.path("editor.phk")), &place.path("editor")));
    assert!(!lies_in(folder_of(&place.path("x.phk")), &place.path("editor/readme.txt")));
}
