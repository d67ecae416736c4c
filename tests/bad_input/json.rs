//! Hostile configs and sweep files: each is refused with exit 2 and one line, soon and in little memory.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::{LIMIT, files, mnist_small, quadratic, sobaya, text, until};
use super::{ALONE, changed, refused};

/// What each refusal may take. Machines that do other things at the same time are given ten times as
/// long: the test prints the longest.
const SECONDS: f64 = 1.0;
const SLACK: f64 = 10.0;
const MEGABYTES: u64 = 50;
/// Bytes of a message at most: characters beyond ASCII and escapes take several.
const MESSAGE: usize = 12_000;

/// A case: its name, the file, and a word of the message.
type Case = (&'static str, Vec<u8>, &'static str);

/// The most time and memory that any case took.
#[derive(Default)]
struct Worst {
    seconds: (f64, &'static str),
    bytes: (u64, &'static str),
}

/// Runs a command to its end; its code, stderr, seconds, and the most memory it held.
///
/// The system counts to a process what its parent held when it was started, so that the last number is
/// not too small, and too large only if this test itself holds more than it allows.
fn measured(mut command: Command) -> (i32, String, f64, u64) {
    let err = tempfile::NamedTempFile::new().expect("a temporary file");
    let handle = err.reopen().expect("a second handle");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(handle);
    let start = Instant::now();
    let child = command.spawn().expect("the program is there");
    let id = child.id() as libc::pid_t;
    let mut status = 0;
    // SAFETY: an all-zero rusage is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    until("the refusal", LIMIT, || {
        // SAFETY: waits for the child just started, which nothing else waits for, and writes to two locals.
        unsafe { libc::wait4(id, &mut status, libc::WNOHANG, &mut usage) == id }
    });
    let seconds = start.elapsed().as_secs_f64();
    let status = ExitStatus::from_raw(status);
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    let said = fs::read(err.path()).expect("a readable file");
    let said = String::from_utf8(said).expect("a message in UTF-8");
    (code, said, seconds, 1024 * usage.ru_maxrss as u64)
}

impl Worst {
    /// The command ends with exit 2 and one line with this word, within the limits.
    fn refused(&mut self, name: &'static str, command: Command, word: &str) {
        let (code, err, seconds, bytes) = measured(command);
        let what = format!("{name}, {word:?}: exit {code}, {seconds} s, {bytes} bytes: {err:.300}");
        assert_eq!(code, 2, "{what}");
        assert!(err.starts_with("sobaya: ") && err.contains(word), "{what}");
        let line = err.strip_suffix('\n').expect("a whole line");
        // No line break, no escape sequence, nothing that hides or reverses what stands there.
        let shown = |c: char| !c.is_control() && !('\u{200b}'..='\u{202e}').contains(&c);
        assert!(line.chars().all(shown) && err.len() <= MESSAGE, "{what}");
        assert!(seconds <= SLACK * SECONDS && bytes <= MEGABYTES << 20, "{what}");
        if seconds > self.seconds.0 {
            self.seconds = (seconds, name);
        }
        if bytes > self.bytes.0 {
            self.bytes = (bytes, name);
        }
    }

    fn print(&self, cases: usize) {
        let (seconds, longest) = self.seconds;
        let (bytes, largest) = self.bytes;
        println!(
            "{cases} refusals; the longest ({longest}) took {seconds:.2} s, the largest ({largest}) {} MB",
            bytes >> 20
        );
    }
}

fn check(path: &Path, further: &[&str]) -> Command {
    sobaya(&[&["check", text(path)], further].concat())
}

