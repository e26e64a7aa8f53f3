//! The description of a key: everything the program knows about one value
//! besides the value.

use serde_json::Value;

use super::action::Action;
use super::leaf::{Kind, Leaf};

/// Rule for a text; the error says what is allowed.
pub type Form = fn(&str) -> Result<(), String>;

/// Description of one leaf of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Nested name: `train.lr.init`.
    pub path: &'static str,
    /// Name in the original's flat dictionary; none for fields of the product only.
    pub flat: Option<&'static str>,
    /// Kind of its value.
    pub kind: Kind,
    /// Whether null is a value.
    pub nullable: bool,
    /// Allowed numbers (of lists: of every element).
    pub range: Range,
    /// Rule for its texts (of lists: of every element); the error says what is
    /// allowed.
    pub form: Option<Form>,
    /// Unit of a number: `%`, `°`, `s`; empty for none.
    pub unit: &'static str,
    /// Whether a checkpoint's value always replaces the configured one, because
    /// the shapes or the meaning of the weights depend on it.
    pub structural: bool,
    /// Whether a checkpoint's value replaces the configured one unless that is
    /// given explicitly: losses and weights would not be the checkpoint's else.
    pub restored: bool,
    /// Whether it changes what people see, never what is computed.
    pub cosmetic: bool,
    /// Whether it may hold what others must not see; records leave it out.
    pub secret: bool,
    /// Actions that read it under some setting of the other keys.
    pub readers: &'static [Action],
    /// What it means.
    pub doc: &'static str,
    /// Its default, as canonical JSON.
    pub default: fn() -> Value,
    /// The original's file writes whole numbers of the default without a point,
    /// which makes them int there.
    pub whole_default: bool,
}

/// Allowed numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Smallest allowed value.
    pub min: f64,
    /// Whether `min` itself is forbidden.
    pub above_min: bool,
    /// Largest allowed value.
    pub max: f64,
    /// Whether `max` itself is forbidden.
    pub below_max: bool,
}

impl Range {
    const ANY: Self = Self {
        min: f64::NEG_INFINITY,
        above_min: false,
        max: f64::INFINITY,
        below_max: false,
    };

    /// Whether it contains a value.
    pub fn contains(&self, value: f64) -> bool {
        (if self.above_min {
            value > self.min
        } else {
            value >= self.min
        }) && (if self.below_max {
            value < self.max
        } else {
            value <= self.max
        })
    }

    /// In words, for messages; none if every number is allowed.
    pub fn text(&self) -> Option<String> {
        let above = if self.above_min { "above" } else { "at least" };
        let below = if self.below_max { "below" } else { "at most" };
        match (self.min.is_finite(), self.max.is_finite()) {
            (false, false) => None,
            (true, false) => Some(format!("{above} {}", self.min)),
            (false, true) => Some(format!("{below} {}", self.max)),
            (true, true) => Some(format!("{above} {} and {below} {}", self.min, self.max)),
        }
    }
}

impl Key {
    pub(super) const fn new<T: Leaf>(
        path: &'static str,
        doc: &'static str,
        default: fn() -> Value,
    ) -> Self {
        let mut range = Range::ANY;
        if matches!(T::KIND, Kind::Int | Kind::List(Kind::Int)) {
            range.min = 0.0;
        }
        Self {
            path,
            flat: None,
            kind: T::KIND,
            nullable: T::NULLABLE,
            range,
            form: None,
            unit: "",
            structural: false,
            restored: false,
            cosmetic: false,
            secret: false,
            readers: &[],
            doc,
            default,
            whole_default: false,
        }
    }

    pub(super) const fn flat(mut self, name: &'static str) -> Self {
        self.flat = Some(name);
        self
    }

    pub(super) const fn read_by(mut self, readers: &'static [Action]) -> Self {
        self.readers = readers;
        self
    }

    pub(super) const fn structural(mut self) -> Self {
        self.structural = true;
        self
    }

    pub(super) const fn cosmetic(mut self) -> Self {
        self.cosmetic = true;
        self
    }

    pub(super) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(super) const fn restored(mut self) -> Self {
        self.restored = true;
        self
    }

    pub(super) const fn at_least(mut self, min: f64) -> Self {
        self.range.min = min;
        self
    }

    pub(super) const fn above(mut self, min: f64) -> Self {
        self.range.min = min;
        self.range.above_min = true;
        self
    }

    pub(super) const fn at_most(mut self, max: f64) -> Self {
        self.range.max = max;
        self
    }

    pub(super) const fn below(mut self, max: f64) -> Self {
        self.range.max = max;
        self.range.below_max = true;
        self
    }

    pub(super) const fn form(mut self, form: Form) -> Self {
        self.form = Some(form);
        self
    }

    pub(super) const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    /// Its texts are paths.
    pub(super) const fn path(mut self) -> Self {
        self.kind = match self.kind {
            Kind::List(_) => Kind::List(&Kind::Path),
            Kind::ListOrText(_) => Kind::ListOrText(&Kind::Path),
            _ => Kind::Path,
        };
        self
    }

    /// A text alone is taken as a list of one.
    pub(super) const fn or_text(mut self) -> Self {
        if let Kind::List(element) = self.kind {
            self.kind = Kind::ListOrText(element);
        }
        self
    }

    /// A list of texts is joined with commas.
    pub(super) const fn comma_separated(mut self) -> Self {
        self.kind = Kind::CommaText;
        self
    }

    pub(super) const fn whole_default(mut self) -> Self {
        self.whole_default = true;
        self
    }
}
