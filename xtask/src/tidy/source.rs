//! A Rust file as the rules see it: code without comments and the insides of
//! literals, and the same without tests.

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    path: String,
    lines: usize,
    /// Same length and line breaks as the file; comments and literals are blanks.
    code: String,
    /// `code` with the items of `#[cfg(test)]` as blanks; all blank in a test file.
    product: String,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Line of `fn`.
    pub(crate) line: usize,
    /// From `fn` to the closing brace.
    pub(crate) lines: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blank_literals(text);
        let product = if is_test_path(path) { blank(&code, 0, code.len()) } else { blank_tests(&code) };
        Self { path: path.to_owned(), lines: text.lines().count(), code, product }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) const fn lines(&self) -> usize {
        self.lines
    }

    /// All code.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// Code that is not for tests.
    pub(crate) fn product(&self) -> &str {
        &self.product
    }

    /// Code that is only for tests.
    pub(crate) fn tests(&self) -> String {
        let both = self.code.bytes().zip(self.product.bytes());
        let bytes: Vec<u8> = both.map(|(c, p)| if c == p && c != b'\n' { b' ' } else { c }).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn is_test(&self) -> bool {
        self.product.trim().is_empty() && !self.code.trim().is_empty()
    }

    /// Says that this file is compiled for tests only.
    pub(crate) fn mark_test(&mut self) {
        self.product = blank(&self.code, 0, self.code.len());
    }

    /// Modules declared as `#[cfg(test)] mod name;`: their paths without `.rs`.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let folder = module_folder(&self.path);
        let declared = test_items(&self.code).into_iter().filter_map(|(from, to)| {
            let item = self.code.get(from..to)?;
            let (_, name) = item.split_once("mod ")?;
            name.strip_suffix(';').map(|name| format!("{folder}/{}", name.trim()))
        });
        declared.collect()
    }

    /// The functions of the code that is not for tests.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for (at, _) in self.product.match_indices("fn ") {
            if !starts_word(&self.product, at) {
                continue;
            }
            let name: String =
                self.product.get(at + 3..).unwrap_or_default().chars().take_while(|c| is_word(*c)).collect();
            let Some(end) = item_end(&self.product, at).filter(|_| !name.is_empty()) else {
                continue;
            };
            let body = self.product.get(at..end).unwrap_or_default();
            if body.ends_with('}') {
                found.push(Function { name, line: line_of(&self.product, at), lines: body.lines().count() });
            }
        }
        found
    }
}

/// The line of an offset, from 1.
pub(crate) fn line_of(code: &str, at: usize) -> usize {
    code.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// Whether a word begins at an offset, not the middle of one.
pub(crate) fn starts_word(code: &str, at: usize) -> bool {
    code.get(..at).and_then(|before| before.chars().next_back()).is_none_or(|c| !is_word(c))
}

/// Whether a character can be part of a word.
pub(crate) const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The folder in which the modules that a file declares lie.
pub(crate) fn module_folder(path: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => path.strip_suffix(".rs").unwrap_or(path).to_owned(),
    }
}

fn is_test_path(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Offset behind the item that has a word at `at`: its `;`, or the brace that closes its body.
fn item_end(code: &str, at: usize) -> Option<usize> {
    let (mut round, mut curly) = (0_i32, 0_i32);
    for (offset, byte) in code.bytes().enumerate().skip(at) {
        match byte {
            b'(' | b'[' => round += 1,
            b')' | b']' => round -= 1,
            b'{' => curly += 1,
            b'}' => curly -= 1,
            b';' if round == 0 && curly == 0 => return Some(offset + 1),
            _ => {}
        }
        if byte == b'}' && curly <= 0 && round <= 0 {
            return Some(offset + 1);
        }
    }
    None
}

/// Where the items under `#[cfg(test)]` begin and end, attribute included.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    let mut behind = 0;
    for (at, _) in code.match_indices("#[cfg(") {
        let attribute = code.get(at..).and_then(|c| c.split(']').next()).unwrap_or_default();
        let is_test = attribute.contains("(test") || attribute.contains(" test");
        if at < behind || !is_test || attribute.contains("not(test") {
            continue;
        }
        let end = item_end(code, at + attribute.len() + 1).unwrap_or(code.len());
        items.push((at, end));
        behind = end;
    }
    items
}