/// Files that are no JSON, or not in the encoding of JSON.
fn no_json() -> Vec<Case> {
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
fn sizes() -> Vec<Case> {
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
fn keys_and_numbers() -> Vec<Case> {
    let good = quadratic().to_string();
    let twice = |key: &str, again: &str| good.replacen(key, &format!("{again},{key}"), 1).into();
    let alpha =
        |written: &str| good.replace("\"alpha\":0.002", &format!("\"alpha\":{written}")).into();
    let workers =
        |written: &str| good.replace("\"workers\":8", &format!("\"workers\":{written}")).into();
    let seed = |written: &str| twice("\"workers\"", &format!("\"seed\":{written}"));
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
        ("ratio 0", good.replace("\"ratio\":0.1", "\"ratio\":0").into(), "above 0"),
        ("ratio -1", good.replace("\"ratio\":0.1", "\"ratio\":-1").into(), "found -1"),
        ("ratio 2", good.replace("\"ratio\":0.1", "\"ratio\":2").into(), "at most 1"),
    ]
}

/// Words that would be wrong in a path or on a terminal.
fn words() -> Vec<Case> {
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

#[test]
fn hostile_configs_are_refused_soon_and_in_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = [no_json(), sizes(), keys_and_numbers(), words()].concat();
    let mut worst = Worst::default();
    let cases = all.len();
    assert!(cases >= 60);
    for (i, (name, bytes, word)) in all.into_iter().enumerate() {
        let path = folder.path().join("config.json");
        fs::write(&path, bytes).expect("a writable folder");
        worst.refused(name, check(&path, &[]), word);
        if i % 10 == 0 {
            refused(folder.path(), &["run", text(&path)], &[1, 2, 8], 2, &[word]);
        }
    }
    worst.print(cases);
}

#[test]
fn files_without_end_are_refused_soon_and_in_little_memory() {
    let mut worst = Worst::default();
    // A gigabyte that takes no room on the disk.
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.as_file().set_len(1 << 30).expect("a file system with holes");
    worst.refused("a gigabyte", check(file.path(), &[]), "at most");
    worst.refused("zeros", check(Path::new("/dev/zero"), &[]), "at most");
    worst.refused("noise", check(Path::new("/dev/urandom"), &[]), "at most");
    worst.refused("nothing", check(Path::new("/dev/null"), &[]), "empty");
    worst.refused("a folder", check(Path::new("/dev"), &[]), "directory");
    worst.refused(
        "a name with a line break",
        check(Path::new("/a\nb\x1b[2J"), &[]),
        r"a\nb\u{1b}[2J",
    );
    worst.print(6);
}

#[test]
fn hostile_overrides_are_refused_soon_and_in_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    fs::write(&path, quadratic().to_string()).expect("a writable folder");
    let deep = |length| format!("problem.x={}", "[".repeat(length));
    let (long, closed) = (deep(100_000), format!("{}{}", deep(40), "]".repeat(40)));
    let [far, many] =
        [format!("{}a=1", "a.".repeat(60_000)), format!("problem.x=[{}1]", "1,".repeat(60_000))];
    let cases = [
        ("seed", "no `=`"),
        ("", "no `=`"),
        ("=", "empty"),
        ("=1", "empty"),
        (".=1", "empty"),
        ("algorithm.=1", "empty"),
        ("algorithm..alpha=1", "empty"),
        ("seed.x=1", "`seed`"),
        ("seed=", "`seed`"),
        ("seed=-1", "`seed`"),
        ("workers=1e999", "`workers`"),
        ("workers=NaN", "`workers`"),
        ("workers=", "`workers`"),
        ("name=..", "`name`"),
        ("name=a\nb", r"a\nb"),
        ("problem.kind=\u{1b}[2J", r"\u{1b}[2J"),
        ("\u{1b}[2J=1", r"\u{1b}[2J"),
        ("problem={\"kind\": \"quadratic\", \"mu\": 1, \"mu\": 2}", "`mu` stands twice"),
        ("problem={\"kind\": \"quadratic\"", "EOF"),
        ("problem={\"kind\": \"quadratic\"}}", "trailing"),
        ("problem.hidden=[1,", "EOF"),
        ("name=\"\\ud800\"", "hex escape"),
        (&long, "deeper"),
        (&closed, "deeper"),
        (&far, "more than 16 parts"),
        (&many, "more than 10000"),
    ];
    let mut worst = Worst::default();
    for (given, word) in cases {
        worst.refused("--set", check(&path, &["--set", given]), word);
    }
    worst.print(cases.len());
}

