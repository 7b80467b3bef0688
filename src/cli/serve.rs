//! `stenopool serve`: everything wired, from the listening socket to the last signal.

use super::assembly::{Assembly, Purpose, assemble, demo_notice, find_devices, pull_command};
use super::certificate::Certificate;
use super::device::first_gpu;
use super::failure::Failure;
use super::inherited::Inherited;
use super::language_model::language_model;
use super::last_words::LastWords;
use super::output;
use super::signals::on_first_signal;
use super::voices;
use crate::asr::{Capacity, Supervisor, on_fatal};
use crate::config::{EdgeSettings, Settings};
use crate::gpu::{Binding, DeviceKind, Sizing};
use crate::pool::Allocator;
use crate::server::{Keyring, ModelNames, Server, ServerSettings, serve_over};
use crate::session::{Assistant, Frontend};
use crate::vad::EndpointSettings;
use anyhow::Context;
use std::fmt::Write;
use std::future::pending;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// Serves until a signal comes, at the socket that was handed over, or at one of its own.
///
/// The socket is bound first, so that an address in use is told before a model is loaded; connections that come
/// early wait in its backlog.
///
/// # Errors
///
/// Everything that keeps the server from starting, or that ends it before its time.
pub(super) async fn run(mut settings: Settings, inherited: Inherited) -> anyhow::Result<ExitCode> {
    let inherited = inherited.listener()?;
    if let Some((_, address)) = inherited {
        info!(%address, setting = %settings.server.bind, "serving at the socket that was handed over");
        settings.server.bind = address;
    }
    settings.check_exposure()?;
    settings.warnings.iter().for_each(|warning| warn!("{warning}"));
    let certificate = Certificate::open(settings.server.tls.as_ref(), settings.server.bind.ip())?;
    let listener = match inherited {
        Some((listener, _)) => listener,
        None => bind(settings.server.bind).await?,
    };
    let address = listener.local_addr().context("the socket has no address")?;
    let (stopping, crashing) = (CancellationToken::new(), CancellationToken::new());
    let last_words = last_words(&crashing, &stopping);
    // Voices that live on a device are there before the slots are counted.
    let found = find_devices(&settings).await?;
    let studio = voices::for_server(&settings, first_gpu(&found)).await?;
    let (model, warm_up) =
        language_model(settings.llm.clone(), &settings.server.limits.talk.instructions, &stopping)?;
    let assistant = Assistant { model, studio };
    let assembly = assemble(&settings, Purpose::Server, found).await?;
    warm_up.ended().await;
    if settings.log.format.is_for_people() {
        // A server whose banner nobody reads serves all the same.
        let _ = output::print(&banner(&assembly, &settings, &assistant, address, certificate.as_ref()));
    }
    let Assembly { frontend, supervisor, .. } = assembly;
    let grace = settings.server.shutdown_grace;
    let server = Server {
        stopping,
        crashing,
        ..assemble_server(settings.server, settings.endpoint, &supervisor, frontend, assistant)
    };
    let server = Arc::new(server);
    stop_on_signals(server.stopping.clone(), server.lanes.allocator().clone())?;
    let crashing = server.crashing.clone();
    last_words.set_audience(true);
    let outcome = serve_over(listener, certificate.map(|certificate| certificate.tls), server, grace).await;
    last_words.set_audience(false);
    outcome.context("the server ended before its time")?;
    if crashing.is_cancelled() {
        // The thread that failed ends the process, and how that ended is told by its signal.
        pending::<()>().await;
    }
    supervisor.stop().await;
    info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Has everybody told when the engine ends the process.
fn last_words(crashing: &CancellationToken, stopping: &CancellationToken) -> Arc<LastWords> {
    let last_words = Arc::new(LastWords::new(crashing.clone(), stopping.clone()));
    let words = Arc::clone(&last_words);
    on_fatal(move |message| words.say(message));
    last_words
}

/// What the handlers work with.
fn assemble_server(
    edge: EdgeSettings,
    endpoint: EndpointSettings,
    supervisor: &Supervisor,
    frontend: Frontend,
    assistant: Assistant,
) -> Server {
    let lanes = supervisor.lanes().clone();
    Server {
        capacity: supervisor.capacity(),
        models: ModelNames::new(lanes.model().name.clone(), edge.aliases),
        lanes,
        frontend,
        assistant,
        keys: Keyring::new(edge.keys),
        settings: ServerSettings { endpoint, ..edge.limits },
        stopping: CancellationToken::new(),
        crashing: CancellationToken::new(),
        cut_off: CancellationToken::new(),
        sessions: TaskTracker::new(),
    }
}

/// Listens at `address`.
///
/// # Errors
///
/// A [`Failure`] that says which address and what to do.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AddrInUse => "another server is there already; choose another address with --bind",
            ErrorKind::PermissionDenied => "ports below 1024 need rights; choose another with --bind",
            _ => "choose an address of this machine with --bind",
        };
        Failure::new(format!("cannot listen on {address}: {error}"), hint)
    })
}

