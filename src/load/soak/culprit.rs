//! Does what [`Mischief`] says, over real sockets, to the one server that the user named.

use super::super::http;
use super::super::protocol::{Connection, Protocol};
use super::mischief::{Act, Mischief};
use super::{Rubbish, SoakSettings, garbage};
use crate::load::Clip;
use reqwest::Url;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, client_async_tls};

/// How long anything may take, answers that never come included.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long it looks at what the server says to rubbish.
const CURIOSITY: Duration = Duration::from_secs(1);

/// How much is sent at a time, and how often.
const FRAME: Duration = Duration::from_millis(40);

/// How much a client says that leaves at once.
const A_WORD: Duration = Duration::from_millis(120);

/// Events that a server answers, sent by somebody who does not read the answers.
const QUESTIONS: usize = 50;

type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A client that misbehaves.
#[derive(Clone)]
pub(super) struct Culprit {
    url: Option<Url>,
    key: Option<String>,
    protocol: Arc<dyn Protocol>,
    rubbish: Rubbish,
    clips: Arc<[Arc<Clip>]>,
}

impl Culprit {
    pub(super) fn new(settings: &SoakSettings, clips: &[Arc<Clip>]) -> Self {
        http::prepare_tls();
        Self {
            url: http::http_url(&settings.url),
            key: settings.key.clone(),
            protocol: Arc::clone(&settings.protocol),
            rubbish: settings.rubbish,
            clips: clips.into(),
        }
    }

    /// Misbehaves once. What the server does to it for that is its own fault and nobody's business.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes its sockets.
    pub(super) async fn misbehave(self, act: Act) {
        let _ = timeout(PATIENCE, self.attempt(&act)).await;
    }

