//! A whole collection: searches, pages, pictures.

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::super::error::CollectError;
use super::journal::{Journal, Known, Step};
use super::manifest::{Found, Manifest};
use super::name::file_name;
use super::pages::{Facts, PageImage, add_facts, page_images, search_title};
use super::picture::{
    FEWEST_PIXELS, MOST_BYTES, MOST_PIXELS, STORED_PIXELS, is_no_photograph, store,
};
use super::service::{Clock, NoAnswer, Pauses, Service};
use crate::random::{Draws, Purpose};
use crate::store::publish_file;

/// Titles of one request.
const TITLES: usize = 16;
/// Pages of search results that are looked at.
const SEARCH_PAGES: usize = 3;
/// Nouns with the same title that are worth a line.
const MANY_NOUNS: usize = 4;
/// Width of the smaller copies that are asked for.
const THUMBNAIL_WIDTH: u32 = 1280;

/// How pictures are collected.
#[derive(Clone, Debug)]
pub struct WikiOptions {
    /// Address of the service's `api.php`.
    pub api: String,
    /// Who asks, with an address for complaints.
    pub user_agent: String,
    /// Seed of the order of the titles; none: the order of the nouns.
    pub shuffle: Option<u64>,
    /// Pictures to have in the end.
    pub max_images: Option<usize>,
    /// Beginnings of the names of licences that are taken, in any case; empty:
    /// all, unknown ones too.
    pub licences: Vec<String>,
    /// Files fetched at the same time.
    pub parallel: usize,
    /// Pause before each query.
    pub pause: Duration,
    /// Pause after a failed query, doubled each time.
    pub backoff: Duration,
    /// Pause after a failed download.
    pub download_pause: Duration,
}

impl WikiOptions {
    /// The pauses of the original, and a name that says who asks.
    pub fn polite(api: String, contact: &str) -> Self {
        let contact = match contact {
            "" => String::new(),
            contact => format!(" ({contact})"),
        };
        Self {
            api,
            user_agent: format!("novic/{}{contact}", env!("CARGO_PKG_VERSION")),
            shuffle: None,
            max_images: None,
            licences: Vec::new(),
            parallel: 2,
            pause: Duration::from_millis(100),
            backoff: Duration::from_secs(1),
            download_pause: Duration::from_secs(10),
        }
    }
}

/// Hears how a collection goes.
pub trait Progress {
    /// So many of so many `what` are done.
    fn reach(&mut self, what: &'static str, done: usize, total: usize);
    /// A line for people.
    fn note(&mut self, line: &str);
}

/// What a collection has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct WikiReport {
    /// Nouns asked about.
    pub nouns: usize,
    /// Nouns that have a page.
    pub nouns_with_page: usize,
    /// Different pages.
    pub pages: usize,
    /// Pictures in the folder.
    pub images: usize,
    /// Pages whose picture is not taken: too small, too large, no photograph,
    /// another licence, none.
    pub passed_over: usize,
    /// Nouns and pages without an answer in the end; the next run tries them
    /// again.
    pub failed: usize,
    /// Titles of four or more nouns, with their number.
    pub common_titles: Vec<(String, usize)>,
}

/// Collects lead pictures for `nouns` into `out`; the journal lies at
/// `journal`. Goes on with what an earlier run has left.
///
/// # Errors
/// The folder cannot be written, `stop` says so, or the files there are not
/// of a collection. Failures of the service are no errors but counted.
pub fn collect(
    nouns: &[String],
    options: &WikiOptions,
    out: &Path,
    journal: &Path,
    (clock, stop): (&dyn Clock, &(dyn Fn() -> bool + Sync)),
    progress: &mut dyn Progress,
) -> Result<WikiReport, CollectError> {
    std::fs::create_dir_all(out).map_err(CollectError::file("make", out))?;
    // Before a journal is made beside somebody else's files.
    Manifest::read(out)?;
    let pauses = Pauses {
        before: options.pause,
        backoff: options.backoff,
        download: options.download_pause,
    };
    let service = Service::new(&options.api, &options.user_agent, pauses, clock, stop)?;
    let mut collection = Collection {
        options,
        out,
        service,
        stop,
        journal: Journal::open(journal)?,
        manifest: Manifest::open(out)?,
        report: WikiReport {
            nouns: nouns.len(),
            ..WikiReport::default()
        },
    };
    for round in rounds(nouns, options) {
        if collection.is_full() {
            break;
        }
        collection.search(&round, progress)?;
        let by_title = collection.order(nouns)?;
        collection.manifest.add_nouns_of(&by_title)?;
        collection.fetch_pages(&by_title, progress)?;
    }
    let mut report = collection.report;
    report.images = collection.manifest.found().len();
    for (title, count) in &report.common_titles {
        progress.note(&format!("{count} nouns lead to {title:?}"));
    }
    Ok(report)
}

