//! Proves the lists, the strict parsing and the limits.

use proptest::prelude::*;

use super::HeaderError as E;
use super::*;

fn name(text: &str) -> HeaderName {
    text.parse().unwrap()
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn caller(pairs: &[(&str, &str)], extra: &[&str], injected: Option<&str>) -> Result<HeaderMap, E> {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    parse_caller(pairs, &texts(extra), injected)
}

#[test]
fn passes_the_default_list_in_any_case() {
    for field in DEFAULT_REQUEST_HEADERS {
        let made = caller(&[(&field.to_ascii_uppercase(), "a b")], &[], None).unwrap();
        assert_eq!(made.get(*field).unwrap(), "a b");
    }
    assert_eq!(caller(&[("X-Trace", "1")], &[], None), Err(E::NotAllowed(name("x-trace"))));
    assert_eq!(caller(&[("X-Trace", "1")], &["x-trace"], None).unwrap().len(), 1);
    assert_eq!(
        caller(&[("X-Other", "1")], &["x-trace"], None),
        Err(E::NotAllowed(name("x-other")))
    );
    assert_eq!(caller(&[("X-Other", "1")], &["*"], None).unwrap().len(), 1);
}

#[test]
fn never_passes_what_nobody_may_set() {
    for given in [
        "Authorization",
        "AUTHORIZATION",
        "authorization",
        "Cookie",
        "Host",
        "Content-Length",
        "Expect",
        "TE",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Trailer",
        "Upgrade",
        "Proxy-Authorization",
        "Proxy-Connection",
        "proxy-x",
        "X-Vault-Token",
        "x-vault-namespace",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "x_forwarded_for",
        "X-Real-IP",
        "X-HTTP-Method-Override",
        "X_HTTP_METHOD_OVERRIDE",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-HTTP-Path-Override",
        "X-Original-URL",
        "X-Original-Path",
        "X-Envoy-Original-Path",
        "X-Rewrite-URL",
        "Content-Encoding",
        "Range",
        "Via",
        "Accept-Encoding",
        "HTTP2-Settings",
    ] {
        let never = Err(E::Never(name(given)));
        assert_eq!(caller(&[(given, "x")], &["*"], None), never, "{given}");
        assert_eq!(caller(&[(given, "x")], &[&given.to_ascii_lowercase()], None), never, "{given}");
        let given_static = [(given.to_owned(), "x".to_owned())];
        assert_eq!(parse_static(given_static, None), never, "{given}");
        assert_eq!(parse_allowed_request(&texts(&[given])), Err(E::Never(name(given))), "{given}");
    }
}

#[test]
fn the_injected_field_is_the_engines_alone() {
    for given in ["X-Api-Key", "x-api-key", "X_API_KEY", "x-api_Key"] {
        let refused = Err(E::Injected(name(given)));
        assert_eq!(caller(&[(given, "evil")], &["*"], Some("X-API-Key")), refused, "{given}");
        let given_static = [(given.to_owned(), "evil".to_owned())];
        assert_eq!(parse_static(given_static, Some("X-API-Key")), refused, "{given}");
    }
    assert_eq!(
        caller(&[("Accept", "evil")], &[], Some("accept")),
        Err(E::Injected(name("accept")))
    );
}

#[test]
fn parses_names_and_values_strictly() {
    for bad in [
        "",
        " ",
        "a b",
        "Accept ",
        " Accept",
        "Accept:",
        ":path",
        "Accept\r\nX",
        "Accept\n",
        "a\0",
        "\u{e9}",
        &"a".repeat(MAX_NAME_BYTES + 1),
    ] {
        assert_eq!(caller(&[(bad, "x")], &["*"], None), Err(E::Name), "{bad:?}");
    }
    for bad in ["a\r\nX: 1", "a\nb", "a\rb", "a\0b", "a\u{7f}", "\u{e9}", " a", "a ", "\ta", "\r\n"]
    {
        let refused = Err(E::Value(name("accept")));
        assert_eq!(caller(&[("Accept", bad)], &[], None), refused, "{bad:?}");
    }
    for good in ["", "a", "a\tb", "text/html, */*;q=0.1", "\"{${x}}\""] {
        assert_eq!(caller(&[("Accept", good)], &[], None).unwrap()["accept"], good);
    }
    assert_eq!(
        caller(&[("Accept", "a"), ("ACCEPT", "b")], &[], None),
        Err(E::Duplicate(name("accept")))
    );
}

#[test]
fn holds_the_limits() {
    let many = |count: usize| (0..count).map(|n| (format!("x-{n}"), "v".to_owned()));
    let all = texts(&["*"]);
    assert_eq!(parse_caller(many(MAX_HEADERS), &all, None).unwrap().len(), MAX_HEADERS);
    assert_eq!(parse_caller(many(MAX_HEADERS + 1), &all, None), Err(E::TooMany));
    let long = "v".repeat(MAX_VALUE_BYTES);
    assert!(caller(&[("accept", &long)], &[], None).is_ok());
    assert_eq!(
        caller(&[("accept", &format!("{long}v"))], &[], None),
        Err(E::ValueTooLong(name("accept")))
    );
    let four: Vec<_> = (0..4).map(|n| (format!("x-{n}"), long.clone())).collect();
    assert_eq!(parse_caller(four, &all, None), Err(E::TooLong));
}

#[test]
fn lists_are_lower_cased_and_freed_of_repeats() {
    let names = texts(&["X-B", "x-b", " X-A ", "*"]);
    assert_eq!(parse_allowed_request(&names), Ok(texts(&["x-b", "x-a", "*"])));
    assert_eq!(parse_allowed_response(&names), Ok(texts(&["x-b", "x-a", "*"])));
    assert_eq!(parse_allowed_request(&texts(&["x y"])), Err(E::Name));
    assert_eq!(
        parse_allowed_response(&texts(&["Set-Cookie"])),
        Err(E::NeverHandedOut(name("set-cookie")))
    );
}

#[test]
fn hands_out_what_describes_the_answer_and_no_session() {
    let answer: HeaderMap = [
        ("content-type", "application/json"),
        ("link", "</a>; rel=next"),
        ("location", "/x"),
        ("x-ratelimit-remaining", "1"),
        ("ratelimit", "a"),
        ("retry-after", "1"),
        ("etag", "1"),
        ("vary", "a"),
        ("vary", "b"),
        ("connection", "close, X-Hop"),
        ("x-hop", "1"),
        ("set-cookie", "sid=1"),
        ("set-cookie2", "sid=1"),
        ("www-authenticate", "Basic"),
        ("authentication-info", "x"),
        ("proxy-authenticate", "x"),
        ("authorization", "Bearer x"),
        ("content-length", "1"),
        ("content-encoding", "gzip"),
        ("transfer-encoding", "chunked"),
        ("x-vault-token", "x"),
        ("x-secret-sauce", "1"),
        ("server", "x"),
    ]
    .into_iter()
    .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value)))
    .collect();
    let names = |extra: &[&str]| {
        let kept = filter_response(&answer, &texts(extra));
        let mut names: Vec<String> = kept.iter().map(|(name, _)| name.to_string()).collect();
        names.sort();
        names.join(" ")
    };
    let default = "content-type etag link location ratelimit retry-after vary vary \
                   x-ratelimit-remaining";
    assert_eq!(names(&[]), default);
    assert_eq!(names(&["set-cookie", "x-hop"]), default);
    assert_eq!(names(&["server"]), default.replace("vary vary", "server vary vary"));
    assert_eq!(names(&["*"]), default.replace("vary vary", "server vary vary") + " x-secret-sauce");
}

#[test]
fn knows_seven_methods() {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        assert_eq!(parse_method(method).unwrap().as_str(), method);
    }
    for bad in ["", "get", "Get", "TRACE", "CONNECT", "GET ", "GET\r\nX: 1", "PROPFIND", "*"] {
        assert_eq!(parse_method(bad), Err(MethodError), "{bad:?}");
    }
    assert_eq!(parse_method(&"A".repeat(1024)), Err(MethodError));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_passes_is_plain_and_nobody_elses(
        pairs in prop::collection::vec(
            ("[a-zA-Z_:\r-]{0,12}|Host|X.Vault.Token", any::<String>()),
            0..6,
        ),
    ) {
        if let Ok(made) = parse_caller(pairs, &texts(&["*"]), Some("a")) {
            for (name, value) in &made {
                prop_assert!(!listed(NEVER_REQUEST, name.as_str()) && name != "a");
                prop_assert!(value.to_str().is_ok_and(|text| !text.contains(['\r', '\n', '\0'])));
            }
        }
    }
}
