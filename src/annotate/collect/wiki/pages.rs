//! What the service answers: titles, lead pictures, facts about files. Answers
//! of another shape are told apart from answers without a result.

use std::collections::HashMap;

use serde_json::Value;

use super::name::percent_decoded;

/// An answer that does not have the shape it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnexpectedShape;

/// First title of a search that is no disambiguation page.
pub(super) fn search_title(answer: &Value) -> Result<Option<String>, UnexpectedShape> {
    let found = answer["query"]["search"]
        .as_array()
        .ok_or(UnexpectedShape)?;
    for page in found {
        let title = page["title"].as_str().ok_or(UnexpectedShape)?;
        if !title.to_lowercase().contains("disambiguation") {
            return Ok(Some(title.to_owned()));
        }
    }
    Ok(None)
}

/// Where an answer goes on, as parameters of the next request.
pub(super) fn continuation(answer: &Value) -> Vec<(String, String)> {
    let Some(more) = answer["continue"].as_object() else {
        return Vec::new();
    };
    more.iter()
        .map(|(name, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), value)
        })
        .collect()
}

/// The lead picture of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageImage {
    /// Title as it was asked for.
    pub(super) title: String,
    pub(super) page_id: Option<i64>,
    pub(super) source: String,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Title of the file's own page.
    pub(super) file: String,
}

/// Lead pictures in the order of the answer; pages without one are left out.
pub(super) fn page_images(answer: &Value) -> Result<Vec<PageImage>, UnexpectedShape> {
    let asked: HashMap<&str, &str> = answer["query"]["normalized"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|change| Some((change["to"].as_str()?, change["from"].as_str()?)))
        .collect();
    let mut images = Vec::new();
    for page in pages(answer)? {
        let original = &page["original"];
        if original.is_null() {
            continue;
        }
        let side = |name: &str| {
            let side = original[name].as_u64().ok_or(UnexpectedShape)?;
            u32::try_from(side).map_err(|_| UnexpectedShape)
        };
        let title = page["title"].as_str().ok_or(UnexpectedShape)?;
        let source = original["source"].as_str().ok_or(UnexpectedShape)?;
        let file = match page["pageimage"].as_str() {
            Some(name) => name.to_owned(),
            None => percent_decoded(source.rsplit('/').next().unwrap_or_default()),
        };
        images.push(PageImage {
            title: asked.get(title).copied().unwrap_or(title).to_owned(),
            page_id: page["pageid"].as_i64(),
            source: source.to_owned(),
            width: side("width")?,
            height: side("height")?,
            file: format!("File:{}", file.replace('_', " ")),
        });
    }
    Ok(images)
}

/// Pages of an answer, in either of the two forms that the service has.
fn pages(answer: &Value) -> Result<Vec<&Value>, UnexpectedShape> {
    match &answer["query"]["pages"] {
        Value::Object(pages) => Ok(pages.values().collect()),
        Value::Array(pages) => Ok(pages.iter().collect()),
        _ => Err(UnexpectedShape),
    }
}

/// What is known of a file or page beside its picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Revision of a page.
    pub(super) revision: Option<i64>,
    /// Address of the file's own page.
    pub(super) file_page: Option<String>,
    /// A smaller copy: address, width, height.
    pub(super) thumbnail: Option<(String, u32, u32)>,
    pub(super) licence: Option<String>,
    pub(super) licence_url: Option<String>,
    pub(super) author: Option<String>,
}

impl Facts {
    /// Takes what another answer tells beside this one.
    fn add(&mut self, other: Self) {
        fn fill<T>(known: &mut Option<T>, other: Option<T>) {
            *known = known.take().or(other);
        }
        fill(&mut self.revision, other.revision);
        fill(&mut self.file_page, other.file_page);
        fill(&mut self.thumbnail, other.thumbnail);
        fill(&mut self.licence, other.licence);
        fill(&mut self.licence_url, other.licence_url);
        fill(&mut self.author, other.author);
    }
}

