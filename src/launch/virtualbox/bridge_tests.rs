use std::process::Command;
use std::time::Duration;

use super::*;

/// A process that lives as long as the machine would.
struct Machine(Child);

impl Machine {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

const NAMES: [&str; 3] = ["c", "s", "e"];

fn patient(stream: &UnixStream) {
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
}

#[test]
fn lines_and_streams_reach_the_session_and_input_waits_to_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::listen(folder.path(), NAMES).unwrap();
    let mut machine = Machine::new();
    let ports = bridge.join(&machine.0).unwrap();
    let guest: Vec<UnixStream> = NAMES
        .iter()
        .map(|name| UnixStream::connect(folder.path().join(name)).unwrap())
        .collect();
    ports.iter().chain(&guest).for_each(patient);
    let [control, stdin, stdout, stderr] = &ports[..] else {
        panic!("four ports")
    };

    // A frame longer than the guest can take, and the end of file.
    let mut input = 3000_u32.to_le_bytes().to_vec();
    input.extend(vec![7; 3000]);
    input.extend([0; 4]);
    (&*stdin).write_all(&input).unwrap();
    (&guest[1]).write_all(b"out").unwrap();
    let mut bytes = [0; 3];
    (&*stdout).read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"out");

    for expected in [2048, 952, 0] {
        (&guest[0]).write_all(b"more\n").unwrap();
        let mut header = [0; 4];
        (&guest[1]).read_exact(&mut header).unwrap();
        assert_eq!(u32::from_le_bytes(header), expected);
        let mut payload = vec![0; expected as usize];
        (&guest[1]).read_exact(&mut payload).unwrap();
        assert!(payload.iter().all(|&byte| byte == 7));
    }
    (&guest[0]).write_all(b"more\nready 1\n").unwrap();
    (&guest[2]).write_all(b"err").unwrap();
    (&*control).write_all(b"ack\n").unwrap();
    let mut line = [0; 8];
    (&*control).read_exact(&mut line).unwrap();
    assert_eq!(&line, b"ready 1\n");
    let mut ack = [0; 4];
    (&guest[0]).read_exact(&mut ack).unwrap();
    assert_eq!(&ack, b"ack\n");
    (&*stderr).read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"err");

    // The machine hangs up: so do the session's ports, although it still holds them.
    machine.end();
    drop(guest);
    for port in [control, stdout, stderr] {
        assert_eq!((&*port).read(&mut bytes).unwrap(), 0);
    }
}

#[test]
fn a_machine_that_ends_without_a_call_ends_the_ports() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::listen(folder.path(), NAMES).unwrap();
    let mut machine = Machine::new();
    let ports = bridge.join(&machine.0).unwrap();
    ports.iter().for_each(patient);
    machine.end();
    for mut port in ports {
        assert_eq!(port.read(&mut [0; 1]).unwrap(), 0);
    }
}
