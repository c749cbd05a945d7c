//! Calls: macros, functions and methods, and the arguments they are given.

use std::rc::Rc;

use crate::text::template::ast::{self, Macro};
use crate::text::template::chars;
use crate::text::template::clock::Clock;
use crate::text::template::given::Given;
use crate::text::template::heap::{Cause, Object, Outcome, failed};
use crate::text::template::input::shorten;
use crate::text::template::machine::Machine;
use crate::text::template::machine::state::MacroValue;
use crate::text::template::value::{Function, Range, Value};
use crate::text::template::{compare, methods, print, sequence};

impl<'r> Machine<'r> {
    pub(super) fn arguments(&mut self, arguments: &'r ast::Arguments) -> Outcome<Given> {
        let mut given = Given::default();
        for value in &arguments.positional {
            let value = self.expression(value)?;
            self.heap.look_at(&value)?;
            given.positional.push(value);
        }
        for (name, value) in &arguments.named {
            let value = self.expression(value)?;
            self.heap.look_at(&value)?;
            self.heap.work(name.len())?;
            given.named.push(((&**name).into(), value));
        }
        if let Some(list) = &arguments.list {
            let list = self.expression(list)?;
            given.positional.extend(sequence::items(&self.heap, &list)?.iter().cloned());
        }
        if let Some(dictionary) = &arguments.dictionary {
            let Value::Dict(pairs) = self.expression(dictionary)? else {
                return failed("argument after ** must be a mapping");
            };
            for (name, value) in pairs.iter() {
                self.heap.work(8 + given.named.len())?;
                self.heap.look_at(name)?;
                let name: Rc<str> = chars::string(name.text("keywords")?).into();
                if given.named.iter().any(|(other, _)| *other == name) {
                    return failed(format_args!(
                        "got multiple values for keyword argument '{name}'"
                    ));
                }
                given.named.push((name, value.clone()));
            }
        }
        Ok(given)
    }

    pub(super) fn define_macro(&mut self, declared: &'r Macro) -> Outcome<Value> {
        // Macros live as long as the rendering.
        self.heap.keep(256)?;
        let scope = self.scopes.keep();
        self.macros.push(MacroValue { declared, scope });
        Ok(Value::Macro(self.macros.len() - 1))
    }

    pub(super) fn call(&mut self, callee: &Value, given: Given) -> Outcome<Value> {
        match callee {
            Value::Macro(number) => self.call_macro(*number, given),
            Value::Function(function) => self.call_function(*function, given),
            Value::Method(method) => match &**method {
                (Value::Loop(number), name) => {
                    let arguments = given.unnamed(name)?;
                    self.loop_method(*number, name, arguments)
                }
                (Value::Object(number), name) => self.call_cycler(*number, name),
                (Value::Function(Function::Dict), _) => self.dict_of_keys(given),
                (receiver, name) => {
                    self.heap.look_at(receiver)?;
                    methods::call(&self.heap, receiver, name, given)
                }
            },
            Value::Loop(number) => {
                let [over] = given.bind("loop", ["iterable"], 1)?;
                self.recurse(*number, &over.unwrap_or(Value::None))
            }
            Value::Object(number) => self.call_joiner(*number, given),
            other => failed(match other {
                Value::Undefined(missing) => missing.reason(),
                other => format!("'{}' object is not callable", other.type_name()),
            }),
        }
    }

