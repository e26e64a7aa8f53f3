//! Drawing pictures of a folder, some nouns attracting and some repelling.
//!
//! The weight of a picture is `exp(Σ factor · max(0, similarity − mean))`,
//! divided by the mean weight; pictures are drawn one after the other without
//! replacement, each with a probability proportional to its weight among those
//! that are left. Without nouns all weights are 1, and only what is drawn is
//! looked at. Pictures that cannot be read are left out. The same seed and the
//! same pictures give the same sample.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use image::RgbImage;
use rayon::prelude::*;

use super::error::CollectError;
use crate::images::{DecodeOptions, ImageInputs, decode_file, in_batches, pictures_in};
use crate::net::sha256;
use crate::random::{Draws, Purpose};

/// Pictures decoded and embedded together.
const BATCH: usize = 64;

/// How a noun changes the chances of pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Pull {
    /// The noun.
    pub noun: String,
    /// Positive: it attracts; negative: it repels.
    pub factor: f64,
    /// Similarity that counts as unrelated.
    pub mean: f64,
}

impl Pull {
    /// Nouns with their factors; `means` is one number for all or one per noun.
    ///
    /// # Errors
    /// Lists of different lengths, numbers that are not finite.
    pub fn list(
        nouns: &[String],
        factors: &[f64],
        means: &[f64],
    ) -> Result<Vec<Self>, CollectError> {
        let unequal = |given: usize, what| CollectError::Unequal {
            nouns: nouns.len(),
            given,
            what,
        };
        if factors.len() != nouns.len() {
            return Err(unequal(factors.len(), "factors"));
        }
        if means.len() != 1 && means.len() != nouns.len() {
            return Err(unequal(means.len(), "means"));
        }
        let pulls = nouns.iter().zip(factors).enumerate();
        pulls
            .map(|(place, (noun, &factor))| {
                let mean = means[if means.len() == 1 { 0 } else { place }];
                for (what, value) in [("factor", factor), ("mean", mean)] {
                    if !value.is_finite() {
                        return Err(CollectError::NotFinite {
                            what: format!("the {what} of {noun:?}"),
                            value,
                        });
                    }
                }
                let noun = noun.clone();
                Ok(Self { noun, factor, mean })
            })
            .collect()
    }
}

/// Weights of pictures from their similarities to the nouns (`[picture][noun]`);
/// their mean is 1.
pub fn weights(similarities: &[Vec<f64>], pulls: &[Pull]) -> Vec<f64> {
    let exponents: Vec<f64> = similarities
        .iter()
        .map(|of_nouns| {
            let parts = of_nouns.iter().zip(pulls);
            parts
                .map(|(s, pull)| pull.factor * (s - pull.mean).max(0.0))
                .sum()
        })
        .collect();
    // Large exponents stay finite: only the ratios of the weights matter.
    let largest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shifted: Vec<f64> = exponents.iter().map(|e| (e - largest).exp()).collect();
    let mean = shifted.iter().sum::<f64>() / shifted.len().max(1) as f64;
    shifted.into_iter().map(|weight| weight / mean).collect()
}

/// All places in the order in which they are drawn; `stream` tells several
/// draws of one seed apart.
///
/// The smallest of exponential times with these rates is each with the
/// probability of its weight, and so is the smallest of those that are left.
pub fn draw(weights: &[f64], seed: u64, stream: u64) -> Vec<usize> {
    let mut draws = Draws::new(Purpose::Sampled, seed, stream);
    let mut times: Vec<(f64, usize)> = weights
        .iter()
        .enumerate()
        .map(|(place, weight)| {
            // In (0, 1): never 0, so the logarithm is finite.
            let uniform = ((draws.number() >> 11) as f64 + 0.5) * 2f64.powi(-53);
            (-uniform.ln() / weight, place)
        })
        .collect();
    times.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    times.into_iter().map(|(_, place)| place).collect()
}

