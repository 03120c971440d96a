//! `egress_proxy` of `config`: calls leave through it, and past it none does.

use std::sync::{Arc, Mutex};

use e2e::world::World;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A forward proxy for CONNECT alone (RFC 9110, section 9.3.6).
struct Proxy {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

#[tokio::test]
async fn calls_leave_through_the_operators_proxy_and_never_past_it() {
    let world = World::start().await;
    let (upstream, token) = world.service("demo").await;
    let proxy = Proxy::start().await;
    let write = async |fields| world.root.write("mcp-proxy/config", fields).await;
    for wrong in ["https://127.0.0.1:3128", "http://127.0.0.1", "127.0.0.1:3128"] {
        write(json!({ "egress_proxy": wrong })).await.refused(400, "invalid_request");
    }
    // Counts from the next call on, also where a connection is open already.
    let call = async || world.root.write("mcp-proxy/proxy/demo/GET", json!({ "path": "/a" })).await;
    call().await.ok();
    write(json!({ "egress_proxy": proxy.url })).await.ok();
    assert!(proxy.asked().is_empty());
    call().await.ok();
    let asked = proxy.asked();
    let [head] = &asked[..] else { panic!("one tunnel: {asked:?}") };
    let connect = format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n", upstream.port());
    assert!(head.starts_with(&connect), "{head}");
    assert!(!head.contains(&token), "{head}");
    assert_eq!(upstream.seen().len(), 2);
    // What the guard refuses, the proxy isn't asked for.
    write(json!({ "denied_destinations": "127.0.0.1" })).await.ok();
    call().await.refused(400, "address_forbidden");
    assert_eq!(proxy.asked().len(), 1);

    // Without it nothing leaves. A change of config, so that no tunnel is left over.
    proxy.stop().await;
    write(json!({ "denied_destinations": "" })).await.ok();
    let before = upstream.connections();
    call().await.refused(424, "upstream_unreachable");
    assert_eq!(upstream.connections(), before);
    // Plaintext would show the credential to the proxy.
    write(json!({ "allow_danger": "danger_allow_plaintext" })).await.ok();
    let plain = json!({
        "base_url": upstream.url().replace("https", "http"),
        "danger_allow_plaintext": true,
        "auth": "none",
    });
    let answer = world.root.write("mcp-proxy/services/plain", plain).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    assert!(answer.text.contains("egress_proxy"), "{}", answer.text);
    write(json!({ "egress_proxy": "" })).await.ok();
    call().await.ok();
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(tunnel(client, Arc::clone(&kept)));
            }
        });
        Self { url, asked, task }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Takes no more connections once this returns.
    async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn tunnel(client: TcpStream, asked: Arc<Mutex<Vec<String>>>) {
    let mut client = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if client.read_line(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().unwrap().push(head);
    let Ok(mut upstream) = TcpStream::connect(target).await else { return };
    client.write_all(b"HTTP/1.1 200 Established\r\n\r\n").await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut upstream).await;
}
