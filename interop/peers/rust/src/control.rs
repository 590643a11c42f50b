//! Turns lines into verbs and results into lines. Verbs run concurrently.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

use crate::{
    answers::{Answer, Failure, Fields, fields},
    node::Handle,
    verbs,
};

/// Seconds, when a request says nothing.
const TIMEOUT: f64 = 30.0;

/// The versions of what speaks on the wire are those that were compiled in.
const LOCK: &str = include_str!("../Cargo.lock");
const SPOKEN: [&str; 3] = ["libp2p", "libp2p-kad", "libp2p-identify"];

/// One line of input: a verb and what that verb needs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    #[serde(default)]
    id: Value,
    verb: String,
    timeout: Option<f64>,
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    pub value: String,
    #[serde(default)]
    pub peer: String,
    #[serde(default)]
    pub peers: Vec<String>,
    #[serde(default)]
    pub count: usize,
    #[serde(default)]
    pub quorum: usize,
    #[serde(default)]
    pub mode: String,
    #[serde(default)]
    pub r#type: String,
    #[serde(default)]
    pub half_close: bool,
}

/// Says that the node serves and where, then answers requests until the input
/// ends or "stop" comes. What still runs then is for the caller to end.
pub async fn serve(handle: Handle) -> io::Result<()> {
    let ready = ready(&handle).await.map_err(|failure| io::Error::other(failure.text))?;
    write(ready)?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str::<Request>(&line) {
            Err(error) => answer(Value::Null, Instant::now(), Err(Failure::usage(error)))?,
            Ok(request) if request.verb == "stop" => return answer(request.id, Instant::now(), Ok(Fields::new())),
            Ok(request) => {
                tokio::spawn(execute(handle.clone(), request));
            }
        }
    }
    Ok(())
}

async fn ready(handle: &Handle) -> Answer {
    let mut line = verbs::identity(handle).await?;
    line.insert("event".into(), "ready".into());
    let versions: Fields = SPOKEN.map(|name| (name.to_owned(), Value::from(version(name)))).into_iter().collect();
    line.insert("versions".into(), versions.into());
    let ignored = handle.with(|node| node.ignored.clone()).await?;
    line.insert("ignored".into(), ignored.into());
    Ok(line)
}

/// Runs one verb under its own deadline. One that panics is a defect, and an answer.
async fn execute(handle: Handle, request: Request) {
    let started = Instant::now();
    let id = request.id.clone();
    let limit = Duration::try_from_secs_f64(request.timeout.unwrap_or(TIMEOUT)).unwrap_or_default();
    let run = async move { verbs::run(&request.verb, &handle, &request).await };
    let result = match tokio::spawn(timeout(limit, run)).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Failure::new("timeout", format!("not done in {limit:?}"))),
        Err(panic) => Err(Failure::new("defect", panic)),
    };
    // Nobody is left to tell when standard output is gone; the input ends with it.
    let _ = answer(id, started, result);
}

/// Writes the one line that a request gets.
fn answer(id: Value, started: Instant, result: Answer) -> io::Result<()> {
    let ok = result.is_ok();
    let failed = |failure: Failure| fields(json!({"error": {"kind": failure.kind, "text": failure.text}}));
    let mut line = result.unwrap_or_else(failed);
    line.insert("id".into(), id);
    line.insert("ok".into(), ok.into());
    line.insert("seconds".into(), started.elapsed().as_secs_f64().into());
    write(line)
}

fn write(line: Fields) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", Value::Object(line))?;
    out.flush()
}

fn version(name: &str) -> &'static str {
    let package = format!("\nname = \"{name}\"\nversion = \"");
    let rest = LOCK.split_once(&package).map_or("?", |(_, rest)| rest);
    rest.split('"').next().unwrap_or("?")
}
