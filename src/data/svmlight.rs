//! The svmlight format, plain or compressed: one sample a line, `label index:value index:value ...`,
//! indices from 1 on and ascending, what is not named is zero; `#` begins a comment.

use std::io::{BufRead, Read};
use std::path::Path;

use super::decompress::{decompressed, explain};
use super::{DataError, DataProblem, MAX_FEATURES, Row};
use crate::scalar::Scalar;

/// No line is longer.
const MAX_LINE: u64 = 1 << 26;
/// Characters of a file that a message quotes.
const QUOTED: usize = 40;

/// Which indices a file may have.
#[derive(Clone, Copy, Debug)]
pub enum Indices {
    /// Those that programs can work with.
    Any,
    /// Up to what the config says.
    Declared(usize),
    /// Up to the largest of the training file.
    Trained(usize),
}

impl Indices {
    fn most(self) -> usize {
        match self {
            Self::Any => MAX_FEATURES,
            Self::Declared(most) | Self::Trained(most) => most.min(MAX_FEATURES),
        }
    }

    fn beyond(self, index: u64) -> String {
        let most = self.most();
        match self {
            Self::Any => format!("index {index} is above {most}, the most that are supported"),
            Self::Declared(_) => {
                format!("index {index} is above {most}, the config's number of `features`")
            }
            Self::Trained(_) => format!(
                "index {index} is above {most}, the largest of the training file; give their number \
                 by the key `features`"
            ),
        }
    }
}

/// What is wrong with a line, and at which byte of it.
type Wrong = (usize, String);

/// Streams the samples of a file: the label and the entries that are not zero. Returns the largest
/// index. Memory is that of one line.
pub fn read<F: Scalar>(
    file: &Path,
    bytes: impl BufRead,
    indices: Indices,
    mut visit: impl FnMut(f64, Row<'_, F>) -> Result<(), String>,
) -> Result<usize, DataError> {
    let fail = |problem| DataError { file: file.to_owned(), problem };
    let mut reader = decompressed(bytes).map_err(|e| fail(e.into()))?;
    let mut text = vec![];
    let mut sample = Sample { columns: vec![], values: vec![], largest: 0 };
    for line in 1.. {
        let wrong = |(at, problem)| fail(DataProblem::Line { line, byte: at + 1, problem });
        text.clear();
        // One byte more than a line may have, to tell.
        let read = (&mut reader).take(MAX_LINE + 1).read_until(b'\n', &mut text);
        if read.map_err(|e| wrong((text.len(), explain(&e))))? == 0 {
            break;
        }
        if text.len() as u64 > MAX_LINE {
            return Err(wrong((MAX_LINE as usize, format!("it is longer than {MAX_LINE} bytes"))));
        }
        if let Some((at, label)) = sample.parse(&text, indices).map_err(wrong)? {
            let Sample { columns, values, .. } = &sample;
            visit(label, Row { columns, values }).map_err(|problem| wrong((at, problem)))?;
        }
    }
    Ok(sample.largest)
}

/// The sample of the last line.
struct Sample<F> {
    columns: Vec<u32>,
    values: Vec<F>,
    /// The largest index so far.
    largest: usize,
}

impl<F: Scalar> Sample<F> {
    /// Reads a line: its label and where that stands, or `None` if it has no sample.
    fn parse(&mut self, text: &[u8], indices: Indices) -> Result<Option<(usize, f64)>, Wrong> {
        self.columns.clear();
        self.values.clear();
        let text = match text.iter().position(|&b| b == b'#') {
            Some(comment) => &text[..comment],
            None => text,
        };
        let mut words = Words { text, at: 0 };
        let Some((label_at, word)) = words.next() else { return Ok(None) };
        let label = number(word).ok_or_else(|| (label_at, expected("a label", word)))?;
        if !label.is_finite() {
            return Err((label_at, format!("the label {label} is not finite")));
        }
        let mut last = 0;
        for (at, word) in words {
            last = self.entry(at, word, last, indices)?;
        }
        self.largest = self.largest.max(last as usize);
        // Minus zero is zero's class.
        Ok(Some((label_at, label + 0.0)))
    }

    /// Reads `index:value` behind the index `last`.
    fn entry(&mut self, at: usize, word: &[u8], last: u64, indices: Indices) -> Result<u64, Wrong> {
        let wrong = |problem| Err((at, problem));
        let Some(colon) = word.iter().position(|&b| b == b':') else {
            return wrong(expected("index:value", word));
        };
        let (index, value) = (&word[..colon], &word[colon + 1..]);
        let Some(index) = whole(index) else {
            return wrong(match index {
                b"qid" => "qid is for ranking, which is not supported; remove it".into(),
                _ => expected("index:value", word),
            });
        };
        if index == 0 {
            return wrong("index 0; indices begin with 1".into());
        }
        if index <= last {
            return wrong(format!("index {index} follows {last}; indices must ascend"));
        }
        if index > indices.most() as u64 {
            return wrong(indices.beyond(index));
        }
        let at = at + colon + 1;
        let Some(value) = number(value) else { return Err((at, expected("a value", value))) };
        let rounded = F::lit(value);
        if !rounded.is_finite() {
            return Err((at, format!("the value {value} is not finite in {}", F::NAME)));
        }
        if value != 0.0 {
            self.columns.push(index as u32 - 1);
            self.values.push(rounded);
        }
        Ok(index)
    }
}

/// The words of a line, each with where it begins.
struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.text[self.at..];
        let start = self.at + rest.iter().position(|b| !b.is_ascii_whitespace())?;
        let rest = &self.text[start..];
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        self.at = start + end;
        Some((start, &rest[..end]))
    }
}

