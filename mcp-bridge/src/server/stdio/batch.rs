//! Gathers the answers to a batch of requests, which go back as one line.

use rmcp::model::RequestId;

/// The batches whose answers aren't all there.
#[derive(Debug, Default)]
pub(super) struct Batches(Vec<Batch>);

#[derive(Debug)]
struct Batch {
    waiting: Vec<RequestId>,
    answers: Vec<Vec<u8>>,
}

/// What became of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It belongs to no batch and is to be sent as it is.
    Alone(Vec<u8>),
    /// It waits for the others.
    Kept,
    /// It was the last: this is the whole batch.
    Complete(Vec<u8>),
}

impl Batches {
    /// Begins a batch with the answers that are there already. Gives the line to send if no other
    /// is awaited; a batch of notifications has none.
    pub(super) fn begin(
        &mut self,
        waiting: Vec<RequestId>,
        answers: Vec<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        let batch = Batch { waiting, answers };
        if batch.waiting.is_empty() {
            return batch.line();
        }
        self.0.push(batch);
        None
    }

    /// Takes the answer to a request.
    pub(super) fn take(&mut self, id: &RequestId, answer: Vec<u8>) -> Taken {
        let Some(at) = self.0.iter().position(|batch| batch.waiting.contains(id)) else {
            return Taken::Alone(answer);
        };
        if let Some(batch) = self.0.get_mut(at) {
            batch.answers.push(answer);
        }
        self.settle(at, id).map_or(Taken::Kept, Taken::Complete)
    }

    /// Awaits a request's answer no longer. Gives the line to send if it was the last.
    pub(super) fn withdraw(&mut self, id: &RequestId) -> Option<Vec<u8>> {
        let at = self.0.iter().position(|batch| batch.waiting.contains(id))?;
        self.settle(at, id)
    }

    fn settle(&mut self, at: usize, id: &RequestId) -> Option<Vec<u8>> {
        let batch = self.0.get_mut(at)?;
        let place = batch.waiting.iter().position(|waiting| waiting == id)?;
        batch.waiting.swap_remove(place);
        if batch.waiting.is_empty() { self.0.swap_remove(at).line() } else { None }
    }
}

impl Batch {
    fn line(self) -> Option<Vec<u8>> {
        if self.answers.is_empty() {
            return None;
        }
        let mut line = b"[".to_vec();
        line.extend(self.answers.join(&b','));
        line.push(b']');
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: i64) -> RequestId {
        RequestId::Number(number)
    }

    #[test]
    fn a_batch_is_answered_once_with_all_that_was_asked_and_not_withdrawn() {
        let mut batches = Batches::default();
        assert_eq!(batches.begin(vec![id(1), id(2), id(3)], vec![b"0".to_vec()]), None);
        assert_eq!(batches.take(&id(2), b"2".to_vec()), Taken::Kept);
        assert_eq!(batches.take(&id(9), b"9".to_vec()), Taken::Alone(b"9".to_vec()));
        assert_eq!(batches.withdraw(&id(3)), None);
        assert_eq!(batches.take(&id(1), b"1".to_vec()), Taken::Complete(b"[0,2,1]".to_vec()));
        assert_eq!(batches.take(&id(1), b"1".to_vec()), Taken::Alone(b"1".to_vec()));
    }

    #[test]
    fn a_batch_that_asks_for_nothing_gets_nothing() {
        let mut batches = Batches::default();
        assert_eq!(batches.begin(Vec::new(), Vec::new()), None);
        assert_eq!(batches.begin(vec![id(1)], Vec::new()), None);
        assert_eq!(batches.withdraw(&id(1)), None);
        assert_eq!(batches.withdraw(&id(1)), None);
    }
}
