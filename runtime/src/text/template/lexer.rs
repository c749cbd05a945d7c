//! Cuts a template into tokens, as Python's Jinja does with `trim_blocks` and `lstrip_blocks`.

use crate::text::template::chars::{Ch, is_space};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// What is outside of tags.
    Data(String),
    /// `{{` and `}}`.
    PrintBegin,
    PrintEnd,
    /// `{%` and `%}`.
    BlockBegin,
    BlockEnd,
    Name(String),
    Text(String),
    Integer(i128),
    Float(f64),
    Sign(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub line: u32,
    pub kind: Kind,
}

/// A failure to read the template: a line and what is wrong there.
pub(super) type SyntaxError = (u32, String);

/// Longer ones first, so that the first that fits is the right one.
const SIGNS: [&str; 27] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";", "!",
];

/// The tokens of a template, the last one `End`.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, SyntaxError> {
    let mut source = source.replace("\r\n", "\n").replace('\r', "\n");
    if source.ends_with('\n') {
        source.pop();
    }
    let mut lexer =
        Lexer { source: &source, at: 0, line: 1, line_starts: true, tokens: Vec::new() };
    lexer.root()?;
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    /// Whether what was read last ended a line.
    line_starts: bool,
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, PartialEq)]
enum Tag {
    Print,
    Block,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { line: self.line, kind });
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, SyntaxError> {
        Err((self.line, reason.into()))
    }

    /// Goes on after the next `bytes` bytes.
    fn skip(&mut self, bytes: usize) {
        let skipped = &self.source[self.at..self.at + bytes];
        self.line += skipped.bytes().filter(|byte| *byte == b'\n').count() as u32;
        self.line_starts = skipped.ends_with('\n');
        self.at += bytes;
    }

    fn root(&mut self) -> Result<(), SyntaxError> {
        loop {
            let rest = self.rest();
            let openings = rest.match_indices('{').map(|(at, _)| at);
            let opening = openings.map(|at| (at, rest.as_bytes().get(at + 1).copied()));
            let found = opening.into_iter().find_map(|(at, second)| match second {
                Some(b'{') => Some((at, '{')),
                Some(b'%') => Some((at, '%')),
                Some(b'#') => Some((at, '#')),
                _ => None,
            });
            let Some((at, second)) = found else {
                self.data(rest.len(), None, false);
                self.push(Kind::End);
                return Ok(());
            };
            let control =
                rest.as_bytes().get(at + 2).copied().filter(|control| b"-+".contains(control));
            self.data(at, control, second != '{');
            let opener = 2 + usize::from(control.is_some());
            match second {
                '#' => self.comment(opener)?,
                '%' => match raw_end(self.rest(), opener, "raw", false) {
                    Some(bytes) => {
                        self.skip(bytes);
                        self.raw()?;
                    }
                    None => self.tag(opener, Tag::Block)?,
                },
                _ => self.tag(opener, Tag::Print)?,
            }
        }
    }

    /// Takes what is before a tag, stripped as the tag's sign and `lstrip_blocks` ask.
    fn data(&mut self, bytes: usize, control: Option<u8>, is_block: bool) {
        let text = &self.rest()[..bytes];
        let mut kept = text;
        if control == Some(b'-') {
            kept = trim_end(text);
        } else if control != Some(b'+') && is_block {
            let line = text.rfind('\n').map_or(0, |at| at + 1);
            if (line > 0 || self.line_starts) && text[line..].chars().all(is_python_space) {
                kept = &text[..line];
            }
        }
        if !kept.is_empty() {
            self.push(Kind::Data(kept.to_owned()));
        }
        if bytes > 0 {
            self.skip(bytes);
        }
    }

    fn comment(&mut self, opener: usize) -> Result<(), SyntaxError> {
        let rest = self.rest();
        let Some(at) = rest[opener..].find("#}").map(|at| at + opener) else {
            return self.fail("Missing end of comment tag");
        };
        let control = rest[opener..at].bytes().next_back();
        let end = at + 2;
        self.skip(end + trailing(&rest[end..], control));
        Ok(())
    }

    /// What is between `{% raw %}` and `{% endraw %}`.
    fn raw(&mut self) -> Result<(), SyntaxError> {
        let rest = self.rest();
        for (at, _) in rest.match_indices("{%") {
            let control =
                rest.as_bytes().get(at + 2).copied().filter(|control| b"-+".contains(control));
            let opener = 2 + usize::from(control.is_some());
            if let Some(bytes) = raw_end(&rest[at..], opener, "endraw", true) {
                self.data(at, control, true);
                self.skip(bytes);
                return Ok(());
            }
        }
        self.fail("Missing end of raw directive")
    }

    fn tag(&mut self, opener: usize, tag: Tag) -> Result<(), SyntaxError> {
        self.push(if tag == Tag::Print { Kind::PrintBegin } else { Kind::BlockBegin });
        self.skip(opener);
        let mut open = Vec::new();
        loop {
            let spaces = self.rest().len() - self.rest().trim_start_matches(is_python_space).len();
            if spaces > 0 {
                self.skip(spaces);
            }
            if open.is_empty()
                && let Some((bytes, control)) = tag_end(self.rest(), tag)
            {
                self.push(if tag == Tag::Print { Kind::PrintEnd } else { Kind::BlockEnd });
                let trims = if tag == Tag::Print && control.is_none() {
                    0
                } else {
                    trailing(&self.rest()[bytes..], control)
                };
                self.skip(bytes + trims);
                return Ok(());
            }
            self.word(&mut open)?;
        }
    }

    /// One name, number, text or sign within a tag.
    fn word(&mut self, open: &mut Vec<&'static str>) -> Result<(), SyntaxError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return self.fail("unexpected end of template");
        };
        if first.is_ascii_digit() {
            let after_point = self.source[..self.at].ends_with('.');
            let (bytes, kind) = number(rest, after_point).map_err(|reason| (self.line, reason))?;
            self.push(kind);
            self.skip(bytes);
        } else if first == '_' || first.is_alphanumeric() {
            let end = rest
                .find(|other: char| other != '_' && !other.is_alphanumeric())
                .unwrap_or(rest.len());
            self.push(Kind::Name(rest[..end].to_owned()));
            self.skip(end);
        } else if first == '\'' || first == '"' {
            let Some(end) = text_end(rest, first as u8) else {
                return self.fail(format!("unexpected char {first:?}"));
            };
            let text = unescaped(&rest[1..end]).map_err(|reason| (self.line, reason))?;
            self.push(Kind::Text(text));
            self.skip(end + 1);
        } else {
            let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign) && *sign != "!")
            else {
                return self.fail(format!("unexpected char {first:?}"));
            };
            match sign {
                "(" => open.push(")"),
                "[" => open.push("]"),
                "{" => open.push("}"),
                ")" | "]" | "}" => match open.pop() {
                    Some(expected) if expected == sign => {}
                    Some(expected) => {
                        return self.fail(format!("unexpected '{sign}', expected '{expected}'"));
                    }
                    None => return self.fail(format!("unexpected '{sign}'")),
                },
                _ => {}
            }
            self.push(Kind::Sign(sign));
            self.skip(sign.len());
        }
        Ok(())
    }
}