/// A whole number; what is too large for 64 bits is their largest.
fn whole(word: &[u8]) -> Option<u64> {
    let digits = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    digits.then(|| {
        let push = |n: u64, &b: &u8| n.saturating_mul(10).saturating_add(u64::from(b - b'0'));
        word.iter().fold(0, push)
    })
}

fn number(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn expected(what: &str, word: &[u8]) -> String {
    let cut = &word[..word.len().min(QUOTED)];
    let dots = if cut.len() < word.len() { "..." } else { "" };
    format!("expected {what}, found `{}{dots}`", cut.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Samples = Vec<(f64, Vec<(u32, f64)>)>;

    fn all(text: &[u8], indices: Indices) -> Result<(usize, Samples), DataError> {
        let mut samples = vec![];
        let largest = read::<f64>(Path::new("f"), text, indices, |label, row| {
            let entries = row.columns.iter().copied().zip(row.values.iter().copied());
            samples.push((label, entries.collect()));
            Ok(())
        })?;
        Ok((largest, samples))
    }

    fn message(text: &[u8]) -> String {
        all(text, Indices::Declared(9)).unwrap_err().to_string()
    }

    #[test]
    fn samples_are_read() {
        let text = b"# head\n+1 1:0.5\t3:-2e1 # note\r\n\n  -1 2:0 9:.5  \r\n-0\n1 4:+1";
        let (largest, samples) = all(text, Indices::Any).unwrap();
        assert_eq!(largest, 9);
        let expected: Samples = vec![
            (1.0, vec![(0, 0.5), (2, -20.0)]),
            (-1.0, vec![(8, 0.5)]),
            (0.0, vec![]),
            (1.0, vec![(3, 1.0)]),
        ];
        assert_eq!(samples, expected);
        assert!(samples[2].0.is_sign_positive());
        assert_eq!(all(b"", Indices::Any).unwrap(), (0, vec![]));
    }

    #[test]
    fn wrong_lines_are_named_with_line_and_byte() {
        for (text, words) in [
            (&b"1 1:1\n\nx 1:1"[..], "line 3, byte 1: expected a label, found `x`"),
            (b"inf 1:1", "line 1, byte 1: the label inf is not finite"),
            (b"1 qid:3 1:1", "line 1, byte 3: qid is for ranking"),
            (b"1 5", "byte 3: expected index:value, found `5`"),
            (b"1 :5", "byte 3: expected index:value, found `:5`"),
            (b"1 -1:5", "byte 3: expected index:value, found `-1:5`"),
            (b"1 0:5", "byte 3: index 0"),
            (b"1 2:5 2:6", "byte 7: index 2 follows 2"),
            (b"1 3:5 2:6", "byte 7: index 2 follows 3"),
            (b"1 10:5", "byte 3: index 10 is above 9"),
            (b"1 99999999999999999999999:5", "index 18446744073709551615 is above 9"),
            (b"1 1:", "byte 5: expected a value, found ``"),
            (b"1 1:\xff", "byte 5: expected a value, found `\\xff`"),
            (b"1 1:1e400", "byte 5: the value inf is not finite"),
            (b"1 1:nan", "byte 5: the value NaN is not finite"),
            (b"\x00\x00\x08\x01", "expected a label, found `\\x00\\x00\\x08\\x01`"),
        ] {
            let message = message(text);
            assert!(message.contains(words), "{message}");
        }
        let long = [b"1 ", &[b'x'; 100][..]].concat();
        assert!(message(&long).contains(&format!("`{}...`", "x".repeat(QUOTED))));
        let trained = all(b"1 7:1", Indices::Trained(6)).unwrap_err().to_string();
        assert!(trained.contains("`features`"), "{trained}");
        let narrow = read::<f32>(Path::new("f"), &b"1 1:1e200"[..], Indices::Any, |_, _| Ok(()));
        assert!(narrow.unwrap_err().to_string().contains("not finite in f32"));
    }

    #[test]
    fn a_line_without_end_is_not_read_to_the_end() {
        let endless = std::io::BufReader::new(std::io::repeat(b' '));
        let read = read::<f32>(Path::new("f"), endless, Indices::Any, |_, _| Ok(()));
        assert!(read.unwrap_err().to_string().contains("longer than"));
    }
}
