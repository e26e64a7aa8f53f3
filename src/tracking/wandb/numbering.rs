//! Which line of a stream a row is: rows are numbered by the record, and lines
//! are never numbered again.

use std::collections::BTreeMap;

/// Brings what comes with its number into order. A record groups the rows of a
/// moment by their names.
#[derive(Debug)]
pub(super) struct InOrder<T> {
    next: u64,
    early: BTreeMap<u64, T>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self::from(0)
    }
}

impl<T> InOrder<T> {
    /// Waits for number `next`.
    pub(super) fn from(next: u64) -> Self {
        InOrder {
            next,
            early: BTreeMap::new(),
        }
    }

    /// Takes one.
    pub(super) fn push(&mut self, number: u64, item: T) {
        self.early.insert(number, item);
    }

    /// The next one, once it came.
    pub(super) fn pop(&mut self) -> Option<(u64, T)> {
        let item = self.early.remove(&self.next)?;
        self.next += 1;
        Some((self.next - 1, item))
    }

    /// The next one of those that came, whatever is missing before it.
    pub(super) fn pop_any(&mut self) -> Option<(u64, T)> {
        let (number, item) = self.early.pop_first()?;
        self.next = number + 1;
        Some((number, item))
    }

    /// Number that is waited for.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Waits for `number` again; later ones that came are void.
    pub(super) fn rewind(&mut self, number: u64) {
        self.next = number;
        self.early.clear();
    }
}

/// Lines of the rows of a stage, and their steps.
#[derive(Debug)]
pub(super) struct RowNumbers {
    /// Row that is line 0, once it is known.
    origin: Option<u64>,
    /// Rows that are too long to be lines.
    left_out: Vec<u64>,
    /// Lines whose step is not one more than that of the line before.
    jumps: Vec<(u64, i64)>,
    first_step: i64,
    lines: u64,
}

impl RowNumbers {
    /// Of a run whose first step is `first_step`.
    pub(super) fn new(first_step: i64) -> RowNumbers {
        RowNumbers {
            origin: None,
            left_out: Vec::new(),
            jumps: Vec::new(),
            first_step,
            lines: 0,
        }
    }

    /// Number of lines.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// The first row of all is `row`, unless one was named before.
    pub(super) fn begin(&mut self, row: u64) {
        self.origin.get_or_insert(row);
    }

    /// Rows from `row` on are void.
    pub(super) fn rewind(&mut self, row: u64) {
        let origin = *self.origin.get_or_insert(row);
        if row < origin {
            self.origin = Some(row);
        }
        self.left_out.retain(|&left_out| left_out < row);
        let rows = row.saturating_sub(origin);
        self.lines = self
            .lines
            .min(rows - (self.left_out.len() as u64).min(rows));
        self.jumps.retain(|&(line, _)| line < self.lines);
    }

    /// Step of the next row: the given one if it is larger than the last, else
    /// the last plus one.
    pub(super) fn step(&self, given: Option<i64>) -> i64 {
        let next = self.next_step();
        given.map_or(next, |given| given.max(next))
    }

    /// The next row has become a line; its number.
    pub(super) fn line(&mut self, step: i64) -> u64 {
        if step != self.next_step() {
            self.jumps.push((self.lines, step));
        }
        self.lines += 1;
        self.lines - 1
    }

    /// The row has become no line.
    pub(super) fn leave_out(&mut self, row: u64) {
        self.left_out.push(row);
    }

    fn next_step(&self) -> i64 {
        match self.jumps.last() {
            Some(&(line, step)) => step + (self.lines - line) as i64,
            None => self.first_step + self.lines as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_order() {
        let mut rows = InOrder::default();
        rows.push(1, 'b');
        assert_eq!(rows.pop(), None);
        rows.push(0, 'a');
        assert_eq!(
            (rows.pop(), rows.pop(), rows.pop()),
            (Some((0, 'a')), Some((1, 'b')), None)
        );
        rows.push(5, 'f');
        assert_eq!(rows.pop_any(), Some((5, 'f')));
        rows.rewind(1);
        rows.push(1, 'B');
        assert_eq!(rows.pop(), Some((1, 'B')));
    }

    #[test]
    fn steps_grow_and_are_the_same_after_going_back() {
        let mut numbers = RowNumbers::new(0);
        numbers.begin(0);
        let log = |numbers: &mut RowNumbers, given| {
            let step = numbers.step(given);
            (numbers.line(step), step)
        };
        let given = [None, Some(5), Some(3), None, Some(20)];
        let first: Vec<_> = given.map(|given| log(&mut numbers, given)).to_vec();
        assert_eq!(first, [(0, 0), (1, 5), (2, 6), (3, 7), (4, 20)]);
        numbers.rewind(2);
        assert_eq!(log(&mut numbers, None), (2, 6));
    }

    #[test]
    fn rows_left_out_are_no_lines() {
        let mut numbers = RowNumbers::new(7);
        numbers.begin(10);
        assert_eq!(numbers.line(numbers.step(None)), 0);
        numbers.leave_out(11);
        assert_eq!(numbers.line(numbers.step(None)), 1);
        assert_eq!(numbers.line(numbers.step(None)), 2);
        numbers.rewind(13);
        assert_eq!(numbers.lines(), 2);
        numbers.rewind(11);
        assert_eq!(numbers.lines(), 1);
        numbers.rewind(3);
        assert_eq!((numbers.lines(), numbers.step(None)), (0, 7));
    }
}
