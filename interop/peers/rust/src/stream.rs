//! Bytes on a stream of its own, and the frames that come back.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use serde_json::json;

use crate::{
    answers::{Answer, Failure, fields, text_of},
    control::Request,
    node::Handle,
    verbs::{bytes, reach},
};

pub async fn raw_stream(handle: &Handle, request: &Request) -> Answer {
    let data = bytes(&request.value, "value")?;
    let id = reach(handle, &request.peer).await?;
    let protocol = handle.with(|node| node.kad().protocol_names()[0].clone()).await?;
    let opened = handle.streams.clone().open_stream(id, protocol).await;
    let mut stream = opened.map_err(|error| Failure::new("failed", error))?;
    let failed = |error: io::Error| Failure::new("failed", error);
    stream.write_all(&data).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    if request.half_close {
        stream.close().await.map_err(failed)?;
    }
    // As many frames, or all until the stream ends when the count is 0.
    let mut frames = Vec::new();
    let mut end = None;
    while end.is_none() && (request.count == 0 || frames.len() < request.count) {
        match frame(&mut stream).await {
            Ok(found) => frames.push(text_of(&found)),
            // A reset looks the same to a reader.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => end = Some("closed"),
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(fields(json!({"frames": frames, "end": end})))
}

/// No implementation sends a longer message: far above the largest limit of any.
const MAX_FRAME: usize = 16 << 20;

/// One message, without the varint in front that says how long it is.
async fn frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut length = 0_usize;
    // Four groups of seven bits are more than MAX_FRAME already.
    for shift in (0..28).step_by(7) {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return body(stream, length).await;
        }
    }
    Err(too_long())
}

async fn body(stream: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Vec<u8>> {
    if length > MAX_FRAME {
        return Err(too_long());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame of more than {MAX_FRAME} bytes"))
}
