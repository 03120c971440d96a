//! A cluster: calls, writes and changes through every node, and what a lost leader leaves.
#![expect(clippy::print_stdout, reason = "measurements are for people; the cases don't judge them")]

use std::time::{Duration, Instant};

use e2e::api::{Answer, Api};
use e2e::cli;
use e2e::cluster::Cluster;
use e2e::upstream::{Seen, Upstream};
use e2e::wait;
use e2e::world::{binding, definition};
use serde_json::{Value, json};

const GET: &str = "mcp-proxy/proxy/demo/GET";
const POST: &str = "mcp-proxy/proxy/demo/POST";
const SERVICE: &str = "mcp-proxy/services/demo";

/// Changes that meet calls under way.
const ROTATIONS: usize = 12;

/// What is promised of a change through one node: it holds on all of them.
const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// What the upstream does with a POST, and what the Go client shows of it.
const MISBEHAVIOUR: [(&str, &str); 6] = [
    ("/reset", "outcome_unknown"),
    ("/stall", "outcome_unknown"),
    ("/status/503", "\"status\": 503"),
    ("/status/500", "\"status\": 500"),
    ("/status/429", "\"status\": 429"),
    ("/status/412", "\"status\": 412"),
];

#[tokio::test]
async fn every_node_makes_a_call_once_whatever_happens() {
    let cluster = Cluster::start(2).await;
    let (active, standby) = cluster.pair().await;
    let (upstream, token) = cluster.service("demo").await;
    for (id, role) in [(active, "active node"), (standby, "standby")] {
        let before = upstream.seen().len();
        let answer = call(&cluster.api(id)).await.ok();
        assert_eq!(answer.data()["status"], 200, "{role}: {}", answer.text);
        let seen = upstream.seen();
        assert_eq!(seen.len(), before + 1, "{role}");
        assert_eq!(seen[before].header("authorization"), Some(&*format!("Bearer {token}")));
        let itself = cluster.executed(answer.data()).await == id;
        println!("the {role} makes calls {}", if itself { "itself" } else { "by forwarding" });
    }

    let api = cluster.api(standby);
    write(&cluster, standby, SERVICE, json!({ "timeout": "1s" })).await;
    for (path, shown) in MISBEHAVIOUR {
        let before = upstream.seen().len();
        let path = format!("path={path}");
        let output = cli::run(&api, &["write", "-format=json", POST, &path, "body=once"]).await;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(text.contains(shown), "{path}: {text}");
        assert_eq!(upstream.seen().len(), before + 1, "{path}: executed once");
    }

    // To wrap the answer and to count a token's uses are writes of the server's own, which a standby
    // can't do.
    let before = upstream.seen().len();
    let wrapped = ["write", "-format=json", "-wrap-ttl=60s", POST, "path=/a", "body=once"];
    let output = cli::run(&api, &wrapped).await;
    let wrapped: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(upstream.seen().len(), before + 1, "wrapped: executed once");
    let wrapping = api.with_token(wrapped["wrap_info"]["token"].as_str().unwrap());
    let answer = wrapping.write("sys/wrapping/unwrap", json!({})).await.ok();
    assert_eq!(cluster.executed(answer.data()).await, active);

    let uses = json!({ "policies": ["root"], "num_uses": 2 });
    let counted = api.write("auth/token/create", uses).await.ok();
    let counted = api.with_token(counted.body["auth"]["client_token"].as_str().unwrap());
    let before = upstream.seen().len();
    counted.write(POST, json!({ "path": "/a" })).await.ok();
    assert_eq!(upstream.seen().len(), before + 1, "a counted token: executed once");
}

