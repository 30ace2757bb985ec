//! Recordings of raw frames: one JSON object a line, compressed with zstd, each with the connection
//! it came by and the instant at which it was read.
//!
//! ```text
//! {"line":"binance.public/0","at":1770076800123456789,"text":"{\"stream\":…}"}
//! {"line":"okx.public/0","at":1770076800123456999,"binary":"00ff…"}
//! {"line":"okx.public/0","at":1770076800123457999,"cut":"closed by the exchange"}
//! ```
//!
//! Frames are not decoded: what came is kept as it came, also what no decoder would accept.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// The fastest level that still halves JSON several times over.
const LEVEL: i32 = 3;

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The name of the connection, such as `binance.public/0`.
    pub line: String,
    /// When it was read, in nanoseconds since 1970 UTC.
    pub at: i64,
    /// A text frame.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// A binary frame, in hex.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub binary: Option<String>,
    /// No frame, but the place where the connection was cut: why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cut: Option<String>,
}

impl Frame {
    /// The mark of a cut.
    #[must_use]
    pub fn cut(line: &str, at: i64, why: String) -> Self {
        Self {
            line: line.to_owned(),
            at,
            text: None,
            binary: None,
            cut: Some(why),
        }
    }
}

/// Writes a recording.
pub struct Writer<W: Write> {
    to: zstd::stream::write::Encoder<'static, BufWriter<W>>,
    frames: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a recording.
    ///
    /// # Errors
    /// When the compressor cannot be made.
    pub fn new(to: W) -> Result<Self> {
        let to = zstd::stream::write::Encoder::new(BufWriter::new(to), LEVEL)
            .map_err(|e| Error::io("the recording cannot be begun", e))?;
        Ok(Self { to, frames: 0 })
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, frame: &Frame) -> Result<()> {
        let mut line = serde_json::to_vec(frame)
            .map_err(|e| Error::caused(Kind::Internal, "a frame cannot be put in JSON", e))?;
        line.push(b'\n');
        self.to
            .write_all(&line)
            .map_err(|e| Error::io("the recording cannot be written", e))?;
        self.frames += 1;
        Ok(())
    }

    /// Lets everything so far be read by others, at some cost in size.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.to
            .flush()
            .map_err(|e| Error::io("the recording cannot be written", e))
    }

    /// Ends the recording; returns where it went, and how many frames are in it.
    ///
    /// # Errors
    /// When the end cannot be written.
    pub fn finish(self) -> Result<(W, u64)> {
        let wrong = |e: std::io::Error| Error::io("the end of the recording cannot be written", e);
        let buffer = self.to.finish().map_err(wrong)?;
        Ok((
            buffer.into_inner().map_err(|e| wrong(e.into_error()))?,
            self.frames,
        ))
    }
}

/// The frames of a recording, in their order. A recording that breaks off ends with an error after
/// its last whole frame.
///
/// # Errors
/// When it is not compressed as a recording is.
pub fn read(from: impl Read) -> Result<impl Iterator<Item = Result<Frame>>> {
    let plain = zstd::stream::read::Decoder::new(from)
        .map_err(|e| Error::caused(Kind::BadInput, "this is not a recording of qlc", e))?;
    let mut broken = false;
    // A broken stream would give the same error for ever.
    let lines = BufReader::new(plain)
        .lines()
        .take_while(move |line| !std::mem::replace(&mut broken, line.is_err()));
    Ok(lines.enumerate().map(|(number, line)| {
        let line = line.map_err(|e| {
            Error::caused(
                Kind::BadInput,
                format!("the recording breaks off after {number} frames"),
                e,
            )
        })?;
        serde_json::from_str(&line).map_err(|e| {
            Error::caused(
                Kind::BadInput,
                format!("line {} of the recording is not a frame", number + 1),
                e,
            )
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written() {
        let frames = [
            Frame {
                line: "a/0".to_owned(),
                at: 1,
                text: Some("{\"x\":\"\\n\"}".to_owned()),
                binary: None,
                cut: None,
            },
            Frame {
                line: "b/0".to_owned(),
                at: 2,
                text: None,
                binary: Some("00ff".to_owned()),
                cut: None,
            },
            Frame::cut("b/0", 3, "closed".to_owned()),
        ];
        let mut writer = Writer::new(Vec::new()).unwrap();
        for frame in &frames {
            writer.add(frame).unwrap();
        }
        let (bytes, number) = writer.finish().unwrap();
        assert_eq!(number, 3);
        let back: Vec<Frame> = read(bytes.as_slice())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(back, frames);
        let torn: Vec<_> = read(&bytes[..bytes.len() - 4]).unwrap().collect();
        assert!(torn.last().unwrap().is_err());
        let garbage: Vec<_> = read(b"garbage".as_slice()).unwrap().collect();
        assert!(garbage.iter().all(Result::is_err) && !garbage.is_empty());
    }
}
