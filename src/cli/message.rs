//! Messages as a terminal may show them: whatever a config or a file holds, one line, not too long,
//! and nothing that moves the cursor.

/// Characters that a message has at most; of a longer one the middle is left out.
const MOST: usize = 2000;
/// Characters that are then kept of its end, where the remedy stands.
const END: usize = 400;

/// The text in one line of characters that can be seen: others are escaped.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(4 * MOST));
    let count = text.chars().count();
    if count <= MOST {
        push(&mut line, text.chars());
        return line;
    }
    push(&mut line, text.chars().take(MOST - END));
    line += &format!(" ... ({} characters left out) ... ", count - MOST);
    push(&mut line, text.chars().skip(count - END));
    line
}

fn push(line: &mut String, text: impl Iterator<Item = char>) {
    for c in text {
        match c {
            // The escapes of quotes would only make a message harder to read.
            ' '..='~' => line.push(c),
            _ => line.extend(c.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_terminal_is_escaped() {
        let text = "a \"b\" \\ c\u{e9}\n\r\x1b[2J\x07\x7f\u{9b}31m\u{202e}\u{2028}\0";
        let shown =
            "a \"b\" \\ c\u{e9}\\n\\r\\u{1b}[2J\\u{7}\\u{7f}\\u{9b}31m\\u{202e}\\u{2028}\\0";
        assert_eq!(one_line(text), shown);
    }

    #[test]
    fn of_a_long_text_both_ends_are_kept() {
        let long = format!("first {} last", "\u{e9}".repeat(1_000_000));
        let shown = one_line(&long);
        assert!(shown.starts_with("first ") && shown.ends_with(" last"));
        assert!(shown.contains("(998011 characters left out)") && shown.chars().count() < 2050);
    }
}
