//! Building: the same folder gives the same package; what no package can hold is refused by name.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use fastcdc::v2020::FastCDC;
use packhorse_content::build::{CHUNK_AVG_BYTES, CHUNK_MAX_BYTES, CHUNK_MIN_BYTES, build};
use packhorse_content::manifest::{Kind, Manifest};
use packhorse_content::phk::{self, PhkError, PhkReader};
use packhorse_domain::fetch::RangeSet;

use super::util::{self, editor, noise, pack, write};

#[test]
fn the_same_folder_gives_the_same_package() {
    let (one, two) = (editor("1.0"), editor("1.0"));
    let (one, two) = (pack(one.path()), pack(two.path()));
    assert_eq!(one.built.payload(), two.built.payload());
    assert_eq!(one.manifest.id(), two.manifest.id());
    let other = editor("1.1");
    assert_ne!(one.manifest.id(), pack(other.path()).manifest.id());
}

/// If this fails, every package built from now on shares nothing with those built before.
#[test]
fn cut_points_are_golden() {
    let bytes = noise(1_000_000, 7);
    let cuts: Vec<usize> = FastCDC::new(&bytes, CHUNK_MIN_BYTES, CHUNK_AVG_BYTES, CHUNK_MAX_BYTES)
        .map(|chunk| chunk.offset + chunk.length)
        .collect();
    assert_eq!(cuts, GOLDEN);
    let dir = tempfile::tempdir().unwrap();
    util::recipe(dir.path(), "1");
    write(dir.path(), "file", &bytes, 0o644);
    let lengths = pack(dir.path()).manifest.chunk_lengths();
    let from_stream: Vec<usize> = lengths
        .iter()
        .scan(0, |end, &len| {
            *end += len as usize;
            Some(*end)
        })
        .collect();
    assert_eq!(from_stream, GOLDEN);
}

const GOLDEN: &[usize] = &[
    155_809, 224_692, 302_523, 471_066, 545_371, 614_088, 647_999, 754_452, 789_170, 823_013, 913_934,
    933_175, 952_754, 1_000_000,
];

#[test]
fn equal_content_is_kept_once() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let stats = package.built.stats();
    assert_eq!(package.manifest.plain_bytes(), stats.plain_bytes);
    assert_eq!(package.manifest.unique_bytes(), stats.unique_bytes);
    assert!(stats.unique_bytes + 300_000 < stats.plain_bytes, "{stats:?}");
    assert!(stats.packed_bytes < 1_050_000, "text and zeros compress: {stats:?}");
}

#[test]
fn a_package_file_is_checked_whole() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let file = package.dir.path().join("x.phk");
    let public = package.key.public();
    let trusted = |id: &packhorse_wire::envelope::KeyId| (*id == public.id()).then_some(public);
    let checked = phk::check(&file, Some(&trusted)).unwrap();
    assert_eq!(checked.packed_bytes, package.built.stats().packed_bytes);
    assert!(matches!(phk::check(&file, Some(&|_| None)), Err(PhkError::Envelope { .. })));

    let good = fs::read(&file).unwrap();
    let refused = |bytes: &[u8]| {
        let bad = package.dir.path().join("bad.phk");
        fs::write(&bad, bytes).unwrap();
        phk::check(&bad, Some(&trusted)).unwrap_err()
    };
    // Every region: magic, length, envelope, first frame, last byte.
    for at in [0, 9, 40, good.len() - 500_000, good.len() - 1] {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        refused(&flipped);
    }
    for len in [0, 5, 12, 300, good.len() / 2, good.len() - 1] {
        refused(&good[..len]);
    }
    let longer = [good.as_slice(), b"x"].concat();
    assert!(refused(&longer).to_string().contains("goes on"), "{}", refused(&longer));
}

#[test]
fn frames_are_read_by_range() {
    let folder = editor("1.0");
    let package = pack(folder.path());
    let mut reader = PhkReader::open(&package.dir.path().join("x.phk")).unwrap();
    let wanted: RangeSet = [1..3, 5..6].into_iter().collect();
    let firsts: Vec<u32> = reader.frames(wanted).unwrap().map(|frame| frame.unwrap().header.first).collect();
    assert_eq!(firsts, [1, 2, 5]);
}

