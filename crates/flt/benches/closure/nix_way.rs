//! Their way: a binary cache in a folder, served over HTTP, and `nix copy`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use scores::nixos::StorePath;

use super::bed::{Node, on_the_wire, sh};
use super::figures::Taken;

/// A binary cache, made by Nix and signed.
pub(crate) struct Cache {
    dir: PathBuf,
    compression: &'static str,
}

impl Cache {
    pub(crate) fn new(dir: &Path, compression: &'static str) -> Self {
        std::fs::create_dir(dir).unwrap();
        sh(&format!("cd {} && nix-store --generate-binary-cache-key bench-1 secret public", dir.display()));
        Self { dir: dir.to_owned(), compression }
    }

    pub(crate) fn add(&self, path: &StorePath) {
        let (dir, compression) = (self.dir.display(), self.compression);
        let to = format!("file://{dir}/cache?compression={compression}&secret-key={dir}/secret");
        sh(&format!("nix --extra-experimental-features nix-command copy --to '{to}' {path}"));
    }

    pub(crate) fn serve(self) -> Served {
        let mut child = Command::new("python3")
            .arg("-c")
            .arg(include_str!("server.py"))
            .arg(self.dir.join("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let key = std::fs::read_to_string(self.dir.join("public")).unwrap().trim().to_owned();
        let server = Server { child, port: port.trim().parse().unwrap() };
        assert!(std::fs::read_dir(self.dir.join("cache/nar")).unwrap().all(|nar| {
            let extension = if self.compression == "zstd" { "zst" } else { "nar" };
            nar.unwrap().path().extension().is_some_and(|found| found == extension)
        }));
        Served { server, key }
    }
}

/// A binary cache on loopback.
pub(crate) struct Served {
    server: Server,
    key: String,
}

impl Served {
    /// Copies a closure into the node's store; what Nix remembers of the cache stays with the node.
    pub(crate) fn copy(&self, node: &Node, path: &StorePath) -> Taken {
        sh("sync");
        let (before, wire) = (self.server.sent(), on_the_wire());
        let began = Instant::now();
        let output = Command::new("nix")
            .args(["--extra-experimental-features", "nix-command", "copy", "--from"])
            .arg(format!("http://127.0.0.1:{}", self.server.port))
            .args(["--option", "require-sigs", "true", "--option", "trusted-public-keys", &self.key])
            .arg(path.as_str())
            .env("HOME", &node.dir)
            .env("XDG_CACHE_HOME", node.dir.join("cache"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let wall = began.elapsed();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let wire = on_the_wire() - wire;
        Taken { wall, received: self.server.sent() - before, wire, parts: None }
    }
}

/// Ended when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Bytes that it has sent so far, headers included.
    fn sent(&self) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"GET /sent HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.rsplit_once("\r\n\r\n").unwrap().1.parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
