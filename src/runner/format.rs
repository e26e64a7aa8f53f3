//! How times, sizes and counts are written for people.

use std::time::Duration;

/// A span of time: `0.3s`, `12.3s`, `4m 03s`, `1h 02m`.
pub fn time_text(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1}s", time.as_secs_f64()),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// An estimated span of time, without false precision.
pub fn about(time: Duration) -> String {
    match time.as_secs() {
        0 => "under 1s".to_owned(),
        seconds @ 1..60 => format!("about {seconds}s"),
        seconds @ 60..3600 => format!("about {} min", seconds.div_ceil(60)),
        seconds => format!("about {:.1} h", seconds as f64 / 3600.0),
    }
}

/// A size: `512 B`, `1.5 kB`, `30 MB`, `2.1 GB`.
pub fn bytes_text(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if size < 999.5 {
            let digits = usize::from(unit != "B" && size < 9.95);
            return format!("{size:.digits$} {unit}");
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

/// A count with separated thousands: `12,345`.
pub(super) fn count_text(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate: `1,234/s`, `3.2/s`, `0.021/s`.
pub(super) fn rate_text(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => format!("{}/s", count_text(rate.round() as u64)),
        rate if rate >= 1.0 => format!("{rate:.1}/s"),
        rate => format!("{rate:.3}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let times: Vec<_> = [0.04, 12.34, 59.96, 243.0, 3720.0]
            .map(|s| time_text(Duration::from_secs_f64(s)))
            .into();
        assert_eq!(times, ["0.0s", "12.3s", "60.0s", "4m 03s", "1h 02m"]);
        let guesses: Vec<_> = [0.2, 42.0, 61.0, 5400.0]
            .map(|s| about(Duration::from_secs_f64(s)))
            .into();
        assert_eq!(
            guesses,
            ["under 1s", "about 42s", "about 2 min", "about 1.5 h"]
        );
        let sizes: Vec<_> = [5, 999, 1500, 29_800_000, 999_700_000, 2_100_000_000_000]
            .map(bytes_text)
            .into();
        assert_eq!(
            sizes,
            ["5 B", "999 B", "1.5 kB", "30 MB", "1.0 GB", "2.1 TB"]
        );
        let counts: Vec<_> = [7, 1000, 1_234_567].map(count_text).into();
        assert_eq!(counts, ["7", "1,000", "1,234,567"]);
        let rates: Vec<_> = [1234.4, 3.21, 0.0213].map(rate_text).into();
        assert_eq!(rates, ["1,234/s", "3.2/s", "0.021/s"]);
    }
}
