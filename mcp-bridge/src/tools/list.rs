//! Writes what `list_services` answers: lines, which cost a third of JSON.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::result::size;
use super::upstream::{count_of, is_whole};
use crate::catalog::{Catalog, Details, Health, HealthState, Kind, Method, Service};
use crate::config::ToolLimits;

/// Writes the overview: one line for each service.
pub(crate) fn overview(catalog: &Catalog, limits: &ToolLimits) -> String {
    let services = catalog.visible().collect::<Vec<_>>();
    if services.is_empty() {
        return "No service is available to this agent yet. An operator can add one (vault write \
                mcp-proxy/services/…) and allow it (mcp-bridge policy <service>). Tell the user; \
                there is nothing to retry."
            .to_owned();
    }
    let count = match services.len() {
        1 => "1 service".to_owned(),
        count => format!("{count} services"),
    };
    let mut text = format!("{count}. Paths are appended to the base URL.");
    let whole = is_whole(catalog, limits);
    for service in services {
        let _ = write!(text, "\n- {}:", service.name);
        for part in parts(service, whole) {
            let _ = write!(text, " {part}.");
        }
        if !service.base_url.is_empty() && service.kind == Kind::Http {
            let _ = write!(text, " Base: {}", service.base_url);
        }
    }
    text
}

/// Writes all that is known of one service.
pub(super) fn details(service: &Service, details: Option<&Details>, whole: bool) -> String {
    let (usage, limits, safe) = match details {
        Some(details) => (details.usage.as_deref(), details.limits, &details.safe_methods[..]),
        None => (None, crate::catalog::Limits::default(), &[][..]),
    };
    // The engine knows no permissions; for the rest its newer word counts.
    let mut newest = details.map_or_else(|| service.clone(), |details| details.service.clone());
    newest.permitted.clone_from(&service.permitted);
    newest.offer.clone_from(&service.offer);
    let service = &newest;

    let mut text = format!("{}:", service.name);
    for part in parts(service, whole) {
        let _ = write!(text, " {part}.");
    }
    if let Some(offer) = service.offer.as_ref().filter(|_| service.kind == Kind::Mcp) {
        for (noun, entries) in [("Tools", &offer.tools), ("Prompts", &offer.prompts)] {
            if entries.is_empty() {
                continue;
            }
            let entries = entries.iter().map(|entry| &**entry).collect::<Vec<_>>();
            let _ = write!(text, "\n{noun}:{}", super::upstream::summaries(&entries));
        }
    } else if !service.base_url.is_empty() {
        let _ = write!(text, "\nBase URL: {} (paths are appended to it)", service.base_url);
    }
    let changing = safe.iter().any(|method| !matches!(&**method, "GET" | "HEAD" | "OPTIONS"));
    if changing {
        let _ = write!(text, "\nMethods that change nothing here: {}", safe.join(", "));
    }
    let mut bounds = Vec::new();
    if let Some(seconds) = limits.timeout_seconds {
        bounds.push(format!("{seconds} s for a call"));
    }
    if let Some(bytes) = limits.max_request_bytes {
        bounds.push(format!("{} to send", size(bytes)));
    }
    if let Some(bytes) = limits.max_response_bytes {
        bounds.push(format!("{} to receive", size(bytes)));
    }
    if !bounds.is_empty() {
        let _ = write!(text, "\nLimits: {}", bounds.join(", "));
    }
    match usage.map(str::trim) {
        Some(usage) if !usage.is_empty() => {
            let _ = write!(text, "\nUsage:\n{usage}");
        }
        Some(_) | None => text.push_str("\nThe operator left no usage notes."),
    }
    text
}

