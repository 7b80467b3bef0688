//! What `/metrics` says after people have spoken. The process is the test's own, so the numbers are exact.

use super::*;

/// The value of a sample that is written like this.
async fn measured(server: &Server, sample: &str) -> f64 {
    let metrics = http::exchange(server.address, &http::request("GET", "/metrics", "", b"")).await.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {sample} in {metrics}"))
}

#[tokio::test]
async fn speech_and_its_decodes_are_measured_live_and_in_files() {
    const SPEECH: &str = "stenopool_vad_speech_seconds_total";
    const AUDIO: &str = "stenopool_asr_audio_seconds_total";
    const DECODES: &str = "stenopool_asr_decode_seconds_count{stability=\"final\"}";
    let server = Server::start(&[]);
    let recording = &reliable()[0];
    upload(server.address, recording).await;
    let (speech, audio) = (measured(&server, SPEECH).await, measured(&server, AUDIO).await);
    let decodes = measured(&server, DECODES).await;
    assert!(decodes >= 1.0 && 0.0 < speech && speech <= audio, "{decodes} {speech} {audio}");
    dictate(server.address, recording).await;
    let (speech_after, audio_after) = (measured(&server, SPEECH).await, measured(&server, AUDIO).await);
    assert!(speech_after > speech && audio_after > audio, "{speech_after} {audio_after}");
    assert!(measured(&server, DECODES).await > decodes);
}

#[tokio::test]
async fn an_error_in_a_session_is_counted_and_so_is_the_session() {
    let server = Server::start(&[]);
    let mut socket = connect(server.address).await;
    let commit = json!({ "type": "input_audio_buffer.commit" });
    socket.send(Message::text(commit.to_string())).await.unwrap();
    let message = timeout(PATIENCE, socket.next()).await.expect("the server answers").unwrap().unwrap();
    assert!(message.to_text().unwrap().contains("input_audio_buffer_commit_empty"), "{message}");
    let counted = "stenopool_errors_total{code=\"input_audio_buffer_commit_empty\",module=\"session\"}";
    assert_eq!(measured(&server, counted).await.to_bits(), 1.0_f64.to_bits());
    assert_eq!(
        measured(&server, "stenopool_sessions{state=\"connected\"}").await.to_bits(),
        1.0_f64.to_bits()
    );
}
