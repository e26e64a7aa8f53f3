//! How much work is in an annotation file, by what its journal tells.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::error::HumanError;
use super::history::Event;
use super::journal::Journal;

/// Time without a label that is no work any more.
const PAUSE: Duration = Duration::from_secs(5 * 60);

/// What a person has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Effort {
    /// Their name, if they gave one.
    pub annotator: Option<String>,
    /// Labels, changed and taken back ones included.
    pub labels: u64,
    /// Seconds between labels, pauses left out.
    pub seconds: u64,
}

/// What each person has done for an annotation file; nothing if it has no
/// journal.
///
/// # Errors
/// The journal cannot be read or is something else.
pub fn efforts(annotations: &Path) -> Result<Vec<Effort>, HumanError> {
    Ok(of_events(&Journal::read(annotations)?))
}

fn of_events(events: &[Event]) -> Vec<Effort> {
    let mut people: BTreeMap<Option<&str>, (u64, Duration, u64)> = BTreeMap::new();
    for event in events {
        let Event::Label { at, by, .. } = event else {
            continue;
        };
        let (labels, time, last) = people
            .entry(by.as_deref())
            .or_insert((0, Duration::ZERO, *at));
        let since = Duration::from_millis(at.saturating_sub(*last));
        if since <= PAUSE {
            *time += since;
        }
        *labels += 1;
        *last = *at;
    }
    people
        .into_iter()
        .map(|(annotator, (labels, time, _))| Effort {
            annotator: annotator.map(str::to_owned),
            labels,
            seconds: time.as_secs(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(seconds: u64, by: Option<&str>) -> Event {
        Event::Label {
            number: seconds,
            group: seconds,
            at: seconds * 1000,
            image: "a.png".to_owned(),
            noun: "fox".to_owned(),
            category: None,
            previous: None,
            by: by.map(str::to_owned),
        }
    }

    #[test]
    fn pauses_are_no_work_and_people_are_told_apart() {
        let events = [
            label(100, Some("anna")),
            label(103, Some("anna")),
            Event::Undo {
                number: 104,
                of: 103,
            },
            label(105, Some("ben")),
            label(110, Some("anna")),
            // The next day.
            label(90_000, Some("anna")),
            label(90_020, Some("anna")),
        ];
        let found = of_events(&events);
        let expected = [("anna", 5, 30), ("ben", 1, 0)];
        let expected = expected.map(|(name, labels, seconds)| Effort {
            annotator: Some(name.to_owned()),
            labels,
            seconds,
        });
        assert_eq!(found, expected);
    }
}
