//! `novic gc`: remove outputs that are not needed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::json;

use super::print::print;
use super::{CliError, Exit};
use crate::reports::experiment::{GALLERY_FILE, RECORDS_FILE};
use crate::runner::{GcItem, GcPlan, GcPolicy, GcReason, bytes_text, time_text};
use crate::stages;
use crate::store::{Manifest, Project};

/// Remove outputs that are not needed
///
/// Always: what no listed run used (`novic rm` takes runs off the list). With
/// --older-than also what no run used for so long, with --max so much of the
/// rest, longest unused first, that the store fits. What a running run uses
/// stays. An output goes as a whole or not at all; a later run makes it again.
///
///   novic gc --dry-run
///   novic gc --older-than 30d --keep-tables
///   novic gc --max 20G
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct GcArgs {
    /// Also what was not used for so long, such as 12h, 30d, 2w
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    older_than: Option<Duration>,
    /// Keep no more than this, such as 500M or 20G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max: Option<u64>,
    /// Keep what tables and pages are made of, whatever its age and size
    #[arg(long)]
    keep_tables: bool,
    /// Only show what would go
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Removes outputs.
pub fn cmd_gc(args: &GcArgs) -> Result<Exit, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let project = Project::find(None).map_err(|error| failed(&error))?;
    let policy = GcPolicy {
        older_than: args.older_than,
        max_bytes: args.max,
    };
    let keep = |manifest: &Manifest| args.keep_tables && is_result(manifest);
    let plan = GcPlan::of(&project, policy, &keep, &stages::holds_inputs)
        .map_err(|error| failed(&error))?;
    let busy = if args.dry_run {
        Vec::new()
    } else {
        plan.execute(&project).map_err(|error| failed(&error))?
    };
    if args.json {
        let victims: Vec<&GcItem> = plan.victims().collect();
        let value = json!({
            "dry_run": args.dry_run,
            "removed": victims,
            "bytes": victims.iter().map(|item| item.bytes).sum::<u64>(),
            "in_use": busy,
            "leftovers": plan.leftovers,
        });
        return print(&format!("{value:#}\n"));
    }
    let mut text = text(&plan, args.dry_run);
    for id in busy {
        text.push_str(&format!("{id} is in use and stays\n"));
    }
    print(&text)
}

/// Whether tables or pages are made of an output.
fn is_result(manifest: &Manifest) -> bool {
    let named = |name: &str| manifest.files.iter().any(|file| file.path == name);
    named(RECORDS_FILE) || named(GALLERY_FILE)
}

fn text(plan: &GcPlan, dry_run: bool) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let mut text = String::new();
    for item in plan.victims() {
        let unused = Duration::from_millis(now.saturating_sub(item.used_ms));
        let reason = match item.reason {
            Some(GcReason::Unreachable) => "no run uses it".to_owned(),
            _ => format!("unused for {}", time_text(unused)),
        };
        let what = match (item.unfinished, item.experiment.as_str()) {
            (true, "") => "unfinished work".to_owned(),
            (true, experiment) => format!("unfinished work on {} of {experiment}", item.stage),
            (false, experiment) => format!("{} of {experiment}", item.stage),
        };
        let id = item.id.to_string();
        let short = id.get(..id.len().saturating_sub(24)).unwrap_or(&id);
        text.push_str(&format!(
            "{:>9}  {short}  {what}, {reason}\n",
            bytes_text(item.bytes)
        ));
    }
    let sum = |going: bool| -> u64 {
        let items = plan.items.iter();
        items
            .filter(|item| item.reason.is_some() == going)
            .map(|item| item.bytes)
            .sum()
    };
    let verb = if dry_run { "would remove" } else { "removed" };
    text.push_str(&format!(
        "{verb} {} of {} outputs, {}; {} stay\n",
        plan.victims().count(),
        plan.items.len(),
        bytes_text(sum(true)),
        bytes_text(sum(false)),
    ));
    text
}

/// `12h`, `30d`, `2w`.
fn parse_age(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let seconds = match unit {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return Err("write a number with s, min, h, d or w, such as 30d".to_owned()),
    };
    let wrong = |_| "write a number with s, min, h, d or w, such as 30d".to_owned();
    let number: f64 = number.parse().map_err(wrong)?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

/// `500M`, `20G`; bytes without a unit.
fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let wrong = || "write a number with k, M, G or T, such as 20G".to_owned();
    let factor = match unit.trim_end_matches(['b', 'B']).to_lowercase().as_str() {
        "" => 1.0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "t" => 1e12,
        _ => return Err(wrong()),
    };
    match number.parse::<f64>() {
        Ok(number) if number >= 0.0 && number * factor < u64::MAX as f64 => {
            Ok((number * factor) as u64)
        }
        _ => Err(wrong()),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    (text[..end].trim(), &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_read() {
        assert_eq!(parse_age("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_age("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_age("2w"), Ok(Duration::from_secs(1_209_600)));
        assert_eq!(parse_size("20G"), Ok(20_000_000_000));
        assert_eq!(parse_size("1.5 kB"), Ok(1500));
        assert_eq!(parse_size("17"), Ok(17));
        for bad in ["", "d", "3", "3 years", "-1d"] {
            assert!(parse_age(bad).is_err(), "{bad}");
        }
        for bad in ["", "G", "-1", "3X"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