#[tokio::test]
async fn writes_through_the_standby_are_executed_once() {
    let cluster = Cluster::start(2).await;
    let (active, standby) = cluster.pair().await;
    let (api, truth) = (cluster.api(standby), cluster.api(active));
    let (first, second) = (cluster.secret(), cluster.secret());
    let upstream = Upstream::start().await;

    let mut own = definition(&upstream);
    own["name"] = json!("demo");
    own["auth"] = json!("bearer");
    own["token"] = json!(first);
    api.write("mcp-proxy/services", own.clone()).await.ok();
    api.write("mcp-proxy/services", own).await.refused(400, "invalid_request");
    api.write(SERVICE, json!({ "token": second, "cas": 1 })).await.ok();
    assert_eq!(truth.read(SERVICE).await.ok().data()["version"], 2);

    let shared = "mcp-proxy/credentials/shared";
    let mut fields = binding(&upstream);
    fields["auth"] = json!("bearer");
    fields["token"] = json!(first);
    api.write(shared, fields).await.ok();
    let again = json!({ "token": second, "cas": 1 });
    api.write(shared, again.clone()).await.ok();
    api.write(shared, again).await.refused(400, "check_and_set_failed");
    for path in ["mcp-proxy/credentials/demo", shared] {
        let read = truth.read(path).await.ok();
        assert_eq!(read.data()["current_version"], 2, "{}", read.text);
        assert_eq!(read.data()["versions"].as_object().unwrap().len(), 2, "{}", read.text);
    }

    let mistyped = json!({ "upstream_cidr": "10.0.0.0/8" });
    let refused = api.write("mcp-proxy/config", mistyped).await.refused(400, "invalid_request");
    assert!(refused.text.contains("upstream_cidrs"), "{}", refused.text);
    api.write("mcp-proxy/config", json!({ "max_versions": 7 })).await.ok();
    assert_eq!(truth.read("mcp-proxy/config").await.ok().data()["max_versions"], 7);
    api.delete(shared).await.ok();
    assert_eq!(truth.read(shared).await.status, 404);
}

#[tokio::test]
async fn a_change_holds_on_the_standby_within_a_second() {
    let cluster = Cluster::start(2).await;
    let (active, standby) = cluster.pair().await;
    let (writer, api) = (cluster.api(active), cluster.api(standby));
    // As few as can be: what an old version is needed for ends soonest.
    writer.write("mcp-proxy/config", json!({ "max_versions": 2 })).await.ok();
    let upstream = trusting(&cluster, "demo").await;

    // A caller that never rests: each change meets reads that are under way, and none is refused.
    let busy = tokio::spawn(calls(api.clone()));
    let mut times = Vec::new();
    for _ in 0..ROTATIONS {
        // Beside a build without optimisation that compiles redactors all the time: no second here.
        times.push(rotate(&cluster, active, standby, &upstream).await);
    }
    println!("under load, the standby uses a new version after {times:?}");
    assert!(!busy.is_finished(), "a call was refused");
    busy.abort();
    let took = rotate(&cluster, active, standby, &upstream).await;
    println!("without load: after {took:?}");
    assert!(took < SEEN_WITHIN, "{took:?}");
    shared_rotation(&cluster, active, standby).await;

    let config = "mcp-proxy/config";
    for (path, field, off, on, code) in [
        (config, "paused", json!(true), json!(false), "paused"),
        (config, "upstream_cidrs", json!(""), json!("127.0.0.0/8"), "address_forbidden"),
        (SERVICE, "enabled", json!(false), json!(true), "service_disabled"),
    ] {
        writer.write(path, json!({ field: off })).await.ok();
        let refused = async || call(&api).await.status == 400;
        let after = within(field, refused).await;
        println!("{field}={off}: the standby refuses after {after:?}");
        let before = upstream.seen().len();
        call(&api).await.refused(400, code);
        assert_eq!(upstream.seen().len(), before, "{field}");
        writer.write(path, json!({ field: on })).await.ok();
        within(field, async || call(&api).await.status == 200).await;
    }

    writer.delete(SERVICE).await.ok();
    let after = within("the deletion", async || call(&api).await.status == 404).await;
    println!("deleted: the standby refuses after {after:?}");
    call(&api).await.refused(404, "unknown_service");

    for (name, caller, other) in [("one", standby, active), ("two", active, standby)] {
        in_flight_while_paused(&cluster, name, caller, other).await;
    }
}

