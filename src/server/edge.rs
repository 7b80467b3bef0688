//! What every request goes through: a name, a log line, a net under panics; and, where it matters, the question who asks.

use super::error::{ApiError, ErrorCode};
use super::{Caller, Server, keys};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span};
use uuid::Uuid;

/// The header that names a request, in answers and in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The name of a request; handlers find it in the request's extensions.
#[derive(Debug, Clone)]
pub(super) struct RequestId(Arc<str>);

impl RequestId {
    fn mint() -> Self {
        Self(format!("req_{}", Uuid::new_v4().simple()).into())
    }

    /// The name, as in `x-request-id`.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names the request, logs how it ended, and answers for a handler that panicked, and for all once the process is about to
/// end against its will.
pub(super) async fn observe(
    State(crashing): State<CancellationToken>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::mint();
    let span = info_span!("request", id = id.as_str());
    let log = RequestLog::begin(&request);
    request.extensions_mut().insert(id.clone());
    async {
        // A panic ends this request's future and nothing it shares: locks recover from poison, leases drop.
        let answering = AssertUnwindSafe(next.run(request)).catch_unwind();
        let mut response = match crashing.run_until_cancelled(answering).await {
            Some(answer) => answer.unwrap_or_else(|_| ApiError::panicked().into_response()),
            None => ApiError::crashed().into_response(),
        };
        log.end(&response);
        let id = HeaderValue::from_str(id.as_str()).expect("a UUID is ASCII");
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }
    .instrument(span)
    .await
}

/// One line per request, also for those whose client goes away before the answer.
struct RequestLog {
    method: Method,
    path: String,
    since: Instant,
    answered: bool,
}

impl RequestLog {
    fn begin(request: &Request) -> Self {
        // The query stays out: clients put keys there.
        let path = request.uri().path().to_owned();
        Self { method: request.method().clone(), path, since: Instant::now(), answered: false }
    }

    fn end(mut self, response: &Response) {
        self.answered = true;
        let (method, path, ms) = (&self.method, &self.path, self.elapsed());
        let caller = response.extensions().get::<Arc<Caller>>().map_or("-", |caller| caller.name());
        let code = response.extensions().get::<ErrorCode>().map(|code| code.0);
        info!(%method, path, status = response.status().as_u16(), ms, caller, code, "request");
    }

    fn elapsed(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        if !self.answered {
            info!(method = %self.method, path = self.path, ms = self.elapsed(), "client went away");
        }
    }
}

/// Lets identified callers in; handlers find an `Arc<Caller>` in the request's extensions.
pub(super) async fn identify(
    State(server): State<Arc<Server>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let presented = keys::presented_key(request.headers());
    let caller = server.keys.identify(presented.as_deref())?;
    request.extensions_mut().insert(Arc::clone(&caller));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(caller);
    Ok(response)
}

/// For paths that lead nowhere.
pub(super) async fn not_found(uri: Uri) -> ApiError {
    ApiError::not_found(uri.path())
}

/// For paths that do not take the method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::wrong_method(method.as_str(), uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use axum::{Router, middleware};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    async fn defective() {
        panic!("a defect");
    }

    /// Observes requests, with the means to let the process come to its end.
    fn observed(router: Router) -> (CancellationToken, TowerToHyperService<Router>) {
        let crashing = CancellationToken::new();
        let router = router.layer(middleware::from_fn_with_state(crashing.clone(), observe));
        (crashing, TowerToHyperService::new(router))
    }

    #[tokio::test]
    async fn a_handler_that_panics_answers_500_and_harms_nobody_else() {
        let router = Router::new().route("/", get(defective)).route("/fine", get(|| async { "fine" }));
        let (_crashing, service) = observed(router);
        let request = |path| Request::get(path).body(Body::empty()).unwrap();
        let response = service.call(request("/")).await.unwrap();
        assert_eq!(response.status().as_u16(), 500);
        assert!(response.headers()[REQUEST_ID].to_str().unwrap().starts_with("req_"));
        let body = to_bytes(response.into_body(), 1000).await.unwrap();
        assert!(body.starts_with(br#"{"error":{"code":"internal_error""#), "{body:?}");
        assert_eq!(service.call(request("/fine")).await.unwrap().status().as_u16(), 200);
    }

    #[tokio::test]
    async fn a_request_in_progress_is_told_to_come_back_when_the_process_is_about_to_end() {
        let (crashing, service) = observed(Router::new().route("/", get(std::future::pending::<Response>)));
        let ask = || service.call(Request::get("/").body(Body::empty()).unwrap());
        let mut in_progress = ask();
        assert!(futures_util::poll!(&mut in_progress).is_pending());
        crashing.cancel();
        for asked in [in_progress, ask()] {
            let response = asked.await.unwrap();
            assert_eq!(
                (response.status().as_u16(), &response.headers()["retry-after"]),
                (503, &HeaderValue::from(2))
            );
            let body = to_bytes(response.into_body(), 1000).await.unwrap();
            assert!(body.starts_with(br#"{"error":{"code":"crashed""#), "{body:?}");
        }
    }
}
