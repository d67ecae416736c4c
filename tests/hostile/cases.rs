//! Hostile configs: what each is called, its bytes, and a word of the message.

use serde_json::{Value, json};

use crate::Case;
use crate::process::{mnist_small, quadratic};
use crate::refusal::changed;

/// Files that are no JSON, or not in the encoding of JSON.
pub fn no_json() -> Vec<Case> {
    let good = quadratic().to_string();
    let utf16 = |to: fn(u16) -> [u8; 2]| good.encode_utf16().flat_map(to).collect::<Vec<u8>>();
    let dataset = |raw: &[u8]| {
        let name = [b"{\"name\": \"".as_slice(), raw, b"\"}"].concat();
        [&name[..], b"\n"].concat()
    };
    vec![
        ("empty", vec![], "empty"),
        ("blank", b" \n\t\r\n ".into(), "empty"),
        ("zeros", vec![0; 100], "NUL"),
        ("brace", b"{".into(), "EOF"),
        ("cut", good.as_bytes()[..good.len() / 2].into(), "EOF"),
        ("null", b"null".into(), "top level"),
        ("array", b"[1, 2]".into(), "top level"),
        ("string", b"\"config\"".into(), "top level"),
        ("number", b"1".into(), "top level"),
        ("html", b"<!DOCTYPE html><html>404</html>".into(), "expected value"),
        ("yaml", b"name: quadratic\nworkers: 8\n".into(), "expected ident"),
        ("mark", [b"\xef\xbb\xbf", good.as_bytes()].concat(), "byte order mark"),
        ("utf-16le", [&[0xff, 0xfe], &utf16(u16::to_le_bytes)[..]].concat(), "UTF-8"),
        ("utf-16be", [&[0xfe, 0xff], &utf16(u16::to_be_bytes)[..]].concat(), "UTF-8"),
        ("utf-16 unmarked", utf16(u16::to_le_bytes), "UTF-16"),
        ("latin-1", dataset(b"caf\xe9"), "byte 14"),
        ("overlong", dataset(b"\xc0\xaf"), "UTF-8"),
        ("cesu-8", dataset(b"\xed\xa0\x80\xed\xb0\x80"), "UTF-8"),
        ("beyond unicode", dataset(b"\xf4\x90\x80\x80"), "UTF-8"),
        ("lone surrogate", dataset(b"\\ud800"), "hex escape"),
        ("reversed surrogates", dataset(b"\\udc00\\ud800"), "surrogate"),
        ("bad escape", dataset(b"\\x41"), "escape"),
        ("short escape", dataset(b"\\u00"), "escape"),
        ("raw line break", dataset(b"a\nb"), "control character"),
        ("raw escape", dataset(b"\x1b[2J"), "control character"),
        ("raw NUL", dataset(b"a\0b"), "NUL"),
        ("comment", format!("// a run\n{good}").into(), "expected value"),
        ("block comment", good.replacen(':', ": /* */", 1).into(), "expected value"),
        ("trailing comma", good.replacen('}', ",}", 1).into(), "trailing comma"),
        ("single quotes", good.replace('"', "'").into(), "key must be a string"),
        ("bare keys", good.replacen("\"name\"", "name", 1).into(), "key must be a string"),
        ("tail", format!("{good} tail").into(), "trailing characters"),
        ("two objects", format!("{good}{good}").into(), "trailing characters"),
        ("tail of zeros", [good.as_bytes(), &[0; 9]].concat(), "NUL"),
    ]
}

