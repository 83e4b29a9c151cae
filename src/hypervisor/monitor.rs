//! Orders to a running QEMU: one JSON object a line, over a socket (QEMU's
//! `docs/interop/qmp-spec`, `docs/interop/qemu-qmp-ref`).

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::qemu::UnspeakablePath;

/// How long QEMU may take to answer an order.
const ANSWER: Duration = Duration::from_secs(20);
/// How often a running save is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// QEMU did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The conversation broke off.
    #[error("the hypervisor does not answer: {0}")]
    Silent(#[from] io::Error),
    /// It refused, or failed.
    #[error("the hypervisor cannot {order}: {reason}")]
    Refused {
        /// The order's name.
        order: &'static str,
        /// QEMU's words.
        reason: String,
    },
    /// A file's name cannot be given to it.
    #[error(transparent)]
    Path(#[from] UnspeakablePath),
}

/// The lines that make a machine begun with `-incoming defer` go on from the state in `file`. They can be sent
/// before QEMU has started.
pub fn restore_orders(file: &Path) -> Result<String, UnspeakablePath> {
    let orders = [
        order("qmp_capabilities", &json!({})),
        ignore_shared_memory(),
        order("migrate-incoming", &json!({"uri": uri(file)?})),
    ];
    Ok(orders.map(|order| format!("{order}\n")).concat())
}

/// A conversation with a running QEMU.
#[derive(Debug)]
pub struct Monitor {
    reader: BufReader<UnixStream>,
}

impl Monitor {
    /// Begins the conversation over `socket`.
    pub fn begin(socket: UnixStream) -> Result<Self, MonitorError> {
        socket.set_read_timeout(Some(ANSWER))?;
        let mut monitor = Self {
            reader: BufReader::new(socket),
        };
        monitor.tell("begin", &order("qmp_capabilities", &json!({})))?;
        Ok(monitor)
    }

    /// Saves the machine's state, except memory that is in a file of its own, to `file`. The machine stands still
    /// from then on.
    pub fn save(&mut self, file: &Path) -> Result<(), MonitorError> {
        self.tell("save", &ignore_shared_memory())?;
        self.tell("save", &order("migrate", &json!({"uri": uri(file)?})))?;
        let began = Instant::now();
        loop {
            let state = self.tell("save", &order("query-migrate", &json!({})))?;
            match state["status"].as_str().unwrap_or_default() {
                "completed" => return Ok(()),
                "failed" | "cancelled" => {
                    let reason = state["error-desc"].as_str().unwrap_or("no reason given").to_owned();
                    return Err(MonitorError::Refused { order: "save", reason });
                }
                _ if began.elapsed() > ANSWER => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
                _ => thread::sleep(GLANCE),
            }
        }
    }

    /// Ends QEMU.
    pub fn quit(&mut self) -> Result<(), MonitorError> {
        self.tell("quit", &order("quit", &json!({}))).map(drop)
    }

    /// Sends an order and waits for its answer; events in between are passed over.
    fn tell(&mut self, name: &'static str, order: &Value) -> Result<Value, MonitorError> {
        self.reader.get_mut().write_all(format!("{order}\n").as_bytes())?;
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let answer: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(reason) = answer["error"]["desc"].as_str() {
                let reason = reason.to_owned();
                return Err(MonitorError::Refused { order: name, reason });
            }
        }
    }
}

fn order(name: &str, arguments: &Value) -> Value {
    json!({"execute": name, "arguments": arguments})
}

/// Memory in a file that both sides know is not copied.
fn ignore_shared_memory() -> Value {
    let capability = json!({"capability": "x-ignore-shared", "state": true});
    order("migrate-set-capabilities", &json!({"capabilities": [capability]}))
}

fn uri(file: &Path) -> Result<String, UnspeakablePath> {
    let path = file.to_str().ok_or_else(|| UnspeakablePath(PathBuf::from(file)))?;
    Ok(format!("file:{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_to_restore_are_lines_of_json() {
        insta::assert_snapshot!(restore_orders(Path::new("/n/state")).unwrap(), @r#"
        {"execute":"qmp_capabilities","arguments":{}}
        {"execute":"migrate-set-capabilities","arguments":{"capabilities":[{"capability":"x-ignore-shared","state":true}]}}
        {"execute":"migrate-incoming","arguments":{"uri":"file:/n/state"}}
        "#);
    }

    /// Answers each order with the next line; what was ordered.
    fn answering(lines: &'static [&'static str]) -> (UnixStream, thread::JoinHandle<Vec<String>>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            let mut orders = BufReader::new(theirs.try_clone().unwrap()).lines();
            let mut theirs = theirs;
            let mut heard = Vec::new();
            for answer in lines {
                heard.extend(orders.next().map(Result::unwrap));
                theirs.write_all(answer.as_bytes()).unwrap();
            }
            heard
        });
        (ours, server)
    }

    #[test]
    fn a_machine_is_saved() {
        let (socket, server) = answering(&[
            "{\"QMP\": {}}\n{\"return\": {}}\n",
            "{\"return\": {}}\n",
            "{\"event\": \"STOP\"}\n{\"return\": {}}\n",
            "{\"return\": {\"status\": \"active\"}}\n",
            "{\"return\": {\"status\": \"completed\"}}\n",
        ]);
        Monitor::begin(socket).unwrap().save(Path::new("/n/state")).unwrap();
        let heard = server.join().unwrap();
        assert!(heard[2].contains("file:/n/state"), "{heard:?}");
    }

    #[test]
    fn a_refusal_says_why() {
        let (socket, _server) = answering(&[
            "{\"return\": {}}\n",
            "{\"return\": {}}\n",
            "{\"error\": {\"class\": \"GenericError\", \"desc\": \"9p is mounted\"}}\n",
        ]);
        let error = Monitor::begin(socket).unwrap().save(Path::new("/n/state")).unwrap_err();
        assert_eq!(error.to_string(), "the hypervisor cannot save: 9p is mounted");
        let (socket, server) = answering(&[]);
        server.join().unwrap();
        assert!(matches!(Monitor::begin(socket), Err(MonitorError::Silent(_))));
    }
}
