//! Which endpoints there are, and how patient the client is with them.

use super::LlmError;
use reqwest::Url;
use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// A key, which nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A key as it was set; `None` for one that cannot stand in a header, or is empty.
    pub fn new(key: &str) -> Option<Self> {
        let fits = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(key.to_owned()))
    }

    /// The key itself.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A place where chat completions are to be had, and of which model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    base: String,
    model: String,
    key: Option<Secret>,
}

impl Endpoint {
    /// An endpoint under `base_url`, as in `http://127.0.0.1:11434/v1`; `key` is sent as a bearer token. An empty key is
    /// none.
    ///
    /// # Errors
    ///
    /// [`LlmError::BadEndpoint`] for anything but an `http` or `https` address without name, password, query and
    /// fragment, for a model without a name, and for a key that cannot be sent.
    pub fn new(base_url: &str, model: &str, key: Option<&str>) -> Result<Self, LlmError> {
        let base = base(base_url.trim())?;
        let bad = |reason: &str| LlmError::BadEndpoint { url: base.clone(), reason: reason.into() };
        if model.trim().is_empty() {
            return Err(bad("it names no model"));
        }
        let key = match key.map(str::trim).filter(|key| !key.is_empty()) {
            Some(key) => {
                Some(Secret::new(key).ok_or_else(|| bad("its key has characters that no header may have"))?)
            }
            None => None,
        };
        Ok(Self { model: model.trim().to_owned(), key, base })
    }

    /// Where it is, without the key: what errors and logs call it.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The model that is asked for there.
    pub fn model(&self) -> &str {
        &self.model
    }

    pub(super) fn key(&self) -> Option<&Secret> {
        self.key.as_ref()
    }

    /// Whether it is OpenAI's own service.
    pub(super) fn is_openai(&self) -> bool {
        self.base.starts_with("https://api.openai.com/")
    }

    /// Whether it is on this machine.
    pub(super) fn is_local(&self) -> bool {
        let url = Url::parse(&self.base).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

/// The address without slashes behind it.
fn base(url: &str) -> Result<String, LlmError> {
    let parsed = Url::parse(url).map_err(|error| LlmError::BadEndpoint {
        // What cannot be read may have a password anywhere.
        url: "the address".into(),
        reason: error.to_string(),
    })?;
    let named = || format!("{}://{}", parsed.scheme(), parsed.host_str().unwrap_or_default());
    let bad = |reason: &str| Err(LlmError::BadEndpoint { url: named(), reason: reason.into() });
    if !matches!(parsed.scheme(), "http" | "https") {
        return bad("its scheme is neither http nor https");
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return bad("a name or password in an address is told to everybody; use a key");
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return bad("it has a query or a fragment");
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

/// When an endpoint that fails is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// After so many failures in a row.
    pub failures: NonZeroU32,
    /// For this time; then one request tries it.
    pub cool_down: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: NonZeroU32::new(3).expect("3 is not 0"), cool_down: Duration::from_secs(10) }
    }
}

/// Which endpoints there are, and how patient the client is with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LlmSettings {
    /// Which is asked first.
    pub primary: Endpoint,
    /// Which are asked, in this order, when those before do not reply.
    pub fallbacks: Vec<Endpoint>,
    /// How many requests are open upstream at the same time.
    pub concurrency: NonZeroUsize,
    /// How many may wait for their turn; one more is refused.
    pub max_waiting: usize,
    /// How long an endpoint may take to accept a connection.
    pub connect: Duration,
    /// How long it may take from a request to the first token, of reasoning that nobody hears, too.
    pub first_token: Duration,
    /// How long it may be silent between two tokens.
    pub stall: Duration,
    /// How long a reply may take altogether: in line, with retries, and as long as it is being written.
    pub total: Duration,
    /// How often one endpoint is asked again for a reply that did not begin.
    pub retries: u32,
    /// The pause before the first retry; it doubles with each one that follows.
    pub backoff: Duration,
    /// The longest `Retry-After` that is waited for; with a longer one the next endpoint is asked.
    pub patience: Duration,
    /// When a failing endpoint is left alone.
    pub breaker: BreakerSettings,
    /// How long the first request may take to be answered: the endpoint may have to load its model first.
    pub warm_up: Duration,
    /// After so much time in which nobody asked anything, a small request keeps connection, model and prompt where they
    /// are; `None`: never. Endpoints that cost money charge for it.
    pub keep_warm: Option<Duration>,
    /// Whether to use the system's proxies for endpoints that are not on this machine.
    pub proxies: bool,
}

impl LlmSettings {
    /// Everything as usual, with this endpoint.
    pub fn new(primary: Endpoint) -> Self {
        Self {
            primary,
            fallbacks: Vec::new(),
            concurrency: NonZeroUsize::new(32).expect("32 is not 0"),
            max_waiting: 256,
            connect: Duration::from_secs(3),
            first_token: Duration::from_secs(10),
            stall: Duration::from_secs(10),
            total: Duration::from_secs(120),
            retries: 1,
            backoff: Duration::from_millis(100),
            patience: Duration::from_secs(2),
            breaker: BreakerSettings::default(),
            warm_up: Duration::from_secs(120),
            keep_warm: Some(Duration::from_secs(240)),
            proxies: true,
        }
    }

    /// All endpoints, in the order in which they are asked.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        std::iter::once(&self.primary).chain(&self.fallbacks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_called_by_its_address_without_slashes_behind_it() {
        let endpoint = Endpoint::new(" http://llm:8080/v1// ", " small ", Some("")).unwrap();
        assert_eq!(
            (endpoint.base(), endpoint.model(), endpoint.key()),
            ("http://llm:8080/v1", "small", None)
        );
    }

    #[test]
    fn an_address_that_cannot_be_an_endpoint_is_refused_without_telling_what_is_secret_in_it() {
        let cases = [
            ("llm:8080", "scheme"),
            ("llm", "relative URL"),
            ("ftp://llm/v1", "scheme"),
            ("http://me:hunter2@llm/v1", "password"),
            ("http://me:hunter2@llm:port/v1", "port"),
            ("https://llm/v1?key=hunter2", "query"),
        ];
        for (url, reason) in cases {
            let error = Endpoint::new(url, "small", None).unwrap_err();
            assert_eq!(error.code(), "llm_bad_endpoint");
            assert!(error.to_string().contains(reason), "{url}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!(Endpoint::new("http://llm/v1", " ", None).is_err(), "no model");
        let error = Endpoint::new("http://llm/v1", "small", Some("two words\n")).unwrap_err();
        assert!(!error.to_string().contains("two words"), "{error}");
    }

    #[test]
    fn nothing_prints_a_key() {
        let endpoint = Endpoint::new("https://llm/v1", "small", Some("sk-hunter2")).unwrap();
        let printed = format!("{:?}", LlmSettings::new(endpoint));
        assert!(printed.contains("***") && !printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        let local = |url| Endpoint::new(url, "small", None).unwrap().is_local();
        assert!(
            local("http://localhost:1/v1") && local("http://127.0.0.1:1/v1") && local("http://[::1]:1/v1")
        );
        assert!(!local("http://127.example.org/v1") && !local("http://10.0.0.1/v1"));
    }
}
