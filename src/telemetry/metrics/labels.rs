//! The closed sets that labels come from.

/// A label whose values are all known when the program is compiled.
pub(super) trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, in the order of [`index`](Self::index).
    const ALL: &'static [Self];

    /// Which of [`ALL`](Self::ALL) this is.
    fn index(self) -> usize;

    /// The value as it is written.
    fn value(self) -> &'static str;
}

macro_rules! label {
    ($(#[$doc:meta])* $label:ident, $name:literal: $($(#[$value_doc:meta])* $value:ident = $text:literal,)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $label {
            $($(#[$value_doc])* $value,)+
        }

        impl $label {
            /// The value as it is written.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }

        impl Label for $label {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$(Self::$value,)+];

            fn index(self) -> usize {
                self as usize
            }

            fn value(self) -> &'static str {
                self.as_str()
            }
        }
    };
}

label! {
    /// How a ticket left the line.
    WaitOutcome, "outcome":
    /// With a lease.
    Granted = "granted",
    /// Whoever held it went away.
    Withdrawn = "withdrawn",
    /// Its deadline passed.
    DeadlineExceeded = "deadline_exceeded",
    /// A newer one of the same flow took its place.
    Superseded = "superseded",
    /// The pool stopped.
    Draining = "draining",
}

label! {
    /// How long a lease is kept.
    LeaseScope, "scope":
    /// For one utterance.
    Utterance = "utterance",
    /// For as long as a session speaks.
    Session = "session",
}

label! {
    /// May a text still change?
    Stability, "stability":
    /// It may.
    Interim = "interim",
    /// It will not.
    Final = "final",
}

label! {
    /// A part of the way from the last sample of speech to the text in the client's hands.
    Stage, "stage":
    /// From the end of speech to the certainty that it ended.
    Endpoint = "endpoint",
    /// Standing in line for a slot.
    Wait = "wait",
    /// Decoding.
    Decode = "decode",
    /// All of it.
    Total = "total",
    /// From the text to the first token of a reply.
    FirstToken = "first_token",
    /// From there to its first whole phrase.
    FirstPhrase = "first_phrase",
    /// From there to its first sound.
    FirstAudio = "first_audio",
    /// From the end of speech to the first sound of the reply.
    Reply = "reply",
}

label! {
    /// Who told a client of an error.
    Module, "module":
    /// The recognizer.
    Asr = "asr",
    /// Measurements of the device.
    Gpu = "gpu",
    /// The language model.
    Llm = "llm",
    /// The pool.
    Pool = "pool",
    /// The HTTP and WebSocket edge.
    Server = "server",
    /// A live session.
    Session = "session",
    /// The voices.
    Tts = "tts",
    /// The voice detector.
    Vad = "vad",
}

label! {
    /// What turns text into sound.
    Speaker, "engine":
    /// Kokoro, in this process.
    Kokoro = "kokoro",
    /// A speech server.
    Remote = "remote",
    /// The program espeak-ng.
    Espeak = "espeak-ng",
}

label! {
    /// How a phrase ended.
    Saying, "outcome":
    /// It was said to its end.
    Said = "said",
    /// Nobody waited for it any more.
    Cancelled = "cancelled",
    /// It could not be said.
    Failed = "failed",
}
