//! How the caller's side and the callee's reach each other: over loopback, or from a network namespace
//! each, the two joined by veth.
//!
//! The load and the caller's proxy are in the one, the callee's proxy and the backend in the other;
//! neither has a way to anywhere else. Between the namespaces go what the two proxies say to each other and
//! what the callee's has to ask who serves it.

mod namespace;
mod netlink;

use std::{
    env, fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

pub use self::namespace::within;
use self::{
    namespace::{Namespace, control, reuse_ports, set_control},
    netlink::Netlink,
};
use crate::{Loopback, TargetError};

/// Addresses that are for measurements of networks and nobody's (RFC 2544, appendix C.2.2).
const CALLER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const CALLEE: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);

/// All of these are the callee's: a curve finds it at many.
const CALLEES: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 19, 0, 0), 16);

/// How long a connection to the callee's side may take to be there.
const CONNECTS: Duration = Duration::from_secs(2);

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Two namespaces where that is allowed, loopback otherwise.
    Auto,
    /// Two namespaces.
    Veth,
    /// Loopback.
    Loopback,
}

/// What there is.
#[derive(Clone, Debug)]
pub enum Network {
    /// All on loopback: why.
    Loopback(String),
    /// A namespace for each side.
    Veth(Veth),
}

/// Two namespaces that are joined. They end with the last process in them.
#[derive(Clone, Debug)]
pub struct Veth {
    callee: Arc<Namespace>,
}

/// Why there are no two namespaces.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct NetworkError {
    what: &'static str,
    source: io::Error,
}

impl Network {
    /// Where two namespaces are made, the thread that asks is in the caller's from now on, and so is
    /// what it starts.
    ///
    /// # Errors
    /// If namespaces are wanted and cannot be had.
    pub fn begin(wanted: Wanted) -> Result<Self, NetworkError> {
        let why = match wanted {
            Wanted::Loopback => "as was asked for".to_owned(),
            Wanted::Veth => return Veth::begin().map(Self::Veth),
            Wanted::Auto => match Veth::begin() {
                Ok(veth) => return Ok(Self::Veth(veth)),
                Err(NetworkError { what, source }) => format!("{what}: {source}"),
            },
        };
        Ok(Self::Loopback(why))
    }

    /// Where the caller's side finds the callee's.
    pub const fn callee(&self) -> Ipv4Addr {
        match self {
            Self::Loopback(_) => Ipv4Addr::LOCALHOST,
            Self::Veth(_) => CALLEE,
        }
    }

    /// Where the callee's side finds the caller's.
    pub const fn caller(&self) -> Ipv4Addr {
        match self {
            Self::Loopback(_) => Ipv4Addr::LOCALHOST,
            Self::Veth(_) => CALLER,
        }
    }

    /// Checks an address that is to be loaded.
    ///
    /// # Errors
    /// If it is neither on loopback nor the callee's in a namespace of ours.
    pub fn target(&self, address: SocketAddr) -> Result<Loopback, TargetError> {
        match self {
            Self::Veth(_) if address.ip() == CALLEE => Ok(Loopback::joined(address)),
            Self::Veth(_) | Self::Loopback(_) => Loopback::new(address),
        }
    }

    /// Where the callee's namespace is, for [`within`]; on loopback there is none.
    pub(crate) fn callee_path(&self) -> Option<PathBuf> {
        match self {
            Self::Loopback(_) => None,
            Self::Veth(veth) => Some(veth.callee.path()),
        }
    }

    /// This program, to be started on the callee's side, under the number that it is started with.
    pub(crate) fn on_callee(&self) -> io::Result<Command> {
        let here = env::current_exe()?;
        let mut command = Command::new(&here);
        if let Some(path) = self.callee_path() {
            command.arg("within").arg(path).arg(here);
        }
        Ok(command)
    }

    /// Where the backend listens: a load without any proxy comes from the caller's side.
    pub(crate) const fn backend(&self) -> Ipv4Addr {
        match self {
            Self::Loopback(_) => Ipv4Addr::LOCALHOST,
            // There is nothing in the namespace but loopback and the way to the caller's.
            Self::Veth(_) => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// A port of the callee's side that is free now, where the caller's side finds it.
    pub(crate) fn free_callee_port(&self) -> io::Result<SocketAddr> {
        let here = self.callee();
        let free = move || TcpListener::bind((here, 0))?.local_addr();
        match self {
            Self::Loopback(_) => free(),
            Self::Veth(veth) => veth.callee.inside(free),
        }
    }

    /// Connects to a port on loopback of the callee's side: for questions, not for a load.
    pub(crate) fn connect_callee(&self, to: Loopback) -> io::Result<TcpStream> {
        let connect = move || TcpStream::connect_timeout(&to.address(), CONNECTS);
        match self {
            Self::Loopback(_) => connect(),
            Self::Veth(veth) => veth.callee.inside(connect),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(why) => write!(f, "loopback: {why}")?,
            Self::Veth(_) => {
                f.write_str(
                    "two network namespaces joined by veth, with the kernel's own settings",
                )?;
            }
        }
        let control = match self {
            Self::Loopback(_) => control(),
            Self::Veth(veth) => veth.callee.inside(control),
        };
        match control {
            Ok(control) => write!(f, "; congestion control {control}"),
            Err(_) => Ok(()),
        }
    }
}

impl Veth {
    /// Nothing of this thread changes before all is there.
    fn begin() -> Result<Self, NetworkError> {
        let error = |what| move |source| NetworkError { what, source };
        let new = || Namespace::new().map_err(error("no network namespace"));
        let (caller, callee) = (new()?, new()?);
        let there = callee.number();
        caller
            .inside(|| Netlink::begin()?.join("caller", (there, "callee")))
            .map_err(error("no veth"))?;
        let callee_up = || {
            let netlink = Netlink::begin()?;
            netlink.loopback_up()?;
            netlink.end_up(CALLEE, CALLER)?;
            netlink.own(CALLEES)?;
            set_control();
            reuse_ports()
        };
        let caller_up = || {
            let netlink = Netlink::begin()?;
            netlink.loopback_up()?;
            netlink.end_up(CALLER, CALLEE)?;
            netlink.route(CALLEES, CALLEE)?;
            set_control();
            reuse_ports()
        };
        callee.inside(callee_up).map_err(error("the callee's namespace"))?;
        caller.inside(caller_up).map_err(error("the caller's namespace"))?;
        caller.enter().map_err(error("the caller's namespace"))?;
        Ok(Self { callee: Arc::new(callee) })
    }
}

#[cfg(test)]
mod tests;
