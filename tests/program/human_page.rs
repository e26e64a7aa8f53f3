//! The page of people's annotations in Chromium, by keys.

use std::fs;

use serde_json::json;

use crate::annotator::{Annotator, file, labels, set};
use crate::browser::Browser;

fn begin(browser: &mut Browser, annotator: &Annotator) {
    browser.open(&annotator.url);
    browser.until("document.querySelectorAll('#nouns button').length > 0 && document.getElementById('image').complete");
}

/// Presses a key and waits until the noun is another.
#[track_caller]
fn press_to(browser: &mut Browser, key: &str, noun: &str) {
    browser.press(key);
    browser.until(&format!(
        "document.getElementById('noun').textContent === {} && /saved/.test(document.getElementById('saved').textContent)",
        json!(noun)
    ));
}

#[test]
fn keys_label_and_nothing_is_lost_when_the_browser_or_the_program_is_killed() {
    let folder = set();
    let secret = ["--token", "a-secret-of-tests"];
    let annotator = Annotator::start(&folder, &secret);
    let Some(mut browser) = Browser::start() else {
        return;
    };
    begin(&mut browser, &annotator);
    assert_eq!(browser.text("#noun"), "fox");
    // The token is not shown any more.
    assert_eq!(browser.value("location.search"), "");
    press_to(&mut browser, "q", "red fox");
    press_to(&mut browser, "2", "wolf");
    press_to(&mut browser, "u", "red fox");
    press_to(&mut browser, "Control+Shift+z", "red fox");
    press_to(&mut browser, " ", "wolf");
    press_to(&mut browser, "b", "red fox");
    press_to(&mut browser, "n", "wolf");
    // The browser is killed; another one goes on.
    browser.kill();
    let Some(mut browser) = Browser::start() else {
        return;
    };
    begin(&mut browser, &annotator);
    assert_eq!(browser.text("#noun"), "wolf");
    assert!(
        browser.text("#counts").starts_with("2 of 8 pairs"),
        "{}",
        browser.text("#counts")
    );
    press_to(&mut browser, "i", "key");

    // The program is killed; the page says so, and goes on with the next one.
    let port = annotator.port();
    annotator.kill();
    browser.until("/connection is lost/.test(document.getElementById('saved').textContent)");
    browser.press("q");
    browser.until("/Not saved|lost/.test(document.getElementById('saved').textContent)");
    assert_eq!(browser.text("#noun"), "key");
    browser.complaints.clear();
    let mut annotator = Annotator::start(&folder, &["--token", secret[1], "--port", &port]);
    browser.until("document.getElementById('saved').textContent === 'All labels are saved'");
    browser.complaints.clear();
    press_to(&mut browser, "q", "lock");
    press_to(&mut browser, "Enter", "shell");
    press_to(&mut browser, "Shift+Enter", "lock");

    // Esc asks, Enter ends.
    browser.press("Escape");
    browser.until("document.getElementById('finish').open");
    browser.press("Enter");
    browser.until("/session has ended/.test(document.getElementById('saved').textContent)");
    let (code, _) = annotator.wait();
    assert_eq!(code, Some(0));
    let expected = [
        ("fox.png", "fox", "correct_primary"),
        ("fox.png", "red fox", "correct_secondary"),
        ("fox.png", "wolf", "incorrect"),
        ("key.png", "key", "correct_primary"),
    ];
    let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
    assert_eq!(labels(&folder), expected);
}

