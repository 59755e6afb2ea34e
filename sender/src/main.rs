//! The `vxtap-sender` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    vxtap_sender::cli::main()
}
