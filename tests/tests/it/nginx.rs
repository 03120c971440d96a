//! A real nginx that demands the credential by itself, over TLS, in HTTP/1.1 and HTTP/2.

use std::io::Write as _;
use std::process::{Command, Stdio};

use e2e::certificates::{Authority, Pem};
use e2e::forms;
use e2e::nginx::{Nginx, Site};
use e2e::world::World;
use serde_json::{Value, json};

/// A body that isn't redacted, compresses, and is more than one frame or record.
const LARGE: usize = 100_000;

/// The auth kinds, with their parameters.
fn kinds() -> [(&'static str, Value); 5] {
    [
        ("bearer", json!({})),
        ("header", json!({ "header_name": "X-Api-Key", "prefix": "Token " })),
        ("query_param", json!({ "param_name": "api_key" })),
        ("basic", json!({ "username": "agent" })),
        ("cookie", json!({ "cookie_name": "sid" })),
    ]
}

#[tokio::test]
async fn nginx_takes_every_kind_of_credential_over_http_1_and_2() {
    let world = World::start().await;
    let authority = Authority::new();
    let secret = world.secret();
    let nginx = demanding(&secret, &authority.server_pem()).await;
    let upload: String = (0..LARGE).map(|at| char::from(b'a' + (at % 23) as u8)).collect();

    for (site, protocol) in [(0, "HTTP/1.1"), (1, "HTTP/2.0")] {
        for (kind, parameters) in kinds() {
            let name = format!("{}-{site}", kind.replace('_', "-"));
            let service = format!("mcp-proxy/services/{name}");
            let mut fields = json!({
                "base_url": format!("https://127.0.0.1:{}/{kind}", nginx.port(site)),
                "ca_cert": authority.pem(),
                "auth": kind,
            });
            fields.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
            let field = if kind == "basic" { "password" } else { "token" };
            fields[field] = json!(world.secret());
            world.root.write(&service, fields).await.ok();
            let call = json!({ "path": "/data.json", "query": { "page": "1" } });
            let get = format!("mcp-proxy/proxy/{name}/GET");
            let refused = world.root.write(&get, call.clone()).await.ok();
            assert_eq!(refused.data()["status"], 401, "{name}: {}", refused.text);

            let mut fields = json!({ field: secret });
            if kind == "basic" {
                fields["username"] = json!("agent");
            }
            world.root.write(&service, fields).await.ok();
            let answer = world.root.write(&get, call).await.ok();
            assert_eq!(answer.data()["status"], 200, "{name}: {}", answer.text);
            assert_eq!(answer.data()["body"], r#"{"answer":42}"#, "{name}");

            // Up and down again, compressed on the way back.
            let file = format!("{name}.txt");
            let put = json!({ "path": format!("/{file}"), "body": upload });
            let stored = world.root.write(&format!("mcp-proxy/proxy/{name}/PUT"), put).await.ok();
            assert_eq!(stored.data()["status"], 201, "{name}: {}", stored.text);
            assert_eq!(nginx.file(&file).as_deref(), Some(upload.as_bytes()), "{name}");
            let call = json!({ "path": format!("/{file}") });
            let fetched = world.root.write(&get, call).await.ok();
            assert_eq!(fetched.data()["body"], upload, "{name}");

            // An upstream that says what it was sent, compressed.
            let call = json!({ "path": "/echo" });
            let echo = world.root.write(&get, call).await.ok();
            let body = echo.data()["body"].as_str().unwrap();
            assert_eq!(forms::found(body.as_bytes(), &secret), [""; 0], "{name}: {body}");
            assert!(body.contains("[redacted: credential of"), "{name}: {body}");
            assert_eq!(echo.data()["redacted"], 1, "{name}: {body}");

            let served = nginx.served();
            for line in [
                format!("{protocol} GET /{kind}/data.json 401 -"),
                format!("{protocol} GET /{kind}/data.json 200 gzip"),
                format!("{protocol} PUT /{kind}/{file} 201 -"),
                format!("{protocol} GET /{kind}/{file} 200 gzip"),
                format!("{protocol} GET /{kind}/echo 200 gzip"),
            ] {
                assert!(served.contains(&line), "{name}: no {line} in {served:#?}");
            }
        }
    }
}

/// Two sites with the same files, HTTP/1.1 and HTTP/2; each kind in a location of its own.
async fn demanding(secret: &str, pem: &Pem) -> Nginx {
    // As it stands in a query: nginx compares it undecoded.
    let encoded = secret.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    let http = format!(
        "gzip on;\ngzip_min_length 1;\ngzip_types *;\n\
         map $http_authorization $by_bearer {{ 'Bearer {secret}' 1; default 0; }}\n\
         map $http_x_api_key $by_header {{ 'Token {secret}' 1; default 0; }}\n\
         map $arg_api_key $by_query_param {{ '{encoded}' 1; default 0; }}\n\
         map $cookie_sid $by_cookie {{ '{secret}' 1; default 0; }}\n"
    );
    let mut directives = "dav_methods PUT;\n".to_owned();
    for (kind, _) in kinds() {
        directives.push_str(&format!(
            "location = /{kind}/echo {{ return 200 \
             '{{\"sent\":\"$http_authorization $http_x_api_key $args $http_cookie\"}}'; }}\n"
        ));
    }
    for kind in ["bearer", "header", "query_param", "cookie"] {
        directives.push_str(&format!(
            "location /{kind}/ {{ if ($by_{kind} = 0) {{ return 401; }} alias $files/; }}\n"
        ));
    }
    directives.push_str(
        "location /basic/ { auth_basic real; auth_basic_user_file $files/htpasswd; \
         alias $files/; }\n",
    );
    let htpasswd = format!("agent:{}\n", apr1(secret));
    let files: [(&str, &[u8]); 2] =
        [("data.json", br#"{"answer":42}"#), ("htpasswd", htpasswd.as_bytes())];
    let sites =
        ["", "http2"].map(|listen| Site { listen, pem: Some(pem), directives: &directives });
    Nginx::start(&http, &files, &sites).await
}

/// As `htpasswd` writes it.
fn apr1(password: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(["passwd", "-apr1", "-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let output = openssl.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
