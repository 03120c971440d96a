//! Keeps one living token: logs in when needed, renews it, replaces it when Vault ended it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::login::{self, Kept, Login, fingerprint, look_up};
use super::{Client, ConnectFault, LoginError, Lost, Reply, Request, Unavailable};
use crate::config::{CredentialSource, VaultServer};
use crate::secret::VaultToken;

/// A session with Vault. Only a session can use the engine.
#[derive(Debug)]
pub(crate) struct Session {
    source: CredentialSource,
    state: Mutex<State>,
    /// Held while logging in, so that many callers make one login.
    gate: tokio::sync::Mutex<()>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    live: Option<Live>,
    generation: u64,
    failure: Option<Failure>,
    /// The server of the settings, or of the last login.
    client: Option<Arc<Client>>,
    /// What an enrolled credential said of itself at the last login.
    kept: Option<Kept>,
    last_replacement: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Live {
    client: Arc<Client>,
    token: Arc<VaultToken>,
    generation: u64,
    lease: Option<Duration>,
    renewable: bool,
    obtained: Instant,
    renew_at: Option<Instant>,
    /// A new token met the same 403: the token lives, Vault's policy forbids the call, and even
    /// `lookup-self`.
    unasked: bool,
}

#[derive(Debug)]
struct Failure {
    error: LoginError,
    until: Instant,
    fingerprint: Vec<Option<(SystemTime, u64)>>,
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionError {
    /// There is no token to send it with.
    Login(LoginError),
    /// It was sent, or could not be.
    Lost(Lost),
}

impl Session {
    /// Makes a session that logs in with its first request, at `server` or, if there is none, where
    /// the credential says.
    pub(crate) fn new(server: Option<VaultServer>, source: CredentialSource) -> Self {
        let client = server.map(|server| Arc::new(Client::new(server)));
        Self {
            source,
            state: Mutex::new(State { client, ..State::default() }),
            gate: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
        }
    }

    /// What the session logs in with.
    pub(crate) fn source(&self) -> &CredentialSource {
        &self.source
    }

    /// What an enrolled credential said of itself at the last login.
    pub(crate) fn kept(&self) -> Option<Kept> {
        self.state().kept.clone()
    }

    /// The number of the present token; it grows with every login.
    pub(crate) fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Takes note of what an enrolled credential says of itself now.
    #[cfg(unix)]
    pub(crate) fn note(&self, kept: Kept) {
        self.state().kept = Some(kept);
    }

    /// Sends a request with the session's token.
    ///
    /// It is sent a second time in two cases only, in which the first certainly did nothing: no
    /// connection could be made, or Vault answered 403 because the token is dead.
    ///
    /// # Errors
    ///
    /// [`SessionError`]; an answer of any status is no error here. A 403 that is returned is the
    /// policy's.
    pub(crate) async fn request(&self, request: &Request) -> Result<Reply, SessionError> {
        let live = self.live().await.map_err(SessionError::Login)?;
        let reply = send(request, &live).await.map_err(SessionError::Lost)?;
        if reply.status != 403 || live.unasked || lives(&live).await {
            return Ok(reply);
        }
        let live = self.replace(live.generation).await.map_err(SessionError::Login)?;
        let reply = send(request, &live).await.map_err(SessionError::Lost)?;
        if reply.status == 403 {
            self.amend(live.generation, |live| live.unasked = true);
        }
        Ok(reply)
    }

    /// Renews the token in time, and logs in anew where it can't be renewed. Never returns.
    pub(crate) async fn maintain(&self) {
        loop {
            let next = self.state().live.as_ref().and_then(|live| live.renew_at);
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => self.renew().await,
                () = self.changed.notified() => {}
            }
        }
    }

    /// Ends the token if this session made it, and takes at most two seconds for it.
    pub(crate) async fn revoke(&self) {
        // A login that is just under way would leave a token behind.
        let _gate = tokio::time::timeout(REVOKE / 4, self.gate.lock()).await;
        let live = self.state().live.take();
        let Some(live) = live else { return };
        match &self.source {
            // Vault refuses to revoke batch tokens (400), which nothing can renew either.
            CredentialSource::AppRole { .. }
            | CredentialSource::Enrolled(_)
            | CredentialSource::Delivered(_) => {
                let request =
                    Request::post("auth/token/revoke-self", "{}").with_timeout(REVOKE * 3 / 4);
                let reply = live.client.send(&request, Some(&live.token)).await;
                if !reply.is_ok_and(|reply| reply.status == 204) {
                    tracing::debug!("the token couldn't be revoked; it ends by itself");
                }
            }
            CredentialSource::TokenFile(_) | CredentialSource::Environment(_) => {}
        }
    }

