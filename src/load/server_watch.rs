//! What a server under load uses and says of itself, seen from outside: its processes as the operating system counts
//! them, and, where it is one of ours, `/pool` and `/metrics`.
//!
//! Whatever cannot be known is `None`: a remote server, a process of somebody else, another program's missing `/pool`.

mod pool_reading;
mod processes;

pub use pool_reading::{PoolReading, SizingReading, SlotsReading};
pub use processes::Usage;

use super::http;
use crate::telemetry::metrics::{self, Stability};
use processes::Processes;
use reqwest::{Client, Url};
use std::net::IpAddr;

/// Watches the server at one address.
#[derive(Debug)]
pub struct ServerWatch {
    url: Option<Url>,
    key: Option<String>,
    client: Option<Client>,
    processes: Option<Processes>,
}

impl ServerWatch {
    /// Finds the server at `url` (`http`, `https`, `ws` or `wss`). Where the address is of this machine's loopback, the
    /// processes that listen there are looked for now; they and their children are watched from then on.
    ///
    /// Looks through all processes of this machine, which takes some milliseconds.
    pub fn of(url: &str) -> Self {
        let url = http::http_url(url);
        let processes = url.as_ref().and_then(listening_port).and_then(Processes::listening_on);
        Self { url, key: None, client: http::client().ok(), processes }
    }

    /// Asks with this key, where there is one.
    pub fn with_key(self, key: Option<String>) -> Self {
        Self { key, ..self }
    }

    /// What the server's processes use; `None` when it is remote, gone, or not ours to look at.
    pub fn usage(&self) -> Option<Usage> {
        self.processes.as_ref()?.usage()
    }

    /// What `GET /pool` says; `None` where there is none.
    pub async fn pool(&self) -> Option<PoolReading> {
        PoolReading::from_json(&self.get("/pool").await?)
    }

    /// How many tasks the server's runtime has, the one that answers this question included; `None` where it does not say.
    pub async fn tasks(&self) -> Option<u64> {
        metrics::tasks_in(&self.get("/metrics").await?)
    }

    /// How many decodes the server has done; `None` where it does not say.
    pub async fn decodes(&self) -> Option<Decodes> {
        let metrics = self.get("/metrics").await?;
        let done = |stability| metrics::decodes_in(&metrics, stability);
        Some(Decodes { finals: done(Stability::Final)?, interims: done(Stability::Interim)? })
    }

    async fn get(&self, path: &str) -> Option<String> {
        let page = http::page(self.url.as_ref()?, path);
        http::get(self.client.as_ref()?, page, self.key.as_deref()).await.ok()
    }
}

/// How many decodes a server has done since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decodes {
    /// Of speech that was over.
    pub finals: u64,
    /// Of speech in progress.
    pub interims: u64,
}

/// The port of an address of this machine's loopback.
fn listening_port(url: &Url) -> Option<u16> {
    let host = url.host_str()?.trim_matches(['[', ']']);
    let local = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    url.port_or_known_default().filter(|_| local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers every request with what stands for its path, and with 404 otherwise.
    async fn answering(answers: Vec<(&'static str, String)>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/realtime", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                let found = answers.iter().find(|(path, _)| request.starts_with(&format!("GET {path} ")));
                let (status, body) =
                    found.map_or(("404 Not Found", ""), |(_, body)| ("200 OK", body.as_str()));
                let allowed = request.to_lowercase().contains("authorization: bearer secret");
                let status = if allowed { status } else { "401 Unauthorized" };
                let head =
                    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}", body.len());
                stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
            }
        });
        url
    }

    fn watch(url: &str) -> ServerWatch {
        ServerWatch::of(url).with_key(Some("secret".into()))
    }

    #[tokio::test]
    async fn a_server_that_listens_here_is_watched_by_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            let usage = ServerWatch::of(&format!("http://{host}:{port}")).usage().unwrap();
            assert!(usage.rss_bytes > 1 << 20 && usage.threads >= 1 && usage.open_fds >= 3, "{usage:?}");
        }
        assert_eq!(ServerWatch::of("http://127.0.0.1:1").usage(), None, "where nobody listens");
    }

    #[tokio::test]
    async fn of_what_is_not_on_this_machine_nothing_is_known() {
        for url in ["http://192.0.2.7:8080", "https://speech.example", "no address", ""] {
            assert_eq!(ServerWatch::of(url).usage(), None, "{url}");
        }
    }

    #[tokio::test]
    async fn one_of_ours_says_how_many_tasks_it_has() {
        let url = answering(vec![(
            "/metrics",
            metrics::render(&metrics::Gauges { tasks: 17, ..Default::default() }),
        )])
        .await;
        assert_eq!(watch(&url).tasks().await, Some(17));
        assert!(watch(&url).decodes().await.is_some());
        assert_eq!(watch(&url).pool().await.map(|pool| pool.model), None);
        assert_eq!(ServerWatch::of(&url).tasks().await, None, "without a key");
    }

    #[tokio::test]
    async fn a_server_that_is_none_of_ours_says_nothing() {
        let url = answering(vec![
            ("/metrics", "process_threads 3\n".into()),
            ("/pool", "<html>hello</html>".into()),
        ])
        .await;
        assert_eq!((watch(&url).tasks().await, watch(&url).pool().await.is_some()), (None, false));
        assert_eq!(watch(&url).decodes().await, None);
        let silent = watch("http://127.0.0.1:1");
        assert_eq!((silent.tasks().await, silent.pool().await.is_some()), (None, false));
    }
}
