//! Texts and bytes of records as they are printed for people: on one line, harmless to a terminal.

use std::borrow::Cow;

/// A text on one line; what a terminal might act on is escaped.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        return Cow::Owned(text.escape_debug().to_string());
    }
    Cow::Borrowed(text)
}

/// A text of at most `chars` characters, on one line.
pub(super) fn cut(whole: &str, chars: usize) -> String {
    match whole.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text(&whole[..end])),
        None => text(whole).into_owned(),
    }
}

/// Bytes as a text where they are one, else escaped.
pub(super) fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(whole) => text(whole).into_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal() {
        assert_eq!(text("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(bytes(b"\xff\x1b"), "\\xff\\x1b");
        assert_eq!(bytes("日経".as_bytes()), "日経");
        assert_eq!((cut("abc", 3), cut("abcd", 3)), ("abc".to_owned(), "abc…".to_owned()));
    }
}