/// What is drawn.
#[derive(Clone, Debug)]
pub struct SampleRequest {
    /// Folder of the pictures.
    pub input: PathBuf,
    /// How many; fewer if there are not as many.
    pub count: usize,
    /// Seed.
    pub seed: u64,
    /// Nouns that attract or repel.
    pub pulls: Vec<Pull>,
    /// Unit vectors of these nouns, in their order.
    pub nouns: Vec<Vec<f32>>,
    /// Descend into sub-folders.
    pub recursive: bool,
    /// Draw `count` of every folder that holds pictures.
    pub per_folder: bool,
    /// Leave out what is the same file as one that is drawn, or whose unit
    /// vector is at least so similar to its.
    pub dedupe: Option<f64>,
}

/// A picture that may be drawn.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Name relative to the input folder.
    pub name: PathBuf,
    /// Unit vector, where one is needed.
    pub vector: Option<Vec<f32>>,
}

/// A picture that was drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// Name relative to the input folder.
    pub name: PathBuf,
    /// Its weight, of a mean of 1.
    pub weight: f64,
}

/// What was drawn, and of what.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// In the order of drawing.
    pub drawn: Vec<Draw>,
    /// Weights of all candidates that are not known as unreadable.
    pub weights: Vec<f64>,
    /// Pictures that cannot be read, and why; where nothing is embedded, those
    /// that would have been drawn.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Pictures that were left out, and the drawn one that they repeat.
    pub repeated: Vec<(PathBuf, PathBuf)>,
}

/// Pictures of the folder by name, relative to it.
///
/// # Errors
/// A folder that cannot be listed or holds none.
pub fn sample_candidates(input: &Path, recursive: bool) -> Result<Vec<PathBuf>, CollectError> {
    let files = if recursive {
        let inputs = ImageInputs {
            recursive: true,
            allow_empty: true,
        };
        // Checks that the folder is there, which patterns need not be.
        pictures_in(input)?;
        inputs.expand(&[input.to_string_lossy().into_owned()])?
    } else {
        pictures_in(input)?
    };
    if files.is_empty() {
        return Err(CollectError::NoPictures {
            path: input.to_owned(),
        });
    }
    let relative = |path: PathBuf| path.strip_prefix(input).map(Path::to_owned).unwrap_or(path);
    Ok(files.into_iter().map(relative).collect())
}

/// Draws. `embed` makes unit vectors of pictures; it is asked only if nouns
/// pull or similar pictures are left out, and `progress` then hears how many
/// of how many are done.
///
/// # Errors
/// No pictures, pictures that cannot be embedded, an interruption that
/// `progress` tells of.
pub fn sample(
    request: &SampleRequest,
    mut embed: impl FnMut(Vec<RgbImage>) -> Result<Vec<Vec<f32>>, String>,
    mut progress: impl FnMut(usize, usize) -> Result<(), CollectError>,
) -> Result<Sampled, CollectError> {
    let recursive = request.recursive || request.per_folder;
    let names = sample_candidates(&request.input, recursive)?;
    let with_vectors =
        !request.pulls.is_empty() || request.dedupe.is_some_and(|threshold| threshold < 1.0);
    let (mut candidates, mut unreadable) = (Vec::with_capacity(names.len()), Vec::new());
    if with_vectors {
        let total = names.len();
        let decode = |place: usize| {
            decode_file(
                &request.input.join(&names[place]),
                &DecodeOptions::default(),
            )
        };
        in_batches(total, BATCH, decode, |range, decoded| {
            progress(range.start, total)?;
            let (mut images, mut readable) = (Vec::new(), Vec::new());
            for (name, image) in names[range].iter().zip(decoded) {
                match image {
                    Ok(image) => {
                        images.push(image);
                        readable.push(name.clone());
                    }
                    Err(error) => unreadable.push((name.clone(), error.to_string())),
                }
            }
            if images.is_empty() {
                return Ok::<_, CollectError>(());
            }
            let vectors = embed(images).map_err(CollectError::Embed)?;
            candidates.extend(readable.into_iter().zip(vectors).map(|(name, vector)| {
                let vector = Some(vector);
                Candidate { name, vector }
            }));
            Ok(())
        })?;
        progress(total, total)?;
    } else {
        candidates.extend(
            names
                .into_iter()
                .map(|name| Candidate { name, vector: None }),
        );
    }
    let similarities: Vec<Vec<f64>> = candidates
        .iter()
        .map(|candidate| similarities(candidate.vector.as_deref(), &request.nouns))
        .collect();
    let weights = weights(&similarities, &request.pulls);
    let mut drawing = Drawing {
        request,
        candidates: &candidates,
        weights: &weights,
        unreadable,
        known_unreadable: HashSet::new(),
        seen: Seen::default(),
        drawn: Vec::new(),
        repeated: Vec::new(),
    };
    for (stream, places) in groups(&candidates, request.per_folder).iter().enumerate() {
        drawing.draw_of(places, stream as u64, &mut progress)?;
    }
    drawing.finish()
}

