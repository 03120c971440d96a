//! Which part of a call a function belongs to, so that a profile can be read at a glance.

/// A part's name, and how to tell that a function belongs to it.
pub type Part = (&'static str, fn(&str) -> bool);

/// Of the plugin's functions. What the compiler has built into its caller counts as its caller's; the
/// last part is all the rest.
pub const PLUGIN: [Part; 7] = [
    ("gRPC, HTTP/2", |name| {
        is_of(
            name,
            &[
                "h2",
                "hyper",
                "hyper_util",
                "tonic",
                "tonic_prost",
                "prost",
                "proto",
                "http",
                "http_body",
                "http_body_util",
                "tower",
                "axum",
            ],
        )
    }),
    ("TLS", |name| {
        is_of(name, &["rustls", "ring", "tokio_rustls", "webpki"])
            || ["ring_core", "aes", "ghash", "gcm", "_aesni"].iter().any(|part| name.contains(part))
    }),
    ("tokio", |name| is_of(name, &["tokio", "mio", "futures_util", "tokio_util"])),
    ("memory", |name| {
        ["malloc", "calloc", "realloc", "free", "memcpy", "memmove", "memset", "unlink_chunk"]
            .iter()
            .any(|part| name.contains(part))
    }),
    ("JSON", |name| is_of(name, &["serde_json", "serde_core", "itoa", "zmij"])),
    ("SDK and engine", |name| {
        is_of(
            name,
            &[
                "vault_plugin",
                "vault_sdk",
                "go_plugin",
                "regex_automata",
                "tracing_subscriber",
                "tracing",
            ],
        )
    }),
    ("rest", |_| true),
];

/// Whether a function, or what its trait is implemented for, is of one of the crates.
fn is_of(name: &str, crates: &[&str]) -> bool {
    let bare = name.trim_start_matches(['<', '&', '_']);
    let bare = bare.strip_prefix("mut ").unwrap_or(bare);
    let of = bare.split("::").next().unwrap_or(bare);
    crates.contains(&of)
}

/// Of the server's stacks, by any function in them; the first part that fits.
pub const SERVER: [Part; 10] = [
    ("garbage collector", |name| {
        ["runtime.gcBgMarkWorker", "runtime.bgsweep", "runtime.bgscavenge", "runtime.gcAssistAlloc"]
            .contains(&name)
    }),
    ("plugin: which path it is", |name| name.ends_with("(*Router).ResolvePath")),
    ("plugin: whether something is there", |name| name.ends_with("(*Router).RouteExistenceCheck")),
    ("plugin: the call", |name| name.ends_with("backendGRPCPluginClient).HandleRequest")),
    ("plugin: its connection", |name| {
        name.ends_with("(*http2Client).reader") || name.ends_with("(*loopyWriter).run")
    }),
    ("plugin: its log lines", |name| name.ends_with("(*Client).logStderr")),
    ("audit log", |name| {
        name.ends_with("AuditBroker).LogRequest") || name.ends_with("AuditBroker).LogResponse")
    }),
    ("token and policies", |name| {
        ["(*Core).LookupToken", "(*Core).CheckToken", "(*TokenStore).UseToken"]
            .iter()
            .any(|function| name.ends_with(function))
    }),
    ("HTTP, and all else of a request", |name| name == "net/http.(*conn).serve"),
    ("rest: scheduler, timers", |_| true),
];

/// The part's place in a list.
pub fn of(parts: &[Part], name: &str) -> usize {
    parts.iter().position(|(_, is)| is(name)).unwrap_or(parts.len() - 1)
}

/// The place of the first part to which any function of a stack belongs; the last one takes the rest.
pub fn of_stack(parts: &[Part], frames: &[String]) -> usize {
    let own = parts.split_last().map_or(parts, |(_, own)| own);
    let fits = |(_, is): &Part| frames.iter().any(|frame| is(frame));
    own.iter().position(fits).unwrap_or(own.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_fall_to_the_part_that_they_are_of() {
        for (name, part) in [
            ("h2::proto::connection::Connection<T,P,B>::poll", "gRPC, HTTP/2"),
            (
                "<hyper::proto::h2::server::H2Stream<F,B> as core::future::Future>::poll",
                "gRPC, HTTP/2",
            ),
            (
                "<&mut serde_json::ser::Serializer<W,F> as serde_core::ser::Serializer>::serialize_str",
                "JSON",
            ),
            ("ring_core_0_17_14__aes_hw_ctr32_encrypt_blocks", "TLS"),
            ("__memcpy_avx_unaligned_erms", "memory"),
            ("vault_plugin::proxy::redact::Pattern::places", "SDK and engine"),
            ("core::fmt::write", "rest"),
        ] {
            assert_eq!(PLUGIN[of(&PLUGIN, name)].0, part, "{name}");
        }
        let stack = ["net/http.(*conn).serve", "vault.(*AuditBroker).LogRequest", "syscall.write"];
        let stack = stack.map(str::to_owned);
        assert_eq!(SERVER[of_stack(&SERVER, &stack)].0, "audit log");
        assert_eq!(SERVER[of_stack(&SERVER, &stack[..1])].0, "HTTP, and all else of a request");
        assert_eq!(SERVER[of_stack(&SERVER, &stack[2..])].0, "rest: scheduler, timers");
    }
}
