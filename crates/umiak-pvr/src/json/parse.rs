//! Reads JSON text into a [`Value`].
//!
//! Strict RFC 8259 on any bytes: no panic, no recursion deeper than [`MAX_DEPTH`], no input longer than the caller's
//! limit. Invalid UTF-8 is refused; a lone surrogate escape becomes U+FFFD.

use super::{Number, Object, Value};

/// Nested arrays and objects that a document may have.
pub const MAX_DEPTH: usize = 256;

/// Why a text is not the JSON document that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Longer than the caller allows.
    #[error("JSON document of {length} bytes exceeds the limit of {limit}")]
    TooLong {
        /// Its length in bytes.
        length: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Not UTF-8.
    #[error("JSON document is not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// Too many nested arrays and objects.
    #[error("JSON document nests deeper than {MAX_DEPTH} levels at byte {0}")]
    TooDeep(usize),
    /// A number that is malformed, or too large to write out.
    #[error("JSON document has a number that is malformed or has too many digits at byte {0}")]
    Number(usize),
    /// An object with two members of one name, where that is refused.
    #[error("JSON document has the member `{name}` twice, the second time at byte {at}")]
    Twice {
        /// The name, shortened, without control characters.
        name: String,
        /// Where the second one ends, in bytes from the start.
        at: usize,
    },
    /// Anything else.
    #[error("JSON document: expected {expected} at byte {at}")]
    Syntax {
        /// What would have been right.
        expected: &'static str,
        /// Where, in bytes from the start.
        at: usize,
    },
}

impl Value {
    /// Parses one JSON document of at most `limit` bytes; white space around it is allowed, anything else is not.
    ///
    /// # Errors
    /// [`ParseError`] says what is wrong and at which byte.
    pub fn parse(bytes: &[u8], limit: u64) -> Result<Self, ParseError> {
        Self::read(bytes, limit, false)
    }

    /// The same, but an object with two members of one name is refused: readers differ in which one they take, so who
    /// checks such a document and who uses it may not see the same.
    ///
    /// # Errors
    /// [`ParseError`], among them [`ParseError::Twice`].
    pub fn parse_unique(bytes: &[u8], limit: u64) -> Result<Self, ParseError> {
        Self::read(bytes, limit, true)
    }

    fn read(bytes: &[u8], limit: u64, unique: bool) -> Result<Self, ParseError> {
        if bytes.len() as u64 > limit {
            return Err(ParseError::TooLong { length: bytes.len() as u64, limit });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| ParseError::NotUtf8(error.valid_up_to()))?;
        let mut parser = Parser { text, bytes, at: 0, unique };
        let value = parser.value(0)?;
        parser.white();
        if parser.at != bytes.len() {
            return Err(parser.expected("the end of the document"));
        }
        Ok(value)
    }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Whether equal names in one object are an error.
    unique: bool,
}

impl Parser<'_> {
    fn expected(&self, expected: &'static str) -> ParseError {
        ParseError::Syntax { expected, at: self.at }
    }

    fn white(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, ParseError> {
        if depth > MAX_DEPTH {
            return Err(ParseError::TooDeep(self.at));
        }
        self.white();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.expected("a value")),
        }
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, ParseError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        Number::new(&self.text[start..self.at]).map(Value::Number).ok_or(ParseError::Number(start))
    }

    fn array(&mut self, depth: usize) -> Result<Value, ParseError> {
        self.at += 1;
        let mut items = Vec::new();
        self.white();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.white();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err(self.expected("`,` or `]`"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, ParseError> {
        self.at += 1;
        // Built into a map at the end: of equal names the last one stays, and sorted input costs no comparisons.
        let mut members: Vec<(String, Value)> = Vec::new();
        self.white();
        if self.take(b'}') {
            return Ok(Value::Object(Object::new()));
        }
        loop {
            self.white();
            if self.peek() != Some(b'"') {
                return Err(self.expected("a member name"));
            }
            let name = self.string()?;
            self.white();
            if !self.take(b':') {
                return Err(self.expected("`:`"));
            }
            let value = self.value(depth + 1)?;
            members.push((name, value));
            self.white();
            if self.take(b'}') {
                return self.members(members);
            }
            if !self.take(b',') {
                return Err(self.expected("`,` or `}`"));
            }
        }
    }

    /// An object of these members, the last of equal names.
    fn members(&self, members: Vec<(String, Value)>) -> Result<Value, ParseError> {
        if self.unique {
            let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                let name = twice[0].chars().filter(|character| !character.is_control()).take(120).collect();
                return Err(ParseError::Twice { name, at: self.at });
            }
        }
        Ok(Value::Object(members.into_iter().collect()))
    }

    fn string(&mut self) -> Result<String, ParseError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            text.push_str(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                _ => return Err(self.expected("`\"` or an escaped character")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let character = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.expected("an escape sequence")),
        };
        self.at += 1;
        Ok(character)
    }

    /// Behind `\u`. A high surrogate takes a following low one with it; alone, either is U+FFFD.
    fn unicode(&mut self) -> Result<char, ParseError> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let behind = self.at;
        if self.take(b'\\') && self.take(b'u') {
            let second = self.four_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                let joined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        self.at = behind;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn four_digits(&mut self) -> Result<u32, ParseError> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            value = value << 4 | digit.ok_or_else(|| self.expected("four hex digits"))?;
            self.at += 1;
        }
        Ok(value)
    }
}