    async fn live(&self) -> Result<Live, LoginError> {
        if let Some(live) = self.present() {
            return Ok(live);
        }
        let _gate = self.gate.lock().await;
        match self.present() {
            Some(live) => Ok(live),
            None => self.log_in().await,
        }
    }

    fn present(&self) -> Option<Live> {
        let state = self.state();
        state.live.clone().filter(|live| match live.lease {
            Some(lease) => live.obtained.elapsed() < lease,
            None => true,
        })
    }

    /// Gets another token in place of the dead one of a generation.
    async fn replace(&self, dead: u64) -> Result<Live, LoginError> {
        let _gate = self.gate.lock().await;
        if let Some(live) = self.present().filter(|live| live.generation != dead) {
            return Ok(live);
        }
        {
            let mut state = self.state();
            let soon = state.last_replacement.is_some_and(|at| at.elapsed() < REPLACE_EVERY);
            if soon {
                return Err(LoginError::TooSoon);
            }
            state.last_replacement = Some(Instant::now());
            state.live = None;
        }
        tracing::info!("Vault ended the token; logging in again");
        self.log_in().await
    }

    /// Logs in; the gate must be held.
    async fn log_in(&self) -> Result<Live, LoginError> {
        let before = fingerprint(&self.source);
        {
            let state = self.state();
            if let Some(failure) = &state.failure
                && Instant::now() < failure.until
                && failure.fingerprint == before
            {
                return Err(failure.error);
            }
        }
        let client = self.state().client.clone();
        let mut outcome = login::login(client.as_ref(), &self.source).await;
        let mut read = before;
        if outcome.as_ref().is_err_and(|error| *error == LoginError::Refused) {
            // A sibling may have rotated the credential between our reading and Vault's answer.
            let now = fingerprint(&self.source);
            if now != read {
                read = now;
                outcome = login::login(client.as_ref(), &self.source).await;
            }
        }
        match outcome {
            Ok(login) => Ok(self.install(login)),
            Err(error) => {
                let was_refused = self.state().failure.as_ref().is_some_and(|failure| {
                    failure.error == LoginError::Refused && failure.fingerprint == read
                });
                let pause = match error {
                    LoginError::Unavailable(_) | LoginError::TpmAway => RETRY_UNAVAILABLE,
                    LoginError::Refused if !was_refused => RETRY_REFUSED_ONCE,
                    LoginError::Refused | LoginError::Unreadable | LoginError::TooSoon => {
                        RETRY_REFUSED
                    }
                    LoginError::WrongPin => RETRY_PIN,
                };
                let until = Instant::now() + pause;
                self.state().failure = Some(Failure { error, until, fingerprint: read });
                Err(error)
            }
        }
    }

    fn install(&self, login: Login) -> Live {
        let live = {
            let mut state = self.state();
            state.generation += 1;
            state.failure = None;
            state.client = Some(Arc::clone(&login.client));
            state.kept = login.kept;
            let live = Live {
                client: login.client,
                token: Arc::new(login.token),
                generation: state.generation,
                lease: login.lease,
                renewable: login.renewable,
                obtained: Instant::now(),
                renew_at: login.lease.map(renewal),
                unasked: false,
            };
            state.live = Some(live.clone());
            live
        };
        self.changed.notify_one();
        live
    }