/// A sample that is being drawn.
struct Drawing<'a> {
    request: &'a SampleRequest,
    candidates: &'a [Candidate],
    weights: &'a [f64],
    unreadable: Vec<(PathBuf, String)>,
    /// Places of candidates that turned out to be unreadable.
    known_unreadable: HashSet<usize>,
    seen: Seen<'a>,
    drawn: Vec<Draw>,
    repeated: Vec<(PathBuf, PathBuf)>,
}

impl<'a> Drawing<'a> {
    /// Draws as many as are wanted of the candidates at `places`.
    fn draw_of(
        &mut self,
        places: &[usize],
        stream: u64,
        progress: &mut impl FnMut(usize, usize) -> Result<(), CollectError>,
    ) -> Result<(), CollectError> {
        let of_group: Vec<f64> = places.iter().map(|&place| self.weights[place]).collect();
        let order = draw(&of_group, self.request.seed, stream);
        let mut next = order.into_iter().map(|chosen| places[chosen]);
        let enough = self.drawn.len() + self.request.count.min(places.len());
        while self.drawn.len() < enough {
            progress(self.drawn.len(), enough)?;
            let missing = (enough - self.drawn.len()).min(BATCH);
            let batch: Vec<usize> = next.by_ref().take(missing).collect();
            if batch.is_empty() {
                break;
            }
            let problems: Vec<Option<String>> =
                batch.par_iter().map(|&place| self.problem(place)).collect();
            for (place, problem) in batch.into_iter().zip(problems) {
                match problem {
                    None => self.take(place)?,
                    Some(why) => {
                        self.known_unreadable.insert(place);
                        self.unreadable
                            .push((self.candidates[place].name.clone(), why));
                    }
                }
            }
        }
        Ok(())
    }

    /// Why a candidate cannot be read, if so. Those with a vector have been.
    fn problem(&self, place: usize) -> Option<String> {
        let candidate = &self.candidates[place];
        if candidate.vector.is_some() {
            return None;
        }
        let path = self.request.input.join(&candidate.name);
        let decoded = decode_file(&path, &DecodeOptions::default());
        decoded.err().map(|error| error.to_string())
    }

    /// Takes a candidate, unless it repeats one that is drawn.
    fn take(&mut self, place: usize) -> Result<(), CollectError> {
        let candidate = &self.candidates[place];
        if let Some(threshold) = self.request.dedupe {
            let path = self.request.input.join(&candidate.name);
            let hash = sha256(&path).map_err(CollectError::file("read", &path))?;
            if let Some(same) = self.seen.find(candidate, &hash, threshold) {
                self.repeated.push((candidate.name.clone(), same));
                return Ok(());
            }
            self.seen.add(candidate, hash);
        }
        self.drawn.push(Draw {
            name: candidate.name.clone(),
            weight: self.weights[place],
        });
        Ok(())
    }