/// How far a collection is, without asking anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Outlook {
    /// Nouns to collect for.
    pub nouns: usize,
    /// Nouns that have been searched.
    pub searched: usize,
    /// Pages that are known.
    pub pages: usize,
    /// Pages that have been worked on.
    pub pages_done: usize,
    /// Pictures in the folder.
    pub images: usize,
}

impl Outlook {
    /// Looks at the folder `out` and the journal.
    ///
    /// # Errors
    /// Files there that are not of a collection.
    pub fn of(nouns: &[String], out: &Path, journal: &Path) -> Result<Self, CollectError> {
        let known = Known::read(journal)?;
        let is_searched = |noun: &&String| known.nouns.contains_key(*noun);
        Ok(Self {
            nouns: nouns.len(),
            searched: nouns.iter().filter(is_searched).count(),
            pages: known.titles.len(),
            pages_done: known.pages.len(),
            images: Manifest::read(out)?.len(),
        })
    }

    /// Fewest and most requests to come.
    pub fn requests(&self) -> (usize, usize) {
        let searches = self.nouns - self.searched;
        let pages = (self.pages - self.pages_done.min(self.pages)) + searches;
        (searches, searches + pages + 2 * pages.div_ceil(TITLES))
    }
}

/// Nouns that are searched before pages are fetched: all of them, or about as
/// many as are needed where only so many pictures are wanted.
fn rounds(nouns: &[String], options: &WikiOptions) -> Vec<Vec<String>> {
    const FEWEST: usize = 32;
    let Some(most) = options.max_images else {
        return vec![nouns.to_vec()];
    };
    let mut order: Vec<String> = nouns.to_vec();
    if let Some(seed) = options.shuffle {
        // No number of known titles is that large: the draws are others.
        let mut draws = Draws::new(Purpose::WikiTitles, seed, u64::MAX);
        let places = draws.permutation(u32::try_from(nouns.len()).unwrap_or(u32::MAX));
        order = places
            .iter()
            .map(|&at| nouns[at as usize].clone())
            .collect();
    }
    let size = most.saturating_mul(2).max(FEWEST);
    order.chunks(size).map(<[String]>::to_vec).collect()
}

struct Collection<'a> {
    options: &'a WikiOptions,
    out: &'a Path,
    service: Service<'a>,
    stop: &'a (dyn Fn() -> bool + Sync),
    journal: Journal,
    manifest: Manifest,
    report: WikiReport,
}

