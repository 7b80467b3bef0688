//! `GET /metrics` as a scraper sees it. What is recorded is recorded for the whole process, other tests' servers
//! included; what is now is this server's alone.

use super::*;
use stenopool::pool::AcquireError;

/// The value of a sample that is written like this.
fn value(metrics: &str, sample: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn metrics_are_text_for_prometheus() {
    let server = Stage::with(counting()).start().await;
    let answer = server.get("/metrics").await;
    assert_eq!(
        (answer.status, &*answer.headers["content-type"]),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(answer.body.starts_with("# HELP stenopool_"), "{}", answer.body);
}

#[tokio::test]
async fn the_tasks_and_the_memory_of_the_process_are_told() {
    let server = Stage::with(counting()).start().await;
    let metrics = server.get("/metrics").await.body;
    // At least the server and this very connection.
    assert!(value(&metrics, "stenopool_runtime_tasks") >= Some(2.0), "{metrics}");
    for sample in ["process_resident_memory_bytes", "process_open_fds", "process_threads"] {
        assert!(value(&metrics, sample) > Some(0.0), "{sample}: {metrics}");
    }
}

#[tokio::test]
async fn metrics_need_a_key_where_keys_are_configured() {
    let server = Stage { keys: vec![key("ann", None)], ..Stage::with(counting()) }.start().await;
    assert_eq!(server.get("/metrics").await.refusal(), (401, "api_key_missing".into()));
    let with_key = request("GET", "/metrics", "Authorization: Bearer ann\r\n", b"");
    assert_eq!(server.answer(&with_key).await.status, 200);
}

#[tokio::test]
async fn metrics_and_the_pool_agree() {
    let server = Stage { slots: 2, ..Stage::with(never_done()) }.start().await;
    let whole = transcription(&[], &one_utterance());
    let mut clients = Vec::new();
    for (leased, queued) in [(0, 0), (1, 0), (2, 0), (2, 1)] {
        if leased + queued > 0 {
            clients.push(send(server.address, &whole).await);
        }
        server.until(|pool| (pool.slots.leased, pool.queue.depth()) == (leased, queued)).await;
        let pool: serde_json::Value = serde_json::from_str(&server.get("/pool").await.body).unwrap();
        let metrics = server.get("/metrics").await.body;
        let gauge = |sample: &str| value(&metrics, sample);
        for state in ["idle", "leased", "warming", "retired"] {
            let slots = gauge(&format!("stenopool_pool_slots{{state=\"{state}\"}}"));
            assert_eq!(slots, pool["slots"][state].as_f64(), "{state}: {pool} {metrics}");
        }
        assert_eq!(gauge("stenopool_pool_waiting"), pool["queue"]["depth"].as_f64(), "{pool} {metrics}");
        for state in ["connected", "speaking"] {
            let sessions = gauge(&format!("stenopool_sessions{{state=\"{state}\"}}"));
            assert_eq!(sessions, pool["sessions"][state].as_f64(), "{state}: {pool} {metrics}");
        }
        for kind in ["total", "free", "reserve"] {
            let bytes = gauge(&format!("stenopool_device_memory_bytes{{kind=\"{kind}\"}}"));
            assert_eq!(bytes, pool["device"]["memory"][format!("{kind}_bytes")].as_f64(), "{kind}: {pool}");
        }
    }
}

#[tokio::test]
async fn an_error_that_a_client_is_told_is_counted_by_its_code() {
    let server = Stage::with(counting()).start().await;
    let counted = async || {
        let metrics = server.get("/metrics").await.body;
        value(&metrics, "stenopool_errors_total{code=\"route_not_found\",module=\"server\"}").unwrap_or(0.0)
    };
    let before = counted().await;
    assert_eq!(server.get("/nowhere").await.refusal(), (404, "route_not_found".into()));
    // Other tests' servers may meet the same error meanwhile.
    assert!(counted().await >= before + 1.0);
}

#[tokio::test]
async fn every_reason_not_to_give_a_lease_is_shown_before_it_was_given() {
    let server = Stage::with(counting()).start().await;
    let metrics = server.get("/metrics").await.body;
    let reasons = [
        AcquireError::Saturated { queued: 1, limit: 1, retry_after: None },
        AcquireError::DeadlineExceeded { waited: PATIENCE, retry_after: None },
        AcquireError::Draining,
    ];
    for reason in reasons {
        let sample = format!("stenopool_pool_refusals_total{{reason=\"{}\"}}", reason.code());
        assert!(value(&metrics, &sample).is_some(), "{sample}");
    }
}