#[test]
fn hostile_sweeps_are_refused_soon_and_in_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).expect("a writable folder")
    };
    config("good.json", quadratic().to_string().as_bytes());
    config("twice.json", br#"{"name": "a", "name": "b"}"#);
    let good = json!({ "name": "s", "base": "good.json", "grid": { "seed": [1, 2] } });
    let with = |key: &str, value: Value| -> Vec<u8> {
        let mut sweep = good.clone();
        sweep[key] = value;
        sweep.to_string().into()
    };
    let axes: Value =
        (0..18).map(|i| (format!("problem.k{i}"), json!((0..10).collect::<Vec<_>>()))).collect();
    let all: Vec<Case> = vec![
        ("empty sweep", vec![], "empty"),
        ("sweep of a list", b"[]".into(), "top level"),
        ("deep sweep", "[".repeat(100_000).into(), "deeper"),
        (
            "sweep with a mark",
            [b"\xef\xbb\xbf", &with("name", json!("s"))[..]].concat(),
            "byte order mark",
        ),
        (
            "sweep with a key twice",
            br#"{"name": "a", "base": {}, "grid": {"seed": [1], "seed": [2]}}"#.into(),
            "`seed` stands twice",
        ),
        ("base with a key twice", with("base", json!("twice.json")), "`name` stands twice"),
        ("base that is not there", with("base", json!("nowhere.json")), "No such file"),
        ("base with NUL", with("base", json!("a\0b")), "NUL"),
        ("base that is the folder", with("base", json!("")), "directory"),
        ("base without end", with("base", json!("/dev/zero")), "at most"),
        ("base that is the sweep", with("base", json!("sweep.json")), "unknown key"),
        ("base that is a number", with("base", json!(1)), "`base`"),
        ("base of nothing", with("base", json!({})), "missing"),
        ("sweep above", with("name", json!("../s")), "`name`"),
        ("sweep of two lines", with("name", json!("a\nb\u{1b}")), r"a\nb\u{1b}"),
        ("sweep with a long name", with("name", json!("s".repeat(500_000))), "`name`"),
        ("unknown key", with("grd", json!({})), "grd"),
        ("no values", with("grid", json!({ "seed": [] })), "`grid.seed`"),
        ("values that are none", with("grid", json!({ "seed": 1 })), "`grid.seed`"),
        ("1e18 members", with("grid", axes), "1000000000000000000"),
        ("seeds below 0", with("grid", json!({ "seed": [-1] })), "`seed`"),
        ("a key of nothing", with("grid", json!({ "": [1] })), "empty"),
        ("a deep key", with("grid", json!({ "a.".repeat(100_000): [1] })), "parts"),
        ("a key twice on an axis", with("grid", json!({ "seed,seed": [1] })), "`grid.seed`"),
        ("a key that clears the screen", with("grid", json!({ "\u{1b}[2J": [1] })), r"\u{1b}[2J"),
        ("names of runs", with("grid", json!({ "name": ["a"] })), "`grid.name`"),
        ("a list of numbers", with("list", json!([1])), "`list"),
        ("a list on the grid", with("list", json!([{ "seed": 1 }])), "`list[0].seed`"),
        ("no ranks", with("ranks", json!(0)), "`ranks`"),
        ("1e30 ranks", with("ranks", json!(1e30)), "`ranks`"),
        ("a launcher that is a word", with("launcher", json!("mpirun")), "`launcher`"),
        ("many members", with("list", json!(vec![json!({ "seed": 1 }); 6000])), "more than 10000"),
    ];
    let path = folder.path().join("sweep.json");
    let out = folder.path().join("out");
    let mut worst = Worst::default();
    let cases = all.len();
    for (name, bytes, word) in all {
        fs::write(&path, bytes).expect("a writable folder");
        let before = files(folder.path());
        for action in ["run", "status"] {
            worst.refused(name, sobaya(&["sweep", text(&path), action, "--out", text(&out)]), word);
        }
        assert!(before == files(folder.path()), "{name}: the folder has changed");
    }
    worst.print(2 * cases);
}

/// A plan beyond this machine, or any: refused before anything of its size is made.
#[test]
fn more_than_the_machine_holds_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (key, value) in
        [("problem.dim_lower", "3e8"), ("problem.dim_upper", "3e8"), ("workers", "1e9")]
    {
        let mut config = changed(&quadratic(), key, value);
        if key == "problem.dim_upper" {
            config["workers"] = json!(1_000_000);
        }
        let path = folder.path().join("config.json");
        fs::write(&path, config.to_string()).expect("a writable folder");
        let start = Instant::now();
        let words = ["rank 0 would hold", "this machine has", "`workers`"];
        refused(folder.path(), &["run", text(&path)], &[ALONE, 3], 2, &words);
        assert!(start.elapsed() < Duration::from_secs(20), "{key}");
    }
}
