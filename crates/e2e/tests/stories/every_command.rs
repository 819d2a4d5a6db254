//! Every command with something wrong: refused with its reason and a hint, and nothing half made.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use packhorse_e2e::cli::Cli;
use packhorse_e2e::world::World;
use serde_json::Value;

/// What is typed, and what is said of it.
type Bad = (&'static str, i32, &'static str);

/// Where a name is left out or of no use, a time is none or has passed, options do not go together.
const BAD: &[Bad] = &[
    ("demo --clients 3", 2, "--clients"),
    ("server init --data hq --listen 127.0.0.1:0", 1, "hq"),
    ("server init --data new --listen nowhere", 2, "--listen"),
    ("server init --data new --name a/b", 2, "a name is made of"),
    ("server run --data nothing", 1, "nothing"),
    ("relay join --data new --server http://localhost:1 --token x", 1, "token"),
    ("relay join --data new --server https://localhost:1", 2, "--token"),
    ("relay run --data nothing", 1, "nothing"),
    ("relay run --data nothing --store much", 2, "--store"),
    ("relay list --json --csv", 2, "cannot be used with"),
    ("relay show nowhere", 4, "there is no relay system nowhere"),
    ("relay suspend nowhere", 4, "there is no relay system nowhere"),
    ("relay resume pc1", 4, "there is no relay system pc1"),
    ("relay limit osaka", 2, "--down"),
    ("relay limit osaka --down fast", 4, "is no rate"),
    ("relay limit osaka --down 20Mbit --none", 2, "cannot be used with"),
    ("relay limit osaka --down 20Mbit --hours 25:00-26:00", 4, "are no hours"),
    ("relay limit nowhere --down 20Mbit", 4, "there is no relay system nowhere"),
    ("relay grant osaka", 4, "grant what?"),
    ("relay grant osaka --cabinet nothing --install", 4, "nothing"),
    ("relay grant pc1 --install", 4, "pc1"),
    ("relay revoke nowhere", 4, "there is no relay system nowhere"),
    ("relay keep osaka editor --keep forever", 4, "forever"),
    ("relay keep osaka nothing --keep 9d", 4, "nothing"),
    ("relay keep osaka editor --keep 2020-01-01", 4, "past"),
    ("relay drop osaka nothing", 4, "nothing"),
    ("relay drop osaka", 2, "PACKAGE"),
    ("client join --data new --server https://localhost:1 --token x", 1, "token"),
    ("client run --data nothing", 1, "nothing"),
    ("client status --data nothing", 3, "no agent answers"),
    ("client sync --data nothing", 3, "no agent answers"),
    ("client stopping --data nothing", 3, "no agent answers"),
    ("key new --out packager.key", 1, "packager.pub"),
    ("key new", 2, "--out"),
    ("token new --uses 0", 2, "--uses"),
    ("token new --replace nobody", 4, "nobody"),
    ("token list --json --csv", 2, "cannot be used with"),
    ("token revoke 999", 4, "999"),
    ("host list --json --csv", 2, "cannot be used with"),
    ("host show nobody", 4, "there is no host nobody"),
    ("host move nobody --to osaka", 4, "there is no host nobody"),
    ("host move pc1 --to nowhere", 4, "there is no relay system nowhere"),
    ("host move pc1", 2, "--to"),
    ("host retire nobody", 4, "there is no host nobody"),
    ("host retire pc1 nobody", 4, "there is no host nobody"),
    ("host retire osaka", 4, "osaka"),
    ("host remove nobody", 4, "there is no host nobody"),
    ("host remove osaka", 4, "osaka"),
    ("host tree --csv --json", 2, "--csv"),
    ("group new", 2, "NAME"),
    ("group new all", 4, "all"),
    ("group new a/b", 4, "a name is made of"),
    ("group new g1 nobody", 4, "nobody"),
    ("group new g1 --where colour", 4, "colour"),
    ("group list --json --csv", 2, "cannot be used with"),
    ("group show nothing", 4, "nothing"),
    ("group add nothing pc1", 4, "nothing"),
    ("group leave nothing pc1", 4, "nothing"),
    ("group import g2 nothing.csv", 1, "nothing.csv"),
    ("group remove nothing", 4, "nothing"),
    ("cabinet new main --key packager.pub", 4, "main"),
    ("cabinet new tools --key nothing.pub", 1, "nothing.pub"),
    ("cabinet list --json --csv", 2, "cannot be used with"),
    ("cabinet show nothing", 4, "nothing"),
    ("cabinet trust nothing packager.pub", 4, "nothing"),
    ("cabinet distrust main nothing.pub", 1, "nothing.pub"),
    ("package build nothing --key packager.key --out new.phk", 1, "nothing"),
    ("package check nothing.phk", 1, "nothing.phk"),
    ("package add nothing.phk", 1, "nothing.phk"),
    ("package list --json --csv", 2, "cannot be used with"),
    ("package show nothing", 4, "nothing"),
    ("package remove nothing", 4, "nothing"),
    ("install editor --to nobody", 4, "nobody"),
    ("install nothing --to pc1", 4, "nothing"),
    ("install editor@9 --to pc1", 4, "there is no main/editor 9"),
    ("install editor --to pc1 --at yesterday", 2, "is not a time"),
    ("install editor --to pc1 --at 2020-01-01T00:00", 2, "in the past"),
    ("install editor --to pc1 --at +2h --until +1h", 2, "is not after --at"),
    ("install editor --to group:nothing", 4, "nothing"),
    ("install editor --to below:pc1", 4, "pc1"),
    ("install editor --to pc1 --stage-at +2h --at +1h --keep forever", 4, "forever"),
    ("offer editor --to nobody", 4, "nobody"),
    ("offer editor --to pc1 --required-from +2h --until +1h", 2, "nothing would be required"),
    ("transfer editor --to pc1", 4, "pc1"),
    ("transfer editor --to nowhere", 4, "nowhere"),
    ("transfer editor", 2, "--to"),
    ("transfer editor --for pc1 --keep 2020-01-01", 4, "past"),
    ("job list --type gift", 2, "gift"),
    ("job show 99", 4, "99"),
    ("job show 1 nobody", 4, "nobody"),
    ("job watch 99", 4, "99"),
    ("job cancel osaka/7", 4, "osaka/7"),
    ("job suspend 99", 4, "99"),
    ("job resume x/y/z", 2, "x/y/z"),
    ("job close 99", 4, "99"),
    ("job again 99", 4, "99"),
    ("job retry 99 --failed", 4, "99"),
    ("explain 99", 4, "99"),
    ("explain --host nobody", 4, "nobody"),
    ("explain --relay nowhere", 4, "nowhere"),
    ("explain 1 --host pc1", 2, "cannot be used with"),
    ("page --relay localhost", 2, "localhost"),
    ("offers --data nothing", 3, "no agent answers"),
    ("choose editor --data nothing --at soon", 2, "is not a time"),
    ("choose editor --data nothing", 3, "no agent answers"),
    ("reject editor --data nothing", 3, "no agent answers"),
    ("withdraw editor --data nothing", 3, "no agent answers"),
    ("postpone editor --data nothing --until yesterday", 2, "is not a time"),
    ("fleet --clients 0 --to https://localhost:1 --token x", 2, "--clients"),
    ("completions cmd", 2, "cmd"),
    ("man packager.key", 1, "packager.key"),
];

