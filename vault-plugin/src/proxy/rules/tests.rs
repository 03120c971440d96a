//! Rules against requests, as tables; and that no spelling of one path is judged otherwise.

use proptest::prelude::*;

use super::*;
use crate::proxy::base_url::BaseUrl;
use crate::proxy::canonical::{PathSwitches, canonicalise};

fn target(path: &str, query: &[(&str, &str)]) -> CanonicalTarget {
    let base = BaseUrl::parse("https://h.example/api").unwrap();
    let query: Vec<_> =
        query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let switches = PathSwitches { allow_encoded_slash: true, allow_path_params: true };
    canonicalise(&base, path, &query, switches).unwrap()
}

fn allows(rules: &[&str], method: &str, path: &str) -> bool {
    let rules = Rules::parse(rules).unwrap();
    let method = parse_method(method).unwrap();
    matches!(rules.decide(&method, &target(path, &[]), |_| false), Verdict::Allowed(_))
}

#[test]
fn the_first_match_decides_and_the_rest_is_denied() {
    let rules =
        ["deny * /repos/secret/**", "allow GET,HEAD /repos/**", "allow POST /repos/*/issues"];
    for (method, path, allowed) in [
        ("GET", "/repos", true),
        ("GET", "/repos/", true),
        ("GET", "/repos/a/b/c", true),
        ("HEAD", "/repos/a", true),
        ("GET", "/repos/secret", false),
        ("GET", "/repos/secret/", false),
        ("GET", "/repos/secret/x", false),
        ("GET", "/repos/%73ecret/x", false),
        ("GET", "/repos/Secret/x", true),
        ("POST", "/repos/a/issues", true),
        ("POST", "/repos/a/b/issues", false),
        ("POST", "/repos/a/issues/1", false),
        ("DELETE", "/repos/a", false),
        ("GET", "/reposx", false),
        ("GET", "/", false),
        ("GET", "", false),
    ] {
        assert_eq!(allows(&rules, method, path), allowed, "{method} {path}");
    }
    assert!(allows(&[], "DELETE", "/anything"), "no rules: all is allowed");
    assert!(!allows(&["deny DELETE /x"], "GET", "/y"), "once there is a rule, the rest is denied");
}

#[test]
fn stars_stay_within_a_segment() {
    for (pattern, path, matches) in [
        ("/a/*", "/a/b", true),
        ("/a/*", "/a", false),
        ("/a/*", "/a/", false),
        ("/a/*", "/a/b/c", false),
        ("/a/b*", "/a/bcd", true),
        ("/a/*d", "/a/bcd", true),
        ("/a/b*d*f", "/a/bcdef", true),
        ("/a/b*d*f", "/a/bf", false),
        ("/a/ab*ba", "/a/aba", false),
        ("/**", "/", true),
        ("/**", "/a/b", true),
        ("/**/z", "/z", true),
        ("/**/z", "/a/b/z", true),
        ("/a/**/b/**/c", "/a/x/b/y/z/c", true),
        ("/a/**/b/**/c", "/a/x/c", false),
        ("/v1/messages:batch", "/v1/messages%3Abatch", true),
        ("/a/*", "/a/b%2Fc", true),
        ("/a/b/c", "/a/b%2Fc", false),
        ("/a/%2A", "/a/*", true),
        ("/a/%2A", "/a/b", false),
        ("/tasks/*", "/tasksadmin", false),
        ("/é", "/%C3%A9", true),
    ] {
        assert_eq!(
            allows(&[&format!("allow GET {pattern}")], "GET", path),
            matches,
            "{pattern} {path}"
        );
    }
}

#[test]
fn a_denial_covers_what_an_upstream_may_make_of_a_path() {
    let rules = ["deny * /admin/**", "allow * /**"];
    for path in ["/admin%2Fx", "/admin;a=1/x", "/admin;a=1", "/admin%3Ba/x", "/admin;a%2Fb/x"] {
        assert!(!allows(&rules, "GET", path), "{path}");
    }
    assert!(allows(&rules, "GET", "/x%2Fadmin"));
    // An allowance doesn't stretch as far.
    assert!(!allows(&["allow GET /a/b"], "GET", "/a%2Fb"));
    assert!(!allows(&["allow GET /a"], "GET", "/a;x"));
}

