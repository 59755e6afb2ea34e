//! Servers that only some tests want: each in a directory of its own, with a configuration of its own, in the mirrored host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use super::{EXCHANGE, Lab, Namespace};
use crate::deadline::{SOON, pause, wait_until};
use crate::needs::{Need, find_tool, have_tools, skip};
use crate::process::{Finished, Running, Signal, run_within};

/// The name and password that the databases know.
pub const USER: &str = "lab";
/// See [`USER`].
pub const PASSWORD: &str = "not-in-any-event";
/// Where Debian puts PostgreSQL's programs, below the number of the version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// A server under way. Dropping it asks it to end, and kills it if it does not.
#[derive(Debug)]
pub struct Service {
    process: Running,
    stop: Signal,
    scratch: Scratch,
}

impl Service {
    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.scratch.directory.path()
    }

    /// nginx with TLS on port 443 for `secure.lab.test`, under the certificate `certificate.pem`, which it signed itself.
    pub fn secure_web(lab: &Lab) -> Option<Self> {
        if !have_tools(&["nginx", "openssl"]) {
            return None;
        }
        let scratch = Scratch::new();
        let root = scratch.directory.path().display();
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-days", "2", "-subj", "/O=Lab/CN=secure.lab.test"]);
        openssl.args(["-addext", "subjectAltName=DNS:secure.lab.test"]);
        openssl.arg("-keyout").arg(scratch.at("key.pem")).arg("-out").arg(scratch.at("certificate.pem"));
        let _ = run_within(EXCHANGE, &mut openssl).success();
        scratch.write("index.html", "a secret answer\n");
        scratch.write(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; pid {root}/nginx.pid; events {{ worker_connections 64; }}
                 http {{ access_log off; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;
                 fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
                 server {{ listen 443 ssl; root {root}; ssl_protocols TLSv1.2 TLSv1.3;
                 ssl_certificate {root}/certificate.pem; ssl_certificate_key {root}/key.pem; }} }}"
            ),
        );
        let mut nginx = lab.host.command("nginx");
        let process = Running::start(nginx.args(["-e", "stderr", "-c"]).arg(scratch.at("nginx.conf")));
        let service = Self { process, stop: Signal::TERM, scratch };
        service.wait_ready("the web server with TLS", || {
            let mut curl = lab.host.command("curl");
            curl.args(["-skS", "--fail", "-o", "/dev/null", "https://10.77.0.1/"]);
            curl
        });
        Some(service)
    }

    /// PostgreSQL on port 5432, with passwords.
    pub fn postgresql(lab: &Lab) -> Option<Self> {
        if !have_tools(&["setpriv", "psql"]) {
            return None;
        }
        let Some(programs) = postgresql_programs() else {
            skip(Need::Tools, "PostgreSQL's server is not installed");
            return None;
        };
        let scratch = Scratch::new();
        scratch.write("password", PASSWORD);
        let data = scratch.at("data");
        let mut initdb = scratch.command(&lab.host, programs.join("initdb"));
        initdb.args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth-local=trust", "--auth-host=scram-sha-256"]);
        initdb.arg(format!("--username={USER}")).arg("--pwfile").arg(scratch.at("password")).arg("-D").arg(&data);
        let _ = run_within(EXCHANGE, &mut initdb).success();
        fs::write(data.join("pg_hba.conf"), "local all all trust\nhost all all 10.77.0.0/24 scram-sha-256\n")
            .expect("a writable directory");
        let mut postgres = scratch.command(&lab.host, programs.join("postgres"));
        postgres.arg("-D").arg(&data).arg("-k").arg(scratch.directory.path());
        postgres.args(["-c", "listen_addresses=10.77.0.1", "-c", "fsync=off"]);
        // Interrupted, it does not wait for clients.
        let service = Self { process: Running::start(&mut postgres), stop: Signal::INT, scratch };
        service.wait_ready("PostgreSQL", || {
            let mut ready = lab.host.command(programs.join("pg_isready"));
            ready.arg("-h").arg(service.directory());
            ready
        });
        Some(service)
    }

    /// Redis on port 6379, that saves nothing.
    pub fn redis(lab: &Lab) -> Option<Self> {
        if !have_tools(&["setpriv", "redis-server", "redis-cli"]) {
            return None;
        }
        let scratch = Scratch::new();
        let mut redis = scratch.command(&lab.host, "redis-server");
        redis.args(["--bind", "10.77.0.1", "--port", "6379", "--save", "", "--daemonize", "no"]);
        redis.args(["--protected-mode", "no", "--dir"]).arg(scratch.directory.path());
        let service = Self { process: Running::start(&mut redis), stop: Signal::TERM, scratch };
        service.wait_ready("Redis", || {
            let mut ping = lab.host.command("redis-cli");
            // It says what is wrong, and by that alone it would not fail.
            ping.args(["-e", "-h", "10.77.0.1", "ping"]);
            ping
        });
        Some(service)
    }

    /// `MariaDB` on port 3306, with passwords.
    pub fn mariadb(lab: &Lab) -> Option<Self> {
        if !have_tools(&["setpriv", "mariadbd", "mariadb-install-db", "mariadb-admin", "mariadb"]) {
            return None;
        }
        let scratch = Scratch::new();
        let data = scratch.at("data");
        let socket = scratch.at("mariadb.sock");
        let mut install = scratch.command(&lab.host, "mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        install.arg(format!("--datadir={}", data.display()));
        let _ = run_within(EXCHANGE, &mut install).success();
        scratch.write(
            "users.sql",
            // One to a line: that is how this file is read.
            &format!("CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO {USER}@'%';\n"),
        );
        let mut mariadbd = scratch.command(&lab.host, find_tool("mariadbd").expect("it is installed"));
        mariadbd.args(["--no-defaults", "--bind-address=10.77.0.1", "--port=3306", "--skip-name-resolve"]);
        mariadbd.args(["--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M"]);
        let files = [("datadir", &data), ("socket", &socket), ("init-file", &scratch.at("users.sql"))];
        mariadbd.args(files.map(|(option, path)| format!("--{option}={}", path.display())));
        let service = Self { process: Running::start(&mut mariadbd), stop: Signal::TERM, scratch };
        service.wait_ready("MariaDB", || {
            let mut ping = lab.host.command("mariadb-admin");
            ping.args(["--no-defaults", "--user=root", "ping", "--socket"]).arg(&socket);
            ping
        });
        Some(service)
    }

    /// OpenSSH on port 2022, whose users have no keys: all come as far as to be refused.
    pub fn ssh(lab: &Lab) -> Option<Self> {
        if !have_tools(&["setpriv", "sshd", "ssh", "ssh-keygen"]) {
            return None;
        }
        let scratch = Scratch::new();
        let key = scratch.at("host_key");
        let mut keygen = scratch.command(&lab.host, "ssh-keygen");
        let _ = run_within(EXCHANGE, keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key)).success();
        scratch.write(
            "sshd_config",
            &format!(
                "ListenAddress 10.77.0.1:2022\nHostKey {}\nPidFile none\nUsePAM no\nPasswordAuthentication no\n",
                key.display()
            ),
        );
        // It runs itself again for each client, by the path that it was started by.
        let mut sshd = scratch.command(&lab.host, find_tool("sshd").expect("it is installed"));
        let mut process = Running::start(sshd.args(["-D", "-e", "-f"]).arg(scratch.at("sshd_config")));
        process.wait_for_line(SOON, "where it listens", |line| line.contains("Server listening on").then_some(()));
        Some(Self { process, stop: Signal::TERM, scratch })
    }

    /// Waits until the command that `ask` makes succeeds; it asks from the host itself, so that nothing crosses `mir0`.
    fn wait_ready(&self, what: &str, ask: impl Fn() -> Command) {
        wait_until(SOON, what, || {
            // What the server said last is in the failure when it is gone.
            let alive = fs::exists(format!("/proc/{}", self.process.id())).unwrap_or(true);
            assert!(alive, "{what} has ended; it said:\n{}", self.process.stderr());
            run_within(SOON, &mut ask()).status.success()
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.process.has_ended() {
            return;
        }
        self.process.signal(self.stop);
        let begin = Instant::now();
        while !self.process.has_ended() && begin.elapsed() < SOON {
            pause();
        }
    }
}

/// A directory that belongs to the user that no server refuses to run as.
#[derive(Debug)]
struct Scratch {
    directory: TempDir,
}

impl Scratch {
    fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        // The colon: with the group that this user has.
        let _ = run_within(EXCHANGE, Command::new("chown").arg("nobody:").arg(directory.path())).success();
        Self { directory }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file there that all may read.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).expect("a writable directory");
    }

    /// A command that runs `program` in `namespace`, in this directory and as the user that it belongs to.
    fn command(&self, namespace: &Namespace, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = namespace.command("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
        command.env("HOME", self.directory.path()).current_dir(self.directory.path());
        command
    }
}

/// Where the programs of the newest PostgreSQL server are.
fn postgresql_programs() -> Option<PathBuf> {
    let versions = fs::read_dir(POSTGRESQL).ok()?.flatten();
    let programs = versions.map(|version| version.path().join("bin")).filter(|path| path.join("initdb").is_file());
    programs.max_by_key(|path| version_in(path))
}

/// The number in `…/15/bin`.
fn version_in(path: &Path) -> Option<u32> {
    path.parent()?.file_name()?.to_str()?.parse().ok()
}

impl Lab {
    /// Runs `program` with `arguments` on the client, to its end.
    pub fn on_client(&self, program: &str, arguments: &[&str]) -> Finished {
        let mut command = self.client.command(program);
        command.env("PGPASSWORD", PASSWORD).env("MYSQL_PWD", PASSWORD);
        run_within(EXCHANGE, command.args(arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_newer_by_number_and_not_by_letters() {
        let paths = ["/usr/lib/postgresql/9/bin", "/usr/lib/postgresql/15/bin"].map(PathBuf::from);
        assert!(version_in(&paths[0]) < version_in(&paths[1]));
    }
}
