//! Says of each link between agent and service whether it holds, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

/// What was found, link by link.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    checks: Vec<Check>,
}

/// One finding.
#[derive(Debug, Serialize)]
struct Check {
    link: &'static str,
    verdict: Verdict,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

/// Whether a link holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// It holds.
    Ok,
    /// It holds, but not as it should.
    Warn,
    /// It doesn't hold.
    Fail,
    /// It can't be tried before another holds.
    Skipped,
}

/// With whom the cure lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fault {
    /// The settings or files of this machine.
    ThisMachine,
    /// The network between this machine and Vault.
    Network,
    /// Whoever runs Vault.
    VaultOperator,
    /// The service behind Vault.
    Service,
}

impl Fault {
    fn words(self) -> &'static str {
        match self {
            Self::ThisMachine => "this machine",
            Self::Network => "the network, or Vault is down",
            Self::VaultOperator => "Vault's operator",
            Self::Service => "the service",
        }
    }
}

impl Report {
    /// Records that a link holds.
    pub(super) fn ok(&mut self, link: &'static str, text: impl Into<String>) {
        self.push(link, Verdict::Ok, text.into(), None, None);
    }

    /// Records that a link holds, but not as it should.
    pub(super) fn warn(
        &mut self,
        link: &'static str,
        text: impl Into<String>,
        fault: Fault,
        mend: impl Into<String>,
    ) {
        self.push(link, Verdict::Warn, text.into(), Some(fault), Some(mend.into()));
    }

    /// Records that a link doesn't hold.
    pub(super) fn fail(
        &mut self,
        link: &'static str,
        text: impl Into<String>,
        fault: Fault,
        mend: impl Into<String>,
    ) {
        self.push(link, Verdict::Fail, text.into(), Some(fault), Some(mend.into()));
    }

    /// Records that some links can't be tried yet.
    pub(super) fn skip(&mut self, links: &[&'static str]) {
        for link in links {
            self.push(link, Verdict::Skipped, "not tried".to_owned(), None, None);
        }
    }

    /// Whether every link holds, perhaps not as it should.
    pub(super) fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Fail)
    }

    /// The findings as lines: verdict, link, text; below, whose fault it is and what mends it.
    pub(super) fn lines(&self) -> String {
        let mut lines = String::new();
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Ok => "ok",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
                Verdict::Skipped => "-",
            };
            let _ = writeln!(lines, "{verdict:<5} {:<14} {}", check.link, check.text);
            if let Some(fault) = check.fault {
                let _ = writeln!(lines, "{:<20} with: {}", "", fault.words());
            }
            if let Some(mend) = &check.mend {
                let _ = writeln!(lines, "{:<20} mend: {mend}", "");
            }
        }
        lines
    }

    /// The findings as one JSON object.
    pub(super) fn json(&self) -> String {
        let json = serde_json::json!({ "ok": self.holds(), "checks": self.checks });
        format!("{json}\n")
    }

    fn push(
        &mut self,
        link: &'static str,
        verdict: Verdict,
        text: String,
        fault: Option<Fault>,
        mend: Option<String>,
    ) {
        self.checks.push(Check { link, verdict, text, fault, mend });
    }
}
