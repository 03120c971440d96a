//! Two upstreams of one origin have nothing in common: no connection, no TLS session.

use super::fixtures::*;
use super::identity::*;

/// How the connections of a server began, in order.
fn handshakes(server: &Server) -> Vec<String> {
    server.seen().into_iter().filter(|note| note.starts_with("handshake")).collect()
}

#[tokio::test]
async fn two_upstreams_share_no_session() {
    for tls13 in [true, false] {
        let identity = appliance();
        let server = serving_with(&identity, &identity.key, "http/1.1", tls13).await;
        let first = server.tls_upstream(NAME, trusting(&identity.pem));
        call(&first).await.unwrap();
        first.connect(generous().deadline).await.unwrap();
        eventually("the second handshake", || handshakes(&server).len() == 2).await;
        // The control: sessions are resumed here where that is allowed.
        assert_eq!(handshakes(&server), ["handshake Full", "handshake Resumed"]);
        let second = server.tls_upstream(NAME, trusting(&identity.pem));
        call(&second).await.unwrap();
        assert_eq!(handshakes(&server)[2..], ["handshake Full"]);
        assert_eq!(server.connections(), 3);
    }
}

#[tokio::test]
async fn a_look_at_the_certificate_shares_no_session() {
    let identity = appliance();
    let server = serving(&identity).await;
    let upstream = server.tls_upstream(NAME, trusting(&identity.pem));
    call(&upstream).await.unwrap();
    for _ in 0..2 {
        upstream.fingerprint(generous().deadline).await.unwrap();
    }
    eventually("three handshakes", || handshakes(&server).len() == 3).await;
    assert_eq!(handshakes(&server), ["handshake Full"; 3]);
}
