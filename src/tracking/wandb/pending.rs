//! Lines that wait to be sent, and the requests made of them. Lines stay here
//! until the service has them, so that the same request can be sent again.

use std::collections::VecDeque;

use prost::bytes::Bytes;
use serde_json::{Map, Value};

use super::encodings;
use super::source::{REQUEST_FRAME, Sink};
use super::state::Counts;

/// Lines of one stream, encoded as they stand in a request.
#[derive(Debug, Default)]
struct Stream {
    /// Number of the first line that waits, and of the first that is wanted.
    first: u64,
    lines: VecDeque<String>,
}

impl Stream {
    fn push(&mut self, line: u64, text: &str, bytes: &mut usize) {
        if line < self.first + self.lines.len() as u64 {
            // The service has it.
            return;
        }
        if self.lines.is_empty() {
            self.first = line;
        }
        let text = Value::from(text).to_string();
        *bytes += text.len() + 1;
        self.lines.push_back(text);
    }

    /// Lines from `line` on are void.
    fn rewind(&mut self, line: u64, bytes: &mut usize) {
        let keep = line.saturating_sub(self.first) as usize;
        while self.lines.len() > keep {
            if let Some(text) = self.lines.pop_back() {
                *bytes -= text.len() + 1;
            }
        }
        self.first = self.first.min(line);
    }

    fn drop_first(&mut self, count: u64, bytes: &mut usize) {
        for _ in 0..count {
            if let Some(text) = self.lines.pop_front() {
                *bytes -= text.len() + 1;
                self.first += 1;
            }
        }
    }
}

/// Lines of all streams.
#[derive(Debug)]
pub(super) struct Pending {
    history: Stream,
    events: Stream,
    log: Stream,
    bytes: usize,
    /// Most bytes of a request.
    limit: usize,
}

/// A request that is ready.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    /// Its body.
    pub(super) body: Bytes,
    /// How many lines of each stream it holds.
    pub(super) lines: Counts,
    /// Whether it holds the summary.
    pub(super) summary: bool,
    /// Bytes of its lines and summary.
    pub(super) content: usize,
}

impl Pending {
    /// Nothing; lines before `acknowledged` are not wanted.
    pub(super) fn new(acknowledged: Counts, limit: usize) -> Pending {
        let from = |first| Stream {
            first,
            lines: VecDeque::new(),
        };
        Pending {
            history: from(acknowledged.history),
            events: from(acknowledged.events),
            log: from(acknowledged.log),
            bytes: 0,
            limit,
        }
    }

    /// Whether no lines wait.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Lines that wait.
    #[cfg(test)]
    fn len(&self) -> u64 {
        let streams = [&self.history, &self.events, &self.log];
        streams.map(|stream| stream.lines.len() as u64).iter().sum()
    }

    /// From now on, requests are at most half as long as one that was too
    /// long; whether they can be.
    pub(super) fn halve(&mut self, request: &Request) -> bool {
        let lines = request.lines.history + request.lines.events + request.lines.log;
        self.limit = REQUEST_FRAME + request.content / 2;
        lines > 1 || (lines == 1 && request.summary)
    }

    /// The next request: as many lines as fit, at least one if there are any,
    /// behind the lines that the service had `before`; and the summary if it
    /// fits too.
    pub(super) fn request(&self, before: Counts, summary: Option<&str>) -> Request {
        let mut room = self.limit.saturating_sub(REQUEST_FRAME);
        let mut content = 0;
        let mut body = String::with_capacity(self.bytes.min(self.limit) + REQUEST_FRAME);
        body.push_str("{\"files\":{");
        let mut all = Counts::default();
        let mut any = false;
        let streams = [
            (
                "wandb-history.jsonl",
                &self.history,
                before.history,
                &mut all.history,
            ),
            (
                "wandb-events.jsonl",
                &self.events,
                before.events,
                &mut all.events,
            ),
            ("output.log", &self.log, before.log, &mut all.log),
        ];
        for (name, stream, before, taken) in streams {
            for text in &stream.lines {
                if text.len() + 1 > room && any {
                    break;
                }
                if *taken > 0 {
                    body.push(',');
                } else {
                    let offset = before + stream.first;
                    let comma = if any { "," } else { "" };
                    body.push_str(&format!(
                        "{comma}\"{name}\":{{\"offset\":{offset},\"content\":["
                    ));
                }
                any = true;
                room = room.saturating_sub(text.len() + 1);
                content += text.len() + 1;
                body.push_str(text);
                *taken += 1;
            }
            if *taken > 0 {
                body.push_str("]}");
            }
            if *taken < stream.lines.len() as u64 {
                // The streams are full one after the other.
                room = 0;
            }
        }
        let text = summary.map(|text| Value::from(text).to_string());
        let text = text.filter(|text| text.len() <= room || !any);
        if let Some(text) = &text {
            let comma = if any { "," } else { "" };
            body.push_str(comma);
            content += text.len();
            body.push_str("\"wandb-summary.json\":{\"offset\":0,\"content\":[");
            body.push_str(text);
            body.push_str("]}");
        }
        let body = match any || text.is_some() {
            true => Bytes::from(body + "}}"),
            false => Bytes::from_static(b"{}"),
        };
        Request {
            body,
            lines: all,
            summary: text.is_some(),
            content,
        }
    }