    fn finish(self) -> Result<Sampled, CollectError> {
        let readable = (0..self.candidates.len()).filter(|at| !self.known_unreadable.contains(at));
        let weights: Vec<f64> = readable.map(|place| self.weights[place]).collect();
        if self.known_unreadable.len() == self.candidates.len() {
            return Err(CollectError::Unreadable {
                path: self.request.input.clone(),
                count: self.unreadable.len(),
            });
        }
        Ok(Sampled {
            drawn: self.drawn,
            weights,
            unreadable: self.unreadable,
            repeated: self.repeated,
        })
    }
}

/// Places of the candidates, all together or by folder.
fn groups(candidates: &[Candidate], per_folder: bool) -> Vec<Vec<usize>> {
    if !per_folder {
        return vec![(0..candidates.len()).collect()];
    }
    let mut places: HashMap<&Path, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (place, candidate) in candidates.iter().enumerate() {
        let folder = candidate.name.parent().unwrap_or(Path::new(""));
        let group = *places.entry(folder).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(place);
    }
    groups
}

fn similarities(vector: Option<&[f32]>, nouns: &[Vec<f32>]) -> Vec<f64> {
    let Some(vector) = vector else {
        return Vec::new();
    };
    nouns.iter().map(|noun| dot(vector, noun)).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}

/// What is drawn already.
#[derive(Default)]
struct Seen<'a> {
    hashes: HashMap<String, &'a Path>,
    vectors: Vec<(&'a [f32], &'a Path)>,
}

impl<'a> Seen<'a> {
    /// The drawn picture that this one repeats.
    fn find(&self, candidate: &Candidate, hash: &str, threshold: f64) -> Option<PathBuf> {
        if let Some(same) = self.hashes.get(hash) {
            return Some((*same).to_owned());
        }
        let vector = candidate.vector.as_deref()?;
        let mut known = self.vectors.iter();
        let similar = known.find(|(other, _)| dot(vector, other) >= threshold);
        similar.map(|(_, name)| (*name).to_owned())
    }

