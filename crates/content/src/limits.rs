//! What anything that comes from outside may measure at most. Whatever is larger is refused with a message that names
//! the limit; nothing is allocated for a size that was only declared.

/// A signed manifest, in bytes.
pub const MANIFEST_BYTES: usize = 64 * 1024 * 1024;
/// An envelope around a manifest, in bytes: the manifest, its type and its signatures.
pub const ENVELOPE_BYTES: usize = MANIFEST_BYTES + packhorse_wire::envelope::Limits::ENVELOPE_EXTRA_BYTES;
/// Files, folders and symlinks of one package.
pub const ENTRIES: usize = 1_000_000;
/// The path of one entry, and the target of a symlink, in bytes.
pub const PATH_BYTES: usize = 4096;
/// One part of a path between slashes, in bytes.
pub const PATH_COMPONENT_BYTES: usize = 255;
/// One chunk, plain, in bytes.
pub const CHUNK_BYTES: u32 = 1024 * 1024;
/// All files of a package together, plain, in bytes.
pub const PACKAGE_BYTES: u64 = 1 << 40;
/// The body of one frame on the wire, in bytes.
pub const FRAME_WIRE_BYTES: u32 = 1024 * 1024;
/// All chunks of one frame together, plain, in bytes.
pub const FRAME_PLAIN_BYTES: u64 = 4 * 1024 * 1024;
/// A recipe (`packhorse.toml`), in bytes.
pub const RECIPE_BYTES: u64 = 256 * 1024;
/// The control member of a `.deb`, packed and unpacked, in bytes.
pub const DEB_CONTROL_BYTES: u64 = 16 * 1024 * 1024;
/// The `control` file itself, in bytes.
pub const DEB_CONTROL_FILE_BYTES: u64 = 1024 * 1024;
/// A package's name, in bytes.
pub const NAME_BYTES: usize = 63;
/// A package's one-line summary, in bytes.
pub const SUMMARY_BYTES: usize = 512;
/// A dependency field of a `.deb`, in bytes.
pub const DEPENDS_BYTES: usize = 64 * 1024;
/// Keeping time, in days.
pub const KEEP_DAYS: u32 = 36_500;
/// An installer's timeout, in seconds: seven days.
pub const TIMEOUT_SECS: u32 = 7 * 24 * 3600;
/// How often an installer may be retried.
pub const RETRIES: u32 = 100;
/// A body of frames: what one frame may take, in seconds, however slow the line …
pub const STALL_SECS: u64 = 30;
/// … plus its size at this rate, in bytes per second, so that a thin line is not taken for a stalled one.
pub const SLOWEST_BYTES_PER_SEC: u64 = 2048;
/// One piece handed to the network, in bytes, give or take one frame.
pub const SERVE_PIECE_BYTES: usize = 128 * 1024;
