//! The keys of a plot: `[plot.NAME]`.

use crate::config::Location;
use crate::reports::condition::Condition;
use crate::reports::field::Field;
use crate::reports::format::Format;
use crate::reports::spec::reading::{Entry, Keys, Problems};
use crate::reports::spec::{
    Parameters, SourceKind, SourceSpec, read_cell, read_condition, read_field, read_fields,
    read_format,
};

/// What a plot looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlotKind {
    /// Lines with bands over replicates.
    Curve,
    /// Bars with intervals over replicates.
    Bar,
    /// Dots, with a trend if wanted.
    Scatter,
    /// Squares of mean values.
    Heat,
    /// Distributions of numbers.
    Histogram,
    /// How often texts occur, the most frequent first.
    Rank,
    /// How often two texts occur together.
    Confusion,
    /// Pictures with what was written under them.
    Gallery,
}

/// What a band or an interval shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Band {
    /// Mean ± standard deviation.
    Std,
    /// Student's 95 % interval of the mean.
    Interval,
    /// Smallest to largest.
    Range,
    /// Nothing.
    None,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct PlotSpec {
    /// Its name.
    pub name: String,
    /// What it looks like.
    pub kind: PlotKind,
    /// Printed above.
    pub title: Option<String>,
    /// Printed below in pages.
    pub caption: Option<String>,
    /// Where records come from.
    pub sources: Vec<SourceSpec>,
    /// Condition on all records.
    pub condition: Condition,
    /// Field of the x axis.
    pub x: Option<Field>,
    /// Field of the y axis.
    pub y: Option<Field>,
    /// Field of the shade of a heat map.
    pub value: Option<Field>,
    /// Field that says how often a number of a histogram occurs; else once.
    pub weight: Option<Field>,
    /// Conditions of the records that x and y are taken from, where they are
    /// different records.
    pub pair: Option<(Condition, Condition)>,
    /// Fields that are equal in records that belong together.
    pub join: Vec<Field>,
    /// Fields that tell series apart.
    pub by: Vec<Field>,
    /// Name of a series.
    pub label: Option<Format>,
    /// What the label names, and where pictures are.
    shown: Vec<Field>,
    /// Fields that tell replicates apart.
    pub replicates: Vec<Field>,
    /// What bands show.
    pub band: Band,
    /// Labels of the axes.
    pub labels: [Option<String>; 2],
    /// Whether the axes are logarithmic.
    pub log: [bool; 2],
    /// Ends of the axes.
    pub limits: [Option<(f64, f64)>; 2],
    /// Bins of a histogram.
    pub bins: usize,
    /// Whether a histogram shows densities.
    pub density: bool,
    /// Names at most; the most frequent.
    pub top: usize,
    /// Whether a trend is drawn.
    pub fit: bool,
    /// Upright lines.
    pub upright: Vec<f64>,
    /// Whether areas are filled.
    pub fill: bool,
    /// Factor of y.
    pub scale: f64,
    /// Folder of the pictures of a gallery.
    pub images: Option<String>,
    /// Width and height.
    pub size: (u32, u32),
    /// Where it stands.
    pub location: Location,
}

/// Largest side of a plot.
const SIDE: usize = 4000;

/// Fields with the folder of a sample's picture, the first that has one.
pub const PICTURE_FOLDERS: [&str; 2] = ["config.infer_all_images_dir", "config.infer_image_dir"];

impl PlotSpec {
    /// Reads a plot. Without `source`, curves are of the metrics of the
    /// experiment's trainings, and everything else of its measured rows.
    pub fn read(
        name: &str,
        location: &Location,
        entries: &[Entry],
        given: &Parameters,
        problems: &Problems,
    ) -> Option<Self> {
        let place = format!("plot `{name}`");
        read_cell(&place, location, entries, given, problems, |keys, _| {
            Self::of(name, keys)
        })
    }

