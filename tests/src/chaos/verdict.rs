//! What must hold whatever happened, judged from the upstreams' books and the audit logs.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::caller::{ask, ask_tool};
use super::ledger::{Call, Outcome};
use super::report::Report;
use super::stage::{NODES, Stage};
use super::upstream::Execution;
use super::writer::{Writer, current};
use super::{BOUND, Strike};
use crate::api::Api;
use crate::{forms, programs};

/// How every token of a service begins: none of its spellings may be found anywhere.
const TOKENS: &str = "canary/+";

/// Judges a run once everybody has stopped.
pub(super) async fn judge(
    stage: &Stage,
    calls: &[Call],
    strikes: Vec<Strike>,
    troubles: Vec<String>,
    seed: u64,
) -> Report {
    let mut report = Report::new(seed, strikes, troubles);
    let writer = stage.writer.lock().await;
    report.writes = writer.counts;
    what_is_stored(stage, &writer, &mut report).await;
    let executions = stage.upstreams.iter().flat_map(|upstream| upstream.executions());
    let executions: Vec<_> = executions.collect();
    what_was_executed(calls, &executions, &mut report);
    whose_credential(calls, &executions, &writer, &mut report);
    what_was_audited(stage, &executions, &mut report);
    what_was_written(stage, &mut report);
    if !report.troubles.is_empty() {
        report.kept = Some(keep(stage));
    }
    report
}

/// Copies what everybody wrote to where it outlives the run; that folder.
fn keep(stage: &Stage) -> PathBuf {
    let folder = programs::root().join("target/chaos");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    for (number, path) in stage.traces().iter().enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let _ = fs::copy(path, folder.join(format!("{number:02}-{name}")));
    }
    folder
}

/// None twice, none that was said to be refused, all that were said to be done.
fn what_was_executed(calls: &[Call], executions: &[Execution], report: &mut Report) {
    let mut by_id = HashMap::<&str, Vec<&str>>::new();
    for execution in executions {
        by_id.entry(&execution.id).or_default().push(&execution.request_id);
    }
    report.calls = calls.len();
    for call in calls {
        let requests = by_id.remove(&*call.id).unwrap_or_default();
        let distinct: HashSet<_> = requests.iter().collect();
        report.executed += distinct.len().min(1);
        if distinct.len() < requests.len() {
            report.trouble(format!("{}: executed twice for one request: {requests:?}", call.id));
        } else if requests.len() > 1 && call.repeats {
            report.repeated += requests.len() - 1;
        } else if requests.len() > 1 {
            report.trouble(format!("{}: executed for requests {requests:?}", call.id));
        }
        if call.forbidden && !requests.is_empty() {
            report.trouble(format!("{}: executed against the rules", call.id));
        }
        match &call.outcome {
            Outcome::Done { id, .. } => {
                report.done += 1;
                if *id != call.id {
                    report.trouble(format!("{}: got the answer to {id}", call.id));
                }
                if requests.is_empty() {
                    report.trouble(format!("{}: said to be done, and wasn't", call.id));
                }
            }
            Outcome::Odd(text) => report.trouble(format!("{}: answered {text:?}", call.id)),
            Outcome::Refused(code) => {
                *report.refused.entry(code.clone()).or_default() += 1;
                if !requests.is_empty() {
                    let took = call.ended - call.begun;
                    let what = "and was executed for the requests";
                    report.trouble(format!(
                        "{}: {code} after {took:.3?}, {what} {requests:?}",
                        call.id
                    ));
                }
            }
            Outcome::Unknown(code) => {
                let [all, executed] = report.unknown.entry(code.clone()).or_default();
                *all += 1;
                *executed += distinct.len().min(1);
            }
            Outcome::Hung => report.trouble(format!("{}: no answer at all", call.id)),
        }
    }
    by_id.retain(|id, _| !id.starts_with(LAST));
    for id in by_id.keys() {
        report.trouble(format!("{id}: executed, and nobody called"));
    }
}