    async fn attempt(&self, act: &Act) -> Done {
        match act.mischief {
            Mischief::SilentSocket => {
                let _socket = self.tcp().await?;
                sleep(act.lasts).await;
            }
            Mischief::HalfHandshake => {
                let mut socket = self.tcp().await?;
                let head = self.head("GET", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebS");
                socket.write_all(head.as_bytes()).await?;
                sleep(act.lasts).await;
            }
            Mischief::SilentSession => {
                let _connection = self.connect().await?;
                sleep(act.lasts).await;
            }
            Mischief::Vanish => self.vanish(act).await?,
            Mischief::Reconnect => self.reconnect(act).await?,
            Mischief::Reset => self.reset(act).await?,
            Mischief::SlowReader => self.read_nothing(act).await?,
            Mischief::Malformed => self.send_rubbish(act).await?,
        }
        Ok(())
    }

    /// Speaks, and is gone: half of the time while the server makes a text of it.
    async fn vanish(&self, act: &Act) -> Done {
        let mut connection = self.connect().await?;
        self.speak(&mut connection, act.lasts, act.choice).await?;
        if act.choice.is_multiple_of(2) {
            let _ = timeout(FRAME, connection.speaker.end_turn()).await;
        }
        Ok(())
    }

    async fn reconnect(&self, act: &Act) -> Done {
        for time in 0..3 {
            let mut connection = self.connect().await?;
            self.speak(&mut connection, A_WORD, act.choice + time).await?;
            connection.speaker.hang_up().await;
        }
        Ok(())
    }

    async fn reset(&self, act: &Act) -> Done {
        let mut stream = self.opened().await?;
        match self.rubbish {
            Rubbish::Rest => stream.write_all(&garbage::request(0, &self.post())).await?,
            _ => self.stream_audio(&mut stream, act).await?,
        }
        // No farewell to anybody: what is still on its way is thrown away, and the server is told so by a reset.
        Ok(tcp_of(&stream)?.set_zero_linger()?)
    }

    async fn read_nothing(&self, act: &Act) -> Done {
        let mut stream = self.opened().await?;
        if self.rubbish == Rubbish::Rest {
            stream.write_all(&garbage::request(1, &self.post())).await?;
        } else {
            self.stream_audio(&mut stream, act).await?;
            for _ in 0..QUESTIONS {
                stream.write_all(&garbage::masked(0x81, br#"{"type": "are.you.there"}"#)).await?;
            }
        }
        sleep(act.lasts).await;
        Ok(())
    }

    async fn send_rubbish(&self, act: &Act) -> Done {
        let mut stream = self.opened().await?;
        let rubbish = match self.rubbish {
            Rubbish::Rest => garbage::request(act.choice, &self.post()),
            _ => garbage::frame(act.choice),
        };
        stream.write_all(&rubbish).await?;
        let mut answer = Vec::new();
        let _ = timeout(CURIOSITY, stream.read_to_end(&mut answer)).await;
        Ok(())
    }

    async fn connect(&self) -> Result<Connection, super::super::protocol::ConnectError> {
        self.protocol.connect(u32::MAX).await
    }

    /// Says some recording, in real time.
    async fn speak(&self, connection: &mut Connection, lasts: Duration, choice: usize) -> Done {
        connection.speaker.begin_turn();
        for samples in self.frames(lasts, choice) {
            connection.speaker.say(samples).await?;
            sleep(FRAME).await;
        }
        Ok(())
    }

    /// The same as binary frames.
    async fn stream_audio(&self, stream: &mut MaybeTlsStream<TcpStream>, act: &Act) -> Done {
        for samples in self.frames(act.lasts, act.choice) {
            let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            stream.write_all(&garbage::masked(0x82, &bytes)).await?;
            sleep(FRAME).await;
        }
        Ok(())
    }

    /// The beginning of a recording in frames.
    fn frames(&self, lasts: Duration, choice: usize) -> impl Iterator<Item = &[i16]> {
        let clip = (!self.clips.is_empty()).then(|| &self.clips[choice % self.clips.len()]);
        let frame =
            clip.map_or(1, |clip| (clip.rate.hertz() as usize * FRAME.as_millis() as usize / 1_000).max(1));
        let frames = (lasts.as_millis() / FRAME.as_millis()) as usize;
        clip.into_iter().flat_map(move |clip| clip.samples.chunks(frame)).take(frames)
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let address = self.url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
        let (host, port) = address.ok_or(io::ErrorKind::InvalidInput)?;
        TcpStream::connect((host.trim_matches(['[', ']']), port)).await
    }

    /// A connection that is ready for rubbish: an open WebSocket, or just a socket for requests. Where requests go over
    /// TLS, rubbish reaches no further than the TLS.
    async fn opened(&self) -> Result<MaybeTlsStream<TcpStream>, Box<dyn std::error::Error + Send + Sync>> {
        let tcp = self.tcp().await?;
        if self.rubbish == Rubbish::Rest {
            return Ok(MaybeTlsStream::Plain(tcp));
        }
        let url = self.url.as_ref().ok_or("no address")?;
        // `https` becomes `wss`.
        let url = url.join("/v1/realtime?intent=transcription")?.to_string().replacen("http", "ws", 1);
        let mut request = url.into_client_request()?;
        if let Some(key) = &self.key {
            request.headers_mut().insert("authorization", format!("Bearer {key}").parse()?);
        }
        Ok(client_async_tls(request, tcp).await?.0.into_inner())
    }

    fn post(&self) -> String {
        self.head("POST", "Connection: close\r\n")
    }

    /// The beginning of a request, with these headers at its end.
    fn head(&self, method: &str, headers: &str) -> String {
        let host = self.url.as_ref().and_then(Url::host_str).unwrap_or("localhost");
        let path = if method == "POST" { "/v1/audio/transcriptions" } else { "/v1/realtime" };
        let key =
            self.key.as_ref().map_or_else(String::new, |key| format!("Authorization: Bearer {key}\r\n"));
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{key}{headers}")
    }
}

fn tcp_of(stream: &MaybeTlsStream<TcpStream>) -> io::Result<&TcpStream> {
    match stream {
        MaybeTlsStream::Plain(tcp) => Ok(tcp),
        MaybeTlsStream::Rustls(tls) => Ok(tls.get_ref().0),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}
