//! Stenopool: a self-hosted speech server. This page is the map.
//!
//! Many people talk to it at once, over HTTP and WebSockets; a *pool* of Whisper slots on one set of weights is leased
//! to them; Silero VAD keeps silence away from the decoder. One binary, no Python at run time.
//!
//! # Five ideas
//!
//! 1. **Pure core, thin shell.** What decides (who gets a slot, when speech ends, how many slots there are) is a
//!    synchronous struct without clock, lock, channel or I/O. What waits is a thin async layer around it.
//! 2. **A thread owns a model; tokio owns sockets.** They meet in bounded channels and `oneshot` replies.
//! 3. **The lease rides with the work.** A slot is free when the device is quiet, not when the caller stops waiting.
//! 4. **A vanished caller costs nothing.** Dropping a future leaves the line or ends the decode; every way out of the
//!    pool goes through a destructor.
//! 5. **Every channel has a bound, a unit and a sentence about what happens when it is full.**
//!
//! And one about money: **weights are loaded once.** A slot costs the working memory of one decode, never a second
//! copy of the model.
//!
//! # Modules
//!
//! | module | what it is | may import |
//! |---|---|---|
//! | [`audio`] | samples, frames, utterances, resampling, decoding files: vocabulary and pure functions | nothing of ours |
//! | [`telemetry`] | tracing set-up and the catalogue of metrics | nothing of ours |
//! | [`gpu`] | what a device has, what a slot costs, how many fit | `telemetry` |
//! | [`pool`] | leases on slots, in fair order; has never heard of Whisper | `telemetry` |
//! | `onnx` | ONNX Runtime, loaded once per process: what `vad` and `tts` run their networks with | nothing of ours |
//! | [`vad`] | speech probability → edges → utterances | `audio`, `onnx`, `telemetry` |
//! | [`asr`] | an utterance and a slot → a hypothesis | `audio`, `pool`, `gpu`, `telemetry` |
//! | [`llm`] | one shared client for streamed chat completions | `telemetry` |
//! | [`tts`] | a session's voice: phrases → sound | `audio`, `onnx`, `telemetry` |
//! | [`session`] | one live conversation or one recording: audio in, text and replies out | `audio`, `vad`, `asr`, `llm`, `tts`, `pool`, `telemetry` |
//! | [`server`] | HTTP and WebSocket edge, wire formats, keys | `session`, `asr`, `vad`, `llm`, `tts`, `audio`, `telemetry`, snapshots of `pool` and `gpu` |
//! | [`store`] | models: manifest, search path, download, checksums, the embedded demo model | nothing of ours |
//! | [`load`] | load test, soak, knee, plan: drives servers from outside, and the real [`pool::Ledger`] in simulation | `audio`, `vad`, `pool`, `telemetry` |
//! | [`config`] | settings as written → settings as meant | the `Settings` of the others |
//! | [`cli`] | commands; the only place that wires things together | everything |
//!
//! `tests/architecture.rs` holds these rules, and these: `axum` is named only in `server`, `clap`, `anyhow`,
//! `fastrand` and `listenfd` only in `cli`, `whisper-rs` and `libc` only in `asr`, `ort` only in `onnx`, `vad` and `tts`,
//! `misaki-rs` only in `tts`, `prometheus` only in `telemetry`, `nvml-wrapper` and `cudarc` only in `gpu`, `reqwest` only in
//! `store`, `load`, `llm` and `tts`, `sse-stream` only in `llm`, `tokio-tungstenite` and `plotters` only in `load`, `procfs`
//! only there and in `telemetry`; `unsafe` lives in `asr/whisper/native.rs` alone; only `cli` reads the environment; no module
//! below `server` reads the wall clock. Everybody else is handed a `Settings` value.
//!
//! # Vocabulary
//!
//! One word per thing: the same in code, log, `/pool` and documentation.
//!
//! | type | what it is |
//! |---|---|
//! | [`audio::Span`], [`audio::Frame`], [`audio::Utterance`] | a range of samples; one step of the detector; one stretch of speech with its pre-roll |
//! | [`vad::Detector`], [`vad::Edge`], [`vad::Gate`], [`vad::Endpointer`] | the model that hears speech; speech started or stopped; hysteresis; builds utterances |
//! | [`session::Frontend`], [`session::Ear`] | the threads that listen for everybody; what one session hears with |
//! | [`pool::SlotId`], [`pool::Generation`] | the right to one decode at a time, and the memory it needs; how often it was rebuilt |
//! | [`pool::Flow`], [`pool::Tier`], [`pool::Class`] | whoever must be treated fairly; its weight; what kind of work it asks for |
//! | [`pool::Ask`], [`pool::Cost`], [`pool::Ticket`] | what is asked for; expected work as slot time; a number in line |
//! | [`pool::Place`], [`pool::Standing`] | somebody's place in line, which is left when it is dropped; which position that is, and for how long |
//! | [`pool::Ledger`], [`pool::Allocator`], [`pool::Lease`] | who holds what, purely; its async front; the exclusive right to one slot |
//! | [`pool::LeaseScope`], [`pool::Retirement`] | how long a lease is kept; why a slot leaves service |
//! | [`gpu::DeviceProbe`], [`gpu::DeviceMemory`], [`gpu::Footprint`] | reads a device; its total and free memory; what weights and one slot need |
//! | [`gpu::Meter`], [`gpu::CudaBuild`] | what this process has taken of a device; which drivers and GPUs a build fits |
//! | [`gpu::DeviceSelector`], [`gpu::Gpu`] | which device is asked for; a GPU or a MIG instance that was found |
//! | [`gpu::MemoryBudget`], [`gpu::Sizing`], [`gpu::Binding`] | the sum that yields a number of slots; its result; which term binds |
//! | [`gpu::KneeSearch`], [`gpu::Elasticity`] | finds past how many slots more bring nothing; when to give a slot back, and when to take one |
//! | [`asr::Engine`], [`asr::Recognizer`], [`asr::Supervisor`] | opens, runs and closes slots; one blocking decoder; keeps the slots open |
//! | [`asr::Site`], [`pool::Bank`] | a device with the engine and the weights on it; the slots of one device, as the pool knows them |
//! | [`asr::Capacity`], [`asr::Knee`] | what carries the pool, which term binds, and alerts; from where the knee is known |
//! | [`asr::Lane`], [`asr::Job`] | a session's way to a slot; one decode on its way, with its lease |
//! | [`asr::Hypothesis`], [`asr::Segment`], [`asr::Transcript`] | the reading of an utterance; timed text; a reading and what it took |
//! | [`asr::Stability`], [`asr::Stabilizer`] | may a text still change; lets through only what two readings agree on |
//! | [`asr::Seam`], [`asr::Repeat`] | where long speech is cut between two words, so that it can be read window by window; the word that is read twice there |
//! | [`asr::Doubt`], [`asr::Withheld`] | why a text is not told; the text that is not |
//! | [`llm::ChatModel`], [`llm::Delta`] | who replies; one increment of a reply |
//! | [`llm::Client`], [`llm::Endpoint`], [`llm::Echo`] | the client that all sessions share; where models are; the persona where there are none |
//! | [`session::Patience`], [`session::Closing`] | how much silence ends what was said; what its text ends like |
//! | `Dialogue`, [`session::Epoch`], `Playout` | whose turn it is, purely; counts replies and interruptions; when sound is sent, and what was heard of it |
//! | [`session::History`], [`session::Item`], [`session::Script`] | what was said and written; one thing in it; what an assistant says, and how much of it belongs to so much sound |
//! | [`session::Assistant`], [`session::TalkSettings`], [`session::ReplyEvent`] | who replies, the same for everybody; how a session replies; what becomes of a reply |
//! | [`session::Recording`], [`session::Part`] | a file being transcribed; the text of one stretch of it |
//! | [`tts::Phrase`], [`tts::Voice`], [`tts::Synthesizer`] | a speakable unit; a session's speaker; a blocking engine that says one in the other |
//! | [`tts::Studio`], [`tts::Narrator`] | what speaks for everybody; one session's way to it, which takes turns with the others |
//! | [`load::Clip`], [`load::Turns`], [`load::Diary`] | a labelled recording; when a virtual person says which; the book of what it said and what came back |
//! | [`load::Protocol`], [`load::Speaker`], [`load::Listener`] | a way to talk to servers of one kind; the halves of a connection |
//! | [`load::Dictation`], [`load::IdleReport`] | one person's own connection, as `listen` has it; what silent sessions cost |
//! | [`load::LoadReport`], [`load::Curve`], [`load::SoakReport`] | what a load showed; latency over the number of people, and the knee; what a long load left behind |
//! | [`load::Plan`], [`load::Service`], [`load::Scenario`] | how many people fit; how long utterances and their decodes are, as measured; an hour played in virtual time |
//!
//! # How a sample travels
//!
//! ```text
//!  client ──► ws reader ──► frontend ──────► session ──► allocator ──► engine (slot)
//!                           resample, VAD,                Lease          Whisper
//!                           endpointing                                   │
//!  client ◄── ws writer ◄─────────────────── session ◄────────────── Hypothesis
//! ```
//!
//! 1. The reader checks limits and passes bytes on. A session has one piece of audio in the frontend at a time: while
//!    it is there the reader waits, and TCP pushes back. Audio is never thinned silently.
//! 2. A frontend thread resamples to 16 kHz mono and cuts 512-sample [`audio::Frame`]s. The detector's *state* belongs
//!    to the session, its *weights* to the thread; frames of many sessions share one run, for which the thread gathers
//!    them where there are many. Silence without any sound, and most of the silence of a quiet room, needs no detector.
//! 3. [`vad::Gate`] applies two thresholds and a hangover; [`vad::Endpointer`] adds pre-roll, drops clicks and bounds
//!    the length of an [`audio::Utterance`].
//! 4. An [`asr::Lane`] takes a [`pool::Lease`] and submits an [`asr::Job`] with the lease in it; the lease comes back
//!    with the answer. Whoever gives up meanwhile cancels the decode, and the slot is free when the decoder has stopped.
//! 5. A guard looks at each [`asr::Hypothesis`] beside its sound: what nobody said is [withheld](asr::Withheld). The rest
//!    goes to the client as the transcript of its item, or as a part of its file.
//!
//! Live speech is read before it is over. While somebody speaks, the session's *interpreter* asks for interim readings,
//! which a newer one replaces and a final one passes; what two of them agree on is told, and never taken back. In the
//! first short pause it begins the final reading, so that the text is there when the pause has lasted long enough to be
//! the end; how long that is depends on what was said ([`session::Patience`]). When speech goes on instead, that
//! reading is thrown away. Speech that is longer than the recognizer's window is cut at [`asr::Seam`]s; what lies before
//! one is settled. Under load interims get rarer, then stop, and the client is told.
//!
//! A file takes the same way, as [`session::Recording`]: cut at silences, decoded on as many slots as are free, told in
//! order, in bounded memory.
//!
//! # How a reply travels
//!
//! ```text
//!  Hypothesis ──► Dialogue ──► llm::Client ──► Phraser ──► Narrator ──► Playout ──► ws writer
//!                    ▲          one for all      words       PCM          │
//!                    └──────── speech, cancel, truncate ◄─────────────────┘ what was heard
//! ```
//!
//! `Dialogue` begins a reply when a turn has words, or when a client wants one, and stops it when somebody speaks. The reply
//! is a task of its own: the language model is read as fast as it writes, phrases are cut (a short first one), and the
//! session's [`tts::Narrator`] says at most two more than were sent. `Playout` sends sound 200 ms before it is played, and
//! knows what was heard. An interruption drops the task, and with it the request upstream and the work of the voice; the
//! [`session::History`] keeps what was heard. All that a session tells comes from its driver, in one order: after
//! `speech_started` there is no sound of the reply that gave way to it. While a reply is heard, speech is held back until it
//! is too long and too loud for an echo, or has words that are not the reply's own.
//!
//! # The pool
//!
//! [`pool::Ledger`] is pure: who holds which slot, and who is next. Each [`pool::Class`] is served by start-time fair
//! queueing over flows with weights; finals (somebody waits for them) go first, and batch work (parts of files) has a
//! guaranteed share; between them stand finals that may turn out useless, and interims, of which a flow has one in line.
//! [`load::Scenario`] shows what that is worth. [`pool::Allocator`] is one mutex around the ledger and those who wait, never held across an `await`: decide under the lock, deliver after it.
//! A lease is for one utterance: a Whisper state carries nothing from one to the next, so any slot serves any session,
//! and a hundred connected people need about as many slots as speak at once. A session may keep one instead
//! ([`pool::LeaseScope::Session`]); it is given back when nobody has spoken for a while.
//!
//! Limits apply at the door ([`pool::Allocator::admit`]); who is inside is served to the end, and everybody in line is
//! told its [`pool::Standing`]: at once, and then at most twice a second. The estimate is a schedule of what is running
//! and what is ahead, by costs that lanes learn from decodes.
//!
//! Every decode is watched by a task of its own ([`asr::JobLimits`]): past its deadline it is told to stop, and a
//! decoder that does not stop loses its slot, which is retired by [`pool::SlotId`] and [`pool::Generation`], because the
//! lease is stuck with it; the late return gives nothing back. The [`asr::Supervisor`] rebuilds slots that were lost,
//! tries those that nobody uses, and follows the memory. A job that failed is tried once more on another slot.
//!
//! [`asr::Engine`] is the seam that keeps the future open: today each slot is a thread with a whisper.cpp state over
//! one shared context. Nothing outside `asr` can tell.
//!
//! # How many people fit
//!
//! [`load::run`] lets virtual people talk to a server, ours or another: each has a connection, a microphone that is always
//! on, a schedule that does not wait for the server, and a [`load::Diary`], which says afterwards what was late, lost or
//! somebody else's. [`load::find_knee`] raises their number, [`load::soak`] adds clients that misbehave, and
//! [`load::plan`] answers without a server, by playing the same people through the real ledger with service times that were measured.
//!
//! # Threads
//!
//! | thread | how many | does | never does |
//! |---|---|---|---|
//! | tokio workers | 2 to 4 | sockets, timers, the allocator's lock | anything over some 500 µs |
//! | `frontend-N` | 1 or 2 | decode, resample, VAD | wait for a slot |
//! | `asr-slot-N` | one for each slot | owns one Whisper state; one job at a time | touch a socket |
//! | `tts-N` | 1 or 2, or one for each narrator | owns one synthesizer; says one phrase at a time | wait for whoever does not read |
//! | `tts-N` | 1, or as many as are wanted | owns one synthesizer, which all sessions share phrase by phrase | – |
//! | `gpu-probe` | 1 per device | reads the device's memory, again and again | keep anybody waiting |
//!
//! On a CPU, slots × threads per slot ≤ cores, unless the user wants it otherwise.
//!
//! # Errors
//!
//! One `thiserror` enum per module, `anyhow` in `cli` only. Every variant has a stable `code()` in snake case: the same
//! string on the wire, in log fields and in metrics. In a live session an error is an event, not a hang-up.
//! Commands exit 0, 1 (failed), 2 (usage), 69 (a device, model or library is missing or does not fit) or 78
//! (configuration), with one line and a hint.
//!
//! # Start and stop
//!
//! Start: parse → resolve settings → telemetry → bind (so that an address in use is told at once) → voices → language model
//! (warming up meanwhile) → VAD → weights →
//! open the first slot and size the pool → accept, while the others open. Stop: `/readyz` says no → no new flows → sessions are told and commit what is being said → what
//! was admitted is served, within the grace period → slots close, threads join. A second signal exits at once.
//!
//! A call to a GPU that fails is the end of the process: ggml aborts, and nothing can be caught. So the plan for it is to go
//! down well and to be back soon. Before ggml aborts it tells [`asr::on_fatal`], and the thread that failed is held up for
//! half a second at most: sessions hear `pool.session.closing` with the reason `crashed` and when to come back, and are
//! closed with 1012, requests get 503, and the log gets a line. Nothing that a session knew outlives the process. Whatever
//! started the server starts it again; where that holds the listening socket and hands it over (as a systemd socket unit
//! does), nobody is refused meanwhile. `scripts/restart_time.py` tries all that, by `--debug-abort-after`, and measures it.

pub mod audio;
pub mod gpu;
mod onnx;
pub mod pool;
pub mod vad;

pub mod asr;
pub mod llm;
pub mod tts;

pub mod session;

pub mod load;
pub mod server;
pub mod store;

pub mod cli;
pub mod config;
pub mod telemetry;
