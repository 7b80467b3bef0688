//! Function calls in pieces → [`Delta::Call`] and [`Delta::Arguments`]. Pure.
//!
//! By the book a call has an index, its first piece has id and name, and the others have arguments. Some endpoints send
//! whole calls in one piece, or leave out the index or the id, or give all calls the index 0, or repeat the name.

use super::super::Delta;
use super::Fault;
use super::chunk::CallPart;
use std::collections::VecDeque;
use uuid::Uuid;

/// More calls than this in one reply are no reply.
const MOST: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Calls {
    all: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    /// As the endpoint counts.
    index: Option<u32>,
    /// As the endpoint calls it.
    id: Option<String>,
    /// Known once [`Delta::Call`] was told.
    is_named: bool,
    /// Arguments that came before the name.
    held: String,
    /// Whether any came that are more than space.
    has_arguments: bool,
}

impl Calls {
    /// Whether there are any.
    pub(super) fn any(&self) -> bool {
        !self.all.is_empty()
    }

    /// Reads a piece.
    pub(super) fn push(&mut self, part: CallPart, ready: &mut VecDeque<Delta>) -> Result<(), Fault> {
        let CallPart { index, id, function } = part;
        let mut function = function.unwrap_or_default();
        let id = id.filter(|id| !id.is_empty());
        let name = function.name.take().filter(|name| !name.is_empty());
        let at = match self.find(index, id.as_deref(), name.is_some()) {
            Some(at) => at,
            None => self.begin(index, id.clone())?,
        };
        let call = &mut self.all[at];
        call.id = call.id.take().or(id);
        let index = at as u32;
        if let Some(name) = name.filter(|_| !call.is_named) {
            call.is_named = true;
            let id = call.id.get_or_insert_with(|| format!("call_{}", Uuid::new_v4().simple())).clone();
            ready.push_back(Delta::Call { index, id, name });
        }
        let arguments = function.arguments();
        call.has_arguments |= !arguments.trim().is_empty();
        call.held.push_str(&arguments);
        if call.is_named && !call.held.is_empty() {
            ready.push_back(Delta::Arguments { index, piece: std::mem::take(&mut call.held) });
        }
        Ok(())
    }

    /// The reply is over. A call that nobody knows the function of is none.
    pub(super) fn end(&self) -> Result<(), Fault> {
        if self.all.iter().all(|call| call.is_named) {
            return Ok(());
        }
        Err(Fault::Garbage("a function call has no name".into()))
    }

    /// Gives whole calls that need no arguments an empty object of them: whoever reads arguments reads them as JSON.
    pub(super) fn complete(&mut self, ready: &mut VecDeque<Delta>) {
        for (index, call) in self.all.iter_mut().enumerate().filter(|(_, call)| !call.has_arguments) {
            call.has_arguments = true;
            ready.push_back(Delta::Arguments { index: index as u32, piece: "{}".into() });
        }
    }

    /// Which call a piece belongs to, if it is no new one.
    fn find(&self, index: Option<u32>, id: Option<&str>, is_named: bool) -> Option<usize> {
        let same = |call: &Call| match (index, id) {
            (Some(index), Some(id)) => {
                call.index == Some(index) && call.id.as_deref().is_none_or(|known| known == id)
            }
            (Some(index), None) => call.index == Some(index),
            (None, Some(id)) => call.id.as_deref() == Some(id),
            // The one that is being written, unless this is the beginning of another.
            (None, None) => !(is_named && call.is_named),
        };
        match (index, id) {
            (None, None) => self.all.len().checked_sub(1).filter(|last| same(&self.all[*last])),
            _ => self.all.iter().rposition(same),
        }
    }

    fn begin(&mut self, index: Option<u32>, id: Option<String>) -> Result<usize, Fault> {
        if self.all.len() >= MOST {
            return Err(Fault::Garbage(format!("more than {MOST} function calls")));
        }
        self.all.push(Call { index, id, is_named: false, held: String::new(), has_arguments: false });
        Ok(self.all.len() - 1)
    }
}
