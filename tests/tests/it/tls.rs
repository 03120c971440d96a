//! Upstreams whose TLS is not to be trusted: expired, self-signed, outdated, or none at all.

use std::process::{Command, Stdio};

use e2e::certificates::Authority;
use e2e::nginx::{Nginx, Site};
use e2e::world::World;
use serde_json::json;

#[tokio::test]
async fn bad_tls_is_refused_by_kind_before_anything_is_sent() {
    let world = World::start().await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (good, expired) = (authority.server_pem(), authority.expired_pem());
    let (self_signed, foreign) = (Authority::self_signed_pem(), stranger.server_pem());
    let files = "root $files;";
    // Today's OpenSSL speaks the old versions only below its lowest security level.
    let old = "root $files; ssl_protocols TLSv1; ssl_ciphers ALL:@SECLEVEL=0;";
    let site = |pem, directives| Site { listen: "", pem, directives };
    let sites = [
        site(Some(&good), files),
        site(Some(&expired), files),
        site(Some(&self_signed), files),
        site(Some(&foreign), files),
        site(Some(&good), old),
        site(None, files),
    ];
    let nginx = Nginx::start("", &[("data.json", b"{}")], &sites).await;
    speaks_tls_1_0(nginx.port(4));

    let secret = world.secret();
    let call = json!({ "path": "/data.json" });
    for (site, name, says) in [
        (1, "expired", "expired"),
        (2, "self-signed", "certificate"),
        (3, "foreign", "certificate"),
        (4, "outdated", "TLS"),
        (5, "plaintext", "TLS"),
        (0, "good", ""),
    ] {
        let fields = json!({
            "base_url": format!("https://127.0.0.1:{}", nginx.port(site)),
            "ca_cert": authority.pem(),
            "auth": "bearer",
            "token": secret,
            "probe_path": "/data.json",
        });
        world.root.write(&format!("mcp-proxy/services/{name}"), fields).await.ok();
        let answer = world.root.write(&format!("mcp-proxy/proxy/{name}/GET"), call.clone()).await;
        if name == "good" {
            assert_eq!(answer.ok().data()["status"], 200, "the control");
            continue;
        }
        assert!(answer.errors().contains(says), "{name}: {}", answer.text);
        answer.refused(424, "tls_failed");
        let path = format!("mcp-proxy/check/{name}");
        let report = world.root.write(&path, json!({})).await.ok();
        assert_eq!(report.data()["stage"], "tls", "{name}: {}", report.text);
    }
    let served = nginx.served();
    let requests = served.iter().filter(|line| line.contains("data.json")).count();
    assert_eq!(requests, 1, "the control's alone: {served:#?}");
}

/// The control: a client that wants TLS 1.0 gets it.
fn speaks_tls_1_0(port: u16) {
    let output = Command::new("openssl")
        .args(["s_client", "-tls1", "-cipher", "ALL:@SECLEVEL=0", "-connect"])
        .arg(format!("127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("TLSv1\n") || said.contains("TLSv1,"), "no TLS 1.0 here: {said}");
}