/// Adds what an answer tells to the facts by title.
pub(super) fn add_facts(
    all: &mut HashMap<String, Facts>,
    answer: &Value,
) -> Result<(), UnexpectedShape> {
    for page in pages(answer)? {
        let Some(title) = page["title"].as_str() else {
            continue;
        };
        let info = &page["imageinfo"][0];
        let text = |value: &Value| {
            let text = plain_text(value.as_str()?);
            (!text.is_empty()).then_some(text)
        };
        let of_metadata = |name: &str| text(&info["extmetadata"][name]["value"]);
        let side = |name: &str| u32::try_from(info[name].as_u64()?).ok();
        let thumbnail = || {
            let address = info["thumburl"].as_str()?.to_owned();
            Some((address, side("thumbwidth")?, side("thumbheight")?))
        };
        let facts = Facts {
            revision: page["lastrevid"].as_i64(),
            file_page: info["descriptionurl"].as_str().map(str::to_owned),
            thumbnail: thumbnail(),
            licence: of_metadata("LicenseShortName"),
            licence_url: of_metadata("LicenseUrl"),
            author: of_metadata("Artist"),
        };
        all.entry(title.to_owned()).or_default().add(facts);
    }
    Ok(())
}

/// Text without markup, on one line.
fn plain_text(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut is_markup = false;
    for c in html.chars() {
        match c {
            '<' => is_markup = true,
            '>' if is_markup => is_markup = false,
            _ if is_markup => {}
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    let text = htmlize::unescape(text.as_str());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_are_plain_text() {
        let answer = json!({"query": {"pages": [{
            "title": "File:A.jpg",
            "imageinfo": [{
                "descriptionurl": "http://h/File:A.jpg",
                "thumburl": "http://h/t.jpg", "thumbwidth": 640, "thumbheight": 480,
                "extmetadata": {
                    "LicenseShortName": {"value": "CC BY-SA 4.0"},
                    "Artist": {"value": "<a href=\"x\">Ann &amp; \n Bo</a>"},
                },
            }],
        }, {"title": "Fox", "lastrevid": 12}]}});
        let mut facts = HashMap::new();
        add_facts(&mut facts, &answer).unwrap();
        let file = &facts["File:A.jpg"];
        assert_eq!(file.author.as_deref(), Some("Ann & Bo"));
        assert_eq!(file.licence.as_deref(), Some("CC BY-SA 4.0"));
        assert_eq!(
            file.thumbnail,
            Some(("http://h/t.jpg".to_owned(), 640, 480))
        );
        assert_eq!(facts["Fox"].revision, Some(12));
        assert_eq!(
            add_facts(&mut facts, &json!({"error": 1})),
            Err(UnexpectedShape)
        );
    }

    #[test]
    fn facts_of_several_answers_complete_each_other() {
        let page = |info: Value| json!({"query": {"pages": {"1": info}}});
        let licence = json!({"LicenseShortName": {"value": "CC0"}});
        let mut facts = HashMap::new();
        for answer in [
            page(json!({"title": "File:A.jpg", "lastrevid": 3})),
            page(json!({"title": "File:A.jpg", "imageinfo": [{"extmetadata": licence}]})),
            page(json!({"title": "File:A.jpg"})),
        ] {
            add_facts(&mut facts, &answer).unwrap();
        }
        let expected = Facts {
            revision: Some(3),
            licence: Some("CC0".to_owned()),
            ..Facts::default()
        };
        assert_eq!(facts["File:A.jpg"], expected);
    }

    #[test]
    fn other_shapes_are_told_apart() {
        for wrong in [
            json!([]),
            json!({"query": {}}),
            json!({"query": {"search": [1]}}),
        ] {
            assert_eq!(search_title(&wrong), Err(UnexpectedShape), "{wrong}");
        }
        assert_eq!(search_title(&json!({"query": {"search": []}})), Ok(None));
        let huge = json!({"source": "http://h/a.png", "width": 1e12, "height": 3});
        for wrong in [
            json!({"title": "A", "original": 3}),
            json!({"title": "A", "original": huge}),
        ] {
            assert!(page_images(&json!({"query": {"pages": [wrong]}})).is_err());
        }
        let answer = json!({"query": {
            "normalized": [{"from": "a b", "to": "A b"}],
            "pages": {"7": {"pageid": 7, "title": "A b", "pageimage": "X_y.png",
                "original": {"source": "http://h/X_y.png", "width": 4, "height": 3}},
                "-1": {"title": "Nothing", "missing": ""}},
        }});
        let images = page_images(&answer).unwrap();
        assert_eq!(images.len(), 1);
        assert_eq!(images[0].title, "a b");
        assert_eq!(images[0].file, "File:X y.png");
    }
}
