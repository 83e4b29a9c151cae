//! The page in headless Chromium: it is drawn, no script fails, nothing is blocked or loaded.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::fixture::Fixture;
use super::picture::Picture;

/// The browser's program, or a loud skip.
fn chromium(test: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("chromium"))
        .find(|program| program.is_file());
    if found.is_none() {
        skip(test, "chromium is not installed");
    }
    found
}

/// Says that a test cannot be made here; ci/test prints these lines at its end.
fn skip(test: &str, why: &str) {
    eprintln!("skipped {test}: {why}");
    let default = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-cache");
    let cache = std::env::var_os("HPCVM_TEST_CACHE").map_or(default, PathBuf::from);
    fs::create_dir_all(&cache).unwrap();
    let list = File::options().append(true).create(true).open(cache.join("skipped"));
    writeln!(list.unwrap(), "{test}: {why}").unwrap();
}

/// A browser with a profile of its own, and the page it looks at.
struct Browser {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Browser {
    fn new(test: &str, page: &str) -> Option<Self> {
        let program = chromium(test)?;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("page.html"), page).unwrap();
        Some(Self { program, folder })
    }

    /// Standard output, and what the page's console said.
    fn run(&self, options: &[&str]) -> (String, Vec<String>) {
        // Nothing here takes a second; a browser that hangs is a failure, not a wait.
        let patience = Duration::from_mins(2).as_secs().to_string();
        let output = Command::new("timeout")
            .arg(patience)
            .arg(&self.program)
            // Root's browser has no sandbox, and neither has a container's.
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--no-first-run",
                "--hide-scrollbars",
                "--virtual-time-budget=5000",
                "--enable-logging=stderr",
            ])
            .arg(format!(
                "--user-data-dir={}",
                self.folder.path().join("profile").display()
            ))
            .args(options)
            .arg(format!("file://{}", self.folder.path().join("page.html").display()))
            .env("HOME", self.folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {said}", output.status);
        let console = said.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned);
        (String::from_utf8_lossy(&output.stdout).into_owned(), console.collect())
    }

    fn dom(&self) -> String {
        let (dom, console) = self.run(&["--dump-dom"]);
        assert!(console.is_empty(), "{console:#?}");
        dom
    }

    /// The page as a picture of this width.
    fn picture(&self, width: u32, dark: bool) -> Picture {
        let file = self.folder.path().join("picture.png");
        let scheme = u8::from(!dark);
        let (_, console) = self.run(&[
            &format!("--window-size={width},1400"),
            &format!("--blink-settings=preferredColorScheme={scheme}"),
            &format!("--screenshot={}", file.display()),
        ]);
        assert!(console.is_empty(), "{console:#?}");
        Picture::read(&file)
    }
}

#[test]
fn the_page_is_drawn_wide_and_narrow_light_and_dark() {
    let Some(browser) = Browser::new("report::the_page_is_drawn", &Fixture::science().page()) else {
        return;
    };
    for width in [1280, 480] {
        let (light, dark) = (browser.picture(width, false), browser.picture(width, true));
        assert_eq!((light.width, light.height), (width as usize, 1400));
        // A blank page has one colour; letters alone have some hundred shades.
        assert!(
            light.colours > 300 && dark.colours > 300,
            "{} {}",
            light.colours,
            dark.colours
        );
        assert!(
            light.brightness > 180 && dark.brightness < 90,
            "{} {}",
            light.brightness,
            dark.brightness
        );
    }
}

#[test]
fn the_script_makes_tables_sortable_and_says_nothing() {
    let page = Fixture::science().page();
    let Some(browser) = Browser::new("report::the_script_makes_tables_sortable", &page) else {
        return;
    };
    let dom = browser.dom();
    for part in [
        "<button type=\"button\">Saved</button>",
        "Filter packages",
        "aria-pressed=\"false\">linked</button>",
    ] {
        assert!(!page.contains(part) && dom.contains(part), "{part}");
    }
    for row in [
        "libopenblas0-pthread.so.1.2.3",
        "dpkg-db-backup",
        "python3.11-minimal",
        "time-zones",
    ] {
        assert_eq!(page.contains(row), dom.contains(row), "{row}");
    }
}

#[test]
fn tables_are_sorted_and_filtered() {
    // A second script tries the first; under the page's own policy it would not run.
    let trial = r##"<script>
        const table = document.querySelector("#libraries table[data-filter]");
        const heading = Array.from(table.querySelectorAll("thead button")).find((b) => b.textContent === "Size");
        const first = () => table.tBodies[0].rows[0].cells[2].textContent;
        heading.click(); const largest = first();
        heading.click(); const smallest = first();
        const tools = table.parentElement.previousElementSibling;
        tools.querySelector("input").value = "libFFTW3"; tools.querySelector("input").dispatchEvent(new Event("input"));
        const found = tools.querySelector("[role=status]").textContent;
        Array.from(tools.querySelectorAll("button")).find((b) => b.textContent === "local").click();
        const none = tools.querySelector("[role=status]").textContent;
        document.title = [largest, smallest, found, none].join(" / ");
    </script></body>"##;
    let page = Fixture::science().page();
    let open = page
        .replace("default-src", "x-src")
        .replace("style-src", "y-src")
        .replace("script-src", "z-src");
    let open = open.replace("http-equiv", "data-was").replace("</body>", trial);
    let Some(browser) = Browser::new("report::tables_are_sorted_and_filtered", &open) else {
        return;
    };
    let dom = browser.dom();
    assert!(
        dom.contains("<title>36.0 MiB / 0 B / 2 of 18 / 0 of 18</title>"),
        "{}",
        &dom[..1500]
    );
}

#[test]
fn a_hostile_image_stays_text() {
    let Some(browser) = Browser::new("report::a_hostile_image_stays_text", &Fixture::hostile().page()) else {
        return;
    };
    let dom = browser.dom();
    assert_eq!(dom.matches("<script>").count(), 1);
    assert!(!dom.contains("<img"));
    assert!(dom.contains("&lt;img src=x onerror="));
}

#[test]
fn a_foreign_script_would_be_stopped_and_told() {
    let page = Fixture::science()
        .page()
        .replace("</body>", "<script>document.title = 'taken';</script></body>");
    let Some(browser) = Browser::new("report::a_foreign_script_would_be_stopped", &page) else {
        return;
    };
    let (dom, console) = browser.run(&["--dump-dom"]);
    assert!(dom.contains("<title>science-i386: report on the image</title>"));
    assert!(
        console.iter().any(|line| line.contains("Content Security Policy")),
        "{console:#?}"
    );
}