/// The first signal stops taking work and lets what was admitted finish.
fn stop_on_signals(stopping: CancellationToken, allocator: Allocator) -> std::io::Result<()> {
    on_first_signal(move || {
        info!("stopping: what was admitted is finished first; a second signal ends it at once");
        allocator.drain();
        stopping.cancel();
    })
}

/// What a person wants to know when the server is up: what it is, and what to type.
fn banner(
    assembly: &Assembly,
    settings: &Settings,
    assistant: &Assistant,
    address: SocketAddr,
    certificate: Option<&Certificate>,
) -> String {
    let Assembly { model, supervisor, share, .. } = assembly;
    let capacity = supervisor.capacity().borrow().clone();
    let asked = settings.slots.slots;
    let slots =
        pool_in_words(&capacity.sizing(), &device_in_words(&capacity, share.cores), share.threads, asked);
    Greeting {
        url: url(address, certificate.is_some()),
        trust: certificate.and_then(Certificate::for_curl).unwrap_or_default(),
        model: &model.name,
        notice: demo_notice(model),
        pull: pull_command(),
        slots,
        talk: in_words(settings, assistant),
        n_keys: settings.server.keys.len(),
    }
    .to_text()
}

/// What the slots run on: so many cores, or the names of the GPUs.
fn device_in_words(capacity: &Capacity, cores: u16) -> String {
    match capacity.sites.first().map(|site| site.device.kind) {
        Some(DeviceKind::Cuda) => capacity.device_names(),
        Some(DeviceKind::Cpu) | None => counted(cores, "core"),
    }
}

/// How many slots there are, where, and why not more.
fn pool_in_words(sizing: &Sizing, device: &str, threads: u16, asked: Option<u16>) -> String {
    let why = match (sizing.binding, asked) {
        (Binding::Fits, Some(asked)) => format!("memory binds, {asked} were asked for"),
        (Binding::Fits, None) => "memory binds".into(),
        (Binding::Knee, _) => "knee binds".into(),
        (Binding::MaxSlots, Some(_)) => "as asked for".into(),
        (Binding::MaxSlots, None) => "max_slots binds".into(),
    };
    format!("{} × {} ({device}); {why}", counted(sizing.slots, "slot"), counted(threads, "thread"))
}

/// Who replies in conversations, and in which voice.
fn in_words(settings: &Settings, assistant: &Assistant) -> String {
    let model = match &settings.llm {
        Some(llm) => format!("{} at {}", llm.primary.model(), llm.primary.base()),
        None => "the echo repeats what was said, as no --llm-url is set".into(),
    };
    let voice = match &assistant.studio {
        Some(studio) => format!("{} ({})", studio.default_voice(), studio.engine()),
        None => "none, replies are text".into(),
    };
    format!("{model}; voice: {voice}")
}

/// What the banner says.
struct Greeting<'a> {
    url: String,
    /// What `curl` is told so that it trusts a certificate of our own, with a space behind it.
    trust: String,
    model: &'a str,
    notice: Option<&'a str>,
    /// The command that installs a real model.
    pull: String,
    slots: String,
    /// Who replies in conversations.
    talk: String,
    n_keys: usize,
}