fn is_python_space(character: char) -> bool {
    is_space(Ch::own(character))
}

fn trim_end(text: &str) -> &str {
    text.trim_end_matches(is_python_space)
}

/// Bytes after an end of tag that belong to it: all spaces after `-`, none after `+`, else one
/// line break.
fn trailing(rest: &str, control: Option<u8>) -> usize {
    match control {
        Some(b'-') => rest.len() - rest.trim_start_matches(is_python_space).len(),
        Some(b'+') => 0,
        _ => usize::from(rest.starts_with('\n')),
    }
}

/// An end of tag with its sign: its bytes, and the sign.
fn tag_end(rest: &str, tag: Tag) -> Option<(usize, Option<u8>)> {
    let end = if tag == Tag::Print { "}}" } else { "%}" };
    if rest.starts_with(end) {
        return Some((2, None));
    }
    let control =
        rest.bytes().next().filter(|byte| *byte == b'-' || *byte == b'+' && tag == Tag::Block)?;
    rest[1..].starts_with(end).then_some((3, Some(control)))
}

/// Bytes of `{% raw %}` or `{% endraw %}`, if it is here.
fn raw_end(rest: &str, opener: usize, name: &str, trims: bool) -> Option<usize> {
    let after = rest[opener..].trim_start_matches(is_python_space).strip_prefix(name)?;
    let after = after.trim_start_matches(is_python_space);
    let control = after.bytes().next().filter(|byte| *byte == b'-' || *byte == b'+' && trims);
    let after = after[usize::from(control.is_some())..].strip_prefix("%}")?;
    let trimmed = if trims || control.is_some() { trailing(after, control) } else { 0 };
    Some(rest.len() - after.len() + trimmed)
}

