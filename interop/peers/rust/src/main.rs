//! A rust-libp2p Kademlia node that does what it is told: requests come in as
//! JSON lines on standard input, answers go out on standard output.
//! interop/CONTROL.md describes the protocol, which peers in every language share.

mod answers;
mod config;
mod control;
mod node;
mod query;
mod stream;
mod verbs;

use std::{env, process::ExitCode};

use config::Config;
use node::Node;
use tokio::{
    runtime::Builder,
    select,
    signal::unix::{SignalKind, signal},
};

fn main() -> ExitCode {
    let config = match Config::parse(env::args().skip(1)) {
        Ok(config) => config,
        Err(sentence) => {
            eprintln!("peer: {sentence}");
            return ExitCode::from(2);
        }
    };
    let level = env::var("RUST_LOG").ok().and_then(|name| name.parse().ok());
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(level.unwrap_or(tracing_subscriber::filter::LevelFilter::WARN))
        .init();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("threads and timers can be had");
    let status = match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peer: {error}");
            ExitCode::FAILURE
        }
    };
    // A read from standard input that nobody will answer still waits in a thread.
    runtime.shutdown_background();
    status
}

/// Serves until standard input ends, "stop" is asked for, or a signal arrives.
async fn run(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let (node, handle) = Node::listen(config).await?;
    let running = tokio::spawn(node.run());
    let outcome = select! {
        served = control::serve(handle) => served.map_err(Into::into),
        _ = terminated.recv() => Ok(()),
        _ = interrupted.recv() => Ok(()),
        gone = running => Err(format!("the node ended: {gone:?}").into()),
    };
    outcome
}