impl Collection<'_> {
    fn check(&self) -> Result<(), CollectError> {
        if (self.stop)() {
            Err(CollectError::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Finds the title of every noun that has none yet.
    fn search(
        &mut self,
        nouns: &[String],
        progress: &mut dyn Progress,
    ) -> Result<(), CollectError> {
        for (number, noun) in nouns.iter().enumerate() {
            progress.reach("nouns", number, nouns.len());
            if self.journal.known().nouns.contains_key(noun) {
                continue;
            }
            self.check()?;
            let (title, why) = match self.title_of(noun) {
                Ok(Some(title)) => (Some(title), None),
                Ok(None) => {
                    progress.note(&format!("{noun}: no page is found"));
                    (None, None)
                }
                Err(NoAnswer(why)) => {
                    self.check()?;
                    self.report.failed += 1;
                    progress.note(&format!("{noun}: {why}"));
                    (None, Some(why))
                }
            };
            let noun = noun.clone();
            self.journal.add(Step::Noun { noun, title, why })?;
        }
        progress.reach("nouns", nouns.len(), nouns.len());
        Ok(())
    }

    fn title_of(&self, noun: &str) -> Result<Option<String>, NoAnswer> {
        let parameters = [
            ("action", "query"),
            ("list", "search"),
            ("srsearch", noun),
            ("format", "json"),
        ];
        let (mut title, mut pages) = (None, 0);
        self.service.query_on(&parameters, |answer| {
            title = search_title(answer)?;
            pages += 1;
            Ok(match title.is_some() || pages == SEARCH_PAGES {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
        Ok(title)
    }

    /// Puts titles that are new into an order. Returns the nouns of each.
    fn order(&mut self, nouns: &[String]) -> Result<HashMap<String, Vec<String>>, CollectError> {
        let mut by_title: HashMap<String, Vec<String>> = HashMap::new();
        let mut new = Vec::new();
        self.report.nouns_with_page = 0;
        let known: HashSet<&String> = self.journal.known().titles.iter().collect();
        for noun in nouns {
            let Some(Some(title)) = self.journal.known().nouns.get(noun) else {
                continue;
            };
            self.report.nouns_with_page += 1;
            let of_title = by_title.entry(title.clone()).or_default();
            if of_title.is_empty() && !known.contains(title) {
                new.push(title.clone());
            }
            of_title.push(noun.clone());
        }
        self.report.pages = by_title.len();
        let mut common: Vec<(String, usize)> = by_title
            .iter()
            .filter(|(_, nouns)| nouns.len() >= MANY_NOUNS)
            .map(|(title, nouns)| (title.clone(), nouns.len()))
            .collect();
        common.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        self.report.common_titles = common;
        if let Some(seed) = self.options.shuffle {
            let earlier = self.journal.known().titles.len() as u64;
            let mut draws = Draws::new(Purpose::WikiTitles, seed, earlier);
            let order = draws.permutation(u32::try_from(new.len()).unwrap_or(u32::MAX));
            new = order.iter().map(|&at| new[at as usize].clone()).collect();
        }
        if !new.is_empty() {
            self.journal.add(Step::Titles(new))?;
        }
        Ok(by_title)
    }

    fn is_full(&self) -> bool {
        let most = self.options.max_images;
        most.is_some_and(|most| self.manifest.found().len() >= most)
    }

    /// Works on the pages that are not done.
    fn fetch_pages(
        &mut self,
        by_title: &HashMap<String, Vec<String>>,
        progress: &mut dyn Progress,
    ) -> Result<(), CollectError> {
        let stored: HashSet<&str> = self
            .manifest
            .found()
            .iter()
            .map(|f| f.title.as_str())
            .collect();
        let is_open = |title: &&String| {
            by_title.contains_key(*title)
                && !self.journal.known().pages.contains(*title)
                && !stored.contains(title.as_str())
        };
        let open: Vec<String> = self
            .journal
            .known()
            .titles
            .iter()
            .filter(is_open)
            .cloned()
            .collect();
        let total = open.len();
        for (number, titles) in open.chunks(TITLES).enumerate() {
            progress.reach("pages", number * TITLES, total);
            if self.is_full() {
                break;
            }
            self.check()?;
            let images = match self.lead_pictures(titles) {
                Ok(images) => images,
                Err(NoAnswer(why)) => {
                    self.check()?;
                    self.report.failed += titles.len();
                    progress.note(&format!("{} pages: {why}", titles.len()));
                    continue;
                }
            };
            let with_picture: HashSet<&str> = images.iter().map(|i| i.title.as_str()).collect();
            for title in titles {
                if !with_picture.contains(title.as_str()) {
                    self.pass_over(title)?;
                }
            }
            self.fetch_pictures(images, by_title, progress)?;
        }
        progress.reach("pages", total, total);
        Ok(())
    }

    fn pass_over(&mut self, title: &str) -> Result<(), CollectError> {
        self.report.passed_over += 1;
        self.journal.add(Step::Page {
            title: title.to_owned(),
            file: None,
            why: None,
        })
    }

    /// Counts a page that has no answer; the next run tries it again.
    fn fail(&mut self, title: String, why: String) -> Result<(), CollectError> {
        self.report.failed += 1;
        self.journal.add(Step::Page {
            title,
            file: None,
            why: Some(why),
        })
    }

    fn lead_pictures(&self, titles: &[String]) -> Result<Vec<PageImage>, NoAnswer> {
        let titles = titles.join("|");
        let parameters = [
            ("action", "query"),
            ("prop", "pageimages"),
            ("format", "json"),
            ("piprop", "original|name"),
            ("titles", titles.as_str()),
        ];
        let mut images: Vec<PageImage> = Vec::new();
        self.service.query_on(&parameters, |answer| {
            for image in page_images(answer)? {
                if !images.iter().any(|known| known.title == image.title) {
                    images.push(image);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(images)
    }

    fn fetch_pictures(
        &mut self,
        images: Vec<PageImage>,
        by_title: &HashMap<String, Vec<String>>,
        progress: &mut dyn Progress,
    ) -> Result<(), CollectError> {
        let mut wanted = Vec::new();
        for image in images {
            let area = u64::from(image.width) * u64::from(image.height);
            let fits = (FEWEST_PIXELS..=MOST_PIXELS).contains(&area);
            if !fits {
                let size = format!("{}×{}", image.width, image.height);
                progress.note(&format!(
                    "{}: a picture of {size} is not taken",
                    image.title
                ));
            }
            if !fits || is_no_photograph(&image.source) {
                self.pass_over(&image.title)?;
            } else {
                wanted.push(image);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let known = match self.facts_of(&wanted) {
            Ok(known) => known,
            Err(NoAnswer(why)) => {
                self.check()?;
                progress.note(&format!("licences of {} pictures: {why}", wanted.len()));
                // Without them nobody may use the pictures: the next run asks again.
                for image in wanted {
                    self.fail(image.title, why.clone())?;
                }
                return Ok(());
            }
        };
        let mut work = Vec::new();
        for image in wanted {
            let mut about = known.get(&image.file).cloned().unwrap_or_default();
            about.revision = known.get(&image.title).and_then(|facts| facts.revision);
            if self.is_licence_wanted(&about) {
                work.push((image, about));
            } else {
                let licence = about.licence.as_deref().unwrap_or("unknown");
                progress.note(&format!("{}: licence {licence} is not wanted", image.title));
                self.pass_over(&image.title)?;
            }
        }
        for group in work.chunks(self.options.parallel.max(1)) {
            self.check()?;
            if self.is_full() {
                break;
            }
            let service = &self.service;
            let manifest = &self.manifest;
            let files: Vec<Option<Result<Vec<u8>, NoAnswer>>> = std::thread::scope(|scope| {
                let threads: Vec<_> = group
                    .iter()
                    .map(|(image, about)| {
                        let is_known = manifest.found().iter().any(|f| f.source == image.source);
                        let address = address(image, about);
                        (!is_known)
                            .then(|| scope.spawn(move || service.download(address, MOST_BYTES)))
                    })
                    .collect();
                let gone = |_| Err(NoAnswer("the download broke off".to_owned()));
                threads
                    .into_iter()
                    .map(|thread| thread.map(|thread| thread.join().unwrap_or_else(gone)))
                    .collect()
            });
            self.check()?;
            for ((image, about), file) in group.iter().zip(files) {
                if self.is_full() {
                    break;
                }
                let nouns = by_title.get(&image.title).map_or(&[][..], Vec::as_slice);
                self.keep(image, about, nouns, file, progress)?;
            }
        }
        Ok(())
    }

    /// Licences, authors, revisions, smaller copies.
    fn facts_of(&self, images: &[PageImage]) -> Result<HashMap<String, Facts>, NoAnswer> {
        let mut titles: Vec<&str> = images.iter().map(|image| image.file.as_str()).collect();
        titles.sort_unstable();
        titles.dedup();
        titles.extend(images.iter().map(|image| image.title.as_str()));
        let titles = titles.join("|");
        let width = THUMBNAIL_WIDTH.to_string();
        let parameters = [
            ("action", "query"),
            ("prop", "imageinfo|info"),
            ("format", "json"),
            ("iiprop", "url|extmetadata"),
            ("iiurlwidth", width.as_str()),
            ("titles", titles.as_str()),
        ];
        let mut facts = HashMap::new();
        self.service.query_on(&parameters, |answer| {
            add_facts(&mut facts, answer)?;
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(facts)
    }

    fn is_licence_wanted(&self, about: &Facts) -> bool {
        let wanted = &self.options.licences;
        let licence = about.licence.as_deref().unwrap_or_default().to_lowercase();
        wanted.is_empty()
            || wanted
                .iter()
                .any(|wanted| !licence.is_empty() && licence.starts_with(&wanted.to_lowercase()))
    }

    /// Stores a picture and records it.
    fn keep(
        &mut self,
        image: &PageImage,
        about: &Facts,
        nouns: &[String],
        file: Option<Result<Vec<u8>, NoAnswer>>,
        progress: &mut dyn Progress,
    ) -> Result<(), CollectError> {
        let title = image.title.clone();
        let same_source = self
            .manifest
            .found()
            .iter()
            .position(|f| f.source == image.source);
        if let Some(place) = same_source {
            return self.add_to(place, title, nouns);
        }
        let fetched = match file {
            Some(Ok(bytes)) => bytes,
            Some(Err(NoAnswer(why))) => {
                progress.note(&format!("{}: {why}", image.source));
                return self.fail(title, why);
            }
            // Its like was known when it would have been fetched.
            None => return Ok(()),
        };
        let stored = match store(&fetched, &title, (image.width, image.height)) {
            Ok(stored) => stored,
            Err(why) => {
                progress.note(&format!("{}: {why}", image.source));
                return self.pass_over(&title);
            }
        };
        let sha256 = Sha256::digest(&stored.jpeg);
        let sha256: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let same_content = self
            .manifest
            .found()
            .iter()
            .position(|f| f.sha256 == sha256);
        if let Some(place) = same_content {
            return self.add_to(place, title, nouns);
        }
        let name = self.write_picture(&image.source, &stored.jpeg)?;
        self.manifest.add(Found {
            file: name.clone(),
            nouns: nouns.to_vec(),
            title: title.clone(),
            page_id: image.page_id,
            revision: about.revision,
            source: image.source.clone(),
            file_page: about.file_page.clone(),
            licence: about.licence.clone(),
            licence_url: about.licence_url.clone(),
            author: about.author.clone(),
            sha256,
            bytes: stored.jpeg.len() as u64,
            width: stored.width,
            height: stored.height,
        })?;
        self.journal.add(Step::Page {
            title,
            file: Some(name),
            why: None,
        })
    }

    /// Writes a picture under the next number that its name is free with.
    /// Returns its name.
    fn write_picture(&self, source: &str, jpeg: &[u8]) -> Result<String, CollectError> {
        let mut number = self.manifest.next_number();
        loop {
            let name = file_name(number, source);
            let path = self.out.join(&name);
            match std::fs::symlink_metadata(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    publish_file(&path, |file| file.write_all(jpeg))
                        .map_err(CollectError::file("write", &path))?;
                    return Ok(name);
                }
                Err(error) => return Err(CollectError::file("look at", &path)(error)),
                // A run that was killed before it had recorded it.
                Ok(_) if std::fs::read(&path).is_ok_and(|found| found == jpeg) => return Ok(name),
                // Somebody else's.
                Ok(_) => number += 1,
            }
        }
    }

    /// Another page shows the picture at `place`.
    fn add_to(
        &mut self,
        place: usize,
        title: String,
        nouns: &[String],
    ) -> Result<(), CollectError> {
        self.manifest.add_nouns(place, nouns)?;
        let file = Some(self.manifest.found()[place].file.clone());
        let why = None;
        self.journal.add(Step::Page { title, file, why })
    }
}

/// Where a picture is fetched: a smaller copy if it is large enough.
fn address<'a>(image: &'a PageImage, about: &'a Facts) -> &'a str {
    match &about.thumbnail {
        Some((address, width, height))
            if u64::from(*width) * u64::from(*height) >= STORED_PIXELS
                && (*width, *height) != (image.width, image.height) =>
        {
            address
        }
        _ => &image.source,
    }
}
