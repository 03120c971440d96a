//! Proves what is refused, what is respelled, and the properties that policy relies on.

use http::uri::PathAndQuery;
use proptest::prelude::*;

use super::CanonicalError as E;
use super::*;

const STRICT: PathSwitches = PathSwitches { allow_encoded_slash: false, allow_path_params: false };
const SLASH: PathSwitches = PathSwitches { allow_encoded_slash: true, allow_path_params: false };
const PARAMS: PathSwitches = PathSwitches { allow_encoded_slash: false, allow_path_params: true };
const BOTH: PathSwitches = PathSwitches { allow_encoded_slash: true, allow_path_params: true };

fn base(text: &str) -> BaseUrl {
    BaseUrl::parse(text).unwrap()
}

fn of(path: &str, switches: PathSwitches) -> Result<String, E> {
    let target = canonicalise(&base("http://h:8989/api/v3"), path, &[], switches)?;
    assert_eq!(target.target(), format!("/api/v3{}", target.relative()));
    Ok(target.relative().to_owned())
}

fn pairs(query: &[(&str, &str)]) -> Vec<(String, String)> {
    query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn refuses_each_ambiguous_path_by_its_cause() {
    let long = format!("/{}", "a".repeat(2 << 20));
    for (path, cause) in [
        ("/../admin", E::DotSegment),
        ("/x/../../admin", E::DotSegment),
        ("/./admin", E::DotSegment),
        ("/a/..", E::DotSegment),
        ("/.", E::DotSegment),
        ("/%2e%2e/%2e%2e/admin", E::DotSegment),
        ("/.%2e/.%2E/admin", E::DotSegment),
        ("/a/%2E/b", E::DotSegment),
        ("/..\\..\\admin", E::Backslash),
        ("/..%5c..%5Cadmin", E::Backslash),
        ("/\\evil.com", E::Backslash),
        ("/%252e%252e/admin", E::DoubleEncoding),
        ("/%25%32%65%25%32%65/admin", E::DoubleEncoding),
        ("/%2525%32e", E::DoubleEncoding),
        ("/%c0%ae%c0%ae/admin", E::NotUtf8),
        ("/a%c0%afb", E::NotUtf8),
        ("/%e9", E::NotUtf8),
        ("//evil.com/x", E::EmptySegment),
        ("/admin//x", E::EmptySegment),
        ("/admin//", E::EmptySegment),
        ("http://evil.com/", E::FullUrl),
        ("HTTPS://evil.com", E::FullUrl),
        ("@evil.com", E::NotRooted),
        (":80@evil.com", E::NotRooted),
        (".evil.com", E::NotRooted),
        ("admin", E::NotRooted),
        ("*", E::NotRooted),
        ("%2Fadmin", E::NotRooted),
        ("?x=1", E::NotRooted),
        ("/a?apikey=evil&x=1", E::QuestionMark),
        ("/a#frag", E::Fragment),
        ("/a%00b", E::Control),
        ("/a%0d%0aX:1", E::Control),
        ("/a\r\nX: 1", E::Control),
        ("/a\u{0}", E::Control),
        ("/a\tb", E::Control),
        ("/a\u{7f}", E::Control),
        ("/a%7f", E::Control),
        ("/a b", E::Space),
        ("/\u{e9}", E::NonAscii),
        ("/a%2fb", E::EncodedSlash),
        ("/a%2Fb", E::EncodedSlash),
        ("/a;p=1", E::PathParameter),
        ("/a%3bp=1", E::PathParameter),
        ("/a%", E::BarePercent),
        ("/a%2", E::BarePercent),
        ("/a%zz", E::BarePercent),
        ("/a%+1", E::BarePercent),
        ("/a%u0041", E::BarePercent),
        ("/[", E::Forbidden('[')),
        ("/]", E::Forbidden(']')),
        ("/|", E::Forbidden('|')),
        ("/^", E::Forbidden('^')),
        ("/{id}", E::Forbidden('{')),
        ("/}", E::Forbidden('}')),
        ("/\"", E::Forbidden('"')),
        ("/`", E::Forbidden('`')),
        ("/<", E::Forbidden('<')),
        ("/>", E::Forbidden('>')),
        (&long, E::TooLong),
    ] {
        let shown: String = path.chars().take(40).collect();
        assert_eq!(of(path, STRICT), Err(cause), "{shown:?}");
        assert!(!cause.to_string().is_empty());
    }
}

#[test]
fn keeps_what_is_plain_and_respells_the_rest() {
    for (path, relative) in [
        ("/repos/x/issues", "/repos/x/issues"),
        ("/a/", "/a/"),
        ("/%41%7a%7E%2d%5f%2E", "/Az~-_."),
        ("/%c3%a9", "/%C3%A9"),
        ("/a%20b", "/a%20b"),
        ("/v1/x:cancel", "/v1/x:cancel"),
        ("/v1/x%3acancel", "/v1/x%3Acancel"),
        ("/rooms/%23a:b/%3f", "/rooms/%23a:b/%3F"),
        ("/@scope/name", "/@scope/name"),
        ("/logs-*/_search", "/logs-*/_search"),
        ("/a+b,c=d&e!$'()", "/a+b,c=d&e!$'()"),
        ("/100%25", "/100%25"),
        ("/100%25/x", "/100%25/x"),
        ("/...", "/..."),
        ("/.well-known/x", "/.well-known/x"),
        ("/a..b", "/a..b"),
    ] {
        assert_eq!(of(path, STRICT).as_deref(), Ok(relative), "{path}");
    }
}

#[test]
fn the_switches_open_one_thing_each_and_no_way_upwards() {
    assert_eq!(of("/p/group%2fproj", SLASH).as_deref(), Ok("/p/group%2Fproj"));
    assert_eq!(of("/m;v=1/x", PARAMS).as_deref(), Ok("/m;v=1/x"));
    assert_eq!(of("/m%3bv=1", PARAMS).as_deref(), Ok("/m%3Bv=1"));
    for (path, switches, cause) in [
        ("/a;b", SLASH, E::PathParameter),
        ("/a%2fb", PARAMS, E::EncodedSlash),
        ("/a%5cb", BOTH, E::Backslash),
        ("/a%2f..%2fb", BOTH, E::DotSegment),
        ("/%2e%2e%2fb", BOTH, E::DotSegment),
        ("/..;/b", BOTH, E::DotSegment),
        ("/..%3bx/b", BOTH, E::DotSegment),
        ("/.;x", BOTH, E::DotSegment),
        ("/%2fevil.com", BOTH, E::EmptySegment),
        ("/a/%2fb", BOTH, E::EmptySegment),
        ("/;x/b", BOTH, E::EmptySegment),
        ("/%252fb", BOTH, E::DoubleEncoding),
    ] {
        assert_eq!(of(path, switches), Err(cause), "{path}");
    }
}

#[test]
fn empty_is_the_base_itself_and_a_slash_is_a_slash() {
    for (url, path, target) in [
        ("https://h", "", "/"),
        ("https://h", "/", "/"),
        ("https://h/graphql", "", "/graphql"),
        ("https://h/graphql", "/", "/graphql/"),
    ] {
        let made = canonicalise(&base(url), path, &[], STRICT).unwrap();
        assert_eq!((made.target(), made.relative()), (target, "/"), "{url} + {path:?}");
    }
}

#[test]
fn writes_the_query_strictly_and_in_order() {
    let query = pairs(&[
        ("b", "1 2+3"),
        ("a", ""),
        ("b", "&x=\u{e9}#/?%41\r\n"),
        ("f[x]", "{{env.TOKEN}}${TOKEN}"),
    ]);
    let made = canonicalise(&base("https://h/api"), "/s", &query, STRICT).unwrap();
    assert_eq!(
        made.target(),
        "/api/s?b=1%202%2B3&a=&b=%26x%3D%C3%A9%23%2F%3F%2541%0D%0A\
         &f%5Bx%5D=%7B%7Benv.TOKEN%7D%7D%24%7BTOKEN%7D"
    );
    assert_eq!(made.relative(), "/s");
    assert_eq!(made.query(), query);
    assert_eq!(made.query_names().collect::<Vec<_>>(), ["b", "a", "b", "f[x]"]);
}

#[test]
fn refuses_a_query_that_is_long_nameless_or_replaces_the_method() {
    let refused = |query: &[(&str, &str)]| {
        canonicalise(&base("https://h"), "/s", &pairs(query), STRICT).map(|made| made.relative)
    };
    assert_eq!(refused(&[("", "x")]), Err(E::UnnamedParameter));
    for name in
        ["_method", "_METHOD", ".method", "_method[]", "%5fmethod", "X-HTTP-Method-Override"]
    {
        assert_eq!(refused(&[(name, "DELETE")]), Err(E::MethodOverride), "{name}");
    }
    assert_eq!(refused(&[("a", &"x".repeat(MAX_TARGET_BYTES))]), Err(E::TooLong));
    assert_eq!(refused(&[("a", &" ".repeat(MAX_TARGET_BYTES / 2))]), Err(E::TooLong));
    assert_eq!(refused(&vec![("a", "b"); 1_000_000]), Err(E::TooLong));
    assert_eq!(refused(&[("method", "x")]).as_deref(), Ok("/s"));
}

#[test]
fn finds_the_injected_name_in_any_spelling() {
    let names = |given: &str| {
        canonicalise(&base("https://h"), "/s", &pairs(&[("x", "1"), (given, "evil")]), STRICT)
            .unwrap()
            .names_parameter("api_key")
    };
    for given in
        ["api_key", "API_Key", "api%5fkey", "%61pi%255Fkey", "api.key", "api_key[]", " api key"]
    {
        assert!(names(given), "{given}");
    }
    for given in ["apikey", "api_keys", "my_api_key", "a"] {
        assert!(!names(given), "{given}");
    }
}

/// Paths made of the pieces that matter, so that many are accepted and many nearly.
fn path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9._~:@!$&'()*+,=-]{0,4}",
        4 => Just("/".to_owned()),
        2 => "%[0-9a-fA-F]{2}",
        1 => prop::sample::select(vec!["/%252e%252e/", "/%25%32%65/", "/..%2f", "/%2e%2e;", "%252f%252F"])
            .prop_map(str::to_owned),
        1 => prop::sample::select(vec![
            "..", ".", "%2e", "%2F", "%25", "%32%65", ";", "%3b", "%5C", "?", "#", "\\", "//", " ",
            "%C3%A9", "%c0%ae", "\u{e9}",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn switches() -> impl Strategy<Value = PathSwitches> {
    (any::<bool>(), any::<bool>()).prop_map(|(allow_encoded_slash, allow_path_params)| {
        PathSwitches { allow_encoded_slash, allow_path_params }
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_accepted_is_exact_stable_and_below_the_base(
        path in path(),
        query in prop::collection::vec((".{1,6}", ".{0,6}"), 0..4),
        switches in switches(),
        below in prop::sample::select(vec!["https://h", "https://h/api/v3"]),
    ) {
        let base = base(below);
        let Ok(made) = canonicalise(&base, &path, &query, switches) else { return Ok(()) };
        // Exact: the HTTP library writes what policy saw.
        let written: PathAndQuery = made.target().parse().unwrap();
        prop_assert_eq!(written.as_str(), made.target());
        // Stable: the canonical form is its own canonical form.
        let again = canonicalise(&base, made.relative(), &query, switches).unwrap();
        prop_assert_eq!(&again, &made);
        // Below the base, by any decoder's reading.
        let (path, text) = made.target().split_once('?').unwrap_or((made.target(), ""));
        prop_assert_eq!(path, format!("{}{}", base.path(), made.relative()));
        let mut seen = path.to_owned();
        for _ in 0..3 {
            for segment in seen.split(['/', '\\']) {
                let bare = segment.split(';').next().unwrap();
                prop_assert!(bare != "." && bare != "..", "{}", seen);
            }
            prop_assert!(!seen.contains("//"));
            seen = percent_encoding::percent_decode_str(&seen).decode_utf8().unwrap().into_owned();
        }
        // The query says what was given.
        let plain = |part: &str| {
            percent_encoding::percent_decode_str(part).decode_utf8().unwrap().into_owned()
        };
        let read: Vec<(String, String)> = text
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (plain(name), plain(value)))
            .collect();
        prop_assert_eq!(read, query);
    }

    #[test]
    fn no_input_panics(path in any::<String>(), name in any::<String>(), value in any::<String>()) {
        let _ = canonicalise(&base("https://h"), &path, &[(name, value)], BOTH);
        let _ = BaseUrl::parse(&path);
    }
}
