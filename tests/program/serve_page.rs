//! The page of `novic serve` in Chromium.

use serde_json::json;

use crate::browser::Browser;
use crate::folder::repository;
use crate::serve::Server;

/// Waits until that many pictures have their labels.
#[track_caller]
fn results(browser: &mut Browser, count: usize) {
    browser.until(&format!(
        "document.querySelectorAll('#results .result').length === {count} && [...document.querySelectorAll('#results .result')].every((r) => r.querySelectorAll('tbody tr').length > 0)"
    ));
}

/// Gives the page files by an event that carries them.
fn hand_over(browser: &mut Browser, event: &str, carrier: &str) {
    browser.value(&format!(
        "(async () => {{
            const carried = new DataTransfer();
            for (const name of ['fox', 'key']) {{
                const blob = await (await fetch(`/examples/${{name}}.png`)).blob();
                carried.items.add(new File([blob], `${{name}}.png`, {{ type: 'image/png' }}));
            }}
            window.dispatchEvent(new {event}('{carrier}', {{ bubbles: true, cancelable: true,
                dataTransfer: carried, clipboardData: carried }}));
        }})()"
    ));
}

#[test]
fn pictures_come_by_choosing_dropping_pasting_and_examples() {
    let server = Server::start(&[]);
    let Some(mut browser) = Browser::start() else {
        return;
    };
    browser.window(1280, 800);
    browser.open(&server.url());
    browser.until("/nouns/.test(document.getElementById('model').textContent)");
    browser.expect_accessible();

    // Choosing.
    let document = browser.call("DOM.getDocument", json!({}));
    let query = json!({"nodeId": document["root"]["nodeId"], "selector": "#files"});
    let input = browser.call("DOM.querySelector", query);
    let files = [repository("extras/demo/snail.png")];
    browser.call(
        "DOM.setFileInputFiles",
        json!({"nodeId": input["nodeId"], "files": files}),
    );
    results(&mut browser, 1);
    assert_eq!(browser.text("#results h3"), "snail.png");
    // Dropping and pasting.
    hand_over(&mut browser, "DragEvent", "drop");
    results(&mut browser, 3);
    hand_over(&mut browser, "ClipboardEvent", "paste");
    results(&mut browser, 5);
    assert!(
        browser.text("#status").contains('%'),
        "{}",
        browser.text("#status")
    );
    // An example, by keys alone.
    browser.value("document.querySelector('#examples button').focus()");
    browser.press("Enter");
    results(&mut browser, 6);
    assert_eq!(browser.text("#results h3"), "butterfly.png");

    // Bars are as long as the labels are likely.
    let bars = browser.value(
        "[...document.querySelectorAll('#results .result:first-child tbody tr')].map((row) => [
            row.querySelector('.bar i').getBoundingClientRect().width / row.querySelector('.bar span').getBoundingClientRect().width,
            parseFloat(row.querySelector('.value').textContent) / 100])",
    );
    for pair in bars.as_array().unwrap() {
        let (width, chance) = (pair[0].as_f64().unwrap(), pair[1].as_f64().unwrap());
        assert!((width - chance).abs() < 0.02, "{bars}");
    }
    // Word by word.
    browser.value("document.querySelector('#results .result:first-child tbody button').focus()");
    browser.press("Enter");
    browser.until("document.querySelectorAll('#results .result:first-child .words ol').length > 0");
    assert_eq!(
        browser.value("document.querySelectorAll('.words li.chosen').length > 0"),
        true
    );
    browser.picture("serve-desktop-light");
    browser.expect_accessible();

    // What is no picture is told of.
    browser.value(
        "(() => { const carried = new DataTransfer(); carried.items.add(new File(['x'], 'x.png', { type: 'image/png' }));
           window.dispatchEvent(new DragEvent('drop', { cancelable: true, dataTransfer: carried })); })()",
    );
    browser.until("document.querySelectorAll('#results .error').length === 1");
    browser.complaints.clear();
    browser.value("document.getElementById('clear').click()");
    browser.until("document.querySelectorAll('#results .result').length === 0");
    // A guide of one's own.
    browser.value("document.querySelector('details').open = true");
    browser.value("document.getElementById('guide').focus()");
    browser.type_text("wolf\nfox\nfox snail\n");
    browser.value("document.querySelector('#examples img[alt=fox]').parentElement.click()");
    results(&mut browser, 1);
    assert_eq!(
        browser.value("document.querySelectorAll('#results tbody tr').length"),
        3
    );
    let warning = browser.text("#results .guide-warning");
    assert!(warning.contains("fox snail"), "{warning}");
    browser.expect_accessible();
    browser.expect_tidy();
}

#[test]
fn it_is_accessible_in_any_size_and_light() {
    let server = Server::start(&[]);
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
            browser.open("about:blank");
            browser.open(&format!("{}#example=fox", server.url()));
            results(&mut browser, 1);
            assert_eq!(
                browser.value(
                    "document.getElementById('results-head').getBoundingClientRect().top < innerHeight"
                ),
                true,
                "{name}"
            );
            assert_eq!(
                browser.value("document.documentElement.dataset.theme"),
                scheme
            );
            browser.value("document.querySelector('#results tbody button').click()");
            browser.until("document.querySelectorAll('.words ol').length > 0");
            browser.expect_accessible();
            browser.expect_tidy();
            browser.picture(&format!("serve-{name}-{scheme}"));
        }
    }
    // The button remembers.
    browser.value("document.getElementById('theme').click()");
    browser.open("about:blank");
    browser.open(&server.url());
    assert_eq!(
        browser.value("document.documentElement.dataset.theme"),
        "light"
    );
    browser.window(1280, 800);
    browser.value("document.documentElement.style.fontSize = '200%'");
    browser.expect_tidy();
}

#[test]
fn the_camera_gives_a_picture() {
    let server = Server::start(&[]);
    let Some(mut browser) = Browser::start() else {
        return;
    };
    browser.open(&server.url());
    browser.value("document.getElementById('camera').click()");
    browser.until("document.getElementById('video').videoWidth > 0");
    browser.press("Enter");
    results(&mut browser, 1);
    assert_eq!(browser.text("#results h3"), "camera picture");
    browser.value("document.getElementById('close-camera').click()");
    assert_eq!(
        browser.value("document.getElementById('viewfinder').hidden"),
        true
    );
}

#[test]
fn a_token_of_the_address_is_used_and_hidden() {
    let server = Server::start(&["--token", "a-secret"]);
    let Some(mut browser) = Browser::start() else {
        return;
    };
    browser.open(&server.url());
    browser.until("/wants its token/.test(document.getElementById('model').textContent)");
    browser.open("about:blank");
    browser.open(&format!("{}#token=a-secret", server.url()));
    browser.until("/nouns/.test(document.getElementById('model').textContent)");
    assert_eq!(browser.value("location.hash"), "");
}
