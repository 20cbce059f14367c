#![deny(unused_must_use)]

use sidecar_bundle::{Daemon, Ready};

fn program(daemon: Daemon) {
    let daemon = daemon.ready(Ready::tcp(80));
    println!("{daemon:?} {:?}", Ready::tcp(81));
}

fn main() {
    let _ = program;
}