/// Files that are deep, long, or of many parts.
pub fn sizes() -> Vec<Case> {
    let good = quadratic().to_string();
    let nested = |open: &str, close: &str, depth| {
        format!("{{\"problem\":{}{}}}", open.repeat(depth), close.repeat(depth)).into_bytes()
    };
    let with = |key: &str, value: &str| good.replacen('{', &format!("{{{key}:{value},"), 1).into();
    let long = "x".repeat(1_000_000);
    vec![
        ("arrays without end", "[".repeat(100_000).into(), "deeper"),
        ("objects without end", r#"{"a":"#.repeat(100_000).into(), "deeper"),
        ("deep arrays", nested("[", "]", 100_000), "deeper"),
        ("deep objects", nested(r#"{"inner":"#, "}", 10_000), "deeper"),
        ("rather deep objects", nested(r#"{"inner":"#, "}", 100), "deeper"),
        ("spaces", format!("{}{good}", " ".repeat(2 << 20)).into(), "at most"),
        ("a string without end", format!("{{\"name\": \"{long}").into(), "EOF"),
        (
            "a long name",
            changed(&quadratic(), "name", &format!("{long:?}")).to_string().into(),
            "`name`",
        ),
        (
            "a long kind",
            changed(&quadratic(), "problem.kind", &format!("{long:?}")).to_string().into(),
            "`problem.kind`",
        ),
        ("a long key", with(&format!("{long:?}"), "1"), "known here"),
        ("many numbers", with("\"x\"", &format!("[{}1]", "1,".repeat(300_000))), "more than 10000"),
        ("many lists", with("\"x\"", &format!("[{}1]", "[0],".repeat(200_000))), "more than 10000"),
        (
            "many objects",
            with("\"problem\"", &format!("[{}1]", r#"{"":0},"#.repeat(140_000))),
            "more than 10000",
        ),
        (
            "many inner objects",
            with(
                "\"problem\"",
                &format!(r#"{{"kind":"quadratic","x":[{}1]}}"#, r#"{"":0},"#.repeat(4900)),
            ),
            "stands twice",
        ),
        (
            "many keys",
            with(
                "\"x\"",
                &format!(
                    "{{{}\"a\":0}}",
                    (0..50_000).map(|i| format!("\"{i}\":0,")).collect::<String>()
                ),
            ),
            "more than 10000",
        ),
    ]
}

/// Keys that stand twice, and numbers that are none of JSON or out of any range.
pub fn keys_and_numbers() -> Vec<Case> {
    let good = quadratic().to_string();
    let twice = |key: &str, again: &str| good.replacen(key, &format!("{again},{key}"), 1).into();
    let alpha =
        |written: &str| good.replace("\"alpha\":0.002", &format!("\"alpha\":{written}")).into();
    let workers =
        |written: &str| good.replace("\"workers\":8", &format!("\"workers\":{written}")).into();
    let seed = |written: &str| twice("\"workers\"", &format!("\"seed\":{written}"));
    let with = |key: &str, value: &str| twice("\"workers\"", &format!("\"{key}\":{value}"));
    let digits = "7".repeat(1_000_000);
    vec![
        ("twice", twice("\"name\"", "\"name\":\"a\""), "`name` stands twice"),
        ("twice the same", twice("\"workers\":8", "\"workers\":8"), "`workers` stands twice"),
        ("twice within", alpha("1,\"alpha\":1"), "`alpha` stands twice"),
        ("twice by an escape", alpha(r#"1,"\u0061lpha":1"#), "`alpha` stands twice"),
        ("twice in a list", twice("\"workers\"", r#""x":[{"b":1,"b":2}]"#), "`b` stands twice"),
        (
            "twice a control character",
            twice("\"workers\"", r#""\u001b":1,"\u001b":1"#),
            r"`\u{1b}` stands twice",
        ),
        ("not a number", alpha("NaN"), "expected value"),
        ("infinity", alpha("Infinity"), "expected value"),
        ("minus infinity", alpha("-Infinity"), "invalid number"),
        ("1e999", alpha("1e999"), "out of range"),
        ("-1e999", alpha("-1e999"), "out of range"),
        ("1e-999", alpha("1e-999"), "found 0"),
        ("minus zero", alpha("-0"), "found -0"),
        ("minus zero point zero", alpha("-0.0"), "found -0"),
        ("a million digits", workers(&digits), "out of range"),
        ("minus a million decimals", alpha(&format!("-0.{digits}")), "above 0"),
        ("a million digits of exponent", alpha(&format!("1e{digits}")), "out of range"),
        ("leading zero", alpha("01"), "invalid number"),
        ("plus", alpha("+1"), "expected value"),
        ("no digit before the point", alpha(".5"), "expected value"),
        ("no digit behind the point", alpha("1."), "invalid number"),
        ("hexadecimal", workers("0x10"), "expected `,`"),
        ("underscore", workers("1_000"), "expected `,`"),
        ("a true number", alpha("true"), "boolean `true`"),
        ("a null number", alpha("null"), "null"),
        ("a number in a list", alpha("[0.1]"), "sequence"),
        ("no workers", workers("0"), "found 0"),
        ("minus no workers", workers("-0"), "found -0"),
        ("1e18 workers", workers("1e18"), "`workers`"),
        ("2^64 workers", workers("18446744073709551616"), "`workers`"),
        ("a part of a worker", workers("7.5"), "whole number"),
        (
            "1e30 iterations",
            good.replace("\"iterations\":200", "\"iterations\":1e30").into(),
            "`iterations`",
        ),
        ("seed below 0", seed("-1"), "`seed`"),
        ("seed of 2^64", seed("18446744073709551616"), "`seed`"),
        ("seed of a half", seed("0.5"), "`seed`"),
        (
            "minus a minute",
            with("checkpoint", r#"{"every_minutes":-1}"#),
            "`checkpoint.every_minutes`",
        ),
        ("1e999 minutes", with("checkpoint", r#"{"every_minutes":1e999}"#), "out of range"),
        ("all of the time and more", with("checkpoint", r#"{"cost":1.5}"#), "`checkpoint.cost`"),
        ("no time to wait", with("watchdog_seconds", "0"), "`watchdog_seconds`"),
        ("1e300 seconds to wait", with("watchdog_seconds", "1e300"), "`watchdog_seconds`"),
        ("ratio 0", good.replace("\"ratio\":0.1", "\"ratio\":0").into(), "above 0"),
        ("ratio -1", good.replace("\"ratio\":0.1", "\"ratio\":-1").into(), "found -1"),
        ("ratio 2", good.replace("\"ratio\":0.1", "\"ratio\":2").into(), "at most 1"),
    ]
}

/// Words that would be wrong in a path or on a terminal.
pub fn words() -> Vec<Case> {
    let quadratic = |key: &str, value: &str| -> Vec<u8> {
        changed(&quadratic(), key, value).to_string().into()
    };
    let path = |path: Value| -> Vec<u8> {
        let mut config = mnist_small();
        config["problem"]["dataset"] =
            json!({ "format": "svmlight", "train": path, "test_fraction": 0.2 });
        config.to_string().into()
    };
    let mut inner = json!({ "kind": "rand-k", "ratio": 0.5 });
    for _ in 0..12 {
        inner = json!({ "kind": "multi-step", "rounds": 2, "inner": inner });
    }
    vec![
        ("no name", quadratic("name", r#""""#), "`name`"),
        ("a name above", quadratic("name", r#""..""#), "`name`"),
        ("a name far above", quadratic("name", r#""../../x""#), "`name`"),
        ("an absolute name", quadratic("name", r#""/tmp/x""#), "`name`"),
        ("a name as an option", quadratic("name", r#""-rf""#), "`name`"),
        ("a hidden name", quadratic("name", r#"".x""#), "`name`"),
        ("a name with NUL", quadratic("name", r#""a\u0000b""#), r"a\0b"),
        ("a name with a line break", quadratic("name", r#""a\nsobaya: b""#), r"a\nsobaya: b"),
        ("a name of other letters", quadratic("name", r#""\u0430""#), "`name`"),
        ("a name of 101 letters", quadratic("name", &format!("{:?}", "n".repeat(101))), "`name`"),
        (
            "a kind that clears the screen",
            quadratic("problem.kind", r#""\u001b[2J\u009b2J\u0007""#),
            r"\u{1b}[2J\u{9b}2J\u{7}",
        ),
        (
            "a kind of two lines",
            quadratic("problem.kind", r#""a\r\nsobaya: all is well""#),
            r"a\r\nsobaya",
        ),
        (
            "a kind from right to left",
            quadratic("problem.kind", r#""\u202ecitardauq""#),
            r"\u{202e}",
        ),
        (
            "a kind that is an object",
            quadratic("problem.kind", r#"{"kind": "quadratic"}"#),
            "`problem.kind`",
        ),
        ("a key that clears the screen", quadratic("\u{1b}[2J", "1"), r"\u{1b}[2J"),
        ("a key of nothing", quadratic("problem.", "1"), "known here"),
        ("a key of backticks", quadratic("`a`b`", "1"), "known here"),
        ("a key of another case", quadratic("Workers", "1"), "did you mean \"workers\"?"),
        ("a prototype", quadratic("__proto__", "{}"), "`__proto__`"),
        (
            "compression in compression",
            quadratic("compressor", &inner.to_string()),
            "`compressor.inner.kind`",
        ),
        ("a path with NUL", path(json!("a\0b")), "`train`"),
        ("an empty path", path(json!("")), "`train`"),
        ("a long path", path(json!("p/".repeat(50_000))), "`train`"),
        ("a path that is a list", path(json!(["a"])), "`train`"),
    ]
}
