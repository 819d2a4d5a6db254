//! Memory stays bounded whatever the size. Takes a while and 4 GiB of disk: `cargo test -p packhorse-content -- --ignored`,
//! by itself, because the figure is the process's peak.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use packhorse_content::build::build;
use packhorse_content::fetch::obtain;
use packhorse_content::phk::{self, PhkReader};
use packhorse_content::store::Store;
use packhorse_content::tree::TreeIntake;
use packhorse_domain::fetch::RangeSet;
use packhorse_wire::envelope::SigningKey;

use super::util::{self, StoreSource, noise};

const FILE_MIB: u64 = 1024;
const PEAK_MIB: u64 = 120;

fn big_file(path: &Path) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    (0..FILE_MIB).for_each(|seed| out.write_all(&noise(1 << 20, seed)).unwrap());
    out.flush().unwrap();
}

fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "1 GiB"]
async fn memory_stays_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    util::recipe(&at("folder"), "1");
    big_file(&at("folder/big"));
    let built = build(&at("folder"), dir.path(), |_| ()).unwrap();
    let envelope = built.sign(&[&SigningKey::generate().unwrap()]).unwrap().encode().unwrap();
    phk::write(&at("x.phk"), &built, &envelope).unwrap();
    drop(built);
    println!("built: {} MiB", peak_mib());

    let store = Store::open(&at("store")).unwrap();
    let mut package = PhkReader::open(&at("x.phk")).unwrap();
    let manifest = package.manifest().clone();
    let intake = store.begin(&envelope, &manifest).unwrap();
    let all = RangeSet::full(manifest.chunk_count());
    package.frames(all).unwrap().for_each(|frame| intake.accept(&frame.unwrap()).unwrap());
    intake.finish().unwrap();
    println!("stored: {} MiB", peak_mib());

    let tree = Arc::new(TreeIntake::open(&at("stage"), &manifest).unwrap());
    let source = StoreSource::new(store.reader(&manifest.id()).unwrap());
    obtain(&tree, &source, |_| ()).await.unwrap();
    println!("obtained in {} requests: {} MiB", source.asked().len(), peak_mib());
    Arc::into_inner(tree).unwrap().finish().unwrap();
    assert!(peak_mib() < PEAK_MIB, "peak {} MiB", peak_mib());
}
