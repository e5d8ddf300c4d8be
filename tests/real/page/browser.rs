//! A real Chromium without a window, spoken to in its own protocol. It ends with this value, and what the page wrote
//! to its console is printed when a test fails.

use std::{
    env,
    io::{BufRead, BufReader},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// How long the page may take to come to what is waited for.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long one answer of the browser may take.
const ANSWER: Duration = Duration::from_secs(30);
/// The names that packages give it.
const NAMES: [&str; 5] =
    ["chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// One browser with one page.
pub struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    asked: u64,
    session: Option<String>,
    console: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts it with an empty page of that size.
    pub fn start(width: u32, height: u32) -> Self {
        let profile = tempfile::Builder::new().prefix("tickgate-browser.").tempdir().unwrap();
        // A group of its own: Debian's program is a script that starts the browser and waits for it.
        let mut child = Command::new(binary())
            .process_group(0)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .args(["--disable-background-networking", "--hide-scrollbars", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={width},{height}"))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Chromium starts; `dev/setup` installs it");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let told =
            lines.find_map(|line| Some(line.strip_prefix("DevTools listening on ")?.trim().to_owned()));
        let address = told.expect("it says where it listens");
        // Nobody may wait because nobody reads.
        thread::spawn(move || lines.for_each(drop));
        let host = address.trim_start_matches("ws://").split('/').next().unwrap();
        let stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        let (socket, _) = client(&address, stream).unwrap();
        let mut browser =
            Self { child, socket, asked: 0, session: None, console: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.resize(width, height, 1);
        browser
    }

    /// Another size of the page, and pixels to a point.
    pub fn resize(&mut self, width: u32, height: u32, scale: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// The same of a phone: with a finger instead of a mouse, and a window as wide as the page says.
    pub fn become_phone(&mut self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": true });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        self.call("Emulation.setTouchEmulationEnabled", &json!({ "enabled": true, "maxTouchPoints": 1 }));
    }

    /// Whether the page believes that people want it dark.
    pub fn prefer(&mut self, scheme: &str) {
        let feature = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", &json!({ "features": feature }));
    }

    /// Goes there.
    pub fn open(&mut self, url: &str) {
        let went = self.call("Page.navigate", &json!({ "url": url }));
        assert!(went["errorText"].is_null(), "{url}: {went}");
    }

    /// The value of a JavaScript expression, awaited where it is a promise.
    pub fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &asked);
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        answer["result"]["value"].clone()
    }

    /// Waits until the expression is true; what it is about may not be there yet.
    pub fn wait(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        let tried =
            format!("(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()");
        loop {
            if self.eval(&tried) == json!(true) {
                return;
            }
            if Instant::now() > deadline {
                let text = self.eval("document.body.innerText");
                panic!("never true: {expression}\nthe page says: {}", text.as_str().unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Clicks in the middle of what the selector finds, so often.
    pub fn click(&mut self, selector: &str, times: u32) {
        let found = self.middle_of(selector);
        for count in 1..=times {
            for kind in ["mousePressed", "mouseReleased"] {
                let event = json!({
                    "type": kind, "x": found[0], "y": found[1], "button": "left", "clickCount": count
                });
                self.call("Input.dispatchMouseEvent", &event);
            }
        }
    }

    /// Touches the middle of what the selector finds, once.
    pub fn tap(&mut self, selector: &str) {
        let found = self.middle_of(selector);
        let finger = json!([{ "x": found[0], "y": found[1] }]);
        self.call("Input.dispatchTouchEvent", &json!({ "type": "touchStart", "touchPoints": finger }));
        self.call("Input.dispatchTouchEvent", &json!({ "type": "touchEnd", "touchPoints": [] }));
    }

    fn middle_of(&mut self, selector: &str) -> Value {
        self.eval(&format!(
            "(() => {{ const box = document.querySelector({}).getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(selector)
        ))
    }

    /// Presses a key, by the name that JavaScript gives it.
    pub fn press(&mut self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            _ if key.chars().count() == 1 => key,
            _ => "",
        };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "text": if kind == "keyUp" { "" } else { text },
                "windowsVirtualKeyCode": virtual_key(key) });
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// The page as a picture.
    pub fn screenshot(&mut self, format: &str) -> Vec<u8> {
        let mut how = json!({ "format": format });
        if format != "png" {
            how["quality"] = json!(82);
        }
        let taken = self.call("Page.captureScreenshot", &how);
        BASE64.decode(taken["data"].as_str().unwrap().as_bytes()).unwrap()
    }

    /// What the page wrote to its console, errors and breaches of its policy.
    pub fn console(&self) -> &[String] {
        &self.console
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.asked += 1;
        let mut request = json!({ "id": self.asked, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(request.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().expect("the browser answers") else { continue };
            let told: Value = serde_json::from_str(&text).unwrap();
            if told["id"] == json!(self.asked) {
                assert!(told["error"].is_null(), "{method}: {}", told["error"]);
                return told["result"].clone();
            }
            self.note(&told);
        }
    }

    fn note(&mut self, told: &Value) {
        let said = &told["params"];
        match told["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.console.push(said["exceptionDetails"].to_string()),
            Some("Log.entryAdded") if said["entry"]["level"] == "error" => {
                self.console.push(said["entry"].to_string());
            }
            Some("Runtime.consoleAPICalled") if said["type"] == "error" => {
                self.console.push(said["args"].to_string());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.child.id().try_into().expect("process ids are no larger"));
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("---- the page's console\n{}", self.console.join("\n"));
        }
    }
}

fn binary() -> String {
    env::var("TICKGATE_CHROMIUM").unwrap_or_else(|_| {
        let path = env::var("PATH").unwrap_or_default();
        let is_there = |name: &str| env::split_paths(&path).any(|folder| folder.join(name).is_file());
        let name = NAMES.into_iter().find(|name| is_there(name));
        name.expect("a Chromium on the path; `dev/setup` installs it").to_owned()
    })
}

fn virtual_key(key: &str) -> u32 {
    match key {
        "Enter" => 13,
        "Escape" => 27,
        "PageUp" => 33,
        "PageDown" => 34,
        "End" => 35,
        "Home" => 36,
        "ArrowLeft" => 37,
        "ArrowUp" => 38,
        "ArrowRight" => 39,
        "ArrowDown" => 40,
        _ => key.chars().next().map_or(0, |c| c.to_ascii_uppercase().into()),
    }
}
