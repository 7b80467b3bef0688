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
use tokio::net::{TcpSocket, TcpStream, lookup_host};
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

/// Questions that are sent at a time by somebody who does not read the answers. The server's system holds megabytes of
/// them before it pushes back.
const QUESTIONS: usize = 100;

/// How long the name of such a question is, in bytes: the answer quotes it. More is not allowed.
const LENGTHY: usize = 512;

/// How much the system is to take for somebody who does not read, in bytes: as little as it can.
const NOTHING: u32 = 1;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Done = Result<(), Error>;
type Opened = Result<MaybeTlsStream<TcpStream>, Error>;

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
                let head =
                    self.head("GET", "/v1/realtime", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebS");
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

    /// Asks for as long as it lasts, until the answers are in the way of everything.
    async fn read_nothing(&self, act: &Act) -> Done {
        let mut stream = self.opened_on(self.deaf().await?).await?;
        if self.rubbish != Rubbish::Rest {
            self.stream_audio(&mut stream, act).await?;
        }
        timeout(act.lasts, self.ask(&mut stream)).await?
    }

    async fn ask(&self, stream: &mut MaybeTlsStream<TcpStream>) -> Done {
        let questions = match self.rubbish {
            Rubbish::Rest => self.head("GET", "/metrics", "\r\n").into_bytes(),
            _ => garbage::question(LENGTHY),
        };
        let questions = questions.repeat(QUESTIONS);
        loop {
            stream.write_all(&questions).await?;
            sleep(FRAME).await;
        }
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

    fn address(&self) -> io::Result<(&str, u16)> {
        let address = self.url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
        let (host, port) = address.ok_or(io::ErrorKind::InvalidInput)?;
        Ok((host.trim_matches(['[', ']']), port))
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        TcpStream::connect(self.address()?).await
    }

    /// The same for somebody who does not read: next to nothing of what comes is kept for it.
    async fn deaf(&self) -> io::Result<TcpStream> {
        let mut refused = io::ErrorKind::AddrNotAvailable.into();
        for address in lookup_host(self.address()?).await? {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // Before it connects, because what is announced then is not taken back.
            socket.set_recv_buffer_size(NOTHING)?;
            match socket.connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    async fn opened(&self) -> Opened {
        self.opened_on(self.tcp().await?).await
    }

    /// A connection that is ready for rubbish: an open WebSocket, or just a socket for requests. Where requests go over
    /// TLS, rubbish reaches no further than the TLS.
    async fn opened_on(&self, tcp: TcpStream) -> Opened {
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
        self.head("POST", "/v1/audio/transcriptions", "Connection: close\r\n")
    }

    /// The beginning of a request, with these headers at its end.
    fn head(&self, method: &str, path: &str, headers: &str) -> String {
        let host = self.url.as_ref().and_then(Url::host_str).unwrap_or("localhost");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{ProtocolName, Target};
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;

    /// Answers each question with as much, until nothing more can be sent.
    async fn answer_until_pushed_back(listener: TcpListener, rubbish: Rubbish) -> io::Result<()> {
        let (mut stream, _) = listener.accept().await?;
        if rubbish == Rubbish::Realtime {
            stream = accept_async(stream).await.map_err(io::Error::other)?.into_inner();
        }
        let mut question = vec![0; 1 << 16];
        loop {
            let read = stream.read(&mut question).await?;
            if read == 0 {
                return Err(io::Error::other("it left before it was in the way"));
            }
            match stream.try_write(&question[..read]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                written => drop(written?),
            }
        }
    }

    #[tokio::test]
    async fn who_does_not_read_is_in_the_way_of_the_answers() {
        for rubbish in [Rubbish::Realtime, Rubbish::Rest] {
            let socket = TcpSocket::new_v4().unwrap();
            // The system would take megabytes for a server that answers.
            socket.set_send_buffer_size(1).unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let listener = socket.listen(1).unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let target =
                Target { url: url.clone(), key: None, model: None, language: None, conversation: false };
            let protocol = ProtocolName::Realtime.protocol(target).unwrap();
            let culprit = Culprit::new(&SoakSettings::new(url, None, protocol, rubbish), &[]);
            let lasts = Duration::from_secs(15);
            let act = Act { pause: Duration::ZERO, mischief: Mischief::SlowReader, lasts, choice: 0 };
            tokio::select! {
                pushed_back = answer_until_pushed_back(listener, rubbish) => pushed_back.unwrap(),
                () = culprit.misbehave(act) => panic!("it left before it was in the way"),
            }
        }
    }
}