/// Each call with a credential of the service that it named, and the answer with the same.
fn whose_credential(
    calls: &[Call],
    executions: &[Execution],
    writer: &Writer,
    report: &mut Report,
) {
    let mut tags = HashMap::<&str, Vec<&str>>::new();
    for execution in executions {
        tags.entry(&execution.id).or_default().push(&execution.tag);
    }
    for call in calls {
        let seen = tags.get(&*call.id).map(Vec::as_slice).unwrap_or_default();
        let history = writer.history(&format!("services/{}", call.service), "token");
        for tag in seen {
            let Some(version) = history.iter().position(|written| written.value == **tag) else {
                report.trouble(format!("{}: sent with a credential of another", call.id));
                continue;
            };
            let next = history[version + 1..].iter().find_map(|written| written.acknowledged);
            if let Some(late) = next.and_then(|next| call.begun.checked_duration_since(next)) {
                report.stalest = report.stalest.max(late);
            }
        }
        if let Outcome::Done { tag, .. } = &call.outcome
            && !seen.contains(&tag.as_str())
        {
            report.trouble(format!("{}: answered with another's credential", call.id));
        }
    }
    if report.stalest > BOUND {
        report.trouble(format!("a replaced credential was used {:?} later", report.stalest));
    }
}

/// Every execution stands in an audit log, under the id that the upstream was told.
fn what_was_audited(stage: &Stage, executions: &[Execution], report: &mut Report) {
    let mut ids = HashSet::new();
    for audit in stage.audits() {
        let text = fs::read_to_string(&audit).unwrap_or_default();
        let marked = text.split("\"id\":\"").skip(1);
        ids.extend(marked.filter_map(|rest| rest.get(..36)).map(str::to_owned));
    }
    for execution in executions {
        if !ids.contains(&execution.request_id) {
            let Execution { id, request_id, .. } = execution;
            report.trouble(format!("{id}: request {request_id:?} stands in no audit log"));
        }
    }
}

/// No secret in what anybody wrote.
fn what_was_written(stage: &Stage, report: &mut Report) {
    for path in stage.traces() {
        let bytes = fs::read(&path).unwrap_or_default();
        report.searched += bytes.len();
        let mut found = !forms::found(&bytes, TOKENS).is_empty();
        // What no caller sends in a body has no other spellings.
        found |= stage.secrets.iter().any(|secret| contains(&bytes, secret));
        if found {
            report.trouble(format!("a secret in {}", path.display()));
        }
    }
}

fn contains(bytes: &[u8], secret: &str) -> bool {
    regex::bytes::Regex::new(&regex::escape(secret)).expect("plain words").is_match(bytes)
}

/// What was acknowledged last is there, on every node, and is used.
async fn what_is_stored(stage: &Stage, writer: &Writer, report: &mut Report) {
    let active = stage.cluster.api(stage.cluster.active().await);
    for (path, field) in writer.fields() {
        let history = writer.history(&path, field);
        let expected = current(history);
        if field == "token" {
            let service = path.trim_start_matches("services/");
            for node in 0..NODES {
                let api = stage.cluster.api(node);
                if let Err(last) = uses(&api, service, node, &expected).await {
                    report.trouble(format!("{path} on node {node}: {last:?}, not {expected:?}"));
                }
            }
            continue;
        }
        let read = active.read(&format!("mcp-proxy/{path}")).await;
        let value = match (&read.data()[field], field) {
            _ if read.status == 404 => "gone".to_owned(),
            (value, "rules") => {
                let rules = value.as_array().cloned().unwrap_or_default();
                rules.iter().filter_map(|rule| rule.as_str()).collect::<Vec<_>>().join(", ")
            }
            (value, _) => value.as_str().unwrap_or_default().to_owned(),
        };
        let never = value == "gone" && history.iter().all(|one| one.acknowledged.is_none());
        if !expected.contains(&&*value) && !never {
            report.trouble(format!("{path}: {field} is {value:?}, not one of {expected:?}"));
        }
    }
}

/// Whether a node calls a service with one of these credentials, if need be after a moment.
async fn uses(api: &Api, service: &str, node: usize, tags: &[&str]) -> Result<(), Outcome> {
    let started = Instant::now();
    for number in 0.. {
        let id = format!("{LAST}-{node}-{service}-{number}");
        let outcome = match service.starts_with("mcp") {
            true => ask_tool(api, service, &id).await,
            false => ask(api, service, &id).await,
        };
        if let Outcome::Done { tag, .. } = &outcome
            && tags.contains(&&**tag)
        {
            return Ok(());
        }
        if started.elapsed() > Duration::from_secs(10) {
            return Err(outcome);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// How the ids of the calls after the end begin.
const LAST: &str = "last";
