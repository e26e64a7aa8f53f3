//! How far images lie from texts in an embedding space (`embedders.md`
//! section 10): angles in degrees between all images and all classes, and
//! between images and their own classes; the mean shift from text to image.

use serde_json::{Map, Value, json};

use super::error::{EvaluateError, Result};

/// Bins of a histogram, half a degree each.
const BINS: usize = 360;
/// Largest angle in degrees.
const MAX: f64 = 180.0;

/// Mean, deviation and histogram of angles.
#[derive(Clone, Debug)]
pub struct AngleStatistics {
    count: u64,
    mean: f64,
    squares: f64,
    bins: [u64; BINS],
}

impl Default for AngleStatistics {
    fn default() -> Self {
        Self {
            count: 0,
            mean: 0.0,
            squares: 0.0,
            bins: [0; BINS],
        }
    }
}

impl AngleStatistics {
    pub(super) fn add(&mut self, angle: f32) {
        let value = f64::from(angle);
        self.count += 1;
        let difference = value - self.mean;
        self.mean += difference / self.count as f64;
        self.squares += difference * (value - self.mean);
        let bin = (value / MAX * BINS as f64) as usize;
        self.bins[bin.min(BINS - 1)] += 1;
    }

    /// Mean in degrees.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Population standard deviation in degrees.
    pub fn deviation(&self) -> f64 {
        (self.squares / self.count.max(1) as f64).sqrt()
    }

    /// Counts of half-degree bins from 0 to 180.
    pub fn counts(&self) -> &[u64] {
        &self.bins
    }

    pub(super) fn histogram(&self) -> Value {
        json!({"min": 0, "max": 180, "bins": BINS, "counts": self.bins.to_vec()})
    }
}

/// The gap between the images and the class texts that were added.
#[derive(Clone, Debug)]
pub struct ModalityGap {
    /// Class embeddings `[C, F]`.
    classes: Vec<f32>,
    dim: usize,
    images: u64,
    /// Sums of image minus own class.
    shift: Vec<f64>,
    all: AngleStatistics,
    matched: AngleStatistics,
}

impl ModalityGap {
    /// A gap to these unit class embeddings `[C, F]`, row-major.
    pub fn new(classes: Vec<f32>, dim: usize) -> Self {
        Self {
            classes,
            dim,
            images: 0,
            shift: vec![0.0; dim],
            all: AngleStatistics::default(),
            matched: AngleStatistics::default(),
        }
    }

    /// Adds an image's unit embedding and its class.
    ///
    /// # Errors
    /// A class or a dimension that does not exist.
    pub fn add(&mut self, image: &[f32], label: usize) -> Result<()> {
        let classes = self.classes.len() / self.dim.max(1);
        if label >= classes {
            return Err(EvaluateError::LabelOutside { label, classes });
        }
        if image.len() != self.dim {
            return Err(EvaluateError::Shape {
                what: "image embedding",
                found: format!("{} elements", image.len()),
                expected: format!("{}", self.dim),
            });
        }
        self.images += 1;
        for (index, class) in self.classes.chunks_exact(self.dim).enumerate() {
            let angle = angle(image, class);
            self.all.add(angle);
            if index == label {
                self.matched.add(angle);
                for ((sum, image), class) in self.shift.iter_mut().zip(image).zip(class) {
                    *sum += f64::from(*image) - f64::from(*class);
                }
            }
        }
        Ok(())
    }

    /// Angles of every image and every class.
    pub fn all(&self) -> &AngleStatistics {
        &self.all
    }

    /// Angles of every image and its own class.
    pub fn matched(&self) -> &AngleStatistics {
        &self.matched
    }

    /// Mean of image minus own class, `[F]`.
    pub fn mean_shift(&self) -> Vec<f64> {
        let count = self.images.max(1) as f64;
        self.shift.iter().map(|sum| sum / count).collect()
    }

    /// Text of the file that trainings read: indented, lists of numbers on one
    /// line.
    pub fn file(&self, embedder: Map<String, Value>, cls: Map<String, Value>) -> String {
        let file = json!({
            "cfg_embedder": embedder,
            "cfg_cls": cls,
            "all_angle_mean": self.all.mean(),
            "all_angle_std": self.all.deviation(),
            "all_angle_histc": self.all.histogram(),
            "angle_mean": self.matched.mean(),
            "angle_std": self.matched.deviation(),
            "angle_histc": self.matched.histogram(),
            "mean_shift": self.mean_shift(),
        });
        let mut text = indented(&file);
        text.push('\n');
        text
    }
}

/// Angle in degrees between two unit vectors.
pub(super) fn angle(left: &[f32], right: &[f32]) -> f32 {
    let products = left.iter().zip(right);
    let similarity: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    (similarity as f32).clamp(-1.0, 1.0).acos().to_degrees()
}

/// JSON, indented, with lists of numbers on one line.
pub(super) fn indented(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out
}

/// Name of that file.
pub fn modality_gap_file(path_safe_specification: &str) -> String {
    format!("modality_gap_{path_safe_specification}.json")
}

fn write(value: &Value, depth: usize, out: &mut String) {
    let indent = |depth: usize, out: &mut String| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                indent(depth + 1, out);
                out.push_str(&format!("{}: ", Value::from(key.as_str())));
                write(value, depth + 1, out);
            }
            indent(depth, out);
            out.push('}');
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(Value::to_string).collect();
            out.push_str(&format!("[{}]", items.join(", ")));
        }
        value => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_and_shift_of_two_images() {
        let mut gap = ModalityGap::new(vec![1.0, 0.0, 0.0, 1.0], 2);
        gap.add(&[1.0, 0.0], 0).unwrap();
        gap.add(&[1.0, 0.0], 1).unwrap();
        assert_eq!((gap.all().mean(), gap.all().deviation()), (45.0, 45.0));
        assert_eq!(gap.matched().mean(), 45.0);
        assert_eq!(gap.mean_shift(), [0.5, -0.5]);
        assert_eq!((gap.all().counts()[0], gap.all().counts()[180]), (2, 2));
        assert!(gap.add(&[1.0], 0).is_err());
        assert!(gap.add(&[1.0, 0.0], 2).is_err());
        let mut opposite = AngleStatistics::default();
        opposite.add(180.0);
        assert_eq!(opposite.counts()[BINS - 1], 1);
        let text = gap.file(Map::new(), Map::new());
        assert!(text.contains("\"mean_shift\": [0.5, -0.5]\n}"), "{text}");
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["angle_histc"]["bins"], 360);
    }
}
