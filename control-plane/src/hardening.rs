//! What the process gives up before it touches a secret (SEC-01).

use nix::{
    errno::Errno,
    sys::{
        prctl::set_dumpable,
        resource::{Resource, setrlimit},
        stat::{Mode, umask},
    },
};

/// No core files, no other process of the same user may read our memory, and whatever file we
/// make is ours alone until its mode is set.
///
/// # Errors
///
/// The operating system's.
pub fn harden() -> Result<(), Errno> {
    set_dumpable(false)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    umask(Mode::from_bits_truncate(0o077));
    Ok(())
}