    fn call_macro(&mut self, number: usize, given: Given) -> Outcome<Value> {
        let (declared, scope) = (self.macros[number].declared, self.macros[number].scope);
        let Given { mut positional, named } = given;
        self.heap.step()?;
        self.heap.work(declared.parameters.len().saturating_mul(named.len() + 2))?;
        let mut named = named;
        let mut take = |name: &str| {
            named.iter().position(|(other, _)| &**other == name).map(|at| named.remove(at).1)
        };
        let extra = positional.split_off(declared.parameters.len().min(positional.len()));
        let mut values: Vec<Option<Value>> = positional.into_iter().map(Some).collect();
        for name in declared.parameters.iter().skip(values.len()) {
            values.push(take(name));
        }
        let has_caller_parameter = declared.parameters.iter().any(|name| &**name == "caller");
        let caller =
            if declared.uses.caller && !has_caller_parameter { take("caller") } else { None };
        let name = &declared.name;
        if !declared.uses.kwargs
            && let Some((unknown, _)) = named.first()
        {
            return failed(format_args!("macro '{name}' takes no keyword argument '{unknown}'"));
        }
        if !declared.uses.varargs && !extra.is_empty() {
            let most = declared.parameters.len();
            return failed(format_args!("macro '{name}' takes not more than {most} argument(s)"));
        }
        let line = self.line;
        let (_, text) = self.deeper(|machine| {
            machine.capture(|machine| {
                machine.scopes.enter(scope);
                machine.bind_macro(declared, values)?;
                if declared.uses.caller && !has_caller_parameter {
                    let caller = caller.unwrap_or_else(|| Value::missing("No caller defined"));
                    machine.set("caller", caller)?;
                }
                if declared.uses.kwargs {
                    let pair =
                        |(name, value): (Rc<str>, Value)| Ok((machine.heap.own(&name)?, value));
                    let pairs = named.into_iter().map(pair).collect::<Outcome<_>>()?;
                    let kwargs = machine.heap.dict(pairs)?;
                    machine.set("kwargs", kwargs)?;
                }
                if declared.uses.varargs {
                    let varargs = machine.heap.tuple(extra)?;
                    machine.set("varargs", varargs)?;
                }
                let flow = machine.statements(&declared.body)?;
                machine.scopes.leave();
                Ok(flow)
            })
        })?;
        self.line = line;
        Ok(Value::Text(text))
    }

    /// Sets a macro's parameters to their values; defaults see the parameters before them.
    fn bind_macro(&mut self, declared: &'r Macro, values: Vec<Option<Value>>) -> Outcome<()> {
        let first_default =
            declared.parameters.len() - declared.defaults.len().min(declared.parameters.len());
        for (index, (name, value)) in declared.parameters.iter().zip(values).enumerate() {
            let default = index.checked_sub(first_default).and_then(|at| declared.defaults.get(at));
            let value = match (value, default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.expression(default)?,
                (None, None) => Value::missing(format!("parameter '{name}' was not provided")),
            };
            self.set(name, value)?;
        }
        Ok(())
    }

    /// `macro.name` and the like.
    pub(super) fn macro_attribute(&mut self, number: usize, name: &str) -> Outcome<Option<Value>> {
        let declared = self.macros[number].declared;
        Ok(Some(match name {
            "name" => self.heap.own(&declared.name)?,
            "arguments" => {
                let names = declared
                    .parameters
                    .iter()
                    .map(|name| self.heap.own(name))
                    .collect::<Outcome<_>>()?;
                self.heap.tuple(names)?
            }
            "catch_kwargs" => Value::Bool(declared.uses.kwargs),
            "catch_varargs" => Value::Bool(declared.uses.varargs),
            "caller" => Value::Bool(declared.uses.caller),
            _ => return Ok(None),
        }))
    }

    fn call_function(&mut self, function: Function, given: Given) -> Outcome<Value> {
        match function {
            Function::Range => range(given),
            Function::Dict => {
                let pairs = self.dict_pairs("dict", given)?;
                self.heap.dict(pairs)
            }
            Function::Namespace => {
                let pairs = self.dict_pairs("namespace", given)?;
                let field = |(name, value): (Value, Value)| {
                    let name = name.text("namespace")?.clone();
                    if name.first().is_some_and(|first| first.is('_')) {
                        return failed(
                            "a namespace cannot have a field whose name begins with '_'",
                        );
                    }
                    Ok((name, value))
                };
                let fields: Vec<_> = pairs.into_iter().map(field).collect::<Outcome<_>>()?;
                self.heap.object(Object::Namespace(fields))
            }
            Function::Cycler => {
                let items = given.unnamed("cycler")?;
                if items.is_empty() {
                    return failed("at least one item has to be provided");
                }
                let items = self.heap.items(items)?;
                self.heap.object(Object::Cycler { items, position: 0 })
            }
            Function::Joiner => {
                let [separator] = given.bind("joiner", ["sep"], 0)?;
                let separator = match separator {
                    Some(separator) => separator.text("joiner")?.clone(),
                    None => self.heap.own_text(", ")?,
                };
                self.heap.object(Object::Joiner { separator, used: false })
            }
            Function::RaiseException => {
                let [reason] = given.bind("raise_exception", ["message"], 1)?;
                let reason = print::text(&self.heap, &reason.unwrap_or(Value::None))?;
                // A template's words may be megabytes; a reason is a line.
                let reason = chars::string(&reason[..reason.len().min(2000)]);
                Err(Box::new(Cause::Raised(shorten(&reason))))
            }
            Function::StrftimeNow => {
                let [format] = given.bind("strftime_now", ["format"], 1)?;
                let format = format.unwrap_or(Value::None);
                let format = chars::string(format.text("strftime_now")?);
                if format.len() > 1000 {
                    return failed("strftime_now: a format of more than 1000 bytes");
                }
                let clock = *self.clock.get_or_insert_with(Clock::local);
                self.heap.own(&clock.format(&format))
            }
            Function::Lipsum => failed("lipsum() is not supported: its text is drawn by chance"),
        }
    }

