//! Filters of lists and of whatever else has items.

use crate::text::template::chars::{self, Ch};
use crate::text::template::compare;
use crate::text::template::filters::case_folded;
use crate::text::template::given::Given;
use crate::text::template::heap::{Draft, Outcome, failed};
use crate::text::template::machine::Machine;
use crate::text::template::machine::expressions::unknown;
use crate::text::template::operators;
use crate::text::template::sort::sorted;
use crate::text::template::value::{Value, View};
use crate::text::template::{ast, print, sequence};

/// How a filter gets at what it looks at: nothing for the item itself, else its attribute, step by
/// step.
type Path = Option<Vec<Value>>;

impl Machine<'_> {
    pub(super) fn collection_filter(
        &mut self,
        name: &str,
        value: &Value,
        given: Given,
    ) -> Outcome<Value> {
        match name {
            "list" => {
                given.none(name)?;
                let items = sequence::items(&self.heap, value)?.into_owned();
                self.heap.list(items)
            }
            "first" | "last" => {
                given.none(name)?;
                self.end(name, value)
            }
            "join" => {
                let [separator, attribute] = given.bind(name, ["d", "attribute"], 0)?;
                let separator = separator.unwrap_or(Value::None);
                let separator = match separator {
                    Value::None => self.heap.text(&[])?,
                    other => print::text(&self.heap, &other)?,
                };
                let path = self.path(attribute)?;
                self.join(value, &separator, &path)
            }
            "map" => self.map(value, given),
            "select" | "reject" => self.select(name == "select", value, given, false),
            "selectattr" | "rejectattr" => self.select(name == "selectattr", value, given, true),
            "reverse" => {
                given.none(name)?;
                match value {
                    Value::Text(text) => {
                        let reversed: Vec<Ch> = text.iter().rev().copied().collect();
                        self.heap.value(&reversed)
                    }
                    other => {
                        let mut items = sequence::items(&self.heap, other)?.into_owned();
                        items.reverse();
                        Ok(Value::iterator(self.heap.items(items)?))
                    }
                }
            }
            "sort" => self.sort(value, given),
            "dictsort" => self.sort_dict(value, given),
            "unique" => self.unique(value, given),
            "groupby" => self.group(value, given),
            "min" | "max" => self.extreme(name == "max", value, given),
            "sum" => self.sum(value, given),
            "items" => {
                given.none(name)?;
                match value {
                    Value::Undefined(_) => self.nothing(),
                    Value::Dict(pairs) => {
                        let view = Value::View(View::Items, pairs.clone());
                        let items = sequence::items(&self.heap, &view)?.into_owned();
                        Ok(Value::iterator(self.heap.items(items)?))
                    }
                    _ => failed("Can only get item pairs from a mapping."),
                }
            }
            "batch" | "slice" => self.cut(name, value, given),
            other => unknown("filter", other),
        }
    }

    fn end(&mut self, name: &str, value: &Value) -> Outcome<Value> {
        if let Value::Iterator(iteration) = value
            && name == "first"
        {
            let first = iteration.next();
            return Ok(
                first.unwrap_or_else(|| Value::missing("No first item, sequence was empty."))
            );
        }
        let items = match value {
            // Python's `last` goes from the end, which a generator does not have.
            Value::Iterator(_) if name == "last" => {
                return failed("'generator' object is not reversible");
            }
            Value::Text(text) => {
                let one = if name == "first" { text.first() } else { text.last() };
                return match one {
                    Some(ch) => self.heap.value(&[*ch]),
                    None => Ok(Value::missing(format!("No {name} item, sequence was empty."))),
                };
            }
            other => sequence::items(&self.heap, other)?,
        };
        let item = if name == "first" { items.first() } else { items.last() };
        Ok(item
            .cloned()
            .unwrap_or_else(|| Value::missing(format!("No {name} item, sequence was empty."))))
    }

    fn path(&mut self, attribute: Option<Value>) -> Outcome<Path> {
        let attribute = match attribute {
            None | Some(Value::None) => return Ok(None),
            Some(Value::Text(text)) => text,
            Some(number) => return Ok(Some(vec![number])),
        };
        let part = |part: &[Ch]| {
            let digits = !part.is_empty()
                && part.len() < 10
                && part.iter().all(|ch| ch.get().is_ascii_digit());
            match chars::string(part).parse() {
                Ok(number) if digits => Ok(Value::Integer(number)),
                _ => self.heap.value(part),
            }
        };
        Ok(Some(attribute.split(|ch| ch.is('.')).map(part).collect::<Outcome<_>>()?))
    }

    fn at(&mut self, item: &Value, path: &Path) -> Outcome<Value> {
        let mut value = item.clone();
        for part in path.iter().flatten() {
            self.heap.step()?;
            value = self.item(&value, part)?;
        }
        Ok(value)
    }

    /// What items are compared by: their attribute, in lower case unless case counts.
    fn keys(&mut self, items: &[Value], path: &Path, case_sensitive: bool) -> Outcome<Vec<Value>> {
        let mut keys = Vec::with_capacity(items.len());
        for item in items {
            self.heap.work(8)?;
            let key = self.at(item, path)?;
            keys.push(if case_sensitive { key } else { case_folded(self, &key)? });
        }
        Ok(keys)
    }

    fn join(&mut self, value: &Value, separator: &[Ch], path: &Path) -> Outcome<Value> {
        let mut items = Vec::new();
        for item in sequence::items(&self.heap, value)?.iter() {
            items.push(self.at(item, path)?);
        }
        let mut draft = Draft::new(&self.heap)?;
        for (index, item) in items.iter().enumerate() {
            self.heap.step()?;
            draft.push(if index > 0 { separator } else { &[] })?;
            print::append(&mut draft, item)?;
        }
        draft.value()
    }

    /// What Python's generators over something false give.
    fn nothing(&self) -> Outcome<Value> {
        Ok(Value::iterator(self.heap.items(Vec::new())?))
    }

    fn map(&mut self, value: &Value, mut given: Given) -> Outcome<Value> {
        if !value.is_true() {
            return self.nothing();
        }
        let items = sequence::items(&self.heap, value)?;
        let mut made = Vec::with_capacity(items.len());
        if given.positional.is_empty() {
            let [attribute, default] = given.bind("map", ["attribute", "default"], 1)?;
            let path = self.path(attribute)?;
            for item in items.iter() {
                let found = self.at(item, &path)?;
                made.push(match &default {
                    Some(default) if found.is_undefined() => default.clone(),
                    _ => found,
                });
            }
        } else {
            let name = given.positional.remove(0);
            let name = chars::string(name.text("map")?);
            for item in items.iter() {
                self.heap.step()?;
                let given =
                    Given { positional: given.positional.clone(), named: given.named.clone() };
                let value = self.deeper(|machine| machine.filter(&name, item, given))?;
                made.push(value);
            }
        }
        Ok(Value::iterator(self.heap.items(made)?))
    }

    fn select(
        &mut self,
        wanted: bool,
        value: &Value,
        mut given: Given,
        by_attribute: bool,
    ) -> Outcome<Value> {
        if !value.is_true() {
            return self.nothing();
        }
        let mut path = None;
        if by_attribute {
            if given.positional.is_empty() {
                return failed("Missing parameter for attribute name");
            }
            let attribute = given.positional.remove(0);
            path = self.path(Some(attribute))?;
        }
        let test =
            if given.positional.is_empty() { None } else { Some(given.positional.remove(0)) };
        let test =
            test.map(|name| name.text("select").map(|name| chars::string(name))).transpose()?;
        let mut chosen = Vec::new();
        for item in sequence::items(&self.heap, value)?.iter() {
            self.heap.step()?;
            let looked_at = self.at(item, &path)?;
            let holds = match &test {
                None => looked_at.is_true(),
                Some(name) => {
                    let given =
                        Given { positional: given.positional.clone(), named: given.named.clone() };
                    self.test(name, &looked_at, given)?
                }
            };
            if holds == wanted {
                chosen.push(item.clone());
            }
        }
        Ok(Value::iterator(self.heap.items(chosen)?))
    }

    fn sort(&mut self, value: &Value, given: Given) -> Outcome<Value> {
        let [reverse, case_sensitive, attribute] =
            given.bind("sort", ["reverse", "case_sensitive", "attribute"], 0)?;
        let is_true = |option: Option<Value>| option.is_some_and(|option| option.is_true());
        let (reverse, case_sensitive) = (is_true(reverse), is_true(case_sensitive));
        let items = sequence::items(&self.heap, value)?.into_owned();
        let attributes: Vec<Option<Value>> = match attribute {
            Some(Value::Text(text)) => text
                .split(|ch| ch.is(','))
                .map(|part| self.heap.value(part).map(Some))
                .collect::<Outcome<_>>()?,
            other => vec![other],
        };
        // Keys are lists, whose items may be equal without an order: two that are undefined.
        let mut keys = vec![Vec::new(); items.len()];
        for attribute in attributes {
            let path = self.path(attribute)?;
            for (key, part) in keys.iter_mut().zip(self.keys(&items, &path, case_sensitive)?) {
                key.push(part);
            }
        }
        let keys: Vec<Value> =
            keys.into_iter().map(|key| self.heap.list(key)).collect::<Outcome<_>>()?;
        let pairs: Vec<(Value, Value)> = keys.into_iter().zip(items).collect();
        let pairs = sorted(&self.heap, pairs, |(key, _)| key, reverse)?;
        self.heap.list(pairs.into_iter().map(|(_, item)| item).collect())
    }

    fn sort_dict(&mut self, value: &Value, given: Given) -> Outcome<Value> {
        let [case_sensitive, by, reverse] =
            given.bind("dictsort", ["case_sensitive", "by", "reverse"], 0)?;
        let is_true = |option: Option<Value>| option.is_some_and(|option| option.is_true());
        let by_value = match by {
            None => false,
            Some(Value::Text(by)) if by.is("key") => false,
            Some(Value::Text(by)) if by.is("value") => true,
            Some(_) => return failed("You can only sort by either \"key\" or \"value\""),
        };
        let case_sensitive = is_true(case_sensitive);
        let Value::Dict(pairs) = value.defined()? else {
            return failed(format_args!("'{}' object has no attribute 'items'", value.type_name()));
        };
        let looked_at: Vec<Value> =
            pairs.iter().map(|(key, value)| if by_value { value } else { key }.clone()).collect();
        let keys = self.keys(&looked_at, &None, case_sensitive)?;
        let keyed: Vec<_> = keys.into_iter().zip(pairs.iter().cloned()).collect();
        let keyed = sorted(&self.heap, keyed, |(key, _)| key, is_true(reverse))?;
        let pair = |(_, (key, value))| self.heap.tuple(vec![key, value]);
        let items = keyed.into_iter().map(pair).collect::<Outcome<_>>()?;
        self.heap.list(items)
    }

    fn unique(&mut self, value: &Value, given: Given) -> Outcome<Value> {
        let [case_sensitive, attribute] =
            given.bind("unique", ["case_sensitive", "attribute"], 0)?;
        let path = self.path(attribute)?;
        let items = sequence::items(&self.heap, value)?.into_owned();
        let keys = self.keys(&items, &path, case_sensitive.is_some_and(|case| case.is_true()))?;
        let mut seen: Vec<Value> = Vec::new();
        let mut made = Vec::new();
        for (key, item) in keys.into_iter().zip(items) {
            compare::hashable(&key)?;
            if !compare::among(&self.heap, &seen, &key)? {
                seen.push(key);
                made.push(item);
            }
        }
        Ok(Value::iterator(self.heap.items(made)?))
    }

    fn group(&mut self, value: &Value, given: Given) -> Outcome<Value> {
        let [attribute, default, case_sensitive] =
            given.bind("groupby", ["attribute", "default", "case_sensitive"], 1)?;
        let case_sensitive = case_sensitive.is_some_and(|case| case.is_true());
        let path = self.path(attribute)?;
        let items = sequence::items(&self.heap, value)?.into_owned();
        let mut keyed = Vec::with_capacity(items.len());
        for item in items {
            let mut key = self.at(&item, &path)?;
            if let (true, Some(default)) = (key.is_undefined(), &default) {
                key = default.clone();
            }
            let compared = if case_sensitive { key.clone() } else { case_folded(self, &key)? };
            keyed.push((compared, key, item));
        }
        let keyed = sorted(&self.heap, keyed, |(compared, ..)| compared, false)?;
        let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
        for (compared, key, item) in keyed {
            match groups.last_mut() {
                Some((last, _, members)) if compare::equal(&self.heap, last, &compared)? => {
                    members.push(item)
                }
                _ => groups.push((compared, key, vec![item])),
            }
        }
        let group = |(_, key, members)| self.heap.group(key, self.heap.list(members)?);
        let groups = groups.into_iter().map(group).collect::<Outcome<_>>()?;
        self.heap.list(groups)
    }

    fn extreme(&mut self, largest: bool, value: &Value, given: Given) -> Outcome<Value> {
        let [case_sensitive, attribute] = given.bind("min", ["case_sensitive", "attribute"], 0)?;
        let path = self.path(attribute)?;
        let items = sequence::items(&self.heap, value)?.into_owned();
        let keys = self.keys(&items, &path, case_sensitive.is_some_and(|case| case.is_true()))?;
        let mut best: Option<(Value, Value)> = None;
        for (key, item) in keys.into_iter().zip(items) {
            let better = match &best {
                None => true,
                Some((other, _)) => {
                    let order =
                        compare::order(&self.heap, &key, other, if largest { ">" } else { "<" })?;
                    order.is_some_and(|order| if largest { order.is_gt() } else { order.is_lt() })
                }
            };
            if better {
                best = Some((key, item));
            }
        }
        Ok(best.map_or_else(
            || Value::missing("No aggregated item, sequence was empty."),
            |(_, item)| item,
        ))
    }

    fn sum(&mut self, value: &Value, given: Given) -> Outcome<Value> {
        let [attribute, start] = given.bind("sum", ["attribute", "start"], 0)?;
        let path = self.path(attribute)?;
        let mut sum = start.unwrap_or(Value::Integer(0));
        if matches!(sum, Value::Text(_)) {
            return failed("sum() can't sum strings [use ''.join(seq) instead]");
        }
        for item in sequence::items(&self.heap, value)?.iter() {
            self.heap.step()?;
            let item = self.at(item, &path)?;
            sum = operators::binary(&self.heap, ast::Operator::Add, &sum, &item)?;
        }
        Ok(sum)
    }

    fn cut(&mut self, name: &str, value: &Value, given: Given) -> Outcome<Value> {
        let [count, fill] = given.bind(name, ["linecount", "fill_with"], 1)?;
        let count = usize::try_from(count.unwrap_or(Value::None).integer(name)?).unwrap_or(0);
        if count == 0 || count > 100_000 {
            return failed(format_args!("{name}: expected a count between 1 and 100000"));
        }
        let fill = fill.filter(|fill| !matches!(fill, Value::None));
        let items = sequence::items(&self.heap, value)?.into_owned();
        self.heap.work(items.len() * 4 + count)?;
        let mut parts: Vec<Vec<Value>> = Vec::new();
        if name == "batch" {
            for part in items.chunks(count) {
                let missing = if fill.is_some() { count - part.len() } else { 0 };
                self.heap.work(missing * 4)?;
                let filled = std::iter::repeat_n(&fill, missing).flatten();
                parts.push(part.iter().chain(filled).cloned().collect());
            }
        } else {
            let (each, longer) = (items.len() / count, items.len() % count);
            let mut start = 0;
            for index in 0..count {
                let end = start + each + usize::from(index < longer);
                let filled = fill.iter().filter(|_| index >= longer).cloned();
                parts.push(items[start..end].iter().cloned().chain(filled).collect());
                start = end;
            }
        }
        let lists =
            parts.into_iter().map(|part| self.heap.list(part)).collect::<Outcome<Vec<_>>>()?;
        Ok(Value::iterator(self.heap.items(lists)?))
    }
}
