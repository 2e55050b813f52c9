//! YAML text to a tree that knows where each key and value stands.
//!
//! Made from the parser's events rather than from saphyr's own tree, which stops at the first duplicated key and
//! forgets the others. Anchors, tags and several documents are refused: a configuration is read by people.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::source::Place;

/// A configuration is five levels deep; the bound keeps a bracketed joke from exhausting the stack.
const MAX_DEPTH: usize = 32;

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

impl Node {
    /// The keys of a group; none for anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The value of a key, if this is a group that has it.
    pub(super) fn child(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }
}

#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `plain`: written without quotes, so that it may be a number or a truth value.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
    /// Something refused while reading, reported already.
    Refused,
}

impl Value {
    /// What a person calls it.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Null | Self::Refused => "nothing",
            Self::Scalar { .. } => "a single value",
            Self::Sequence(_) => "a list",
            Self::Mapping(_) => "a group of keys",
        }
    }
}

/// A key with its value. Duplicates are kept, so that each can be reported.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

/// A place and what is wrong with the YAML there.
#[derive(Debug)]
pub(super) struct Flaw {
    pub(super) place: Place,
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

/// What was read: the tree, all flaws that did not stop the reading, and where the values and keys stand.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Node,
    pub(super) flaws: Vec<Flaw>,
    pub(super) values: Vec<Place>,
    pub(super) keys: Vec<Place>,
}

/// Reads the one document of a text.
///
/// # Errors
/// The flaw after which nothing more can be read.
pub(super) fn parse(text: &str) -> Result<Document, Flaw> {
    let mut builder = Builder {
        events: Parser::new_from_str(text),
        flaws: Vec::new(),
        values: Vec::new(),
        keys: Vec::new(),
    };
    let root = builder.document()?;
    Ok(Document { root, flaws: builder.flaws, values: builder.values, keys: builder.keys })
}

struct Builder<'input> {
    events: Parser<'input, saphyr_parser::StrInput<'input>>,
    flaws: Vec<Flaw>,
    values: Vec<Place>,
    keys: Vec<Place>,
}

impl<'input> Builder<'input> {
    fn next(&mut self) -> Result<(Event<'input>, Span), Flaw> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(syntax(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Node, Flaw> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => {
                    let node = self.node(event, span, 0)?;
                    if root.is_some() {
                        self.flaw(
                            node.place,
                            "a second YAML document begins here",
                            "keep one; remove `---` and what belongs to the other",
                        );
                    } else {
                        root = Some(node);
                    }
                }
            }
        }
        Ok(root.unwrap_or(Node { place: Place::START, value: Value::Null }))
    }

    fn node(&mut self, event: Event<'input>, span: Span, depth: usize) -> Result<Node, Flaw> {
        let place = Place::from(span);
        if depth > MAX_DEPTH {
            return Err(Flaw {
                place,
                what: format!("nested deeper than {MAX_DEPTH} levels"),
                remedy: "the embedded default shows the shape: `deltafan generate config`",
            });
        }
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.values.push(place);
                self.refuse_extras(place, anchor, tag.is_some());
                scalar(text.into_owned(), style)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(place, anchor, tag.is_some());
                self.sequence(depth)?
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(place, anchor, tag.is_some());
                self.mapping(depth)?
            }
            Event::Alias(_) => {
                self.flaw(place, "YAML aliases (`*name`) are not supported", "write the value out");
                Value::Refused
            }
            _ => Value::Refused,
        };
        Ok(Node { place, value })
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, Flaw> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(Value::Sequence(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Flaw> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(Value::Mapping(entries));
            }
            let place = Place::from(span);
            let key = match event {
                Event::Scalar(text, _, anchor, tag) => {
                    self.keys.push(place);
                    self.refuse_extras(place, anchor, tag.is_some());
                    Some(text.into_owned())
                }
                event => {
                    self.node(event, span, depth + 1)?;
                    self.flaw(place, "a key must be a plain word", "write `key: value`");
                    None
                }
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            if let Some(key) = key {
                entries.push(Entry { key, place, node });
            }
        }
    }

    fn refuse_extras(&mut self, place: Place, anchor: usize, tagged: bool) {
        if anchor > 0 {
            self.flaw(
                place,
                "YAML anchors (`&name`) are not supported",
                "remove the anchor and write the value where it is wanted",
            );
        }
        if tagged {
            self.flaw(place, "YAML tags (`!name`) are not supported", "remove the tag; put text in quotes");
        }
    }

    fn flaw(&mut self, place: Place, what: &str, remedy: &'static str) {
        self.flaws.push(Flaw { place, what: what.to_owned(), remedy });
    }
}

fn scalar(text: String, style: ScalarStyle) -> Value {
    let plain = style == ScalarStyle::Plain;
    if plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    Value::Scalar { text, plain }
}

/// What people write wrong, told by what the parser stumbles over.
const REMEDIES: [(&str, &str); 8] = [
    ("tab", "indent with spaces; YAML allows no tabs there"),
    ("mapping values are not allowed", "put a value that holds `: ` in quotes, and check the indentation"),
    ("did not find expected key", "check the indentation: keys of one group begin in the same column"),
    ("simple key expect", "a `:` is missing after this key"),
    ("quoted scalar", "close the quotes"),
    (
        "flow sequence",
        "close the list with `]` and put commas between its items; `${…}` in it goes in quotes",
    ),
    ("flow mapping", "close the group with `}` and put commas between its keys; `${…}` in it goes in quotes"),
    ("unknown anchor", "a value that begins with `*` goes in quotes"),
];

fn syntax(error: &ScanError) -> Flaw {
    let info = error.info();
    let remedy = REMEDIES
        .iter()
        .find_map(|(part, remedy)| info.contains(part).then_some(*remedy))
        .unwrap_or("check indentation, quotes and brackets here and in the line before");
    Flaw { place: Place::at(error.marker()), what: format!("no valid YAML: {info}"), remedy }
}