    fn add(&mut self, candidate: &'a Candidate, hash: String) {
        self.hashes.insert(hash, &candidate.name);
        if let Some(vector) = &candidate.vector {
            self.vectors.push((vector, &candidate.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_factors_give_finite_weights() {
        let pulls = Pull::list(&["a".into()], &[1e6], &[0.0]).unwrap();
        let weights = weights(&[vec![1.0], vec![0.5], vec![-1.0]], &pulls);
        assert_eq!(weights, [3.0, 0.0, 0.0]);
        // What has no chance comes last, and comes.
        assert_eq!(draw(&weights, 1, 0)[0], 0);
        assert_eq!(draw(&weights, 1, 0).len(), 3);
    }

    #[test]
    fn wrong_lists_are_refused() {
        let nouns = ["a".to_owned(), "b".to_owned()];
        assert!(Pull::list(&nouns, &[1.0], &[0.05]).is_err());
        assert!(Pull::list(&nouns, &[1.0, 2.0], &[0.05; 3]).is_err());
        assert!(Pull::list(&nouns, &[1.0, f64::NAN], &[0.05]).is_err());
        assert_eq!(Pull::list(&nouns, &[1.0, 2.0], &[0.05]).unwrap().len(), 2);
    }

    fn request(input: &Path) -> SampleRequest {
        SampleRequest {
            input: input.to_owned(),
            count: 2,
            seed: 1,
            pulls: Vec::new(),
            nouns: Vec::new(),
            recursive: false,
            per_folder: false,
            dedupe: None,
        }
    }

    fn none(_: Vec<RgbImage>) -> Result<Vec<Vec<f32>>, String> {
        Err("nothing is to be embedded".to_owned())
    }

    fn picture(path: &Path, grey: u8) {
        let image = RgbImage::from_pixel(2, 2, image::Rgb([grey; 3]));
        image.save(path).unwrap();
    }

    #[test]
    fn folders_are_drawn_from_each_and_repeated_files_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for (name, grey) in [
            ("a/1.png", 1),
            ("a/2.png", 1),
            ("a/3.png", 2),
            ("b/4.png", 3),
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            picture(&path, grey);
        }
        let request = SampleRequest {
            per_folder: true,
            dedupe: Some(1.0),
            ..request(folder.path())
        };
        let sampled = sample(&request, none, |_, _| Ok(())).unwrap();
        let mut names: Vec<_> = sampled.drawn.iter().map(|d| d.name.clone()).collect();
        names.sort();
        assert_eq!(names.len(), 3);
        assert!(names.contains(&"a/3.png".into()) && names.contains(&"b/4.png".into()));
        assert!(sampled.repeated.len() <= 1);
        let again = sample(&request, none, |_, _| Ok(())).unwrap();
        assert_eq!(again.drawn, sampled.drawn);
    }

    #[test]
    fn uniform_samples_leave_out_what_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..6 {
            picture(&folder.path().join(format!("{number}.png")), number);
        }
        let all = |seed: u64, count: usize| {
            let request = SampleRequest {
                seed,
                count,
                ..request(folder.path())
            };
            sample(&request, none, |_, _| Ok(())).unwrap()
        };
        let before: Vec<Sampled> = (0..20).map(|seed| all(seed, 3)).collect();
        std::fs::write(folder.path().join("2.png"), "no picture").unwrap();
        let mut times = 0;
        for (seed, before) in before.iter().enumerate() {
            let sampled = all(seed as u64, 3);
            assert_eq!(sampled.drawn.len(), 3);
            assert!(
                sampled
                    .drawn
                    .iter()
                    .all(|drawn| drawn.name != Path::new("2.png"))
            );
            // Whoever was drawn stays; the one in its place was not drawn before.
            let mut kept = before.drawn.clone();
            kept.retain(|drawn| drawn.name != Path::new("2.png"));
            let was_drawn = kept.len() < 3;
            assert!(sampled.drawn.starts_with(&kept));
            assert_eq!(sampled.unreadable.len(), usize::from(was_drawn));
            assert_eq!(sampled.weights.len(), 6 - usize::from(was_drawn));
            times += usize::from(was_drawn);
        }
        assert!((1..20).contains(&times), "{times}");
        assert_eq!(all(1, 9).drawn.len(), 5);
        for number in 0..6 {
            std::fs::write(folder.path().join(format!("{number}.png")), "no picture").unwrap();
        }
        let error = sample(&request(folder.path()), none, |_, _| Ok(())).unwrap_err();
        assert!(
            matches!(error, CollectError::Unreadable { count: 6, .. }),
            "{error}"
        );
    }

    #[test]
    fn similar_pictures_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for (name, grey) in [("1.png", 10), ("2.png", 12), ("3.png", 200)] {
            picture(&folder.path().join(name), grey);
        }
        std::fs::write(folder.path().join("4.png"), "no picture").unwrap();
        let request = SampleRequest {
            count: 9,
            dedupe: Some(0.98),
            ..request(folder.path())
        };
        let by_brightness = |images: Vec<RgbImage>| {
            let angle = |image: &RgbImage| f32::from(image.get_pixel(0, 0).0[0]) / 200.0;
            Ok(images
                .iter()
                .map(|image| vec![angle(image).cos(), angle(image).sin()])
                .collect())
        };
        let sampled = sample(&request, by_brightness, |_, _| Ok(())).unwrap();
        assert_eq!(sampled.drawn.len(), 2);
        assert_eq!(sampled.repeated.len(), 1);
        assert_eq!(sampled.unreadable.len(), 1);
    }
}