/// Writes a new token through the active node; how long until the standby sends it.
async fn rotate(cluster: &Cluster, active: usize, standby: usize, upstream: &Upstream) -> Duration {
    let token = cluster.secret();
    let expected = format!("Bearer {token}");
    cluster.api(active).write(SERVICE, json!({ "token": token })).await.ok();
    let (started, api) = (Instant::now(), cluster.api(standby));
    wait::until("the new version", async || {
        let before = upstream.seen().len();
        call(&api).await.ok();
        let seen = upstream.seen();
        let new = |seen: &Seen| seen.header("authorization") == Some(&expected);
        seen[before..].iter().any(new).then_some(())
    })
    .await;
    started.elapsed()
}

/// Rotates a shared credential: nothing but its own entry tells the standby.
async fn shared_rotation(cluster: &Cluster, active: usize, standby: usize) {
    let (writer, api) = (cluster.api(active), cluster.api(standby));
    let (key, path) = ("mcp-proxy/credentials/key", "mcp-proxy/proxy/sharing/GET");
    let (first, second) = (cluster.secret(), cluster.secret());
    let upstream = Upstream::start().await;
    let mut credential = binding(&upstream);
    credential["auth"] = json!("bearer");
    credential["token"] = json!(first);
    writer.write(key, credential).await.ok();
    let mut service = definition(&upstream);
    service["auth"] = json!("bearer");
    service["credential"] = json!("key");
    writer.write("mcp-proxy/services/sharing", service).await.ok();
    within("a new service", async || api.write(path, json!({})).await.status == 200).await;
    writer.write(key, json!({ "token": second })).await.ok();
    let upstream = upstream.demanding("authorization", &format!("Bearer {second}"));
    let used = async || api.write(path, json!({})).await.ok().data()["status"] == 200;
    let after = within("the new version", used).await;
    println!("the standby uses a new version of a shared credential after {after:?}");
    assert!(upstream.seen().len() > 1);
}

/// Pauses through one node, and a call that is under way on another goes on.
async fn in_flight_while_paused(cluster: &Cluster, name: &str, caller: usize, other: usize) {
    let (upstream, _) = cluster.service(name).await;
    let path = format!("mcp-proxy/proxy/{name}/POST");
    let (caller, other) = (cluster.api(caller), cluster.api(other));
    let held = held(&caller, &path);
    upstream.saw(1).await;
    other.write("mcp-proxy/config", json!({ "paused": true })).await.ok();
    let next = async || caller.write(&path, json!({ "path": "/a" })).await;
    within("the pause", async || next().await.status == 400).await;
    next().await.refused(400, "paused");
    assert!(!held.is_finished());
    upstream.release();
    assert_eq!(held.await.unwrap().unwrap().ok().data()["status"], 200);
    assert_eq!(holds(&upstream), 1);
    other.write("mcp-proxy/config", json!({ "paused": false })).await.ok();
    within("the end of the pause", async || next().await.status == 200).await;
}

