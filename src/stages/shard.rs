//! Parts of a stage that writes a cache, for several machines: `data.shard =
//! "3/16"` writes the third of sixteen parts; the same stage kind with the
//! parts as inputs joins them to the file that one machine would have written.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use super::text_cache::CACHE_FILE;
use crate::runner::{InputEntry, StageContext, StageError};

/// One of several parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shard {
    /// How many there are.
    of: u64,
    /// Which one, from 1.
    number: u64,
}

impl Shard {
    /// The part that a configuration asks for, if it asks for one.
    pub(super) fn configured(context: &StageContext<'_>) -> Result<Option<Self>, StageError> {
        match context.config().data.shard.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some),
        }
    }

    /// The samples to write, and the part that they are, if it is one: `joins`
    /// says whether the stage joins parts instead.
    pub(super) fn share(
        context: &StageContext<'_>,
        total: u64,
        joins: bool,
    ) -> Result<(Range<u64>, Option<Self>), StageError> {
        let Some(shard) = Self::configured(context)? else {
            return Ok((0..total, None));
        };
        if joins {
            return Err(StageError::failed(
                "a stage joins parts or makes one: remove data.shard or the inputs",
            ));
        }
        let rows = shard.range(total);
        if rows.is_empty() {
            return Err(StageError::failed(format!(
                "part {shard} of {total} samples is empty; make fewer parts"
            )));
        }
        Ok((rows, Some(shard)))
    }

    /// Its share of `total` samples.
    pub(super) fn range(self, total: u64) -> Range<u64> {
        let end =
            |number: u64| (u128::from(total) * u128::from(number) / u128::from(self.of)) as u64;
        end(self.number - 1)..end(self.number)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = StageError;

    fn from_str(text: &str) -> Result<Self, StageError> {
        let parse = || {
            let (number, of) = text.split_once('/')?;
            let shard = Self {
                of: of.trim().parse().ok()?,
                number: number.trim().parse().ok()?,
            };
            (1..=shard.of).contains(&shard.number).then_some(shard)
        };
        parse().ok_or_else(|| {
            StageError::failed(format!(
                "data.shard is {text:?}; expected for instance \"3/16\", the third of sixteen parts"
            ))
        })
    }
}

/// The files of the parts that a stage joins, in order.
pub(super) fn parts(context: &StageContext<'_>) -> Result<Vec<PathBuf>, StageError> {
    let inputs = part_inputs(context)?;
    inputs
        .iter()
        .map(|input| Ok(input.entry.file(CACHE_FILE)?))
        .collect()
}

/// The parts that a stage joins, in order.
pub(super) fn part_inputs<'a>(
    context: &'a StageContext<'_>,
) -> Result<Vec<&'a InputEntry>, StageError> {
    let mut shards = Vec::new();
    for input in context.inputs() {
        shards.push((shard_of(input)?, input));
    }
    shards.sort_by_key(|(shard, _)| *shard);
    let of = shards.first().map_or(0, |(shard, _)| shard.of);
    let complete = shards.len() as u64 == of
        && shards
            .iter()
            .zip(1..)
            .all(|((shard, _), number)| *shard == Shard { of, number });
    if !complete {
        let names: Vec<String> = shards.iter().map(|(shard, _)| shard.to_string()).collect();
        return Err(StageError::failed(format!(
            "the inputs are the parts {}; all parts of one division are needed, each once",
            names.join(", ")
        )));
    }
    let settings = |input: &InputEntry| {
        let mut config = input.entry.manifest().description.config.clone();
        if let Some(values) = config.as_object_mut() {
            values.remove("data.shard");
        }
        config
    };
    for (_, input) in &shards {
        if settings(input) != settings(shards[0].1) {
            return Err(StageError::failed(format!(
                "`{}` was made with other settings than `{}`; parts may differ in data.shard only",
                input.stage, shards[0].1.stage
            )));
        }
    }
    Ok(shards.into_iter().map(|(_, input)| input).collect())
}

fn shard_of(input: &InputEntry) -> Result<Shard, StageError> {
    let results = &input.entry.manifest().description.results;
    match results.get("shard").and_then(|shard| shard.as_str()) {
        Some(shard) => shard.parse(),
        None => Err(StageError::failed(format!(
            "`{}` is no part of a cache; make it with data.shard",
            input.stage
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once() {
        for total in [0, 1, 5, 1000, u64::from(u32::MAX)] {
            for of in 1..20 {
                let mut end = 0;
                for number in 1..=of {
                    let shard: Shard = format!("{number}/{of}").parse().ok().unwrap();
                    let range = shard.range(total);
                    assert_eq!(range.start, end);
                    end = range.end;
                }
                assert_eq!(end, total);
            }
        }
        for wrong in ["", "3", "0/4", "5/4", "1/0", "a/b", "1/2/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
