//! Ages such as `1d12h` and time stamps such as `D20240131` that limit the runs
//! of a table (`reports.md` section 7).

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use thiserror::Error;

/// A limit that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TimeFilterError {
    /// No age.
    #[error(
        "`{0}` is no age; write it as years, weeks, days, hours, minutes and seconds in this order, such as 1d12h"
    )]
    Age(String),
    /// No time stamp.
    #[error(
        "`{0}` is no time; write D20240131, D20240131_185907, 2024-01-31 or 2024-01-31T18:59:07"
    )]
    Stamp(String),
}

/// The time so long before `now`, in the same time zone; `None` for an empty
/// text.
///
/// # Errors
/// The text is no age, or the time is before all calendars.
pub fn before(now: &Zoned, age: &str) -> Result<Option<Zoned>, TimeFilterError> {
    if age.is_empty() {
        return Ok(None);
    }
    let wrong = || TimeFilterError::Age(age.to_owned());
    let seconds = seconds_of(age).ok_or_else(wrong)?;
    let start = now.timestamp().as_second().checked_sub(seconds);
    let start = Timestamp::from_second(start.ok_or_else(wrong)?).map_err(|_| wrong())?;
    Ok(Some(start.to_zoned(now.time_zone().clone())))
}

fn seconds_of(age: &str) -> Option<i64> {
    const UNITS: [(char, i64); 6] = [
        ('y', 365 * 86_400),
        ('w', 7 * 86_400),
        ('d', 86_400),
        ('h', 3600),
        ('m', 60),
        ('s', 1),
    ];
    let mut units = UNITS.iter();
    let mut seconds = 0_i64;
    let mut rest = age;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        let (_, size) = units.find(|(name, _)| *name == unit.to_ascii_lowercase())?;
        seconds = seconds.checked_add(count.checked_mul(*size)?)?;
        rest = &rest[end + unit.len_utf8()..];
    }
    Some(seconds)
}

/// The time of a stamp, in a time zone unless it names its own; `None` for an
/// empty text.
///
/// # Errors
/// The text is no time stamp.
pub fn stamp(text: &str, zone: &TimeZone) -> Result<Option<Zoned>, TimeFilterError> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || TimeFilterError::Stamp(text.to_owned());
    if let Some(digits) = text.strip_prefix(['D', 'd']) {
        let time = original_stamp(digits).ok_or_else(wrong)?;
        let zoned = zone.to_zoned(time).map_err(|_| wrong())?;
        return Ok(Some(zoned));
    }
    if !text.contains('-') {
        return Err(wrong());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Some(time.to_zoned(zone.clone())));
    }
    let time: DateTime = text.parse().map_err(|_| wrong())?;
    zone.to_zoned(time).map(Some).map_err(|_| wrong())
}

/// `YYYYMMDD` or `YYYYMMDD_HHMMSS`.
fn original_stamp(digits: &str) -> Option<DateTime> {
    let (date, time) = match digits.split_once('_') {
        Some((date, time)) => (date, time),
        None => (digits, "000000"),
    };
    let is_digits = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_digits(date, 8) || !is_digits(time, 6) {
        return None;
    }
    let date = Date::new(
        date[..4].parse().ok()?,
        date[4..6].parse().ok()?,
        date[6..].parse().ok()?,
    );
    let time = jiff::civil::Time::new(
        time[..2].parse().ok()?,
        time[2..4].parse().ok()?,
        time[4..].parse().ok()?,
        0,
    );
    Some(DateTime::from_parts(date.ok()?, time.ok()?))
}

/// The form in which W&B is asked: `2024-07-03T15:04:59+00:00`.
pub fn iso(time: &Zoned) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_dates_are_stamps_too() {
        let at = |text| stamp(text, &TimeZone::UTC).map(|time| time.map(|time| iso(&time)));
        let expected = Ok(Some("2024-01-31T00:00:00+00:00".to_owned()));
        assert_eq!(at("2024-01-31"), expected);
        assert_eq!(at("2024-01-31T01:00:00+01:00"), expected);
        assert!(at("2024-02-30").is_err());
        assert!(at("yesterday").is_err());
    }

    #[test]
    fn ages_beyond_all_calendars_are_errors() {
        let now = Timestamp::from_second(0).unwrap().to_zoned(TimeZone::UTC);
        assert!(before(&now, "99999999999999y").is_err());
        assert!(before(&now, "99999y").is_err());
        assert!(before(&now, "1d1d").is_err());
    }
}
