//! Downloads against a scripted HTTP server on this machine: broken connections, wrong bytes, servers with opinions.

#![allow(clippy::unwrap_used)] // The helpers of tests may, too.

use proptest::prelude::*;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stenopool::store::{DownloadSettings, Downloader, Manifest, ModelEntry, Step, StoreError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// SHA-256 of [`body`]`(7)` and `(8)`, computed by Python's hashlib and not by the code under test.
const SHA256_OF_7: &str = "9037080806b85c49b46285c56d103c057776e9f2afe5658b91dcc98b4a90aee6";
const SHA256_OF_8: &str = "b2ffe318f8b873fada695a8e7fad29756d92c6bb389e683d1c4d40885bb00696";
const LEN: usize = 300_000;
const HALF: usize = LEN / 2;

/// Bytes that look random and are the same every time.
fn body(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..LEN).map(step).collect()
}

/// How the server answers one connection. A version of the file is named by its body's seed, which is also its `ETag`.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// As `Range` and `If-Range` ask.
    Obey(u32),
    /// The same, but the connection breaks after so many bytes.
    Break(u32, usize),
    /// The same, but after so many bytes nothing more comes, and the connection stays.
    Stall(u32, usize),
    /// The whole file with status 200, whatever was asked.
    IgnoreRange(u32),
    /// The range that was asked, whatever `If-Range` says.
    IgnoreIfRange(u32),
    /// A status and a header line.
    Status(u16, &'static str),
}

/// What a client asked, and how many bytes of the body it was sent.
#[derive(Debug, Clone)]
struct Exchange {
    head: String,
    sent: usize,
}

/// The value of a header in a request's head.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// A server that answers one connection after the other, by the script.
struct Server {
    address: SocketAddr,
    exchanges: Arc<Mutex<Vec<Exchange>>>,
}

impl Server {
    async fn start(script: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let exchanges = Arc::default();
        tokio::spawn(play(listener, script.to_vec(), Arc::clone(&exchanges)));
        Self { address, exchanges }
    }

    fn mirror(&self) -> String {
        format!("http://{}/models/", self.address)
    }

    fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.lock().unwrap().clone()
    }

    /// Body bytes sent in each exchange.
    fn sent(&self) -> Vec<usize> {
        self.exchanges().iter().map(|exchange| exchange.sent).collect()
    }
}

async fn play(listener: TcpListener, script: Vec<Answer>, exchanges: Arc<Mutex<Vec<Exchange>>>) {
    let mut stalled = Vec::new();
    for answer in script {
        let (mut socket, _) = listener.accept().await.unwrap();
        let head = read_head(&mut socket).await;
        let (reply, whole) = reply(answer, &head);
        let sent = match answer {
            Answer::Break(_, most) | Answer::Stall(_, most) => most.min(whole.len()),
            _ => whole.len(),
        };
        exchanges.lock().unwrap().push(Exchange { head, sent });
        // A client that has seen enough may be gone already.
        let _ = socket.write_all(&[reply.as_bytes(), &whole[..sent]].concat()).await;
        if matches!(answer, Answer::Stall(..)) {
            stalled.push(socket);
        }
    }
    // Whoever asks more often than the script has answers is refused; stalled connections stay open.
    drop(listener);
    std::future::pending::<()>().await;
}

async fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The response's head, and the whole body that it promises.
fn reply(answer: Answer, head: &str) -> (String, Vec<u8>) {
    let asked = header(head, "range").map(|range| range["bytes=".len()..range.len() - 1].parse().unwrap());
    let (version, from) = match answer {
        Answer::Status(status, more) => {
            return (response(&format!("{status} Scripted\r\n{more}"), 0), Vec::new());
        }
        Answer::IgnoreRange(version) => (version, None),
        Answer::IgnoreIfRange(version) => (version, asked),
        Answer::Obey(version) | Answer::Break(version, _) | Answer::Stall(version, _) => {
            let same = |expected: &str| expected == format!("\"{version}\"");
            (version, asked.filter(|_| header(head, "if-range").is_none_or(same)))
        }
    };
    let rest = body(version)[from.unwrap_or(0).min(LEN)..].to_vec();
    let status = match from {
        None => "200 OK".to_owned(),
        Some(from) if from < LEN => {
            format!("206 Partial Content\r\ncontent-range: bytes {from}-{}/{LEN}", LEN - 1)
        }
        Some(_) => format!("416 Range Not Satisfiable\r\ncontent-range: bytes */{LEN}"),
    };
    (response(&format!("{status}\r\netag: \"{version}\""), rest.len()), rest)
}