    fn of(name: &str, keys: &Keys<'_>) -> Option<Self> {
        let kind = keys.choice(
            "kind",
            &[
                ("curve", PlotKind::Curve),
                ("bar", PlotKind::Bar),
                ("scatter", PlotKind::Scatter),
                ("heat", PlotKind::Heat),
                ("histogram", PlotKind::Histogram),
                ("rank", PlotKind::Rank),
                ("confusion", PlotKind::Confusion),
                ("gallery", PlotKind::Gallery),
            ],
        );
        if !keys.has("kind") {
            keys.missing(
                "`kind` is missing: curve, bar, scatter, heat, histogram, rank, confusion or gallery",
            );
        }
        let mut own = SourceSpec::of_stages(keys.location.clone());
        if kind == Some(PlotKind::Curve) {
            own.kind = SourceKind::Metrics;
        }
        let sources = SourceSpec::read_or(keys, own);
        let pair = match (keys.has("x_where"), keys.has("y_where")) {
            (false, false) => None,
            _ => Some((
                read_condition(keys, "x_where"),
                read_condition(keys, "y_where"),
            )),
        };
        let label = read_format(keys, "label");
        let named = label.iter().flat_map(Format::names);
        let shown = named.chain(PICTURE_FOLDERS).map(Field::new).collect();
        let plot = Self {
            name: name.to_owned(),
            kind: kind.unwrap_or(PlotKind::Curve),
            title: keys.text("title"),
            caption: keys.text("caption"),
            condition: read_condition(keys, "where"),
            x: read_field(keys, "x"),
            y: read_field(keys, "y"),
            value: read_field(keys, "value"),
            weight: read_field(keys, "weight"),
            join: read_fields(keys, "join").unwrap_or_default(),
            by: read_fields(keys, "by").unwrap_or_default(),
            label,
            shown,
            replicates: read_fields(keys, "replicates").unwrap_or_default(),
            band: keys
                .choice(
                    "band",
                    &[
                        ("std", Band::Std),
                        ("ci", Band::Interval),
                        ("range", Band::Range),
                        ("none", Band::None),
                    ],
                )
                .unwrap_or(Band::Std),
            labels: [keys.text("x_label"), keys.text("y_label")],
            log: ["x_log", "y_log"].map(|key| keys.flag(key).unwrap_or(false)),
            limits: ["x_limits", "y_limits"].map(|key| limits(keys, key)),
            bins: keys.whole("bins").unwrap_or(30).clamp(1, 1000),
            density: keys.flag("density").unwrap_or(false),
            top: keys.whole("top").unwrap_or(20).max(1),
            fit: keys.flag("fit").unwrap_or(false),
            upright: numbers(keys, "upright").unwrap_or_default(),
            fill: keys.flag("fill").unwrap_or(false),
            scale: keys.number("scale").unwrap_or(1.0),
            images: keys.text("images"),
            size: size(keys),
            location: keys.location.clone(),
            sources,
            pair,
        };
        let needs: &[(&str, bool)] = match plot.kind {
            PlotKind::Curve | PlotKind::Scatter | PlotKind::Confusion => {
                &[("x", true), ("y", true)]
            }
            PlotKind::Bar => &[("x", true)],
            PlotKind::Heat => &[("x", true), ("y", true), ("value", true)],
            PlotKind::Histogram | PlotKind::Rank => &[("x", true)],
            PlotKind::Gallery => &[],
        };
        for (key, _) in needs {
            let there = match *key {
                "x" => plot.x.is_some(),
                "y" => plot.y.is_some(),
                _ => plot.value.is_some(),
            };
            if !there {
                keys.missing(&format!("`{key}` (a field) is missing"));
            }
        }
        kind.map(|_| plot)
    }

    /// Whether it shows the pictures that the stages of the experiment left.
    pub fn is_gallery_of_stages(&self) -> bool {
        let of_stages = |source: &SourceSpec| source.kind == SourceKind::Stages;
        self.kind == PlotKind::Gallery && self.sources.iter().all(of_stages)
    }

    /// Fields that it shows.
    pub fn measured(&self) -> Vec<&Field> {
        let own = [&self.x, &self.y, &self.value, &self.weight];
        own.into_iter().flatten().chain(&self.by).collect()
    }

    /// All fields that its records must have.
    pub fn fields(&self) -> Vec<&Field> {
        let mut found: Vec<&Field> = Vec::new();
        self.condition.fields(&mut found);
        for source in &self.sources {
            source.condition.fields(&mut found);
        }
        if let Some((x, y)) = &self.pair {
            x.fields(&mut found);
            y.fields(&mut found);
        }
        let own = [&self.x, &self.y, &self.value, &self.weight];
        found.extend(own.into_iter().flatten());
        found.extend(self.join.iter().chain(&self.by).chain(&self.replicates));
        found.extend(&self.shown);
        found
    }
}

fn numbers(keys: &Keys<'_>, key: &'static str) -> Option<Vec<f64>> {
    let items = keys.items(key)?;
    let numbers: Option<Vec<f64>> = items.iter().map(|item| item.number()).collect();
    if let (None, Some(item)) = (&numbers, keys.item(key)) {
        item.wrong(key, "a list of numbers", keys.problems);
    }
    numbers
}

fn limits(keys: &Keys<'_>, key: &'static str) -> Option<(f64, f64)> {
    match numbers(keys, key)?.as_slice() {
        [low, high] if low < high => Some((*low, *high)),
        _ => {
            keys.missing(&format!("`{key}` takes two numbers, the smaller first"));
            None
        }
    }
}

fn size(keys: &Keys<'_>) -> (u32, u32) {
    let side = |key, default: u32| {
        let length = keys.whole(key).map(|length| length.clamp(100, SIDE));
        length.map_or(default, |length| u32::try_from(length).unwrap_or(default))
    };
    (side("width", 560), side("height", 320))
}
