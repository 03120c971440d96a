//! Vault's HTTP API, as a client without retries sees it.

use reqwest::Method;
use serde_json::Value;

use crate::certificates;

/// A client with one token.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    address: String,
    token: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body as it came.
    pub text: String,
    /// The body as JSON; null when it is none.
    pub body: Value,
}

impl Api {
    /// A client for the server at `address`, with `token`.
    pub fn new(address: &str, token: &str) -> Self {
        // The second caller finds it installed: that is what both want.
        let _ =
            rustls::crypto::CryptoProvider::install_default((*certificates::provider()).clone());
        let http = reqwest::Client::builder()
            .no_proxy()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("an HTTP client");
        Self { http, address: address.to_owned(), token: token.to_owned() }
    }

    /// The same server with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// The token it sends.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The server's address, `http://host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends one request; `path` goes below `/v1/`.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, reqwest::Error> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let url = format!("{}/v1/{path}", self.address);
        let mut request = self.http.request(method, url).header("X-Vault-Request", "true");
        if !self.token.is_empty() {
            request = request.header("X-Vault-Token", &self.token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, text, body })
    }

    /// Creates or updates.
    pub async fn write(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(&body)).await.expect("an answer to a write")
    }

    /// Reads.
    pub async fn read(&self, path: &str) -> Answer {
        self.send("GET", path, None).await.expect("an answer to a read")
    }

    /// Lists.
    pub async fn list(&self, path: &str) -> Answer {
        self.send("LIST", path, None).await.expect("an answer to a list")
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None).await.expect("an answer to a delete")
    }
}

impl Answer {
    /// Asserts a status of 200 or 204.
    ///
    /// # Panics
    /// On any other, showing the answer.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(matches!(self.status, 200 | 204), "{}: {}", self.status, self.text);
        self
    }

    /// Asserts `status` and a text that begins with `code`, wherever Vault wrapped it.
    ///
    /// # Panics
    /// Otherwise, showing the answer.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        let errors = self.errors();
        assert!(errors.contains(&format!("{code}: ")), "no {code} in: {errors}");
        self
    }

    /// The text of all errors.
    pub fn errors(&self) -> String {
        let errors = self.body["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
    }

    /// The answer's `data`.
    pub fn data(&self) -> &Value {
        &self.body["data"]
    }

    /// The names of a list.
    pub fn keys(&self) -> Vec<&str> {
        let keys = self.data()["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        keys.iter().filter_map(Value::as_str).collect()
    }
}