fn parts(service: &Service, whole: bool) -> Vec<String> {
    let mut parts = Vec::new();
    let purpose = one_line(&service.description);
    if !purpose.is_empty() {
        parts.push(purpose);
    }
    if !service.enabled {
        parts.push("DISABLED by an operator; don't call it".to_owned());
        return parts;
    }
    if let Some(failing) = failing(&service.health) {
        parts.push(failing);
    }
    match service.kind {
        Kind::Http => parts.push(allowed(service)),
        Kind::Mcp => offered(service, whole, &mut parts),
        Kind::Unknown => {}
    }
    parts
}

/// Says what an MCP server offers, and what of it waits for an operator.
fn offered(service: &Service, whole: bool, parts: &mut Vec<String>) {
    if let Some(offer) = &service.offer {
        if !offer.tools.is_empty() {
            let where_ =
                if whole { format!("{}__…", service.name) } else { "find_tools".to_owned() };
            parts.push(format!("{} ({where_})", count_of(offer.tools.len() as u64, "tool")));
        }
        if !offer.prompts.is_empty() {
            parts.push(count_of(offer.prompts.len() as u64, "prompt"));
        }
        let resources = offer.resources.len() + offer.templates.len();
        if resources > 0 {
            parts.push(count_of(resources as u64, "resource"));
        }
        if offer.stale {
            parts.push("Its list may be out of date: it can't be asked now".to_owned());
        }
    }
    if service.waiting > 0 {
        parts.push(waiting(service.waiting));
    }
}

/// Says how many tools an operator hasn't approved.
pub(super) fn waiting(count: u64) -> String {
    let wait = if count == 1 { "waits" } else { "wait" };
    format!("{} {wait} for an operator's approval", count_of(count, "tool"))
}

/// Says which methods and paths are allowed, by the service's rules and by Vault's policy.
pub(crate) fn allowed(service: &Service) -> String {
    let methods = methods(service);
    let named = if methods.len() == Method::ALL.len() {
        "any method".to_owned()
    } else {
        methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (allow, deny) =
        service.rules.iter().fold((Vec::new(), Vec::new()), |(mut allow, mut deny), rule| {
            match rule.split_once(' ') {
                Some(("deny", rest)) => deny.push(rest.trim()),
                Some(("allow", rest)) => allow.push(rest.trim()),
                Some(_) | None => allow.push(rule.trim()),
            }
            (allow, deny)
        });
    if service.rules.is_empty() {
        return format!("Allowed: {named} /**");
    }
    let mut text = format!(
        "Allowed: {}",
        if allow.is_empty() { "nothing".to_owned() } else { allow.join("; ") }
    );
    if !deny.is_empty() {
        let _ = write!(text, ". Denied: {}", deny.join("; "));
    }
    if Method::ALL.iter().any(|method| !service.permitted.contains(method)) {
        let _ = write!(text, ". Methods you may use: {named}");
    }
    text
}

/// The methods that neither the rules nor Vault's policy refuse.
fn methods(service: &Service) -> Vec<Method> {
    let by_rules = |method: &Method| match &service.methods {
        None => true,
        Some(methods) => methods.iter().any(|name| Method::parse(name) == Some(*method)),
    };
    service.permitted.iter().copied().filter(by_rules).collect()
}

fn failing(health: &Health) -> Option<String> {
    match health.state {
        HealthState::Ok | HealthState::Unknown => return None,
        HealthState::Failing => {}
    }
    let since = health.since.as_deref().map(|since| format!(" since {}", moment(since)));
    let reason = match health.code.as_deref() {
        Some("credential_refused") => "stored credential refused; an operator must renew it",
        Some("credential_missing") => "no credential stored; an operator must write it",
        Some("credential_expired") => "stored credential expired; an operator must renew it",
        Some("upstream_unreachable") => "it can't be reached",
        Some("tls_failed") => "its TLS certificate isn't accepted; an operator must mend it",
        Some("outcome_unknown") => "it doesn't answer in time",
        Some(_) | None => "calls fail",
    };
    Some(format!("FAILING{}: {reason}", since.unwrap_or_default()))
}

/// Shortens an RFC 3339 time in UTC to its minute, without the day if that is today.
fn moment(text: &str) -> String {
    let zulu = text.ends_with('Z') || text.ends_with("+00:00");
    let (Some(day), Some(minute), true) = (text.get(..10), text.get(11..16), zulu) else {
        return text.to_owned();
    };
    if day == today() { format!("{minute}Z") } else { format!("{day} {minute}Z") }
}

/// Today's date in UTC, by the civil calendar's arithmetic: eras of 400 years, years from March.
fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or(0);
    date(seconds / 86_400)
}