/// Where a text that begins with a quote ends.
fn text_end(rest: &str, quote: u8) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at),
            _ => at += 1,
        }
    }
    None
}

fn number(rest: &str, after_point: bool) -> Result<(usize, Kind), String> {
    let digits = |from: usize| {
        let run =
            rest[from..].bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'_').count();
        from + rest[from..from + run].trim_end_matches('_').len()
    };
    let radix = match rest.as_bytes().get(1).map(u8::to_ascii_lowercase) {
        Some(b'x') => 16,
        Some(b'o') => 8,
        Some(b'b') => 2,
        _ => 10,
    };
    if rest.starts_with('0') && radix != 10 {
        let run = rest[2..]
            .bytes()
            .take_while(|byte| char::from(*byte).is_digit(radix) || *byte == b'_')
            .count();
        if let Ok(number) = i128::from_str_radix(&rest[2..2 + run].replace('_', ""), radix) {
            return Ok((2 + run, Kind::Integer(number)));
        }
    }
    let whole = digits(0);
    let mut end = whole;
    let is_digit = |at: usize| rest.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    if !after_point && rest[end..].starts_with('.') && is_digit(end + 1) {
        end = digits(end + 1);
    }
    if !after_point && rest[end..].starts_with(['e', 'E']) {
        let signed = usize::from(rest[end + 1..].starts_with(['+', '-']));
        if is_digit(end + 1 + signed) {
            end = digits(end + 1 + signed);
        }
    }
    let text = rest[..end].replace('_', "");
    if end > whole {
        return text
            .parse()
            .map(|number| (end, Kind::Float(number)))
            .map_err(|_| format!("not a number: {text}"));
    }
    // Python has no numbers such as 012.
    let end = if text.len() > 1 && text.starts_with('0') && text.bytes().any(|byte| byte != b'0') {
        1
    } else {
        end
    };
    let text = rest[..end].replace('_', "");
    text.parse()
        .map(|number| (end, Kind::Integer(number)))
        .map_err(|_| "a number is too large".to_owned())
}

/// What Python's escapes in a text mean. A backslash before anything else stays.
fn unescaped(text: &str) -> Result<String, String> {
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        made.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let Some(escape) = after.chars().next() else { return Err("\\ at end of string".into()) };
        let mut taken = escape.len_utf8();
        match escape {
            '\n' => {}
            '\\' | '\'' | '"' => made.push(escape),
            'a' => made.push('\u{7}'),
            'b' => made.push('\u{8}'),
            'f' => made.push('\u{c}'),
            'n' => made.push('\n'),
            'r' => made.push('\r'),
            't' => made.push('\t'),
            'v' => made.push('\u{b}'),
            '0'..='7' => {
                taken =
                    after.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                let code = u32::from_str_radix(&after[..taken], 8).unwrap_or(0);
                made.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            'x' | 'u' | 'U' => {
                let length = [('x', 2), ('u', 4), ('U', 8)]
                    .into_iter()
                    .find(|(of, _)| *of == escape)
                    .map_or(0, |of| of.1);
                let digits = after
                    .get(1..1 + length)
                    .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
                let Some(digits) = digits else {
                    return Err(format!("truncated \\{escape} escape"));
                };
                let code = u32::from_str_radix(digits, 16).unwrap_or(0);
                made.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                taken = 1 + length;
            }
            'N' => return Err("characters by their names are not supported".into()),
            other => {
                made.push('\\');
                made.push(other);
            }
        }
        rest = &after[taken..];
    }
    made.push_str(rest);
    Ok(made)
}
