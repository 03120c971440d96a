//! A real nginx on loopback, with a configuration of the test's own; gone when dropped.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::certificates::Pem;
use crate::server::free_port;
use crate::{programs, wait};

/// A running nginx: one process, everything that it writes in one directory.
#[derive(Debug)]
pub struct Nginx {
    process: Child,
    directory: TempDir,
    ports: Vec<u16>,
}

/// One `server` block: TLS on a port of its own.
#[derive(Debug)]
pub struct Site<'a> {
    /// Beside `ssl` on the `listen` line, such as `http2`; none for the default.
    pub listen: &'a str,
    /// The certificate; without one, the site speaks plaintext.
    pub pem: Option<&'a Pem>,
    /// The directives of the block. `$files` stands for the directory of [`Nginx::file`].
    pub directives: &'a str,
}

impl Nginx {
    /// Starts one with the directives `http` in its `http` block and with `sites`.
    ///
    /// # Panics
    /// When there is no nginx, or it doesn't come up.
    pub async fn start(http: &str, files: &[(&str, &[u8])], sites: &[Site<'_>]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().join("files");
        fs::create_dir(&root).expect("a directory");
        for (name, bytes) in files {
            fs::write(root.join(name), bytes).expect("a file");
        }
        // A port that is free now may be taken when nginx wants it: then it exits at once.
        for _ in 0..3 {
            let ports: Vec<u16> = sites.iter().map(|_| free_port()).collect();
            configure(&directory, http, sites, &ports);
            let mut process = spawn(&directory);
            let up = wait::until("nginx to listen", async || {
                if process.try_wait().expect("a status").is_some() {
                    return Some(false);
                }
                let all = ports.iter().all(|&port| TcpStream::connect(("127.0.0.1", port)).is_ok());
                all.then_some(true)
            });
            if up.await {
                return Self { process, directory, ports };
            }
        }
        let log = fs::read_to_string(directory.path().join("error.log")).unwrap_or_default();
        panic!("nginx exits at once: {log}");
    }

    /// The port of the site that was given as number `site`, from 0.
    pub fn port(&self, site: usize) -> u16 {
        self.ports[site]
    }

    /// What it served: a line per request, `protocol method uri status content-encoding`.
    pub fn served(&self) -> Vec<String> {
        let log = fs::read_to_string(self.directory.path().join("access.log"));
        log.unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// A file as it is now.
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.directory.path().join("files").join(name)).ok()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configure(directory: &TempDir, http: &str, sites: &[Site<'_>], ports: &[u16]) {
    let folder = directory.path().display();
    let mut text = format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n\
         events {{}}\nhttp {{\n\
         log_format served '$server_protocol $request_method $uri $status \
         $sent_http_content_encoding';\naccess_log {folder}/access.log served;\n\
         default_type application/json;\nmap_hash_bucket_size 256;\nclient_max_body_size 10m;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        text.push_str(&format!("{kind}_temp_path {folder}/{kind};\n"));
    }
    text.push_str(http);
    for (index, (site, port)) in sites.iter().zip(ports).enumerate() {
        let Site { listen, pem, directives } = site;
        let ssl = if pem.is_some() { "ssl" } else { "" };
        text.push_str(&format!("server {{\nlisten 127.0.0.1:{port} {ssl} {listen};\n"));
        if let Some(pem) = pem {
            let base = directory.path().join(format!("site-{index}"));
            fs::write(base.with_extension("crt"), &pem.certificate).expect("a file");
            fs::write(base.with_extension("key"), &pem.key).expect("a file");
            let base = base.display();
            text.push_str(&format!(
                "ssl_certificate {base}.crt;\nssl_certificate_key {base}.key;\n"
            ));
        }
        text.push_str(&directives.replace("$files", &format!("{folder}/files")));
        text.push_str("\n}\n");
    }
    text.push_str("}\n");
    fs::write(directory.path().join("nginx.conf"), text).expect("a configuration");
}

fn spawn(directory: &TempDir) -> Child {
    Command::new(programs::nginx())
        .arg("-e")
        .arg(directory.path().join("error.log"))
        .arg("-c")
        .arg(directory.path().join("nginx.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the nginx program")
}