fn response(status_and_headers: &str, length: usize) -> String {
    format!("HTTP/1.1 {status_and_headers}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")
}

/// The file as a manifest would describe it; `more` adds a line.
fn entry(more: &str) -> ModelEntry {
    let text = format!(
        "[[model]]\nname = \"test\"\nkind = \"whisper\"\nfile = \"sub/test.bin\"\nlicence = \"none\"\ndescription = \"\"\n{more}"
    );
    Manifest::parse(&text).unwrap().entries()[0].clone()
}

/// Version 7, with its checksum.
fn checked() -> ModelEntry {
    entry(&format!("sha256 = \"{SHA256_OF_7}\""))
}

/// Pauses of a millisecond, and no proxy between us and ourselves.
fn downloader(attempts: u32) -> Downloader {
    let backoff = Duration::from_millis(1);
    Downloader::new(DownloadSettings { attempts, backoff, proxies: false, ..DownloadSettings::default() })
        .unwrap()
}

/// A folder for one file, and what was reported about its downloads.
struct Bench {
    folder: TempDir,
    steps: Vec<String>,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), steps: Vec::new() }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("sub/test.bin")
    }

    /// Names of all files beside the target.
    fn files(&self) -> Vec<String> {
        let Ok(files) = fs::read_dir(self.folder.path().join("sub")) else { return Vec::new() };
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Leaves what an earlier run would have left, from a server without `ETag`.
    fn leave_part(&self, bytes: &[u8]) {
        fs::create_dir_all(self.folder.path().join("sub")).unwrap();
        fs::write(self.folder.path().join("sub/test.bin.part"), bytes).unwrap();
    }

    async fn pull(&mut self, entry: &ModelEntry, mirror: &str, attempts: u32) -> Result<(), StoreError> {
        let target = self.target();
        let steps = &mut self.steps;
        let mut note = |step: Step<'_>| match step {
            Step::Arrived(_) => {}
            Step::Rehashing(bytes) => steps.push(format!("rehashing {bytes}")),
            Step::Receiving { from, total } => {
                steps.push(format!("receiving {from} of {}", total.unwrap_or(0)));
            }
            Step::Retrying { cause, .. } => steps.push(format!("retrying: {}", cause.code())),
        };
        downloader(attempts).download(entry, Some(mirror), &target, &mut note).await
    }

    fn assert_whole(&self) {
        assert!(fs::read(self.target()).unwrap() == body(7), "the file differs from version 7");
        assert_eq!(self.files(), ["test.bin"], "nothing else is left behind");
    }

    fn assert_empty(&self) {
        assert_eq!(self.files(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_dropped_connection_is_resumed_and_no_byte_is_sent_twice() {
    let server = Server::start(&[Answer::Break(7, HALF), Answer::Obey(7)]).await;
    let mut bench = Bench::new();
    bench.pull(&checked(), &server.mirror(), 3).await.unwrap();
    bench.assert_whole();
    assert_eq!(server.sent(), [HALF, LEN - HALF]);
    let second = &server.exchanges()[1].head;
    assert!(second.starts_with("GET /models/sub/test.bin HTTP/1.1"), "{second}");
    assert_eq!(header(second, "range"), Some("bytes=150000-"));
    assert_eq!(header(second, "if-range"), Some("\"7\""));
    let expected = ["receiving 0 of 300000", "retrying: download_interrupted", "receiving 150000 of 300000"];
    assert_eq!(bench.steps, expected);
}

#[tokio::test]
async fn the_next_run_goes_on_where_the_last_one_stopped() {
    let server = Server::start(&[Answer::Break(7, HALF), Answer::Obey(7)]).await;
    let mut bench = Bench::new();
    let error = bench.pull(&checked(), &server.mirror(), 1).await.unwrap_err();
    assert_eq!(error.code(), "download_interrupted");
    assert_eq!(bench.files(), ["test.bin.part", "test.bin.part.etag"]);
    bench.steps.clear();
    bench.pull(&checked(), &server.mirror(), 1).await.unwrap();
    bench.assert_whole();
    assert_eq!(bench.steps, ["rehashing 150000", "receiving 150000 of 300000"]);
    assert_eq!(server.sent(), [HALF, LEN - HALF]);
}

/// Starts a download that will stall, and returns once the first half is on disk.
async fn stalled_download(bench: &Bench, mirror: String) -> tokio::task::JoinHandle<Result<(), StoreError>> {
    let (arrived, mut news) = mpsc::unbounded_channel();
    let target = bench.target();
    let download = tokio::spawn(async move {
        let mut note = |step: Step<'_>| {
            if let Step::Arrived(bytes) = step {
                let _ = arrived.send(bytes);
            }
        };
        downloader(1).download(&checked(), Some(&mirror), &target, &mut note).await
    });
    while news.recv().await.expect("the first half comes") < HALF as u64 {}
    download
}

#[tokio::test]
async fn a_download_that_was_given_up_can_be_resumed() {
    let server = Server::start(&[Answer::Stall(7, HALF), Answer::Obey(7)]).await;
    let mut bench = Bench::new();
    let first = stalled_download(&bench, server.mirror()).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    bench.pull(&checked(), &server.mirror(), 1).await.unwrap();
    bench.assert_whole();
    assert_eq!(server.sent(), [HALF, LEN - HALF]);
}

#[tokio::test]
async fn a_second_download_of_the_same_file_is_refused_while_the_first_runs() {
    let server = Server::start(&[Answer::Stall(7, HALF), Answer::Obey(7)]).await;
    let mut bench = Bench::new();
    let first = stalled_download(&bench, server.mirror()).await;
    let error = bench.pull(&checked(), &server.mirror(), 1).await.unwrap_err();
    assert_eq!(error.code(), "download_in_progress");
    assert_eq!(server.sent(), [HALF], "the second one asks no server");
    first.abort();
}

#[tokio::test]
async fn wrong_bytes_are_removed_and_both_checksums_named() {
    let server = Server::start(&[Answer::Obey(8)]).await;
    let mut bench = Bench::new();
    let error = bench.pull(&checked(), &server.mirror(), 3).await.unwrap_err();
    assert_eq!(error.code(), "wrong_checksum");
    let message = error.to_string();
    assert!(message.contains(SHA256_OF_7) && message.contains(SHA256_OF_8), "{message}");
    bench.assert_empty();
    assert_eq!(server.sent(), [LEN], "it is not tried again by itself");
}

#[tokio::test]
async fn damage_in_an_earlier_part_is_found_at_the_end() {
    let server = Server::start(&[Answer::Obey(7)]).await;
    let mut bench = Bench::new();
    bench.leave_part(&vec![0; HALF]);
    let error = bench.pull(&checked(), &server.mirror(), 1).await.unwrap_err();
    assert_eq!(error.code(), "wrong_checksum");
    bench.assert_empty();
}

#[tokio::test]
async fn another_size_is_refused_before_the_bytes_come() {
    let server = Server::start(&[Answer::Obey(7)]).await;
    let mut bench = Bench::new();
    let error = bench.pull(&entry("bytes = 300001"), &server.mirror(), 3).await.unwrap_err();
    assert_eq!(error.to_string(), "sub/test.bin has the wrong size: expected 300001 bytes, got 300000");
    assert_eq!(bench.steps, Vec::<String>::new());
    bench.assert_empty();
}

#[tokio::test]
async fn a_server_that_ignores_ranges_sends_it_all_again() {
    let server = Server::start(&[Answer::Break(7, HALF), Answer::IgnoreRange(7)]).await;
    let mut bench = Bench::new();
    bench.pull(&checked(), &server.mirror(), 3).await.unwrap();
    bench.assert_whole();
    assert_eq!(server.sent(), [HALF, LEN]);
}

#[tokio::test]
async fn a_file_that_changed_in_between_is_fetched_from_its_beginning() {
    for second in [Answer::Obey(7), Answer::IgnoreIfRange(7)] {
        let server = Server::start(&[Answer::Break(6, HALF), second, Answer::Obey(7)]).await;
        let mut bench = Bench::new();
        bench.pull(&checked(), &server.mirror(), 5).await.unwrap();
        bench.assert_whole();
    }
}

#[tokio::test]
async fn a_part_longer_than_the_file_is_thrown_away() {
    let server = Server::start(&[Answer::Obey(7), Answer::Obey(7)]).await;
    let mut bench = Bench::new();
    bench.leave_part(&vec![0; LEN + 1]);
    bench.pull(&checked(), &server.mirror(), 3).await.unwrap();
    bench.assert_whole();
}

#[tokio::test]
async fn a_part_that_is_whole_needs_no_more_bytes() {
    let server = Server::start(&[Answer::Obey(7)]).await;
    let mut bench = Bench::new();
    bench.leave_part(&body(7));
    bench.pull(&checked(), &server.mirror(), 1).await.unwrap();
    bench.assert_whole();
    assert_eq!(server.sent(), [0]);
}

#[tokio::test]
async fn a_part_that_nothing_vouches_for_is_not_used() {
    let server = Server::start(&[Answer::Obey(7)]).await;
    let mut bench = Bench::new();
    bench.leave_part(&vec![0; HALF]);
    bench.pull(&entry(""), &server.mirror(), 1).await.unwrap();
    bench.assert_whole();
}

#[tokio::test]
async fn a_missing_file_is_reported_at_once() {
    let server = Server::start(&[Answer::Status(404, "x: y")]).await;
    let mut bench = Bench::new();
    let error = bench.pull(&checked(), &server.mirror(), 5).await.unwrap_err();
    assert_eq!(error.code(), "download_refused");
    assert!(error.to_string().ends_with("/models/sub/test.bin answered 404"), "{error}");
    assert_eq!(bench.steps, Vec::<String>::new());
    bench.assert_empty();
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_not_for_ever() {
    let busy = Answer::Status(503, "retry-after: 0");
    let server = Server::start(&[busy, busy, Answer::Obey(7), busy, busy]).await;
    let mut bench = Bench::new();
    bench.pull(&checked(), &server.mirror(), 3).await.unwrap();
    bench.assert_whole();
    let mut bench = Bench::new();
    let error = bench.pull(&checked(), &server.mirror(), 2).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { status: 503, .. }), "{error}");
    assert_eq!(server.exchanges().len(), 5);
}

#[tokio::test]
async fn offline_is_said_at_once_in_one_line_with_a_hint() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mirror = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut bench = Bench::new();
    let error = bench.pull(&checked(), &mirror, 5).await.unwrap_err();
    assert_eq!(error.code(), "download_offline");
    assert!(error.to_string().starts_with("cannot reach 127.0.0.1: "), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
    assert!(error.hint().unwrap().contains("--mirror"));
    assert_eq!(bench.steps, Vec::<String>::new(), "it does not try again");
    bench.assert_empty();
}

#[tokio::test]
async fn a_mirror_that_is_no_web_address_is_refused() {
    for mirror in ["ftp://host", "host/models", "/srv/models"] {
        let error = Bench::new().pull(&checked(), mirror, 1).await.unwrap_err();
        assert_eq!(error.code(), "download_bad_address", "{mirror}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let mut bench = Bench::new();
    let in_the_way = bench.folder.path().join("sub");
    fs::write(&in_the_way, b"a file").unwrap();
    let error = bench.pull(&checked(), "http://127.0.0.1:9", 1).await.unwrap_err();
    assert_eq!(error.code(), "store_io");
    assert!(error.to_string().contains(in_the_way.to_str().unwrap()), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Fails if any place to break off loses, doubles or shifts a byte.
    #[test]
    fn wherever_connections_break_every_byte_comes_once(breaks in prop::collection::vec(1usize..100_000, 0..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut script: Vec<_> = breaks.iter().map(|&most| Answer::Break(7, most)).collect();
            script.push(Answer::Obey(7));
            let server = Server::start(&script).await;
            let mut bench = Bench::new();
            bench.pull(&checked(), &server.mirror(), 2).await.unwrap();
            bench.assert_whole();
            assert_eq!(server.sent().iter().sum::<usize>(), LEN);
        });
    }
}
