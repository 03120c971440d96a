//! Name servers that change their mind, with the whole server between the caller and the name.
//!
//! In a network namespace of its own, with its own name server and addresses: the case runs this
//! program again there.
#![expect(clippy::print_stderr, reason = "a machine that allows no namespace is told about")]

use std::env;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::api::Answer;
use e2e::certificates::{Authority, HOST_NAME};
use e2e::server::Storage;
use e2e::upstream::Upstream;
use e2e::world::World;
use hickory_resolver::proto::op::{Message, MessageType};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use serde_json::json;
use tokio::net::{TcpListener, UdpSocket};

/// A public address to the guard; in the namespace it is one of loopback's.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(9, 10, 11, 12);
const INSIDE: &str = "E2E_INSIDE_OWN_NAMESPACE";

/// Loopback up with one more address; this name server for the whole namespace.
const SET_UP: &str = r#"
import fcntl, socket, struct, subprocess, sys
def address(name, text):
    return struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(text))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    up = lambda name: fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", name, 1))
    up(b"lo")
    fcntl.ioctl(control, 0x8916, address(b"lo:1", sys.argv[1]))
    up(b"lo:1")
subprocess.run(["mount", "--bind", sys.argv[2], "/etc/resolv.conf"], check=True)
"#;

#[tokio::test]
async fn a_name_that_changes_its_address_never_leads_inside() {
    if env::var_os(INSIDE).is_some() {
        return inside().await;
    }
    let resolv = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(resolv.path(), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    let unshare = || {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--net", "--mount", "--"]);
        command
    };
    let tried = unshare().arg("true").output().expect("unshare, of util-linux");
    if !tried.status.success() {
        let reason = String::from_utf8_lossy(&tried.stderr);
        let forbidden = ["not permitted", "Permission denied"];
        assert!(forbidden.iter().any(|text| reason.contains(text)), "{reason}");
        // Past the capture of what a test prints: nobody should take this for a pass.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: a_name_that_changes_its_address: no network and mount namespaces: {reason}"
        );
        return;
    }
    let script = r#"python3 -c "$0" "$1" "$2" || exit 77; shift 2; exec "$@""#;
    let output = unshare()
        .args(["sh", "-c", script, SET_UP, &PUBLIC.to_string()])
        .arg(resolv.path())
        .arg(env::current_exe().unwrap())
        .args(["--exact", "rebinding::a_name_that_changes_its_address_never_leads_inside"])
        .args(["--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

async fn inside() {
    let authority = Authority::new();
    let public = Upstream::start_at(PUBLIC.octets(), 0, &authority).await;
    let port = public.port();
    let evil = Arc::new(AtomicUsize::new(0));
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        count_connections(address, port, Arc::clone(&evil)).await;
    }
    name_server().await;

    // Its own defaults: nothing but the public internet may be reached.
    let world = World::start_on(Storage::Memory).await;
    for (name, expected) in [
        ("steady", Expected::Works),
        ("flips", Expected::WorksThenRefused),
        ("private", Expected::Refused),
        ("alias", Expected::Refused),
        ("mapped", Expected::Refused),
        ("both", Expected::NeverInside),
        ("dual", Expected::NeverInside),
    ] {
        let first = fresh_call(&world, &public, name).await;
        let second = fresh_call(&world, &public, name).await;
        match expected {
            Expected::Works => assert_eq!((first.status, second.status), (200, 200), "{name}"),
            Expected::WorksThenRefused => {
                assert_eq!(first.status, 200, "{name}: {}", first.text);
                second.refused(400, "address_forbidden");
            }
            Expected::Refused => {
                first.refused(400, "address_forbidden");
                second.refused(400, "address_forbidden");
            }
            Expected::NeverInside => {
                for answer in [first, second] {
                    if answer.status != 200 {
                        answer.refused(400, "address_forbidden");
                    }
                }
            }
        }
    }
    // Another address at every question, for many connections.
    let mut refused = 0;
    for _ in 0..20 {
        let answer = fresh_call(&world, &public, "coin").await;
        if answer.status != 200 {
            answer.refused(400, "address_forbidden");
            refused += 1;
        }
    }
    assert!((1..20).contains(&refused), "{refused} of 20 refused");
    assert_eq!(evil.load(Ordering::SeqCst), 0, "somebody connected to loopback");
    assert!(public.seen().len() >= 4, "{}", public.seen().len());
}

enum Expected {
    Works,
    WorksThenRefused,
    Refused,
    NeverInside,
}

/// A call on a new connection: every change of a service makes new ones.
async fn fresh_call(world: &World, public: &Upstream, name: &str) -> Answer {
    let service = format!("mcp-proxy/services/{name}");
    let fields = json!({
        "description": format!("change {}", CHANGES.fetch_add(1, Ordering::SeqCst)),
        "base_url": format!("https://{name}.example.test:{}", public.port()),
        "ca_cert": public.ca(), "tls_server_name": HOST_NAME, "auth": "none", "timeout": "5s",
    });
    world.root.write(&service, fields).await.ok();
    let call = json!({ "path": "/a" });
    world.root.write(&format!("mcp-proxy/proxy/{name}/GET"), call).await
}

static CHANGES: AtomicUsize = AtomicUsize::new(0);

async fn count_connections(address: IpAddr, port: u16, count: Arc<AtomicUsize>) {
    let bound = TcpListener::bind((address, port)).await;
    if bound.is_err() && address.is_ipv6() {
        return eprintln!("this kernel has no IPv6: nothing listens on ::1");
    }
    let listener = bound.unwrap();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
}

/// Answers each name by its first label, with a time to live of zero.
async fn name_server() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        let mut asked = std::collections::HashMap::<String, usize>::new();
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
            let mut message = Message::from_vec(&buffer[..length]).unwrap();
            let question = message.queries[0].clone();
            let name = question.name().to_string();
            let label = name.split('.').next().unwrap_or_default().to_owned();
            let kind = question.query_type();
            let round = asked.entry(format!("{label} {kind}")).or_default();
            *round += 1;
            message.metadata.message_type = MessageType::Response;
            message.metadata.recursion_available = true;
            for data in says(&label, kind, *round) {
                message.add_answer(Record::from_rdata(question.name().clone(), 0, data));
            }
            socket.send_to(&message.to_vec().unwrap(), client).await.unwrap();
        }
    });
}

fn says(label: &str, kind: RecordType, round: usize) -> Vec<RData> {
    let v4 = |addresses: &[Ipv4Addr]| {
        let asked = addresses.iter().filter(|_| kind == RecordType::A);
        asked.map(|address| RData::from(IpAddr::V4(*address))).collect()
    };
    let v6 = |address: Ipv6Addr| {
        let asked = Some(address).filter(|_| kind == RecordType::AAAA);
        asked.into_iter().map(|address| RData::from(IpAddr::V6(address))).collect()
    };
    let local = Ipv4Addr::LOCALHOST;
    match label {
        "steady" => v4(&[PUBLIC]),
        "flips" if round == 1 => v4(&[PUBLIC]),
        "flips" | "private" => v4(&[local]),
        "coin" => v4(&[if round % 2 == 1 { PUBLIC } else { local }]),
        "both" => v4(&[local, PUBLIC]),
        "alias" => vec![RData::CNAME(CNAME(Name::from_ascii("private.example.test.").unwrap()))],
        "mapped" => v6(local.to_ipv6_mapped()),
        "dual" if kind == RecordType::A => v4(&[PUBLIC]),
        "dual" => v6(Ipv6Addr::LOCALHOST),
        _ => Vec::new(),
    }
}
