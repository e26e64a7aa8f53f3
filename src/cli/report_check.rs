//! `novic report --check`: whether committed tables still match their runs.

use std::path::Path;

use serde_json::json;

use super::print::print;
use super::report::{Format, ReportArgs, rendering};
use super::{CliError, Exit};
use crate::reports::render::Document;

/// Compares the renderings with the files that --out would write. All files
/// that exist are compared; with --format, those formats must exist.
pub(super) fn check(units: &[Document], file: &Path, args: &ReportArgs) -> Result<Exit, CliError> {
    let beside = file.parent().unwrap_or(Path::new(""));
    let folder = args.out.as_deref().unwrap_or(beside);
    let mut differences = Vec::new();
    let mut compared = Vec::new();
    for unit in units {
        for format in Format::ALL {
            let path = folder.join(format!("{}.{}", unit.name, format.extension()));
            let asked_for = args.format.contains(&format) && args.format != [Format::Text];
            let committed = match std::fs::read(&path) {
                Ok(committed) => committed,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => {
                    continue;
                }
                Err(error) => {
                    return Err(CliError::failed(format!(
                        "failed to read {}: {error}; make it with --out",
                        path.display()
                    )));
                }
            };
            let now = rendering(unit, format, args)?;
            if now != committed {
                differences.push((path.clone(), lines(&committed, &now)));
            }
            compared.push(path);
        }
    }
    if compared.is_empty() {
        return Err(CliError::failed(format!(
            "there is nothing to compare with in {}; make it with --format md --out {}",
            if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            }
            .display(),
            if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            }
            .display(),
        )));
    }
    let exit = match differences.is_empty() {
        true => Exit::Success,
        false => Exit::Failed,
    };
    if args.json {
        let differences: Vec<_> = differences
            .iter()
            .map(|(path, lines)| json!({"file": path, "lines": lines}))
            .collect();
        print(&format!(
            "{:#}\n",
            json!({"compared": compared, "differences": differences})
        ))?;
        return Ok(exit);
    }
    let mut text = String::new();
    for (path, lines) in &differences {
        text.push_str(&format!("{} does not match its runs:\n", path.display()));
        for line in lines {
            text.push_str(&format!("  {line}\n"));
        }
    }
    if differences.is_empty() {
        text = format!("{} files match their runs\n", compared.len());
    }
    print(&text)?;
    Ok(exit)
}

/// Lines that only one of the texts has: `-` the committed, `+` the present.
fn lines(committed: &[u8], now: &[u8]) -> Vec<String> {
    let (Ok(before), Ok(after)) = (std::str::from_utf8(committed), std::str::from_utf8(now)) else {
        return vec!["the contents differ".to_owned()];
    };
    let (before, after): (Vec<&str>, Vec<&str>) =
        (before.lines().collect(), after.lines().collect());
    let gone = before.iter().filter(|line| !after.contains(line));
    let new = after.iter().filter(|line| !before.contains(line));
    let mut found: Vec<String> = gone.map(|line| format!("- {line}")).collect();
    found.extend(new.map(|line| format!("+ {line}")));
    if found.is_empty() {
        found.push("the order of the lines".to_owned());
    }
    found
}
