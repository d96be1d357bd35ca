//! The connection file that a client writes, and the five sockets that it names.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::Error;

/// Milliseconds that a closing socket still delivers what it holds.
const LINGER: i32 = 1000;
/// A subscriber that answers nothing for so many milliseconds is cut off, and what waits for it is freed.
const DEAF: i32 = 9000;
/// Milliseconds between the questions whether a subscriber is there.
const HEARTBEAT: i32 = 3000;

/// Where to listen, and the key of the signatures.
#[derive(Clone, Debug, Deserialize)]
pub struct Connection {
    #[serde(default = "tcp")]
    transport: String,
    #[serde(default = "loopback")]
    ip: String,
    shell_port: u16,
    control_port: u16,
    stdin_port: u16,
    iopub_port: u16,
    hb_port: u16,
    /// The key of the signatures; empty for none.
    #[serde(default)]
    pub key: String,
    #[serde(default = "hmac_sha256")]
    signature_scheme: String,
}

fn tcp() -> String {
    "tcp".into()
}

fn loopback() -> String {
    "127.0.0.1".into()
}

fn hmac_sha256() -> String {
    "hmac-sha256".into()
}

impl Connection {
    /// Reads a connection file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Connection {
            path: PathBuf::from(path),
            reason,
        };
        let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let connection: Self =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if !["tcp", "ipc"].contains(&connection.transport.as_str()) {
            let reason = format!(
                "the transport {:?} is neither tcp nor ipc",
                connection.transport
            );
            return Err(wrong(reason));
        }
        if connection.signature_scheme != hmac_sha256() {
            let reason = format!(
                "the signature scheme {:?} is not hmac-sha256",
                connection.signature_scheme
            );
            return Err(wrong(reason));
        }
        Ok(connection)
    }

    fn url(&self, port: u16) -> String {
        // A port of an ipc connection is the ending of a file's name.
        let between = if self.transport == "ipc" { '-' } else { ':' };
        format!("{}://{}{between}{port}", self.transport, self.ip)
    }

    fn bind(
        &self,
        context: &zmq::Context,
        kind: zmq::SocketType,
        port: u16,
    ) -> Result<zmq::Socket, Error> {
        let url = self.url(port);
        let open = || {
            let socket = context.socket(kind)?;
            socket.set_linger(LINGER)?;
            match kind {
                // A client that reconnects with its old identity is else ignored.
                zmq::ROUTER => socket.set_router_handover(true)?,
                zmq::XPUB => {
                    // The default of 1000 silently drops messages of a loop that prints, `idle` among them.
                    socket.set_sndhwm(0)?;
                    // Else only the first client that subscribes to a topic is told of, and welcomed.
                    socket.set_xpub_verbose(true)?;
                    socket.set_heartbeat_ivl(HEARTBEAT)?;
                    socket.set_heartbeat_timeout(DEAF)?;
                }
                _ => {}
            }
            socket.bind(&url)?;
            Ok(socket)
        };
        open().map_err(|reason: zmq::Error| Error::Bind {
            url: url.clone(),
            reason: reason.to_string(),
        })
    }
}

/// The sockets. Only one thread may use them.
pub struct Sockets {
    /// Requests of clients.
    pub shell: zmq::Socket,
    /// Requests that must not wait for others.
    pub control: zmq::Socket,
    /// Questions to clients.
    pub stdin: zmq::Socket,
    /// Outputs for all who listen. An XPUB: it tells of subscriptions, which are welcomed.
    pub iopub: zmq::Socket,
}

impl Sockets {
    /// Listens where the connection file says; gives the socket of the heartbeat apart.
    pub fn bind(
        connection: &Connection,
        context: &zmq::Context,
    ) -> Result<(Self, zmq::Socket), Error> {
        let bind = |kind, port| connection.bind(context, kind, port);
        let sockets = Self {
            shell: bind(zmq::ROUTER, connection.shell_port)?,
            control: bind(zmq::ROUTER, connection.control_port)?,
            stdin: bind(zmq::ROUTER, connection.stdin_port)?,
            iopub: bind(zmq::XPUB, connection.iopub_port)?,
        };
        Ok((sockets, bind(zmq::REP, connection.hb_port)?))
    }
}

/// Sends back what comes, until the context ends; as long as it does, a client knows that the kernel lives.
pub fn echo(heartbeat: &zmq::Socket) {
    loop {
        match heartbeat
            .recv_msg(0)
            .and_then(|message| heartbeat.send(message, 0))
        {
            Ok(()) | Err(zmq::Error::EINTR) => {}
            Err(_) => return,
        }
    }
}