    /// The service has the lines of a request.
    pub(super) fn acknowledge(&mut self, lines: Counts) {
        self.history.drop_first(lines.history, &mut self.bytes);
        self.events.drop_first(lines.events, &mut self.bytes);
        self.log.drop_first(lines.log, &mut self.bytes);
    }

    /// Numbers of the first lines that the service does not have.
    pub(super) fn acknowledged(&self) -> Counts {
        Counts {
            history: self.history.first,
            events: self.events.first,
            log: self.log.first,
        }
    }
}

impl Sink for Pending {
    fn is_full(&self) -> bool {
        self.bytes + REQUEST_FRAME >= self.limit
    }

    fn history(&mut self, line: u64, _: i64, row: Map<String, Value>, _: u64) {
        let text = Value::from(row).to_string();
        self.history.push(line, &text, &mut self.bytes);
    }

    fn sample(&mut self, line: u64, sample: Map<String, Value>, _: u64) {
        let text = Value::from(sample).to_string();
        self.events.push(line, &text, &mut self.bytes);
    }

    fn console(&mut self, line: u64, text: &str, is_error: bool, time_us: u64) {
        let text = encodings::console_line(time_us, is_error, text);
        self.log.push(line, &text, &mut self.bytes);
    }

    fn rewind(&mut self, line: u64) {
        self.history.rewind(line, &mut self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(value: u64) -> Map<String, Value> {
        json!({ "v": value })
            .as_object()
            .cloned()
            .unwrap_or_default()
    }

    fn content(request: &Request, stream: &str) -> (u64, Vec<String>) {
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let part = &body["files"][stream];
        let lines = part["content"].as_array().cloned().unwrap_or_default();
        let lines = lines
            .iter()
            .map(|line| line.as_str().unwrap_or("?").to_owned());
        (part["offset"].as_u64().unwrap_or(u64::MAX), lines.collect())
    }

    #[test]
    fn requests_are_filled_up_to_their_limit() {
        let mut pending = Pending::new(Counts::default(), REQUEST_FRAME + 100);
        for line in 0..10 {
            pending.history(line, 0, row(line), 0);
        }
        pending.sample(0, row(100), 0);
        pending.console(0, "text", false, 0);
        assert!(pending.is_full());
        let before = Counts {
            history: 5,
            ..Counts::default()
        };
        let mut seen = Vec::new();
        let mut offsets = Vec::new();
        while !pending.is_empty() {
            let request = pending.request(before, Some("{}"));
            assert!(request.body.len() <= REQUEST_FRAME + 100);
            let (offset, lines) = content(&request, "wandb-history.jsonl");
            offsets.push(offset);
            seen.extend(lines);
            pending.acknowledge(request.lines);
        }
        let expected: Vec<String> = (0..10).map(|v| format!("{{\"v\":{v}}}")).collect();
        assert_eq!(seen, expected);
        assert_eq!(offsets[0], 5);
        assert_eq!(pending.request(before, None).body, &b"{}"[..]);
        assert_eq!(pending.acknowledged().history, 10);
    }

    #[test]
    fn a_long_line_goes_alone_and_requests_are_halved() {
        let mut pending = Pending::new(Counts::default(), REQUEST_FRAME);
        pending.console(0, &"x".repeat(2000), false, 0);
        pending.console(1, "y", false, 0);
        let request = pending.request(Counts::default(), Some("{}"));
        assert_eq!((request.lines.log, request.summary), (1, false));
        assert!(!pending.halve(&request));
        let mut pending = Pending::new(Counts::default(), 1 << 20);
        (0..100).for_each(|line| pending.history(line, 0, row(line), 0));
        let request = pending.request(Counts::default(), None);
        assert!(pending.halve(&request));
        let half = pending.request(Counts::default(), None);
        let (half, whole) = (half.lines.history, request.lines.history);
        assert!(whole / 3 < half && half < whole, "{half} of {whole}");
    }

    #[test]
    fn what_the_service_has_does_not_wait_and_void_lines_come_again() {
        let had = Counts {
            history: 3,
            ..Counts::default()
        };
        let mut pending = Pending::new(had, 1 << 20);
        for line in 0..5 {
            pending.history(line, 0, row(line), 0);
        }
        assert_eq!(pending.len(), 2);
        pending.rewind(4);
        assert_eq!(pending.len(), 1);
        pending.rewind(1);
        assert!(pending.is_empty());
        pending.history(1, 0, row(11), 0);
        let request = pending.request(Counts::default(), None);
        assert_eq!(
            content(&request, "wandb-history.jsonl"),
            (1, vec!["{\"v\":11}".to_owned()])
        );
    }
}