#[tokio::test]
async fn when_the_leader_steps_down_or_is_killed_the_others_go_on() {
    let mut cluster = Cluster::start(3).await;
    for kill in [false, true] {
        let what = if kill { "kill -9" } else { "step-down" };
        let leader = cluster.active().await;
        let other = (leader + 1) % 3;
        let (through_leader, api) = (cluster.api(leader), cluster.api(other));
        let upstream = trusting(&cluster, "demo").await;
        let flights = [held(&through_leader, POST), held(&api, POST)];
        upstream.saw(2).await;

        // Acknowledged, and at once the leader is gone.
        let token = cluster.secret();
        through_leader.write(SERVICE, json!({ "token": token })).await.ok();
        let started = Instant::now();
        let step_down = if kill {
            cluster.kill(leader).await;
            None
        } else {
            // It waits for the calls in flight.
            let api = through_leader.clone();
            Some(tokio::spawn(async move { api.write("sys/step-down", json!({})).await }))
        };
        // A node that knows no leader for a moment sends clients on, and asks the plugin nothing.
        let next = wait::until("the next call", async || {
            let answer = call(&api).await;
            (!matches!(answer.status, 307 | 503)).then_some(answer)
        })
        .await;
        next.ok();
        println!("{what}: the next call worked after {:?}", started.elapsed());

        upstream.release();
        let [on_leader, on_other] = flights;
        // Where the node becomes the leader under it, the server may give its own answer.
        let on_other = on_other.await.unwrap().unwrap();
        assert!(matches!(on_other.status, 200 | 307 | 500 | 503), "{what}: {on_other:?}");
        // Nobody can say what became of a call on a node that was killed.
        let on_leader = on_leader.await.unwrap();
        assert_eq!(on_leader.is_err(), kill, "{what}: {on_leader:?}");
        if let Ok(answer) = on_leader {
            assert!(matches!(answer.status, 200 | 307 | 500 | 503), "{what}: {answer:?}");
        }
        if let Some(step_down) = step_down {
            step_down.await.unwrap().ok();
        }
        let new = wait::until("a new leader", async || {
            let active = cluster.active().await;
            (active != leader).then_some(active)
        })
        .await;
        println!("{what}: a new leader after {:?}", started.elapsed());

        call(&cluster.api(new)).await.ok();
        let seen = upstream.seen();
        let last = seen.last().unwrap().header("authorization");
        assert_eq!(
            last,
            Some(&*format!("Bearer {token}")),
            "{what}: what was acknowledged is there"
        );
        assert_eq!(seen.len(), 4, "{what}: no call was repeated");
        cluster.api(new).write(SERVICE, json!({ "description": what })).await.ok();
    }
}

async fn call(api: &Api) -> Answer {
    api.write(GET, json!({ "path": "/a" })).await
}

async fn calls(api: Api) {
    loop {
        call(&api).await.ok();
    }
}

/// Writes through one node, and waits until it has read its own write.
async fn write(cluster: &Cluster, id: usize, path: &str, fields: Value) {
    let api = cluster.api(id);
    let version = |answer: Answer| answer.data()["version"].as_u64();
    let before = version(api.read(path).await.ok());
    api.write(path, fields).await.ok();
    wait::until("the write on the node", async || {
        (version(api.read(path).await.ok()) > before).then_some(())
    })
    .await;
}

/// A service at an upstream that takes every token, known to all nodes.
async fn trusting(cluster: &Cluster, name: &str) -> Upstream {
    let path = format!("mcp-proxy/services/{name}");
    let upstream = Upstream::start().await;
    let mut fields = definition(&upstream);
    fields["auth"] = json!("bearer");
    fields["token"] = json!(cluster.secret());
    cluster.api(cluster.active().await).write(&path, fields).await.ok();
    cluster.everywhere(&path, "base_url", &upstream.url()).await;
    upstream
}

/// A call that the upstream doesn't answer yet.
fn held(api: &Api, path: &str) -> tokio::task::JoinHandle<Result<Answer, String>> {
    let (api, path) = (api.clone(), path.to_owned());
    tokio::spawn(async move {
        let call = json!({ "path": "/hold", "body": "once" });
        api.send("POST", &path, Some(&call)).await.map_err(|error| error.to_string())
    })
}

fn holds(upstream: &Upstream) -> usize {
    upstream.seen().iter().filter(|seen| seen.target == "/hold").count()
}

/// Waits for what must be so within [`SEEN_WITHIN`]; how long it took.
async fn within(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    wait::until(what, async || condition().await.then_some(())).await;
    let took = started.elapsed();
    assert!(took < SEEN_WITHIN, "{what}: {took:?}");
    took
}
