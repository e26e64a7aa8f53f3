//! Lists of lists as prediction files hold them, kept flat: every distinct text
//! once, every row as a stretch of one vector.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

/// Rows of values of unequal length.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows<T> {
    values: Vec<T>,
    ends: Vec<usize>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            ends: Vec::new(),
        }
    }
}

impl<T> Rows<T> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Values of a row; empty beyond the last.
    pub fn row(&self, at: usize) -> &[T] {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before));
        let start = start.copied().unwrap_or(0);
        let end = self.ends.get(at).copied().unwrap_or(start);
        self.values.get(start..end).unwrap_or_default()
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = &[T]> {
        (0..self.len()).map(|at| self.row(at))
    }
}

/// Rows of nouns; a missing one is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NounRows {
    nouns: Vec<String>,
    rows: Rows<Option<u32>>,
}

impl NounRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Number of places of a row, those without a noun included.
    pub fn places(&self, at: usize) -> usize {
        self.rows.row(at).len()
    }

    /// Nouns of a row, up to the first that is missing.
    pub fn row(&self, at: usize) -> impl Iterator<Item = &str> {
        let row = self.rows.row(at).iter();
        row.map_while(|noun| Some(self.nouns.get((*noun)? as usize)?.as_str()))
    }
}

/// Reads rows of numbers; null is NaN.
pub(super) struct NumberRowsSeed;

impl<'de> DeserializeSeed<'de> for NumberRowsSeed {
    type Value = Rows<f64>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Rows<f64>, D::Error> {
        struct Outer;
        impl<'de> Visitor<'de> for Outer {
            type Value = Rows<f64>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of lists of numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Rows<f64>, A::Error> {
                let mut rows = Rows::default();
                while seq.next_element_seed(NumberRow(&mut rows))?.is_some() {}
                Ok(rows)
            }
        }
        input.deserialize_seq(Outer)
    }
}

struct NumberRow<'a>(&'a mut Rows<f64>);

impl<'de> DeserializeSeed<'de> for NumberRow<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for NumberRow<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element::<Option<f64>>()? {
            self.0.values.push(value.unwrap_or(f64::NAN));
        }
        self.0.ends.push(self.0.values.len());
        Ok(())
    }
}

/// Reads rows of nouns.
pub(super) struct NounRowsSeed;

impl<'de> DeserializeSeed<'de> for NounRowsSeed {
    type Value = NounRows;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<NounRows, D::Error> {
        struct Outer;
        impl<'de> Visitor<'de> for Outer {
            type Value = NounRows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of lists of texts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NounRows, A::Error> {
                let mut known = Known::default();
                let mut rows = Rows::default();
                while seq
                    .next_element_seed(NounRow {
                        known: &mut known,
                        rows: &mut rows,
                    })?
                    .is_some()
                {}
                Ok(NounRows {
                    nouns: known.nouns,
                    rows,
                })
            }
        }
        input.deserialize_seq(Outer)
    }
}

/// The distinct nouns so far.
#[derive(Default)]
struct Known {
    nouns: Vec<String>,
    places: HashMap<String, u32>,
}

impl Known {
    fn place(&mut self, noun: &str) -> u32 {
        if let Some(place) = self.places.get(noun) {
            return *place;
        }
        // More distinct nouns than that do not fit into memory.
        let place = self.nouns.len() as u32;
        self.nouns.push(noun.to_owned());
        self.places.insert(noun.to_owned(), place);
        place
    }
}

struct NounRow<'a> {
    known: &'a mut Known,
    rows: &'a mut Rows<Option<u32>>,
}

impl<'de> DeserializeSeed<'de> for NounRow<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for NounRow<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(place) = seq.next_element_seed(Noun(self.known))? {
            self.rows.values.push(place);
        }
        self.rows.ends.push(self.rows.values.len());
        Ok(())
    }
}

struct Noun<'a>(&'a mut Known);

impl<'de> DeserializeSeed<'de> for Noun<'_> {
    type Value = Option<u32>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Option<u32>, D::Error> {
        input.deserialize_any(self)
    }
}

impl Visitor<'_> for Noun<'_> {
    type Value = Option<u32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or null")
    }

    fn visit_str<E>(self, noun: &str) -> Result<Option<u32>, E> {
        Ok(Some(self.0.place(noun)))
    }

    fn visit_unit<E>(self) -> Result<Option<u32>, E> {
        Ok(None)
    }
}