impl Greeting<'_> {
    fn to_text(&self) -> String {
        let Self { url, trust, model, notice, pull, slots, talk, n_keys } = self;
        let mut text = format!("\nStenopool {} on {url}\n\n  model  {model}\n", env!("CARGO_PKG_VERSION"));
        if let Some(notice) = notice {
            write!(text, "         {notice}\n         for a real one: {pull}\n")
                .expect("a string takes everything");
        }
        let (keys, header) = match n_keys {
            0 => ("none is asked for".to_owned(), ""),
            1 => ("one is known".to_owned(), "-H \"Authorization: Bearer $KEY\" "),
            n => (format!("{n} are known"), "-H \"Authorization: Bearer $KEY\" "),
        };
        let try_it = format!("curl {trust}{header}-F file=@speech.wav {url}/v1/audio/transcriptions");
        write!(text, "  pool   {slots}\n  talk   {talk}\n  keys   {keys}\n  try    {try_it}\n\n")
            .expect("a string takes everything");
        text
    }
}

fn counted(n: u16, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

/// What to type on this machine to reach a server that listens at `address`.
pub(super) fn url(address: SocketAddr, tls: bool) -> String {
    format!("{}://{}", if tls { "https" } else { "http" }, reachable(address))
}

/// An address to type on this machine: one that listens everywhere is reached on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Bytes, DeviceMemory, Footprint};

    fn greeting(notice: Option<&str>, n_keys: usize) -> String {
        let url = "http://127.0.0.1:8080".into();
        let pull = "target/release/stenopool models pull base.en".into();
        let slots = "2 slots × 1 thread (2 cores)".into();
        let talk = "echo".into();
        Greeting { url, trust: String::new(), model: "demo", notice, pull, slots, talk, n_keys }.to_text()
    }

    #[test]
    fn the_banner_of_the_demo_names_the_command_that_installs_a_real_model() {
        let text = greeting(Some("a small test model"), 0);
        assert!(text.contains("a small test model"), "{text}");
        assert!(text.contains("for a real one: target/release/stenopool models pull base.en\n"), "{text}");
        assert!(!greeting(None, 0).contains("pull"));
    }

    #[test]
    fn the_example_in_the_banner_carries_a_key_when_one_is_asked_for() {
        assert!(greeting(None, 1).contains("curl -H \"Authorization: Bearer $KEY\" -F"));
        assert!(greeting(None, 0).contains("try    curl -F file=@speech.wav http://127.0.0.1:8080/v1/audio"));
    }

    #[test]
    fn the_banner_says_how_many_slots_there_are_and_why_not_more() {
        let (cpu, cuda) = ("2 cores", "2 × NVIDIA H200");
        let sizing = |slots, binding| Sizing {
            fits: slots,
            knee: Some(slots),
            max_slots: slots,
            binding,
            slots,
            footprint: Footprint::default(),
            reserve: Bytes(0),
            memory: DeviceMemory::default(),
        };
        let cases = [
            (sizing(2, Binding::Knee), cpu, None, "2 slots × 1 thread (2 cores); knee binds"),
            (sizing(1, Binding::Fits), cpu, None, "1 slot × 1 thread (2 cores); memory binds"),
            (
                sizing(1, Binding::Fits),
                cpu,
                Some(4),
                "1 slot × 1 thread (2 cores); memory binds, 4 were asked for",
            ),
            (sizing(4, Binding::MaxSlots), cpu, Some(4), "4 slots × 1 thread (2 cores); as asked for"),
            (
                sizing(16, Binding::MaxSlots),
                cuda,
                None,
                "16 slots × 1 thread (2 × NVIDIA H200); max_slots binds",
            ),
        ];
        for (sizing, device, asked, expected) in cases {
            assert_eq!(pool_in_words(&sizing, device, 1, asked), expected);
        }
    }

    #[test]
    fn an_address_that_listens_everywhere_is_shown_as_loopback() {
        let shown = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(shown("0.0.0.0:9000"), "127.0.0.1:9000");
        assert_eq!(shown("[::]:9000"), "[::1]:9000");
        assert_eq!(shown("10.0.0.7:9000"), "10.0.0.7:9000");
    }

    #[tokio::test]
    async fn an_address_in_use_is_told_with_the_way_out() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = bind(first.local_addr().unwrap()).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot listen on 127.0.0.1:"), "{error}");
    }
}