/// All commands, of which there is a manual page each.
fn commands(cli: &Cli, folder: &Path) -> BTreeSet<String> {
    cli.ok(&["man", "pages"]);
    let pages = fs::read_dir(folder.join("pages")).expect("the pages").flatten();
    let names: BTreeSet<String> = pages
        .filter_map(|page| {
            let name = page.file_name().into_string().ok()?;
            Some(name.strip_prefix("packhorse-")?.strip_suffix(".1")?.replace('-', " "))
        })
        .collect();
    fs::remove_dir_all(folder.join("pages")).expect("they are read");
    let above: BTreeSet<&str> = names.iter().filter_map(|name| Some(name.split_once(' ')?.0)).collect();
    names.iter().filter(|name| !above.contains(name.as_str())).cloned().collect()
}

/// What there is: at the server, and in the folder.
fn everything(world: &World) -> (Vec<Value>, Vec<String>) {
    let lists = ["host", "group", "cabinet", "package", "job", "token", "relay"];
    let mut lists: Vec<Value> = lists.iter().map(|noun| world.cli.json(&[noun, "list"])).collect();
    lists.iter_mut().for_each(forget_times);
    lists.push(world.relay_view("osaka")["control"].clone());
    let mut names: Vec<String> = fs::read_dir(world.folder())
        .expect("the folder")
        .flatten()
        .map(|item| item.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    (lists, names)
}

fn forget_times(list: &mut Value) {
    for item in list.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        item.remove("last_seen");
    }
}

#[test]
fn every_command_refuses_what_is_wrong_and_leaves_nothing() {
    let world = World::new();
    let osaka = world.relay("osaka", &world.server.url());
    let _pc1 = world.client("pc1", &osaka.url());
    world.add(&world.source("editor", "1.0").file("text", "text"));
    world.done(&world.install("editor", &["pc1"], &[]), 30);
    let commands = commands(&world.cli, world.folder());
    let tried = |command: &String| {
        BAD.iter().any(|(line, ..)| line == command || line.starts_with(&format!("{command} ")))
    };
    let untried: Vec<&String> = commands.iter().filter(|command| !tried(command)).collect();
    assert!(untried.is_empty(), "nothing wrong is tried of {untried:?}");
    let before = everything(&world);
    let mut wrong = Vec::new();
    for (line, code, says) in BAD {
        let args: Vec<String> = line.split(' ').map(|word| word.replace('T', " ")).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ran = world.cli.run(&args);
        // Clap's own refusals hint by the usage.
        let hints =
            ["hint: ", "Usage: ", "tip: ", "try '--help'"].iter().any(|hint| ran.stderr.contains(hint));
        let fits = ran.code == *code && ran.stderr.contains(says) && ran.stderr.contains("error: ") && hints;
        if !fits || !ran.stdout.is_empty() {
            wrong.push(format!(
                "{line}: not {code} with {says:?}, but {}: {}{}",
                ran.code, ran.stdout, ran.stderr
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(everything(&world), before, "something is half made");
}