#[test]
fn filters_keys_zoom_and_texts() {
    let folder = set();
    let annotator = Annotator::start(&folder, &["--token", "none"]);
    annotator.label("key.png", "lock", "incorrect");
    let Some(mut browser) = Browser::start() else {
        return;
    };
    begin(&mut browser, &annotator);
    // What is typed into a field is no key.
    browser.press("/");
    browser.until("document.activeElement.id === 'f-noun'");
    browser.until("/Open \\(7\\)/.test(document.getElementById('f-status').textContent)");
    browser.press("s");
    browser.press("q");
    browser.until("document.getElementById('noun').textContent === 'The end of the list'");
    assert_eq!(annotator.get("/api/session").json()["done"], 1);
    browser.value("document.getElementById('f-clear').click()");
    browser.until("document.getElementById('noun').textContent === 'fox'");
    browser.value(
        "(() => { const s = document.getElementById('f-status'); s.value = 'done'; s.dispatchEvent(new Event('change')); })()",
    );
    browser.until("document.getElementById('noun').textContent === 'lock'");
    assert_eq!(
        browser.value("document.querySelector('#categories [aria-pressed=true]').dataset.category"),
        "incorrect"
    );
    browser.value("document.getElementById('f-clear').click()");
    browser.until("document.getElementById('noun').textContent === 'fox'");
    browser.value("document.getElementById('noun').focus()");

    // Zoom.
    let width = |browser: &mut Browser| {
        browser
            .value("document.getElementById('image').getBoundingClientRect().width")
            .as_f64()
            .unwrap()
    };
    let before = width(&mut browser);
    browser.press("+");
    browser.until("document.getElementById('zoom-reset').textContent === '125 %'");
    assert!(width(&mut browser) > before);
    browser.press("0");
    browser.until("document.getElementById('zoom-reset').textContent === '100 %'");

    // Another key, and no letters.
    browser.press("?");
    browser.until("document.getElementById('help').open");
    browser.expect_accessible();
    browser.value("document.querySelector('#keys button').click()");
    browser.press("y");
    browser.until("document.querySelector('#keys kbd').textContent === 'Y'");
    browser.press("Escape");
    browser.until("!document.getElementById('help').open");
    browser.value("document.getElementById('noun').focus()");
    browser.press("q");
    browser.press("y");
    browser.until("document.getElementById('noun').textContent === 'red fox'");
    assert_eq!(annotator.get("/api/session").json()["done"], 2);
    browser.value("document.getElementById('letters').click()");
    browser.value("document.getElementById('help').close()");
    browser.value("document.getElementById('noun').focus()");
    browser.press("i");
    browser.press("ArrowRight");
    browser.until("document.getElementById('noun').textContent === 'wolf'");
    assert_eq!(annotator.get("/api/session").json()["done"], 2);

    // The mouse, and a live region that tells.
    browser.click("#categories [data-category=close_primary]");
    browser.until(
        "document.getElementById('live').textContent === 'labelled wolf as Close primary, 5 left'",
    );
    // The same category again opens the pair.
    browser.click("#nouns [data-noun=key]");
    browser.until("document.getElementById('noun').textContent === 'key'");
    browser.click("#categories [data-category=close_primary]");
    browser.until("document.getElementById('noun').textContent === 'shell'");
    browser.press("ArrowLeft");
    browser.press("ArrowLeft");
    browser.until("document.getElementById('noun').textContent === 'key'");
    browser.click("#categories [data-category=close_primary]");
    browser.until("document.getElementById('live').textContent === 'key is open again, 5 left'");
    // A noun that nobody predicted.
    browser.click("#more summary");
    browser.value("document.getElementById('extra-noun').focus()");
    browser.type_text("key ring");
    browser.press("Enter");
    browser.until("/key ring/.test(document.getElementById('others').textContent)");
    // Undo leads to it, redo too; it is reached by a click and judged by keys.
    browser.value("document.getElementById('letters').click()");
    browser.value("document.getElementById('help').close()");
    browser.value("document.getElementById('noun').focus()");
    press_to(&mut browser, "ArrowRight", "lock");
    press_to(&mut browser, "ArrowRight", "shell");
    press_to(&mut browser, "u", "key ring");
    browser.until("/key.png/.test(document.getElementById('image').src) && !document.getElementById('image').hidden");
    assert!(browser.text("#others").contains("open"));
    press_to(&mut browser, " ", "key");
    press_to(&mut browser, "r", "key ring");
    assert!(!browser.text("#others").contains("open"));
    press_to(&mut browser, "ArrowLeft", "lock");
    browser.click("#others [data-noun='key ring']");
    browser.until("document.getElementById('noun').textContent === 'key ring'");
    browser.expect_accessible();
    press_to(&mut browser, "p", "key");
    assert_eq!(
        browser.value("document.querySelector('#others .mark').textContent"),
        "CS"
    );
    browser.expect_tidy();
}

#[test]
fn the_next_picture_is_there_before_it_is_wanted() {
    let folder = set();
    let annotator = Annotator::start(&folder, &["--token", "none"]);
    let Some(mut browser) = Browser::start() else {
        return;
    };
    begin(&mut browser, &annotator);
    let fetched = |name: &str| {
        format!(
            "performance.getEntriesByType('resource').filter((e) => e.name.includes({}) && e.transferSize > 0).length",
            json!(name)
        )
    };
    browser.until(&format!("{} === 1", fetched("key.png")));
    assert_eq!(browser.value(&fetched("snail.png")), 0);
    press_to(&mut browser, "Enter", "key");
    browser.until("document.getElementById('image').complete && document.getElementById('image').src.includes('key.png')");
    // Only the one behind it is fetched then.
    browser.until(&format!("{} === 1", fetched("snail.png")));
    assert_eq!(browser.value(&fetched("key.png")), 1);
    browser.expect_tidy();
}