fn date(days_since_1970: u64) -> String {
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A description as one line without a full stop at its end.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(fields: serde_json::Value) -> Service {
        let mut service = serde_json::json!({ "name": "sonarr", "permitted": Method::ALL });
        service.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(service).unwrap()
    }

    #[test]
    fn the_overview_reads_as_agreed() {
        let catalog = Catalog {
            revision: "1".to_owned(),
            services: vec![
                service(serde_json::json!({
                    "description": "TV series library and downloads",
                    "rules": ["allow GET /**", "allow POST /command"],
                    "base_url": "http://192.168.1.20:8989/api/v3",
                })),
                service(serde_json::json!({
                    "name": "tautulli", "description": "Plex statistics.", "permitted": ["GET"],
                    "health": { "state": "failing", "code": "credential_refused",
                                "since": "2020-02-29T02:14:33Z" },
                })),
            ],
        };
        assert_eq!(
            overview(&catalog, &ToolLimits::default()),
            "2 services. Paths are appended to the base URL.\n\
             - sonarr: TV series library and downloads. Allowed: GET /**; POST /command. \
             Base: http://192.168.1.20:8989/api/v3\n\
             - tautulli: Plex statistics. FAILING since 2020-02-29 02:14Z: stored credential \
             refused; an operator must renew it. Allowed: GET /**."
        );
    }

    #[test]
    fn an_mcp_server_is_told_by_its_tools() {
        let catalog = Catalog {
            revision: "1".to_owned(),
            services: vec![service(serde_json::json!({
                "name": "linear", "type": "mcp", "description": "Issues", "waiting": 23,
                "permitted": [], "base_url": "https://mcp.example/mcp",
                "offer": { "tools": [{ "name": "linear__get", "definition": {
                    "description": "Gets an issue. By id." } }], "stale": true },
            }))],
        };
        let line = "linear: Issues. 1 tool (linear__…). Its list may be out of date: it can't be \
                    asked now. 23 tools wait for an operator's approval.";
        let text = overview(&catalog, &ToolLimits::default());
        assert_eq!(text, format!("1 service. Paths are appended to the base URL.\n- {line}"));
        let searched = ToolLimits { tools: 0, ..ToolLimits::default() };
        assert!(overview(&catalog, &searched).contains(" 1 tool (find_tools). "));
        assert_eq!(
            details(&catalog.services[0], None, true),
            format!(
                "{line}\nTools:\n- linear__get: Gets an issue\nThe operator left no usage notes."
            )
        );
    }

    #[test]
    fn nothing_to_call_says_what_to_do() {
        assert!(
            overview(&Catalog::default(), &ToolLimits::default())
                .starts_with("No service is available")
        );
    }

    #[test]
    fn denials_and_missing_permissions_are_told() {
        let service = service(serde_json::json!({
            "rules": ["deny * /admin/**", "allow GET,POST /**"], "permitted": ["GET"],
            "methods": ["GET", "POST"],
        }));
        assert_eq!(
            allowed(&service),
            "Allowed: GET,POST /**. Denied: * /admin/**. Methods you may use: GET"
        );
    }

    #[test]
    fn days_become_dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(19_782), "2024-02-29");
        assert_eq!(date(20_454), "2026-01-01");
        assert_eq!(moment(&format!("{}T02:14:59Z", today())), "02:14Z");
        assert_eq!(moment("yesterday"), "yesterday");
    }
}