    /// What `dict(...)` makes of its arguments.
    fn dict_pairs(&mut self, of: &str, given: Given) -> Outcome<Vec<(Value, Value)>> {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        if given.positional.len() > 1 {
            return failed(format_args!(
                "{of} expected at most 1 argument, got {}",
                given.positional.len()
            ));
        }
        match given.positional.first() {
            None => {}
            Some(Value::Dict(dict)) => pairs.extend(dict.iter().cloned()),
            Some(Value::Object(number)) if of == "dict" => {
                if let Some(Object::Namespace(fields)) = self.heap.objects.borrow().get(*number) {
                    pairs.extend(
                        fields
                            .iter()
                            .map(|(name, value)| (Value::Text(name.clone()), value.clone())),
                    );
                }
            }
            Some(other) => {
                for pair in sequence::items(&self.heap, other.defined()?)?.iter() {
                    let pair = sequence::items(&self.heap, pair)?;
                    let [key, value] = &pair[..] else {
                        return failed("dictionary update sequence: expected pairs");
                    };
                    compare::put(&self.heap, &mut pairs, key.clone(), value.clone())?;
                }
            }
        }
        for (name, value) in given.named {
            let name = self.heap.own(&name)?;
            compare::put(&self.heap, &mut pairs, name, value)?;
        }
        Ok(pairs)
    }

    fn dict_of_keys(&mut self, given: Given) -> Outcome<Value> {
        let [keys, value] = given.bind("fromkeys", ["/iterable", "/value"], 1)?;
        let value = value.unwrap_or(Value::None);
        let mut pairs = Vec::new();
        for key in sequence::items(&self.heap, &keys.unwrap_or(Value::None))?.iter() {
            compare::put(&self.heap, &mut pairs, key.clone(), value.clone())?;
        }
        self.heap.dict(pairs)
    }

    fn call_cycler(&mut self, number: usize, name: &str) -> Outcome<Value> {
        match self.heap.objects.borrow_mut().get_mut(number) {
            Some(Object::Cycler { items, position }) => {
                let current = items[*position % items.len()].clone();
                *position = if name == "reset" { 0 } else { (*position + 1) % items.len() };
                Ok(if name == "reset" { Value::None } else { current })
            }
            _ => failed("only a cycler has this method"),
        }
    }

    fn call_joiner(&mut self, number: usize, given: Given) -> Outcome<Value> {
        given.none("joiner")?;
        let separator = match self.heap.objects.borrow_mut().get_mut(number) {
            Some(Object::Joiner { separator, used }) => {
                if std::mem::replace(used, true) {
                    Some(separator.clone())
                } else {
                    None
                }
            }
            _ => return failed("'Namespace' object is not callable"),
        };
        separator.map_or_else(|| self.heap.own(""), |separator| Ok(Value::Text(separator)))
    }
}

fn range(given: Given) -> Outcome<Value> {
    /// As the sandbox of Python's Jinja has it.
    const LENGTH_MAX: usize = 100_000;
    let numbers = given.unnamed("range")?;
    let number = |value: &Value| {
        let number = value.defined()?.integer("range")?;
        i64::try_from(number).or_else(|_| failed("range: number too large"))
    };
    let numbers = numbers.iter().map(number).collect::<Outcome<Vec<_>>>()?;
    let range = match numbers[..] {
        [stop] => Range { start: 0, stop, step: 1 },
        [start, stop] => Range { start, stop, step: 1 },
        [start, stop, step] if step != 0 => Range { start, stop, step },
        [_, _, _] => return failed("range() arg 3 must not be zero"),
        _ => return failed(format_args!("range expected 1 to 3 arguments, got {}", numbers.len())),
    };
    if range.len() > LENGTH_MAX {
        return failed(format_args!("Range too big: more than {LENGTH_MAX} items"));
    }
    Ok(Value::Range(range))
}