#[test]
fn it_is_accessible_in_any_size_and_light() {
    let folder = set();
    let llm = json!({"fox.png": {"correct_primary": ["fox", "wolf"]}});
    fs::write(folder.path("llm.json"), llm.to_string()).unwrap();
    let annotator = Annotator::start(&folder, &["--token", "none", "--compare", "llm.json"]);
    annotator.label("fox.png", "wolf", "incorrect");
    annotator.label("fox.png", "fox", "correct_secondary");
    annotator.label("key.png", "key", "correct_primary");
    let Some(mut browser) = Browser::start() else {
        return;
    };
    for (width, height, name) in [
        (1280, 800, "desktop"),
        (390, 844, "phone"),
        (320, 640, "narrow"),
    ] {
        for scheme in ["light", "dark"] {
            browser.window(width, height);
            browser.prefer("prefers-color-scheme", scheme);
            begin(&mut browser, &annotator);
            assert_eq!(
                browser.value("document.documentElement.dataset.theme"),
                scheme
            );
            browser.picture(&format!("annotate-{name}-{scheme}"));
            browser.expect_accessible();
            browser.press("/");
            browser.until("document.activeElement.id === 'f-noun' && document.getElementById('f-status').length === 5");
            browser.picture(&format!("annotate-{name}-{scheme}-filters"));
            browser.expect_accessible();
            browser.expect_tidy();
        }
    }
    // Text of twice the size.
    browser.window(1280, 800);
    browser.value("document.documentElement.style.fontSize = '200%'");
    browser.expect_tidy();
    browser.picture("annotate-large-text");
    // A neutral text stands for the picture.
    assert_eq!(
        browser.value("document.getElementById('image').alt"),
        "image 1 of 3"
    );

    // Where the model disagrees: secondary things are none of its business.
    begin(&mut browser, &annotator);
    browser.click("#show-compare");
    browser.until("document.getElementById('compare').open");
    browser.expect_accessible();
    browser.picture("annotate-compare");
    let compared = browser.text("#compared");
    assert!(
        compared.contains("50.0 % of 2 common pairs agree, 1 differ")
            && compared.contains("right is right"),
        "{compared}"
    );
    browser.value("[...document.querySelectorAll('#compared button')].find((b) => /disagree/.test(b.textContent)).click()");
    browser.until("document.getElementById('noun').textContent === 'wolf'");
    assert!(browser.text("#notes").contains("llm.json: Correct primary"));
    assert!(
        browser.text("#f-status").contains("Disagreeing (1)"),
        "{}",
        browser.text("#f-status")
    );
}

#[test]
fn a_second_persons_labels_are_taken_over_and_blind_pages_tell_nothing() {
    let folder = set();
    let other = json!({
        "fox.png": {"correct_primary": ["fox", "red fox"], "incorrect": ["wolf"]},
        "elsewhere.png": {"incorrect": ["x"]},
    });
    fs::write(folder.path("anna.json"), other.to_string()).unwrap();
    let annotator = Annotator::start(&folder, &["--token", "none", "--compare", "anna.json"]);
    annotator.label("fox.png", "fox", "correct_primary");
    let Some(mut browser) = Browser::start() else {
        return;
    };
    begin(&mut browser, &annotator);
    browser.click("#show-compare");
    browser.until("document.getElementById('compare').open");
    assert!(browser.text("#compared").contains("100.0 % of 1"));
    browser.value("[...document.querySelectorAll('#compared button')].find((b) => /Take over/.test(b.textContent)).click()");
    browser.until("/2 labels taken over/.test(document.getElementById('live').textContent)");
    assert_eq!(annotator.get("/api/session").json()["done"], 3);
    // One undo takes all of them back.
    annotator.post("/api/undo", &json!({}));
    assert_eq!(annotator.get("/api/session").json()["done"], 1);
    // The page hears of what others do.
    browser.until("/^1 of 8 pairs/.test(document.getElementById('counts').textContent)");
    drop(browser);
    annotator.interrupt();

    let blind = Annotator::start(
        &folder,
        &[
            "--token",
            "none",
            "--compare",
            "anna.json",
            "--blind",
            "--review",
        ],
    );
    let Some(mut browser) = Browser::start() else {
        return;
    };
    begin(&mut browser, &blind);
    let page = browser.value("document.body.innerText");
    let page = page.as_str().unwrap();
    for hidden in ["fox.png", "one · beam", "anna"] {
        assert!(!page.contains(hidden), "{hidden} is shown");
    }
    // The label of the session before is hidden, from counts too, and kept by
    // who says the same.
    assert!(page.contains("0 of 8 pairs"), "{page}");
    browser.press("/");
    browser.until("/Labelled \\(0\\)/.test(document.getElementById('f-status').textContent)");
    browser.until("document.getElementById('f-status').length === 3");
    browser
        .until("/Correct primary \\(0\\)/.test(document.getElementById('f-category').textContent)");
    browser.value("document.getElementById('noun').focus()");
    assert_eq!(browser.text("#noun"), "fox");
    press_to(&mut browser, "q", "red fox");
    browser.until(
        "document.getElementById('live').textContent === 'labelled fox as Correct primary, 7 left'",
    );
    browser.expect_accessible();
    drop(browser);
    blind.interrupt();
    let of_fox = (
        "fox.png".to_owned(),
        "fox".to_owned(),
        "correct_primary".to_owned(),
    );
    assert_eq!(labels(&folder), [of_fox]);
    assert!(file(&folder).is_file());
}
