//! Cabinets and packages.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Access, Format, JsonFlag, ListArgs};

/// `packhorse cabinet`
#[derive(Debug, Subcommand)]
pub enum CabinetVerb {
    /// Make a cabinet
    New {
        /// Its name
        name: String,
        /// A packager's public key file whose packages it takes; may be repeated
        #[arg(long = "key", value_name = "FILE")]
        keys: Vec<PathBuf>,
        /// Which system is asked.
        #[command(flatten)]
        access: Access,
    },
    /// List the cabinets
    List(ListArgs),
    /// Show one cabinet
    Show(super::NameArgs),
    /// Take packages signed by this key from now on
    Trust(CabinetKeyArgs),
    /// Take no more packages signed by this key
    Distrust(CabinetKeyArgs),
}

/// A cabinet and a key.
#[derive(Debug, Args)]
pub struct CabinetKeyArgs {
    /// The cabinet
    pub cabinet: String,
    /// The packager's public key file, or the key's text
    #[arg(value_name = "KEY")]
    pub key: String,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
}

/// The least a folder's packhorse.toml holds, and what most add.
const RECIPE: &str = "\
packhorse.toml, in the folder that is packed:
  [package]
  name = \"editor\"
  version = \"2.1\"
  kind = \"files\"
  summary = \"Text editor for the office\"   # may be left out, as all below but `to`
  keep = \"90d\"                             # how long relays keep it
  [install]
  to = \"/opt/editor\"                       # everything else in the folder goes there
  timing = \"now\"                           # now, start or stop of the system
  [check]
  file = \"/opt/editor/bin/editor\"";

/// `packhorse package`
#[derive(Debug, Subcommand)]
pub enum PackageVerb {
    /// Build and sign a package file from a folder with a packhorse.toml, or from a .deb; prints its name
    #[command(after_help = RECIPE)]
    Build(BuildArgs),
    /// Check a package file: structure, every piece, and with --key the signature
    Check(CheckArgs),
    /// Add a package to a cabinet; only what the server lacks is sent; prints the package's label
    Add(AddArgs),
    /// List the packages
    List {
        /// Only of this cabinet
        #[arg(long, value_name = "NAME")]
        cabinet: Option<String>,
        /// Which system is asked.
        #[command(flatten)]
        access: Access,
        /// How it is shown.
        #[command(flatten)]
        format: Format,
    },
    /// Show one package: what it is, who signed it, where it is
    Show(PackageNameArgs),
    /// Remove a package; refused while a job needs it
    Remove(PackageNameArgs),
}

/// `packhorse package build`
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// A folder with a packhorse.toml, or a .deb
    #[arg(value_name = "DIR|FILE.deb")]
    pub source: PathBuf,
    /// The packager's key to sign with
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The package file to write
    #[arg(long, value_name = "FILE.phk")]
    pub out: PathBuf,
}

/// `packhorse package check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The package file
    #[arg(value_name = "FILE.phk")]
    pub file: PathBuf,
    /// A public key file; one of those given must have signed; may be repeated
    #[arg(long = "key", value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
}

/// `packhorse package add`
#[derive(Debug, Args)]
pub struct AddArgs {
    /// A package file, or, with --key, a folder with a packhorse.toml or a .deb
    #[arg(value_name = "FILE.phk|DIR|FILE.deb")]
    pub source: PathBuf,
    /// The cabinet
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub cabinet: String,
    /// The packager's key to build and sign with
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
}

/// A package by its address.
#[derive(Debug, Args)]
pub struct PackageNameArgs {
    /// cabinet/name@version:generation; left out, the cabinet is main, version and generation the newest
    pub package: String,
    /// Which system is asked.
    #[command(flatten)]
    pub access: Access,
    /// How it is shown.
    #[command(flatten)]
    pub format: JsonFlag,
}
