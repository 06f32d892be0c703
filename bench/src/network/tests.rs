use std::{
    fs,
    io::{Read as _, Write as _},
    net::Ipv6Addr,
    thread,
};

use super::*;

/// On a thread of its own, which alone is moved; nothing where it is not allowed.
fn joined(work: impl FnOnce(&Network) + Send + 'static) {
    let test = thread::spawn(|| match Network::begin(Wanted::Auto).unwrap() {
        network @ Network::Veth(_) => work(&network),
        Network::Loopback(why) => assert!(why.starts_with("no "), "{why}"),
    });
    test.join().unwrap();
}

fn namespace() -> PathBuf {
    fs::read_link("/proc/thread-self/ns/net").unwrap()
}

#[test]
fn the_callee_is_reached_at_all_of_its_addresses_and_nobody_else_is() {
    joined(|network| {
        let Network::Veth(veth) = network else { return };
        let bind = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0));
        let listener = veth.callee.inside(bind).unwrap();
        let port = listener.local_addr().unwrap().port();
        for last in [1, 2, 200] {
            let callee = (Ipv4Addr::new(198, 19, 3, last), port).into();
            let mut near = TcpStream::connect_timeout(&callee, CONNECTS).unwrap();
            let (mut far, from) = listener.accept().unwrap();
            assert_eq!(from.ip(), CALLER);
            near.write_all(b"x").unwrap();
            let mut got = [0];
            far.read_exact(&mut got).unwrap();
        }
        // Loopback is another one here, and there is no way out.
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        let away = TcpStream::connect((Ipv4Addr::new(192, 0, 2, 1), 80)).unwrap_err();
        assert_eq!(away.kind(), io::ErrorKind::NetworkUnreachable);
        let local = Loopback::new((Ipv4Addr::LOCALHOST, port).into()).unwrap();
        assert!(network.connect_callee(local).is_ok());
        assert_eq!(network.free_callee_port().unwrap().ip(), CALLEE);
    });
}

#[test]
fn whatever_the_machine_sets_nobody_is_paced_between_the_namespaces() {
    joined(|network| {
        let Network::Veth(veth) = network else { return };
        assert_eq!(control().unwrap(), "cubic");
        assert_eq!(veth.callee.inside(control).unwrap(), "cubic");
        assert!(network.to_string().ends_with("; congestion control cubic"), "{network}");
    });
}

#[test]
fn only_the_thread_that_asked_is_moved() {
    let before = namespace();
    joined(move |network| {
        let Network::Veth(veth) = network else { return };
        let callee = veth.callee.inside(|| Ok(namespace())).unwrap();
        assert!(namespace() != before && callee != before && callee != namespace());
        let main = fs::read_link("/proc/self/ns/net").unwrap();
        assert_ne!(main, namespace());
    });
}

#[test]
fn what_may_be_loaded_is_on_loopback_or_the_callee_in_our_own_namespace() {
    let callee = SocketAddr::from((CALLEE, 80));
    let alone = Network::begin(Wanted::Loopback).unwrap();
    assert_eq!(alone.target(callee), Err(TargetError::NotLoopback(callee)));
    assert!(alone.target((Ipv6Addr::LOCALHOST, 80).into()).is_ok());
    let control = control().unwrap();
    let words = format!("loopback: as was asked for; congestion control {control}");
    assert_eq!(alone.to_string(), words);

    joined(move |network| {
        assert!(network.target(callee).is_ok());
        assert!(network.target((Ipv4Addr::LOCALHOST, 80).into()).is_ok());
        let other = SocketAddr::from((CALLER, 80));
        assert_eq!(network.target(other), Err(TargetError::NotLoopback(other)));
    });
}