#[test]
fn query_conditions_want_the_parameter_once() {
    let allow = ["allow GET /api?cmd=get_*"];
    for (query, allowed) in [
        (vec![("cmd", "get_users")], true),
        (vec![("cmd", "get_"), ("other", "x")], true),
        (vec![("cmd", "delete")], false),
        (vec![], false),
        (vec![("cmd", "get_a"), ("cmd", "delete")], false),
        (vec![("cmd", "get_a"), ("CMD", "delete")], false),
        (vec![("cmd", "get_a"), ("cmd[]", "delete")], false),
        (vec![("cmd", "get_a"), ("%63md", "delete")], false),
        (vec![("CMD", "get_a")], false),
    ] {
        let rules = Rules::parse(&allow).unwrap();
        let verdict = rules.decide(&Method::GET, &target("/api", &query), |_| false);
        assert_eq!(matches!(verdict, Verdict::Allowed(_)), allowed, "{query:?}");
    }
    let rules = Rules::parse(&["deny * /**?cmd=delete", "allow * /**"]).unwrap();
    for query in [
        vec![("cmd", "get"), ("cmd", "delete")],
        vec![("CMD", "delete")],
        vec![("cmd[]", "delete")],
    ] {
        let verdict = rules.decide(&Method::GET, &target("/api", &query), |_| false);
        assert_eq!(verdict, Verdict::Denied(Some("deny * /**?cmd=delete")), "{query:?}");
    }
}

#[test]
fn a_parameter_that_decides_stands_in_the_query_alone() {
    let rules = Rules::parse(&[
        "deny POST /api?cmd=delete*&force=1",
        "allow POST /api?cmd=get_*",
        "allow POST /log",
    ])
    .unwrap();
    let (deny, allow) = ("deny POST /api?cmd=delete*&force=1", "allow POST /api?cmd=get_*");
    for (path, query, body, verdict) in [
        ("/api", vec![("cmd", "get_a")], "", Verdict::Allowed(Some(allow))),
        ("/api", vec![("cmd", "get_a")], "other", Verdict::Allowed(Some(allow))),
        ("/api", vec![("cmd", "get_a")], "cmd", Verdict::InBody { rule: allow, parameter: "cmd" }),
        (
            "/api",
            vec![("cmd", "get_a"), ("force", "1")],
            "cmd",
            Verdict::InBody { rule: deny, parameter: "cmd" },
        ),
        ("/api", vec![("cmd", "get_a"), ("force", "1")], "", Verdict::Allowed(Some(allow))),
        // Denied already, whatever the body has.
        ("/api", vec![("cmd", "delete"), ("force", "1")], "cmd", Verdict::Denied(Some(deny))),
        ("/api", vec![], "cmd", Verdict::Denied(None)),
        // No parameter decides here.
        ("/log", vec![("cmd", "get_a")], "cmd", Verdict::Allowed(Some("allow POST /log"))),
    ] {
        let decided = rules.decide(&Method::POST, &target(path, &query), |name| name == body);
        assert_eq!(decided, verdict, "{path} {query:?} {body}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for rule in [
        "",
        "allow",
        "allow GET",
        "permit GET /x",
        "allow get /x",
        "allow TRACE /x",
        "allow GET x",
        "allow GET, HEAD /x",
        "allow GET /a//b",
        "allow GET /a/../b",
        "allow GET /a**",
        "allow GET /x?",
        "allow GET /x?a",
        "allow GET /x?=b",
        "allow GET /x y",
        "allow GET /%ff",
        "allow GET /a#b",
        "Allow GET /x",
    ] {
        assert!(Rules::parse(&[rule]).is_err(), "{rule:?}");
    }
    assert!(Rules::parse(&vec!["allow GET /x"; MAX_RULES + 1]).is_err());
}

#[test]
fn words_for_agents() {
    let rules = Rules::parse(&["allow GET,HEAD  /a/**", "deny * /b", "allow POST /a"]).unwrap();
    assert_eq!(rules.allowed(), "GET,HEAD /a/**; POST /a");
    assert_eq!(rules.methods().unwrap(), ["GET", "HEAD", "POST"]);
    assert_eq!(Rules::parse(&["allow * /a"]).unwrap().methods(), None);
    assert_eq!(Rules::default().methods(), None);
}

#[test]
fn hostile_patterns_and_paths_stay_cheap() {
    let rule = format!("allow GET /{}", "**/a*a*a*a/".repeat(90));
    let path = format!("/{}", "aaaaaaaa/".repeat(800));
    assert!(!allows(&[rule.trim_end_matches('/')], "GET", &format!("{path}b")));
}

proptest! {
    /// However a path's unreserved characters are spelt, the verdict is the same.
    #[test]
    fn spellings_are_judged_alike(
        segments in proptest::collection::vec("[a-z]{1,4}", 1..5),
        encode in proptest::collection::vec(any::<bool>(), 24),
    ) {
        let rules = ["deny * /a/**", "deny GET /**/b", "allow GET /*/*/**", "allow GET /c*"];
        let plain = format!("/{}", segments.join("/"));
        let spelt: String = plain
            .chars()
            .zip(encode.iter().cycle())
            .map(|(c, encode)| match c {
                '/' => "/".to_owned(),
                c if *encode => format!("%{:02x}", u32::from(c)),
                c => c.to_string(),
            })
            .collect();
        prop_assert_eq!(allows(&rules, "GET", &plain), allows(&rules, "GET", &spelt));
    }
}
