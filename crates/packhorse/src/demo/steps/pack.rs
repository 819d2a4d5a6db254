//! Packages this very program, in three versions that differ a little, and a small package of notes.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::cast::{OSAKA, early_below};
use super::super::narrator::Narrator;
use super::super::stage::Stage;
use crate::failure::Outcome;
use crate::render::table::size;

/// How long osaka takes to send its copies: long enough for one to be cut in the middle.
const COPIES_SECS: u64 = 7;
/// Bytes that are different in version 2, in the middle of the program.
const CHANGED_BYTES: usize = 64;

/// The packages.
#[derive(Debug)]
pub struct Packed {
    /// The cabinet.
    pub cabinet: &'static str,
    /// Their name.
    pub name: &'static str,
    /// Version 1's folder.
    pub first: PathBuf,
    /// Version 2's folder.
    pub second: PathBuf,
    /// Version 3's folder.
    pub third: PathBuf,
    /// The folder of a small package that is offered.
    pub notes: PathBuf,
    /// Version 1, plain.
    pub plain_bytes: u64,
    /// Version 1 as it travels.
    pub copy_bytes: u64,
}

/// Builds the folders and the package file of version 1, and measures it.
///
/// # Errors
/// They cannot be built.
pub async fn first(stage: &mut Stage, narrator: &Narrator) -> Outcome<Packed> {
    narrator.step("1  A package: this very program, kind files, signed by a packager's key")?;
    narrator.progress("packing");
    let (first, second, third) =
        (stage.path("packhorse-1"), stage.path("packhorse-2"), stage.path("packhorse-3"));
    let notes = stage.path("notes");
    let program = fs::read(std::env::current_exe()?)?;
    write_folder(&first, "1.0", &program, "The first version.\n")?;
    write_folder(&second, "2.0", &changed(&program), "The second version: a little different.\n")?;
    write_folder(&third, "3.0", &changed(&changed(&program)), "The third version.\n")?;
    write_notes(&notes)?;
    let key = stage.arg("packager.key");
    stage.command(&["key", "new", "--out", &key]).await?;
    let out = stage.arg("packhorse-1.phk");
    let folder = stage.arg("packhorse-1");
    stage.command(&["package", "build", &folder, "--key", &key, "--out", &out]).await?;
    let checked =
        stage.command(&["package", "check", &out, "--key", &stage.arg("packager.pub"), "--json"]).await?;
    let checked: serde_json::Value = serde_json::from_str(&checked)?;
    let number = |name: &str| checked[name].as_u64().unwrap_or(0);
    let packed = Packed {
        cabinet: "tools",
        name: "packhorse",
        first,
        second,
        third,
        notes,
        plain_bytes: number("size_bytes"),
        copy_bytes: fs::metadata(&out)?.len(),
    };
    let copies = 1 + early_below(OSAKA);
    stage.osaka_bytes_per_sec = packed.copy_bytes * copies / COPIES_SECS;
    narrator.fact(&format!(
        "packhorse@1.0: {} in {} chunks, packed to {}",
        size(packed.plain_bytes),
        number("chunks"),
        size(packed.copy_bytes)
    ))?;
    Ok(packed)
}

fn write_folder(folder: &Path, version: &str, program: &[u8], about: &str) -> Outcome {
    fs::create_dir_all(folder.join("bin"))?;
    fs::write(folder.join("bin/packhorse"), program)?;
    make_executable(&folder.join("bin/packhorse"))?;
    fs::write(folder.join("about.txt"), about)?;
    let recipe = format!(
        "[package]\nname = \"packhorse\"\nversion = \"{version}\"\nsummary = \"Packhorse itself\"\nkind = \"files\"\n\n\
         [install]\nto = \"/opt/packhorse\"\n\n[check]\nfile = \"/opt/packhorse/bin/packhorse\"\n"
    );
    Ok(fs::write(folder.join("packhorse.toml"), recipe)?)
}

/// A small package for an offer.
fn write_notes(folder: &Path) -> Outcome {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("notes.txt"), "What packhorses were: the best way over a mountain.\n")?;
    let recipe = "[package]\nname = \"notes\"\nversion = \"1.0\"\nsummary = \"Notes on packhorses\"\nkind = \"files\"\n\n\
                  [install]\nto = \"/opt/notes\"\n";
    Ok(fs::write(folder.join("packhorse.toml"), recipe)?)
}

fn make_executable(file: &Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o755))?)
}

/// A few bytes in the middle, and a few more at the end: as if a little had been mended.
fn changed(program: &[u8]) -> Vec<u8> {
    let mut program = program.to_vec();
    let middle = program.len() / 2;
    for byte in program.iter_mut().skip(middle).take(CHANGED_BYTES) {
        *byte = byte.wrapping_add(1);
    }
    program.extend_from_slice(b"a little different");
    program
}
