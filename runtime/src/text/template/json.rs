//! JSON as Python's `json.dumps` writes it, by the options that `tojson` of `transformers` has.

use crate::text::template::chars::{self, Ch};
use crate::text::template::given::Given;
use crate::text::template::heap::{Draft, Heap, Outcome, failed};
use crate::text::template::number;
use crate::text::template::sort::sorted;
use crate::text::template::value::Value;

/// Most spaces of one level of indentation.
const INDENT_MAX: i128 = 1000;

struct Writer<'h, 'r> {
    draft: Draft<'h, 'r>,
    /// What a level of indentation is; none for one line.
    indent: Option<Vec<Ch>>,
    item_separator: Vec<Ch>,
    key_separator: Vec<Ch>,
    sort_keys: bool,
    ensure_ascii: bool,
}

/// `value|tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn filter(heap: &Heap<'_>, value: &Value, given: Given) -> Outcome<Value> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ensure_ascii, indent, separators, sort_keys] = given.bind("tojson", names, 0)?;
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Text(text)) => Some(text.to_vec()),
        Some(width) => {
            Some(vec![Ch::own(' '); width.integer("indent")?.clamp(0, INDENT_MAX) as usize])
        }
    };
    let (item_separator, key_separator) = match separators {
        None | Some(Value::None) => {
            let items = if indent.is_some() { "," } else { ", " };
            (chars::own(items).collect(), chars::own(": ").collect())
        }
        Some(Value::Tuple(pair) | Value::List(pair)) if pair.len() == 2 => {
            (pair[0].text("separators")?.to_vec(), pair[1].text("separators")?.to_vec())
        }
        Some(_) => return failed("tojson: separators must be a tuple of two texts"),
    };
    let is_true = |option: Option<Value>| option.is_some_and(|option| option.is_true());
    let (sort_keys, ensure_ascii) = (is_true(sort_keys), is_true(ensure_ascii));
    let mut writer = Writer {
        draft: Draft::new(heap)?,
        indent,
        item_separator,
        key_separator,
        sort_keys,
        ensure_ascii,
    };
    writer.value(value, 0)?;
    writer.draft.value()
}

impl Writer<'_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Outcome<()> {
        self.draft.heap.step()?;
        match value {
            Value::None => self.draft.own("null"),
            Value::Bool(true) => self.draft.own("true"),
            Value::Bool(false) => self.draft.own("false"),
            Value::Integer(number) => self.draft.own(&number.to_string()),
            Value::Float(number) => self.draft.own(&float(*number)),
            Value::Text(text) => self.text(text),
            Value::List(items) | Value::Tuple(items) => {
                self.draft.own("[")?;
                for (index, item) in items.iter().enumerate() {
                    self.separate(index, depth)?;
                    self.value(item, depth + 1)?;
                }
                self.close("]", items.is_empty(), depth)
            }
            Value::Dict(pairs) => {
                self.draft.own("{")?;
                let sorted;
                let mut entries: &[(Value, Value)] = pairs;
                if self.sort_keys {
                    sorted = sorted_pairs(self.draft.heap, pairs)?;
                    entries = &sorted;
                }
                for (index, (key, value)) in entries.iter().enumerate() {
                    self.separate(index, depth)?;
                    self.key(key)?;
                    self.draft.push(&self.key_separator)?;
                    self.value(value, depth + 1)?;
                }
                self.close("}", pairs.is_empty(), depth)
            }
            other => failed(format_args!(
                "Object of type {} is not JSON serializable",
                other.type_name()
            )),
        }
    }

    fn separate(&mut self, index: usize, depth: usize) -> Outcome<()> {
        if index > 0 {
            self.draft.push(&self.item_separator)?;
        }
        self.new_line(depth + 1)
    }

    fn close(&mut self, bracket: &str, empty: bool, depth: usize) -> Outcome<()> {
        if !empty {
            self.new_line(depth)?;
        }
        self.draft.own(bracket)
    }

    fn new_line(&mut self, depth: usize) -> Outcome<()> {
        if let Some(indent) = &self.indent {
            self.draft.one(Ch::own('\n'))?;
            for _ in 0..depth {
                self.draft.push(indent)?;
            }
        }
        Ok(())
    }

    fn key(&mut self, key: &Value) -> Outcome<()> {
        match key {
            Value::Text(text) => self.text(text),
            Value::None | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {
                self.draft.own("\"")?;
                self.value(key, 0)?;
                self.draft.own("\"")
            }
            other => {
                let found = other.type_name();
                failed(format_args!("keys must be str, int, float, bool or None, not {found}"))
            }
        }
    }

    fn text(&mut self, text: &[Ch]) -> Outcome<()> {
        self.draft.own("\"")?;
        for ch in text {
            let escape = match ch.get() {
                '"' => "\\\"".to_owned(),
                '\\' => "\\\\".to_owned(),
                '\n' => "\\n".to_owned(),
                '\r' => "\\r".to_owned(),
                '\t' => "\\t".to_owned(),
                '\u{8}' => "\\b".to_owned(),
                '\u{c}' => "\\f".to_owned(),
                control if control < ' ' => format!("\\u{:04x}", u32::from(control)),
                other if self.ensure_ascii && (!other.is_ascii() || other == '\u{7f}') => {
                    let mut units = [0; 2];
                    other
                        .encode_utf16(&mut units)
                        .iter()
                        .map(|unit| format!("\\u{unit:04x}"))
                        .collect()
                }
                _ => {
                    self.draft.one(*ch)?;
                    continue;
                }
            };
            self.draft.instead(*ch, &escape)?;
        }
        self.draft.own("\"")
    }
}

fn float(number: f64) -> String {
    match number {
        _ if number.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        _ => number::shortest(number),
    }
}

fn sorted_pairs(heap: &Heap<'_>, pairs: &[(Value, Value)]) -> Outcome<Vec<(Value, Value)>> {
    sorted(heap, pairs.to_vec(), |(key, _)| key, false)
}