fn blank_tests(code: &str) -> String {
    test_items(code).into_iter().fold(code.to_owned(), |code, (from, to)| blank(&code, from, to))
}

fn blank(code: &str, from: usize, to: usize) -> String {
    let inside = |at: usize| (from..to).contains(&at);
    let bytes = code.bytes().enumerate();
    let bytes: Vec<u8> = bytes.map(|(at, b)| if inside(at) && b != b'\n' { b' ' } else { b }).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Comments, strings and characters as blanks; lines and offsets stay.
fn blank_literals(text: &str) -> String {
    let mut lexer = Lexer { text, at: 0, code: String::with_capacity(text.len()) };
    while let Some(next) = lexer.rest().chars().next() {
        let length = lexer.literal().unwrap_or(0);
        if length == 0 {
            lexer.keep(next);
        } else {
            lexer.drop(length);
        }
    }
    lexer.code
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    code: String,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn keep(&mut self, c: char) {
        // One byte a byte, so that offsets stay; outside literals only identifiers may not be ASCII.
        if c.is_ascii() {
            self.code.push(c);
        } else {
            self.code.extend(std::iter::repeat_n('_', c.len_utf8()));
        }
        self.at += c.len_utf8();
    }

    fn drop(&mut self, length: usize) {
        let dropped = self.rest().get(..length).unwrap_or_default();
        let blanks: String = dropped.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
        self.code.push_str(&blanks);
        self.at += length;
    }

    /// How long the comment or literal is that begins here.
    fn literal(&self) -> Option<usize> {
        let rest = self.rest();
        if rest.starts_with("//") {
            return Some(rest.find('\n').unwrap_or(rest.len()));
        }
        if rest.starts_with("/*") {
            return Some(block_comment(rest));
        }
        if rest.starts_with('"') {
            return Some(quoted(rest, '"'));
        }
        if rest.starts_with('\'') {
            return character(rest);
        }
        (rest.starts_with('r') && starts_word(self.text, self.at) || rest.starts_with("br"))
            .then(|| raw_string(rest))
            .flatten()
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_u32;
    let mut bytes = rest.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        let next = bytes.peek().map(|(_, b)| *b);
        match (byte, next) {
            (b'/', Some(b'*')) => depth += 1,
            (b'*', Some(b'/')) => depth -= 1,
            _ => continue,
        }
        bytes.next();
        if depth == 0 {
            return at + 2;
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal, `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    let (end, second) = chars.next()?;
    (first == '\\' || second == '\'').then(|| if first == '\\' { quoted(rest, '\'') } else { end + 1 })
}

fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.trim_start_matches('b').strip_prefix('r')?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let opening = rest.len() - body.len() + hashes;
    let inside = rest.get(opening..)?.strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let end = inside.find(&closing).map_or(inside.len(), |at| at + closing.len());
    Some(opening + 1 + end)
}

#[cfg(test)]
mod tests {
    use super::{Function, Source};

    fn source(text: &str) -> Source {
        Source::new("a/src/b.rs", text)
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let code =
            source("a /* { /* } */ */ b // {\n\"{ \\\" {\" c r#\"{ \" \"# d '{' 'x 'e' '\\'' f").code().to_owned();
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "c", "d", "'x", "f"]);
    }

    #[test]
    fn lines_and_offsets_stay() {
        let text = "x /*\n\n*/ ü y\n\"a\nb\" z";
        let source = source(text);
        assert_eq!(source.code().len(), text.len());
        assert_eq!(source.code().lines().count(), text.lines().count());
    }

    #[test]
    fn a_function_is_measured_from_its_signature_to_its_brace() {
        let functions = source("trait T { fn a(&self); }\nfn b(\n x: [u8; 2],\n) -> u8 {\n  { 1 }\n}\n").functions();
        assert_eq!(functions, [Function { name: "b".to_owned(), line: 2, lines: 5 }]);
    }

    #[test]
    fn what_is_under_cfg_test_is_for_tests() {
        let source = source("fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\n#[cfg(not(test))]\nfn c() {}\n");
        let names: Vec<_> = source.functions().into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["a", "c"]);
        assert!(source.tests().contains("fn b()") && !source.tests().contains("fn a()"));
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_is_found() {
        let source = source("#[cfg(test)]\nmod contract;\n");
        assert_eq!(source.test_modules(), ["a/src/b/contract"]);
    }
}