fn refusal(prepare: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    util::recipe(dir.path(), "1.0");
    write(dir.path(), "file", b"x", 0o644);
    prepare(dir.path());
    build(dir.path(), dir.path(), |_| ()).unwrap_err().to_string()
}

#[test]
fn unfit_files_are_refused_by_name() {
    let error = refusal(|dir| symlink("/etc/passwd", dir.join("evil")).unwrap());
    assert!(error.contains("evil") && error.contains("outside the package"), "{error}");
    let error = refusal(|dir| symlink("../..", dir.join("evil")).unwrap());
    assert!(error.contains("outside the package"), "{error}");
    let error =
        refusal(|dir| fs::set_permissions(dir.join("file"), fs::Permissions::from_mode(0o4755)).unwrap());
    assert!(error.contains("setuid"), "{error}");
    let error = refusal(|dir| {
        std::os::unix::net::UnixListener::bind(dir.join("sock")).unwrap();
    });
    assert!(error.contains("is a socket"), "{error}");
    let error = refusal(|dir| write(dir, "a\nb", b"", 0o644));
    assert!(error.contains("control character"), "{error}");
    let error = refusal(|dir| write(dir, "packhorse.toml", b"[package]\nname = 3\n", 0o644));
    assert!(error.contains("packhorse.toml:"), "{error}");
    let error = refusal(|dir| fs::remove_file(dir.join("packhorse.toml")).unwrap());
    assert!(error.contains("packhorse.toml: is missing"), "{error}");
    let error = refusal(|dir| fs::remove_file(dir.join("file")).unwrap());
    assert!(error.contains("nothing to install"), "{error}");
}

const CONTROL: &str = "Package: hello\nVersion: 1:2.10-3\nArchitecture: amd64\nDepends: libc6 (>= 2.34),\n libfoo\n\
                       Pre-Depends: dpkg\nDescription: greets\n the world\n";

fn deb(control: &str, compress: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(control.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "./control", control.as_bytes()).unwrap();
    let tar = tar.into_inner().unwrap();
    let packed = match compress {
        "gz" => {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gz, &tar).unwrap();
            gz.finish().unwrap()
        }
        "xz" => liblzma::encode_all(tar.as_slice(), 1).unwrap(),
        _ => zstd::encode_all(tar.as_slice(), 1).unwrap(),
    };
    let mut out = ar::Builder::new(Vec::new());
    let mut member = |name: &str, content: &[u8]| {
        let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        out.append(&header, content).unwrap();
    };
    member("debian-binary", b"2.0\n");
    member(&format!("control.tar.{compress}"), &packed);
    member("data.tar.xz", &noise(100_000, 3));
    out.into_inner().unwrap()
}

#[test]
fn a_deb_says_what_it_is() {
    for compress in ["gz", "xz", "zst"] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("whatever_1.deb");
        fs::write(&file, deb(CONTROL, compress)).unwrap();
        let built = build(&file, dir.path(), |_| ()).unwrap();
        let manifest: &Manifest = built.manifest();
        assert_eq!((manifest.name(), manifest.version(), manifest.kind()), ("hello", "1:2.10-3", Kind::Deb));
        assert_eq!((manifest.summary(), manifest.keep().to_string().as_str()), ("greets", "90d"));
        let facts = manifest.deb().unwrap();
        assert_eq!(
            (facts.architecture.as_str(), facts.depends.as_str()),
            ("amd64", "libc6 (>= 2.34), libfoo")
        );
        assert_eq!(facts.pre_depends, "dpkg");
        assert_eq!(manifest.entries()[0].path.as_str(), "hello.deb");
    }
}

#[test]
fn what_is_no_deb_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.deb");
    let no_version = CONTROL.replace("Version: 1:2.10-3\n", "");
    for bytes in [b"junk".to_vec(), Vec::new(), deb(CONTROL, "gz")[..200].to_vec(), deb(&no_version, "gz")] {
        fs::write(&file, &bytes).unwrap();
        let error = build(&file, dir.path(), |_| ()).unwrap_err().to_string();
        assert!(error.contains("x.deb"), "{error}");
    }
}