    async fn renew(&self) {
        let Some(live) = self.present() else {
            // It ran out, as on a machine that slept.
            self.reenter().await;
            return;
        };
        let Some(lease) = live.lease else { return };
        if !live.renewable {
            self.reenter().await;
            return;
        }
        let body = format!("{{\"increment\":{}}}", lease.as_secs());
        let request = Request::post("auth/token/renew-self", body).asking_on();
        match live.client.send(&request, Some(&live.token)).await {
            Ok(reply) if reply.status == 200 => match login::renewed(&reply) {
                // Near its maximum Vault gives less than asked for, and says nothing.
                Some((left, _)) if left.is_some_and(|left| left < lease) => self.reenter().await,
                Some((left, renewable)) => self.amend(live.generation, |live| {
                    live.lease = left;
                    live.renewable = renewable;
                    live.obtained = Instant::now();
                    live.renew_at = left.map(renewal);
                }),
                None => self.retry(&live),
            },
            Ok(reply) if matches!(reply.status, 400 | 403) => self.reenter().await,
            Ok(_) | Err(_) => self.retry(&live),
        }
    }

    /// Logs in anew while the old token, if any, still serves.
    async fn reenter(&self) {
        let _gate = self.gate.lock().await;
        if self.log_in().await.is_err() {
            let live = self.present();
            if let Some(live) = live {
                self.retry(&live);
            } else {
                // The next call logs in; nothing is left to renew.
                self.state().live = None;
            }
        }
    }

    /// Plans another attempt within what is left of the token's life.
    fn retry(&self, live: &Live) {
        let left =
            live.lease.map_or(RENEW_RETRY, |lease| lease.saturating_sub(live.obtained.elapsed()));
        let pause = (left / 3).clamp(Duration::from_secs(1), RENEW_RETRY);
        self.amend(live.generation, |live| live.renew_at = Some(Instant::now() + pause));
    }

    fn amend(&self, generation: u64, change: impl FnOnce(&mut Live)) {
        let mut state = self.state();
        if let Some(live) = state.live.as_mut().filter(|live| live.generation == generation) {
            change(live);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing panics while holding it; a poisoned lock would still hold a sound state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send(request: &Request, live: &Live) -> Result<Reply, Lost> {
    match live.client.send(request, Some(&live.token)).await {
        // The request never left: once more, for a server that is just restarting. After a
        // time-out, waiting as long again would help nobody.
        Err(Lost::NeverSent(why)) if why != Unavailable::NoConnection(ConnectFault::Timeout) => {
            live.client.send(request, Some(&live.token)).await
        }
        answer => answer,
    }
}

/// Whether a token lives. When Vault can't say, it counts as living: the 403 stands.
async fn lives(live: &Live) -> bool {
    !live.client.send(&look_up(), Some(&live.token)).await.is_ok_and(|reply| reply.status == 403)
}

/// Two thirds of a lease from now, a tenth earlier or later, so that bridges that started
/// together don't renew together.
fn renewal(lease: Duration) -> Instant {
    Instant::now() + jitter(lease * 2 / 3, 10)
}

/// A duration changed by up to so many percent either way.
pub(crate) fn jitter(duration: Duration, percent: u32) -> Duration {
    // Each RandomState has keys of its own: randomness enough to spread load.
    let random = RandomState::new().build_hasher().finish() % 1001;
    let factor = f64::from(u32::try_from(random).unwrap_or(500)) / 500.0 - 1.0;
    duration.mul_f64(1.0 + factor * f64::from(percent) / 100.0)
}

/// A token that Vault ended is replaced at most so often.
const REPLACE_EVERY: Duration = Duration::from_secs(60);
/// After a refusal nobody asks again for so long, unless the credential's file changes: Vault
/// counts failures towards a lockout.
const RETRY_REFUSED: Duration = Duration::from_secs(60);
/// After the first refusal: a standby that serves reads refuses a credential that it doesn't know yet.
const RETRY_REFUSED_ONCE: Duration = Duration::from_secs(5);
/// A wrong PIN is tried again only when its file changes, or the credential's: the TPM counts.
const RETRY_PIN: Duration = Duration::from_secs(365 * 86400);
/// Callers that wait together for a Vault that is down, or for a TPM, share one attempt.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(1);
/// The longest pause between attempts to renew.
const RENEW_RETRY: Duration = Duration::from_secs(30);
/// The limit of all that is done for the token at the end.
const REVOKE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_bounds_and_varies() {
        let base = Duration::from_secs(60);
        let samples = (0..200).map(|_| jitter(base, 20)).collect::<Vec<_>>();
        assert!(samples.iter().all(|d| (48.0..=72.0).contains(&d.as_secs_f64())));
        assert!(samples.iter().any(|d| *d != samples[0]));
    }
}
