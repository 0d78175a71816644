//! The collector's decoder on shared tables that a program has scribbled over, and on messages that are none: no panic, no hang.
//!
//! A fixed number of cases from a fixed seed; `cargo xtask fuzz collector` sets MEMLENS_FUZZ_SECONDS, and MEMLENS_FUZZ_SEED for another sequence.
use crate::assembly::Assembler;
use crate::fake_tables::{FakeTables, Figures};
use crate::peak::Peak;
use crate::server::Server;
use crate::shortage::Refusal;
use crate::slice_log::{RawChange, RawSlice};
use memlens_format::shared::{Header, Hello, Lane, SHARED_MAGIC, SITE_KIND_RELEASE};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType, connect, send, socket};
use std::mem::offset_of;
use std::time::{Duration, Instant};

const CASES: u64 = 300;
/// With every table at its largest: tens of megabytes for each.
const MOST_DATA_BYTES: u64 = 4 << 30;

/// Xorshift: the run can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 7
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

fn tables(random: &mut Random) -> FakeTables {
    let mut tables = FakeTables::new();
    let lanes = [tables.lane(), tables.lane()];
    let codes = ["a", "größe", ""].map(|name| tables.code(name, "/x.py", 3));
    let mut node = 0;
    for line in 0..random.below(60) as u32 {
        node = tables.node(node, codes[line as usize % 3], line);
        let site = tables.site(node, if line % 5 == 0 { SITE_KIND_RELEASE } else { line % 17 });
        let figures =
            Figures { count: random.next(), bytes: random.next(), epoch: random.below(3), ..Figures::default() };
        tables.counters(lanes[line as usize % 2], site, figures);
    }
    tables
}

/// A number that is likelier than others to be believed.
fn number(tables: &FakeTables, random: &mut Random) -> u64 {
    match random.below(6) {
        0 => random.next(),
        1 => u64::MAX >> random.below(64),
        2 => random.below(tables.used_bytes()) & !63,
        3 => (1 << 40) - random.below(1 << 18),
        4 => 1 << random.below(64),
        _ => random.below(100),
    }
}

fn scribble(tables: &FakeTables, random: &mut Random) {
    let value = number(tables, random);
    let counts = [offset_of!(Header, node_count), offset_of!(Header, site_count), offset_of!(Header, code_count)];
    let directories = [
        offset_of!(Header, node_chunks),
        offset_of!(Header, site_chunks),
        offset_of!(Header, code_chunks),
        offset_of!(Header, lanes),
    ];
    match random.below(6) {
        0 => tables.put_u32(counts[random.below(3) as usize] as u64, value as u32),
        1 => tables.put_u64(directories[random.below(4) as usize] as u64 + 8 * random.below(3), value),
        2 => tables.put_u32(offset_of!(Header, refused_site) as u64, value as u32),
        3 => tables.put_u64(random.below(offset_of!(Header, node_chunks) as u64) & !7, value),
        _ => tables.put_u64(random.below(tables.used_bytes()) & !7, value),
    }
}

/// All that the collector does with tables when a program has ended.
fn decode(tables: &FakeTables, random: &mut Random) {
    let view = tables.view();
    let (peak, _) = Peak::of(&view);
    let mut assembler = Assembler::new();
    assembler.add(0, &view, peak, |_, _| {});
    let change =
        |site| RawChange { session: 0, site, allocations: 1, allocated_bytes: 1, live_count: 1, live_bytes: 1 };
    let changes = (0..20).map(|_| change(random.next() as u32)).collect();
    let found = assembler.finish(vec![RawSlice { time_ns: 1, changes }], &[Some(0)]);
    for (index, node) in found.nodes.iter().enumerate() {
        assert!(
            node.parent.is_none_or(|parent| (parent.0 as usize) < index)
                && (node.frame.0 as usize) < found.frames.len()
        );
    }
    for site in &found.sites {
        assert!(site.node.is_none_or(|node| (node.0 as usize) < found.nodes.len()));
    }
    let refused = Refusal::read(&view);
    assert!(refused.is_none_or(|refusal| refusal.stack.len() <= 64));
    let _ = (view.live_bytes(), view.is_ready(), size_of::<Lane>());
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_scribbled_tables_make_it_panic() {
    let seconds = variable("MEMLENS_FUZZ_SECONDS").map(Duration::from_secs);
    if seconds.is_some() {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let limit = Rlimit { current: Some(MOST_DATA_BYTES), maximum: None };
        setrlimit(Resource::Data, limit).expect("a soft limit");
    }
    let mut random = Random(variable("MEMLENS_FUZZ_SEED").unwrap_or(0x9e37_79b9_7f4a_7c15));
    let (start, mut cases, mut slowest) = (Instant::now(), 0_u64, Duration::ZERO);
    while seconds.map_or(cases < CASES, |seconds| start.elapsed() < seconds) {
        let began = Instant::now();
        let tables = tables(&mut random);
        (0..=random.below(12)).for_each(|_| scribble(&tables, &mut random));
        decode(&tables, &mut random);
        slowest = slowest.max(began.elapsed());
        cases += 1;
    }
    println!("collector: {cases} scribbled tables, the slowest took {slowest:?}");
}

/// Whatever comes through the socket, only a whole hello is one.
#[test]
fn no_message_makes_it_panic() {
    let mut random = Random(7);
    let mut server = Server::bind().expect("a socket");
    let address = SocketAddrUnix::new_abstract_name(server.name().as_bytes()).expect("a name");
    let mut greeted = 0;
    for _ in 0..2000 {
        let client = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).expect("a socket");
        connect(&client, &address).expect("the server listens");
        let mut message: Vec<u8> = (0..random.below(80)).map(|_| random.next() as u8).collect();
        if random.below(2) == 0 && message.len() >= 8 {
            message[..8].copy_from_slice(&SHARED_MAGIC.to_ne_bytes());
            message.resize(size_of::<Hello>() + random.below(2) as usize, 0);
        }
        let is_hello = message.len() == size_of::<Hello>() && message[..8] == SHARED_MAGIC.to_ne_bytes();
        send(&client, &message, SendFlags::NOSIGNAL).expect("to send");
        let received = server.receive();
        assert_eq!(received.len(), usize::from(is_hello));
        greeted += received.len();
    }
    assert!(greeted > 100);
}
