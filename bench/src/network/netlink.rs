//! The few things that the kernel is asked for by netlink: a pair of links, and what they are called
//! and lead to (rtnetlink(7)).

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    libc,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};

/// The number of `lo` in every namespace.
const LO: u32 = 1;

/// The number that both ends of the pair get. Each is alone in a new namespace; the kernel may have
/// put links of its own there, with small numbers.
const END: u32 = 1000;

/// A struct `ifinfomsg` may name the other end (linux/veth.h).
const VETH_INFO_PEER: u16 = 1;

/// A conversation with the kernel about the links of the namespace in which it was begun.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    pub(super) fn begin() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        );
        Ok(Self(socket?))
    }

    /// A link whose other end is in another namespace.
    pub(super) fn join(&self, name: &str, (there, other): (i32, &str)) -> io::Result<()> {
        let other = [
            link(END, 0),
            attribute(libc::IFLA_IFNAME, &text(other)),
            attribute(libc::IFLA_NET_NS_FD, &there.to_ne_bytes()),
        ];
        let pair = [
            attribute(libc::IFLA_INFO_KIND, b"veth"),
            attribute(libc::IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &other.concat())),
        ];
        let message = [
            link(END, 0),
            attribute(libc::IFLA_IFNAME, &text(name)),
            attribute(libc::IFLA_LINKINFO, &pair.concat()),
        ];
        self.ask(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &message.concat())
    }

    /// `lo` carries something.
    pub(super) fn loopback_up(&self) -> io::Result<()> {
        self.up(LO)
    }

    /// Our end of the pair has this address, and leads to that one.
    pub(super) fn end_up(&self, here: Ipv4Addr, there: Ipv4Addr) -> io::Result<()> {
        self.up(END)?;
        // struct ifaddrmsg: all 32 bits of the prefix, no flags, global scope.
        let message = [
            vec![family(), 32, 0, libc::RT_SCOPE_UNIVERSE],
            END.to_ne_bytes().to_vec(),
            attribute(libc::IFA_LOCAL, &here.octets()),
            attribute(libc::IFA_ADDRESS, &there.octets()),
        ];
        self.ask(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &message.concat())
    }

    /// These addresses are reached by way of that one.
    pub(super) fn route(&self, (to, bits): (Ipv4Addr, u8), via: Ipv4Addr) -> io::Result<()> {
        let route = route(bits, libc::RT_TABLE_MAIN, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST);
        let message = [
            route,
            attribute(libc::RTA_DST, &to.octets()),
            attribute(libc::RTA_GATEWAY, &via.octets()),
        ];
        self.ask(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &message.concat())
    }

    /// All of these addresses are our own.
    pub(super) fn own(&self, (to, bits): (Ipv4Addr, u8)) -> io::Result<()> {
        let route = route(bits, libc::RT_TABLE_LOCAL, libc::RT_SCOPE_HOST, libc::RTN_LOCAL);
        let message = [
            route,
            attribute(libc::RTA_DST, &to.octets()),
            attribute(libc::RTA_OIF, &LO.to_ne_bytes()),
        ];
        self.ask(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &message.concat())
    }

    fn up(&self, index: u32) -> io::Result<()> {
        self.ask(libc::RTM_NEWLINK, 0, &link(index, 1))
    }

    /// Asks, and waits for the answer: a number, 0 or an error's.
    fn ask(&self, kind: u16, flags: i32, message: &[u8]) -> io::Result<()> {
        let odd = |_| io::Error::other("a message that is too long");
        let length = u32::try_from(HEADER + message.len()).map_err(odd)?;
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK).map_err(odd)?;
        // struct nlmsghdr: the last two are a number that comes back, and the sender's.
        let header =
            [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8]];
        let socket = self.0.as_raw_fd();
        send(socket, &[&header.concat(), message].concat(), MsgFlags::empty())?;
        let mut answer = [0; 4096];
        let length = recv(socket, &mut answer, MsgFlags::empty())?;
        judge(answer.get(..length).unwrap_or_default())
    }
}

/// The length of a struct `nlmsghdr`.
const HEADER: usize = 16;

/// A struct `nlmsgerr` after its header: below 0 it is an error.
fn judge(answer: &[u8]) -> io::Result<()> {
    let field = |at: usize| answer.get(at..at + 4)?.try_into().ok().map(i32::from_ne_bytes);
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    let is_verdict = kind.map(i32::from) == Some(libc::NLMSG_ERROR);
    match field(HEADER).filter(|_| is_verdict) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(error.saturating_neg())),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn family() -> u8 {
    u8::try_from(libc::AF_INET).unwrap_or_default()
}

/// A struct `ifinfomsg`; the second of the numbers is in its flags and in their mask.
fn link(index: u32, flags: u32) -> Vec<u8> {
    let [index, flags] = [index, flags].map(u32::to_ne_bytes);
    [[0; 4], index, flags, flags].concat()
}

/// A struct `rtmsg`.
fn route(bits: u8, table: u8, scope: u8, kind: u8) -> Vec<u8> {
    let (source_bits, service, flags) = (0, 0, [0; 4]);
    let fields = [family(), bits, source_bits, service, table, libc::RTPROT_STATIC, scope, kind];
    [&fields[..], &flags].concat()
}

/// A struct `rtattr` and what it is about, to a multiple of four bytes.
fn attribute(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + data.len()).unwrap_or(u16::MAX);
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), data].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_says_its_own_length_and_fills_four_bytes() {
        let length = |length: u16| length.to_ne_bytes();
        let bytes = attribute(3, b"abcde");
        assert_eq!((bytes.len(), &bytes[..2]), (12, &length(9)[..]));
        assert_eq!(&bytes[4..], b"abcde\0\0\0");
    }

    #[test]
    fn only_a_verdict_of_nothing_is_a_success() {
        let answer = |kind: u16, error: i32| {
            let mut answer = vec![0; 36];
            answer[4..6].copy_from_slice(&kind.to_ne_bytes());
            answer[16..20].copy_from_slice(&error.to_ne_bytes());
            answer
        };
        assert!(judge(&answer(2, 0)).is_ok());
        let refused = judge(&answer(2, -libc::EPERM)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        for other in [answer(16, 0), answer(2, 0)[..18].to_vec(), Vec::new()] {
            assert_eq!(judge(&other).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
