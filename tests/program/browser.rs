//! Chromium without a window, told what to do through a pipe.
//!
//! It speaks the DevTools protocol on the file descriptors 3 and 4: a JSON
//! object, then a zero byte. A browser is killed with its test.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

const FLAGS: [&str; 13] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--remote-debugging-pipe",
    "about:blank",
];

/// A browser with one page.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: String,
    last: u64,
    /// What the page has complained about.
    pub complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts Chromium: `$CHROMIUM`, or the one of the system. None if there is
    /// none: a test of a page is left out then, unless `NOVIC_TEST_ALL` is set
    /// as it is where every change is checked.
    pub fn start() -> Option<Self> {
        let Some(program) = program() else {
            let message = "tests of pages need Chromium: install it, or name it in CHROMIUM";
            assert!(std::env::var_os("NOVIC_TEST_ALL").is_none(), "{message}");
            eprintln!("{message}");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let data = format!("--user-data-dir={}", profile.path().display());
        let mut child = Command::new("sh")
            .args([
                "-c",
                "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
                "sh",
            ])
            .arg(&program)
            .arg(data)
            .args(FLAGS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
        let mut browser = Self {
            to: child.stdin.take().unwrap(),
            from: BufReader::new(child.stdout.take().unwrap()),
            child,
            session: String::new(),
            last: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let made = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": made["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "DOM"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Asks something of the protocol.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        let answer = self.try_call(method, parameters);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.last += 1;
        let id = self.last;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.to
            .write_all(format!("{message}\0").as_bytes())
            .unwrap_or_else(|error| panic!("the browser is gone: {error}"));
        loop {
            let message = self.read();
            if message["id"] == id {
                return match message.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(message["result"].clone()),
                };
            }
            self.note(&message);
        }
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Remembers errors of the page.
    fn note(&mut self, event: &Value) {
        let text = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                event["params"]["exceptionDetails"]["exception"]["description"].to_string()
            }
            Some("Log.entryAdded") if event["params"]["entry"]["level"] == "error" => {
                let entry = &event["params"]["entry"];
                format!("{} {}", entry["text"], entry["url"])
            }
            _ => return,
        };
        self.complaints.push(text);
    }

    /// Goes to an address and waits until the page is there.
    pub fn open(&mut self, address: &str) {
        let answer = self.call("Page.navigate", json!({"url": address}));
        assert!(answer["errorText"].is_null(), "{address}: {answer}");
        self.until("document.readyState === 'complete'");
    }

    /// The value of an expression, awaited.
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
            "userGesture": true,
        });
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// The text of the first element that a selector finds.
    pub fn text(&mut self, selector: &str) -> String {
        let expression = format!("document.querySelector({}).textContent", json!(selector));
        self.value(&expression)
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until an expression of the page is true, at most half a minute.
    #[track_caller]
    pub fn until(&mut self, condition: &str) {
        let waiting = format!(
            "new Promise((done) => {{
                const start = performance.now();
                const look = () => {{
                    let is_so = false;
                    try {{ is_so = Boolean({condition}); }} catch {{ /* not yet */ }}
                    if (is_so || performance.now() - start > 30000) done(is_so);
                    else setTimeout(look, 10);
                }};
                look();
            }})"
        );
        let parameters = json!({
            "expression": waiting, "awaitPromise": true, "returnByValue": true,
        });
        // A page that is being replaced takes the waiting with it.
        for _ in 0..50 {
            if let Ok(answer) = self.try_call("Runtime.evaluate", parameters.clone())
                && answer["exceptionDetails"].is_null()
            {
                if answer["result"]["value"] == true {
                    return;
                }
                let page = self.value("document.body.innerText");
                panic!(
                    "it never became so: {condition}\n{}\n{:?}",
                    page.as_str().unwrap_or_default(),
                    self.complaints
                );
            }
        }
        panic!("no page stays: {condition}");
    }

    /// Presses and releases a key, such as `q`, `Enter`, `Control+Shift+z`.
    pub fn press(&mut self, key: &str) {
        let (mut modifiers, mut name) = (0, key);
        for (prefix, bit) in [("Control+", 2), ("Shift+", 8)] {
            if let Some(rest) = name.strip_prefix(prefix) {
                modifiers |= bit;
                name = rest;
            }
        }
        let shown = if modifiers & 8 != 0 && name.len() == 1 {
            name.to_uppercase()
        } else {
            name.to_owned()
        };
        let (code, number, text) = match name {
            "Enter" => ("Enter".to_owned(), 13, "\r".to_owned()),
            "Escape" => ("Escape".to_owned(), 27, String::new()),
            "Tab" => ("Tab".to_owned(), 9, String::new()),
            " " => ("Space".to_owned(), 32, " ".to_owned()),
            "ArrowLeft" => (name.to_owned(), 37, String::new()),
            "ArrowRight" => (name.to_owned(), 39, String::new()),
            "PageUp" => (name.to_owned(), 33, String::new()),
            "PageDown" => (name.to_owned(), 34, String::new()),
            _ => {
                let upper = name.to_uppercase();
                (
                    format!("Key{upper}"),
                    i64::from(upper.as_bytes()[0]),
                    name.to_owned(),
                )
            }
        };
        let mut down = json!({
            "type": "keyDown", "key": shown, "code": code, "modifiers": modifiers,
            "windowsVirtualKeyCode": number,
        });
        if !text.is_empty() && modifiers & 2 == 0 {
            down["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", down);
        let up = json!({
            "type": "keyUp", "key": shown, "code": code, "modifiers": modifiers,
            "windowsVirtualKeyCode": number,
        });
        self.call("Input.dispatchKeyEvent", up);
    }

    /// Types a text into what has the focus.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Clicks the middle of an element with the mouse.
    pub fn click(&mut self, selector: &str) {
        let place = self.value(&format!(
            "(() => {{ const e = document.querySelector({}); e.scrollIntoView({{block: 'center'}});
               const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()",
            json!(selector)
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Width and height of the window.
    pub fn window(&mut self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// What the user prefers, such as dark pages.
    pub fn prefer(&mut self, feature: &str, value: &str) {
        let features = json!([{"name": feature, "value": value}]);
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
    }

    /// A picture of the page; kept in `$NOVIC_SCREENSHOTS` if that is set.
    pub fn picture(&mut self, name: &str) -> image::RgbImage {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let text = shot["data"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap();
        if let Some(folder) = std::env::var_os("NOVIC_SCREENSHOTS") {
            std::fs::write(Path::new(&folder).join(format!("{name}.png")), &bytes).unwrap();
        }
        image::load_from_memory(&bytes).unwrap().to_rgb8()
    }

    /// Fails if anything of the page is wider than the window, or if it has
    /// complained.
    #[track_caller]
    pub fn expect_tidy(&mut self) {
        let wide = self
            .value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wide, 0, "the page is wider than the window");
        assert!(self.complaints.is_empty(), "{:?}", self.complaints);
    }

    /// Fails unless whatever can be used has a name, is large enough to be hit,
    /// and every text is readable on its ground.
    #[track_caller]
    pub fn expect_accessible(&mut self) {
        let faults = self.value(include_str!("accessibility.js"));
        assert_eq!(faults, json!([]), "{faults:#}");
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Where Chromium or its like is.
fn program() -> Option<String> {
    if let Ok(program) = std::env::var("CHROMIUM") {
        return Some(program);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    let mut known = ["chromium", "chromium-browser", "google-chrome", "chrome"].into_iter();
    known.find(is_there).map(str::to_owned)
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
