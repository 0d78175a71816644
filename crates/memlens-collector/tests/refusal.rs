//! What a program that is refused sees of the collector.
use memlens_collector::{Collector, Server, Step};
use memlens_format::shared::{PYTHON_NONE, SHARED_MAGIC, SHARED_VERSION};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send, socket_with,
};
use std::os::fd::{AsFd, OwnedFd};

/// Connects to the collector and says that there is no Python in this process.
fn say_hello(server_name: &str) -> OwnedFd {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a socket");
    let address = SocketAddrUnix::new_abstract_name(server_name.as_bytes()).expect("an address");
    connect(&socket, &address).expect("the collector listens");
    let mut hello = SHARED_MAGIC.to_ne_bytes().to_vec();
    for word in [SHARED_VERSION, std::process::id(), 0, 0, PYTHON_NONE, 0] {
        hello.extend(word.to_ne_bytes());
    }
    send(&socket, &hello, SendFlags::empty()).expect("to say hello");
    socket
}

#[test]
fn a_refused_program_waits_until_the_collector_has_gone() {
    let mut collector = Collector::new(Server::bind().expect("a server"), false);
    collector.watch(std::process::id()).expect("this process");
    let program = say_hello(collector.server_name());
    let (wake, _writer) = std::io::pipe().expect("a pipe");
    let step = collector.wait(wake.as_fd()).expect("the collector");
    assert!(matches!(&step, Step::Refused(newcomer) if newcomer.python_kind == PYTHON_NONE), "{step:?}");
    let mut answer = [0u8; 64];
    assert_eq!(recv(&program, &mut answer, RecvFlags::DONTWAIT), Err(Errno::AGAIN), "no answer, and no end");
    drop(collector);
    assert_eq!(recv(&program, &mut answer, RecvFlags::DONTWAIT).map(|(length, _)| length), Ok(0));
}
