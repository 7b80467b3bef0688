//! The binary serving the demo model, as a user starts it.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A running server; ended when dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts it on a free port and waits until it says where it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(command(arguments).stderr(Stdio::null()))
    }

    /// Starts it at a socket that outlives it, as a service manager does; its log can be read when it has ended.
    pub(crate) fn start_at(socket: &TcpListener, arguments: &[&str]) -> Self {
        let socket = OwnedFd::from(socket.try_clone().expect("there are descriptors left"));
        // Descriptors other than the first three cannot be handed over without unsafe code.
        let handed_over = [("LISTEN_FDS", "1"), ("LISTEN_FDS_FIRST_FD", "0")];
        Self::spawn(command(arguments).stdin(socket).envs(handed_over).stderr(Stdio::piped()))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.rsplit_once("http://")?.1.parse().ok());
        Self { process, address: address.expect("it says where it listens; was `make setup` run?") }
    }

    /// Asks it to stop as a service manager does.
    pub(crate) fn terminate(&self) {
        let kill = Command::new("kill").arg(self.process.id().to_string()).status();
        assert!(kill.expect("kill runs").success());
    }

    /// What it has logged, once it has ended.
    pub(crate) fn log(&mut self) -> String {
        let mut log = String::new();
        let mut stderr = self.process.stderr.take().expect("it was started at a socket");
        stderr.read_to_string(&mut log).expect("it is text");
        log
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.process.wait().expect("it is our child")
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stenopool"));
    command
        .args(["serve", "--bind", "127.0.0.1:0", "--model", "demo"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
