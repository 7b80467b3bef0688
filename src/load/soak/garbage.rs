//! What no protocol knows: bytes that a server has to survive. Pure.

/// Rubbish for an open realtime WebSocket, as it goes over the wire; `choice` says which.
pub(super) fn frame(choice: usize) -> Vec<u8> {
    const TEXT: u8 = 0x81;
    const BINARY: u8 = 0x82;
    let all = [
        masked(TEXT, b"{"),
        masked(TEXT, b"[1, 2]"),
        masked(TEXT, br#"{"type": 7}"#),
        masked(TEXT, br#"{"type": "are.you.there"}"#),
        masked(TEXT, br#"{"type": "input_audio_buffer.append", "audio": 5}"#),
        masked(TEXT, br#"{"type": "input_audio_buffer.append", "audio": "%%%"}"#),
        masked(TEXT, br#"{"type": "session.update", "session": "none"}"#),
        masked(BINARY, b"odd"),
        // Not UTF-8; an opcode that is reserved; bits that nobody agreed on.
        masked(TEXT, &[0xff, 0xfe]),
        masked(0x83, b"what"),
        masked(0xf1, b"what"),
        // A ping in fragments, and one that is too long; the rest of a message that never began.
        masked(0x09, b"ping"),
        masked(0x89, &[b'x'; 126]),
        masked(0x80, b"and so on"),
        // Not masked, as a client has to; a length of 256 TiB; not a frame at all.
        [&[TEXT, 2][..], b"hi"].concat(),
        [&[BINARY, 0xff, 0, 1, 0, 0, 0, 0, 0, 0][..], &[0; 4], b"little"].concat(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    all[choice % all.len()].clone()
}

/// An event that no server knows, with a name of so many bytes.
pub(super) fn question(name: usize) -> Vec<u8> {
    let name = "e".repeat(name);
    masked(0x81, format!(r#"{{"type": "are.you.there", "event_id": "{name}"}}"#).as_bytes())
}

/// A frame with a mask that changes nothing.
pub(super) fn masked(head: u8, payload: &[u8]) -> Vec<u8> {
    let length: &[u8] = match payload.len() {
        length @ 0..126 => &[0x80 | length as u8],
        length => &[&[0xfe][..], &(length as u16).to_be_bytes()].concat(),
    };
    [&[head][..], length, &[0; 4], payload].concat()
}

/// A request for a transcription that is broken in some way; `head` is what comes before its own headers.
pub(super) fn request(choice: usize, head: &str) -> Vec<u8> {
    const FORM: &str = "Content-Type: multipart/form-data; boundary=XX";
    const FILE: &str =
        "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nnoise";
    let all = [
        // A form that does not end, one whose file is no audio, one without a file, one without a boundary.
        format!("{FORM}\r\nContent-Length: {}\r\n\r\n{FILE}", FILE.len()),
        format!("{FORM}\r\nContent-Length: {}\r\n\r\n{FILE}\r\n--XX--\r\n", FILE.len() + 10),
        format!("{FORM}\r\nContent-Length: 6\r\n\r\n--XX--"),
        "Content-Type: multipart/form-data\r\nContent-Length: 2\r\n\r\nhi".to_owned(),
        // Less than announced, chunks that are none, a length that is none, two lengths.
        format!("{FORM}\r\nContent-Length: 1000000\r\n\r\n{FILE}"),
        format!("{FORM}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{FILE}"),
        format!("{FORM}\r\nContent-Length: much\r\n\r\n{FILE}"),
        format!("{FORM}\r\nContent-Length: 3\r\nContent-Length: 30\r\n\r\n{FILE}"),
        "Host\r\n: \r\n\r\n".to_owned(),
    ];
    format!("{head}{}", all[choice % all.len()]).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_carries_the_length_of_its_payload() {
        assert_eq!(masked(0x81, b"hi"), [0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
        let long = masked(0x82, &[7; 300]);
        assert_eq!(long[..8], [0x82, 0xfe, 1, 44, 0, 0, 0, 0]);
        assert_eq!(long.len(), 308);
    }

    #[test]
    fn every_choice_is_something_else() {
        let frames: std::collections::BTreeSet<_> = (0..17).map(frame).collect();
        let requests: std::collections::BTreeSet<_> = (0..9).map(|choice| request(choice, "")).collect();
        assert_eq!((frames.len(), requests.len()), (17, 9));
        assert_eq!((frame(17), request(9, "")), (frame(0), request(0, "")));
    }
}
