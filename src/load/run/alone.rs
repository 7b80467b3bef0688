//! Somebody who says recordings again when everybody else has gone.

use crate::load::board::Board;
use crate::load::clips::Clip;
use crate::load::diary::PersonOutcome;
use crate::load::leaks::leaks_among;
use crate::load::mishearing::{self, Isolation};
use crate::load::person::{Manners, Person};
use crate::load::protocol::Protocol;
use crate::load::turns::Turn;
use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) struct Alone {
    protocol: Arc<dyn Protocol>,
    /// Its own: how the load went is not to be changed any more.
    board: Arc<Board>,
    patience: Duration,
    stop: CancellationToken,
}

impl Alone {
    pub(super) fn new(protocol: Arc<dyn Protocol>, patience: Duration, stop: &CancellationToken) -> Self {
        Self { protocol, board: Arc::new(Board::new()), patience, stop: stop.clone() }
    }

    /// How it goes.
    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    /// Which words leaked, and which the recognizer reads when nobody else is there, too. What there was no time to try
    /// counts as leaked.
    pub(super) async fn judge(&self, people: &[PersonOutcome]) -> Isolation {
        let found = leaks_among(people);
        let mut again = BTreeMap::new();
        for clip in mishearing::suspects(&found, people) {
            let file = clip.file.clone();
            tokio::select! {
                texts = self.say(clip) => drop(again.insert(file, texts)),
                () = self.stop.cancelled() => break,
            }
        }
        mishearing::judge(found, people, &again)
    }

    /// The final texts of one recording; none where nobody answers.
    async fn say(&self, clip: Arc<Clip>) -> Vec<String> {
        let Ok(connection) = self.protocol.connect(0).await else { return Vec::new() };
        let outcome = self.person(clip).talk(connection).await;
        outcome.finals.into_iter().map(|heard| heard.told.text).collect()
    }

    /// Somebody who says it once.
    fn person(&self, clip: Arc<Clip>) -> Person {
        let now = Instant::now();
        let turn = Turn { pause: Duration::from_secs(1), clip: 0, interrupts: None };
        let manners = Manners {
            // It is under way then, and over before another one could begin.
            until: now + turn.pause * 3 / 2,
            steady_from: now,
            patience: self.patience,
            waits_for_text: true,
            converses: false,
            tells_positions: self.protocol.tells_positions(),
            stop: self.stop.clone(),
        };
        let topics = Box::new(iter::repeat(turn));
        Person { clips: vec![clip], topics, manners: Arc::new(manners), board: Arc::clone(&self.board) }
    }
}
