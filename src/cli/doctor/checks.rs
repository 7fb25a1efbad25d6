//! What `sluicegate doctor` looks at. Nothing here changes the machine, but for a file written and removed at once.

use std::fs::{self, OpenOptions};
use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use super::Check;
use crate::config::Config;

const PATIENCE: Duration = Duration::from_secs(2);
const ROOM: u64 = 1 << 30;

/// Looks at everything that `config` needs.
pub(super) fn all(config: &Config) -> Vec<Check> {
    vec![address(config)]
}

/// Whether the address of the HTTP interface is free, or already served by a Sluicegate.
fn address(config: &Config) -> Check {
    let listen = config.api.listen;
    match TcpListener::bind(listen) {
        Ok(_) => Check::well("api.listen", format!("{listen} is free")),
        Err(error) => Check::missing(
            "api.listen",
            format!("{listen} cannot be listened on: {error}"),
            "stop what listens there (a Sluicegate that runs already?), or change `api.listen`",
        ),
    }
}

/// Whether files can be made in `folder`, and how much room there is.
fn folder(what: &str, folder: &Path) -> Check {
    let shown = folder.display();
    let probe = folder.join(format!(".sluicegate-doctor-{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).open(&probe).and_then(|_| fs::remove_file(&probe));
    if let Err(error) = written {
        let next = format!("install -d -o \"$(id -un)\" {shown}   # as root; or change the path in the configuration");
        return Check::missing(what, format!("cannot write in {shown}: {error}"), next);
    }
    match rustix::fs::statvfs(folder) {
        Err(error) => Check::missing(what, format!("cannot ask {shown} for its room: {error}"), "see the system's log"),
        Ok(disk) => room(what, &shown.to_string(), disk.f_bavail.saturating_mul(disk.f_frsize)),
    }
}

fn room(what: &str, shown: &str, free: u64) -> Check {
    let detail = format!("{shown} is writable, {} MiB free", free >> 20);
    if free < ROOM {
        Check::missing(what, detail, "make room: 1 GiB or more should be free")
    } else {
        Check::well(what, detail)
    }
}

/// Whether something accepts connections at `host:port`.
fn reachable(what: &str, address: &str) -> Check {
    let connected = connect(address);
    match connected {
        Ok(()) => Check::well(what, format!("{address} accepts connections")),
        Err(error) => Check::missing(
            what,
            format!("{address} does not: {error}"),
            "start the media server, or correct its address in the configuration",
        ),
    }
}

fn connect(address: &str) -> io::Result<()> {
    let mut refused = io::Error::other("the name has no address");
    for at in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&at, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}
