//! Where a service may lead: every spelling of an address that is not public is refused.

use e2e::certificates::HOST_NAME;
use e2e::server::Storage;
use e2e::upstream::Upstream;
use e2e::world::{World, definition};
use serde_json::json;

#[tokio::test]
async fn nothing_but_public_addresses_by_default() {
    let world = World::start_on(Storage::Memory).await;
    let upstream = Upstream::start().await;
    let port = upstream.port();
    // Each would reach the upstream, or this machine, if it were let through.
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "localhost",
        "localhost.",
        "foo.localhost",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[::127.0.0.1]",
        "[fe80::1%25lo]",
        "[fe80::1]",
        "169.254.169.254",
        "metadata.google.internal.",
        "224.0.0.1",
        "255.255.255.255",
        "100.64.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "240.0.0.1",
        "[fc00::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "user:pass@127.0.0.1",
        "good.example\\@127.0.0.1",
        "",
    ] {
        for base_url in [format!("https://{host}:{port}"), format!("https://{host}:{port}/base")] {
            refused(&world, &upstream, &json!({ "base_url": base_url })).await;
        }
        refused(&world, &upstream, &json!({ "base_url": format!("http://{host}:{port}") })).await;
    }
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0"] {
        let base_url = format!("https://{HOST_NAME}:{port}");
        refused(&world, &upstream, &json!({ "base_url": base_url, "address": address })).await;
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn the_servers_own_listener_is_out_of_reach() {
    let world = World::start().await;
    let port = world.server.address().rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "127.0.0.2"] {
        let service = json!({ "base_url": format!("https://{host}:{port}"), "auth": "none" });
        world.root.write("mcp-proxy/services/self", service).await.ok();
        let call = json!({ "path": "/v1/sys/health" });
        let answer = world.root.write("mcp-proxy/proxy/self/GET", call).await;
        answer.refused(400, "address_forbidden");
    }
    // It is the listener, not the address.
    let upstream = Upstream::start().await;
    world.root.write("mcp-proxy/services/self", definition(&upstream)).await.ok();
    world.root.write("mcp-proxy/proxy/self/GET", json!({ "path": "/a" })).await.ok();
}

#[tokio::test]
async fn a_base_url_is_an_origin_and_a_path_and_nothing_else() {
    let world = World::start().await;
    let upstream = Upstream::start().await;
    let url = upstream.url();
    for base_url in [
        "ftp://127.0.0.1".to_owned(),
        "file:///etc/passwd".to_owned(),
        "https://".to_owned(),
        "127.0.0.1".to_owned(),
        "https://127.0.0.1:0".to_owned(),
        "https://127.0.0.1:99999".to_owned(),
        format!("{url}/?x=1"),
        format!("{url}/#f"),
        format!("{url}/a/../b"),
        format!("{url}/a/%2e%2e/b"),
        format!("{url}//a"),
        format!("{url}/a b"),
        format!("{url}\\a"),
        format!("{url}/\u{e9}"),
    ] {
        let mut fields = definition(&upstream);
        fields["base_url"] = json!(base_url);
        let answer = world.root.write("mcp-proxy/services/attempt", fields).await;
        answer.refused(400, "invalid_request");
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn the_mounts_list_bounds_the_services_and_a_denied_destination_wins() {
    let world = World::start_on(Storage::Memory).await;
    let upstream = Upstream::start().await;
    let own = json!({ "upstream_cidrs": "127.0.0.0/8" });
    refused(&world, &upstream, &own).await;

    let api = &world.root;
    api.write("mcp-proxy/config", own).await.ok();
    api.write("mcp-proxy/services/demo", definition(&upstream)).await.ok();
    let call = json!({ "path": "/a" });
    api.write("mcp-proxy/proxy/demo/GET", call.clone()).await.ok();

    // By name, the service has to ask for what an IP literal implies.
    let mut named = definition(&upstream);
    named["base_url"] = json!(format!("https://{HOST_NAME}:{}", upstream.port()));
    named["address"] = json!("127.0.0.1");
    named["upstream_cidrs"] = json!("127.0.0.1");
    api.write("mcp-proxy/services/named", named).await.ok();
    api.write("mcp-proxy/proxy/named/GET", call.clone()).await.ok();
    assert_eq!(upstream.seen().len(), 2);

    // A change of the mount's bound counts from the next call on, warm connections or not.
    let config = json!({ "denied_destinations": "127.0.0.1" });
    api.write("mcp-proxy/config", config).await.ok();
    for service in ["demo", "named"] {
        let path = format!("mcp-proxy/proxy/{service}/GET");
        api.write(&path, call.clone()).await.refused(400, "address_forbidden");
    }
    let config = json!({ "denied_destinations": "", "upstream_cidrs": "10.0.0.0/8" });
    api.write("mcp-proxy/config", config).await.ok();
    api.write("mcp-proxy/proxy/demo/GET", call).await.refused(400, "address_forbidden");
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn tls_is_verified_and_plaintext_takes_two_keys() {
    let world = World::start().await;
    let upstream = Upstream::start().await;
    let stranger = Upstream::start().await;
    let call = json!({ "path": "/a" });
    for (what, changes) in [
        ("another CA", json!({ "ca_cert": stranger.ca() })),
        ("no CA", json!({ "ca_cert": "" })),
        ("another name", json!({ "tls_server_name": "other.example.test" })),
    ] {
        let mut fields = definition(&upstream);
        fields.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let name = what.replace(' ', "-").to_lowercase();
        world.root.write(&format!("mcp-proxy/services/{name}"), fields).await.ok();
        let path = format!("mcp-proxy/proxy/{name}/GET");
        world.root.write(&path, call.clone()).await.refused(424, "tls_failed");
    }
    for danger in ["danger_insecure_tls", "danger_allow_plaintext"] {
        let mut fields = definition(&upstream);
        fields[danger] = json!(true);
        let answer = world.root.write("mcp-proxy/services/danger", fields).await;
        assert_eq!(answer.status, 400, "{danger}: {}", answer.text);
        assert!(answer.text.contains("allow_danger"), "{}", answer.text);
    }
    let plain = upstream.url().replace("https", "http");
    let fields = json!({ "base_url": plain, "auth": "none" });
    assert_eq!(world.root.write("mcp-proxy/services/plain", fields).await.status, 400);
    assert!(upstream.seen().is_empty());
}

/// At the write or, where only the resolver can tell, at the call; always before a connection.
async fn refused(world: &World, upstream: &Upstream, changes: &serde_json::Value) {
    let mut fields = definition(upstream);
    fields.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let written = world.root.write("mcp-proxy/services/attempt", fields).await;
    if written.status == 400 {
        assert!(written.text.len() > 40, "says why: {}", written.text);
        return;
    }
    written.ok();
    let called = world.root.write("mcp-proxy/proxy/attempt/GET", json!({ "path": "/a" })).await;
    // A name that nobody knows is an unreachable upstream; an address never gets as far.
    let base_url = changes["base_url"].as_str().unwrap_or_default();
    let unknown = ["//foo.localhost:", "//metadata.google.internal.:"];
    if called.status == 424 && unknown.iter().any(|host| base_url.contains(host)) {
        called.refused(424, "upstream_unreachable");
    } else {
        assert_eq!(called.status, 400, "{changes}: {}", called.text);
        called.refused(400, "address_forbidden");
    }
    world.root.delete("mcp-proxy/services/attempt").await.ok();
}
