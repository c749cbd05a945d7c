//! Runs a template: statements, and where their text goes.

mod access;
mod calls;
pub(super) mod expressions;
mod loops;
mod scopes;
mod state;

use crate::text::template::ast::{Constant, Postfix, Program, Statement, StatementKind, Target};
use crate::text::template::chars::{self, Ch};
use crate::text::template::clock::Clock;
use crate::text::template::heap::{Cause, Fault, Heap, Held, Object, Outcome, failed};
use crate::text::template::input::RenderLimits;

use crate::text::template::machine::scopes::Scopes;
use crate::text::template::machine::state::{LoopState, MacroValue};
use crate::text::template::rendered::{Author, Rendered};
use crate::text::template::value::{Text, Value};
use crate::text::template::{print, sequence};

/// Expressions and statements within each other, macros' bodies included. A level takes up to some
/// kilobytes of stack.
const DEPTH_MAX: usize = 160;

/// A rendering under way.
pub(super) struct Machine<'r> {
    pub heap: Heap<'r>,
    constants: Vec<Value>,
    scopes: Scopes<'r>,
    macros: Vec<MacroValue<'r>>,
    loops: Vec<LoopState<'r>>,
    loops_begun: u64,
    /// Texts that are being captured, the innermost last.
    buffers: Vec<Buffer>,
    rendered: Rendered,
    output_bytes_max: usize,
    depth: usize,
    line: u32,
    clock: Option<Clock>,
}

struct Buffer {
    characters: Vec<Ch>,
    held: Held,
}

/// How a statement ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'r> Machine<'r> {
    pub fn new(
        program: &'r Program,
        heap: Heap<'r>,
        limits: &RenderLimits,
        clock: Option<Clock>,
    ) -> Outcome<Self> {
        let constant = |constant: &Constant| {
            Ok(match constant {
                Constant::None => Value::None,
                Constant::Bool(value) => Value::Bool(*value),
                Constant::Integer(number) => Value::Integer(*number),
                Constant::Float(number) => Value::Float(*number),
                Constant::Text(text) => heap.value(text)?,
            })
        };
        let constants = program.constants.iter().map(constant).collect::<Outcome<_>>()?;
        Ok(Self {
            heap,
            constants,
            scopes: Scopes::new(),
            macros: Vec::new(),
            loops: Vec::new(),
            loops_begun: 0,
            buffers: Vec::new(),
            rendered: Rendered::default(),
            output_bytes_max: limits.output_bytes,
            depth: 0,
            line: 1,
            clock,
        })
    }

    /// Defines a variable for the template, before it runs.
    pub fn define(&mut self, name: &'r str, value: Value) {
        self.scopes.set(name, value);
    }

    /// Runs the template. A failure comes with the line that it happened in.
    pub fn run(mut self, program: &'r Program) -> Result<Rendered, (u32, Fault)> {
        let done = self.enter().and_then(|()| self.statements(&program.body));
        match done {
            Ok(_) => Ok(self.rendered),
            Err(fault) => Err((self.line, fault)),
        }
    }

    /// Opens a scope within the present one.
    fn enter(&mut self) -> Outcome<()> {
        self.scopes.enter(self.scopes.current());
        if self.scopes.is_full() {
            return failed("too many variables or macros");
        }
        self.heap.work(8)
    }

    pub(super) fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.depth == DEPTH_MAX {
            return failed("expressions, tags or macros are nested too deep");
        }
        self.depth += 1;
        let done = run(self);
        self.depth -= 1;
        done
    }

    fn statements(&mut self, body: &'r [Statement]) -> Outcome<Flow> {
        for statement in body {
            self.heap.step()?;
            self.line = statement.line;
            let flow = match &statement.kind {
                StatementKind::Data(text) => self.emit_own(text).map(|()| Flow::Next),
                other => self.deeper(|machine| machine.statement(other)),
            }?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn statement(&mut self, statement: &'r StatementKind) -> Outcome<Flow> {
        match statement {
            StatementKind::Data(text) => self.emit_own(text)?,
            StatementKind::Print(values) => {
                for value in values {
                    let value = self.expression(value)?;
                    self.emit_value(&value)?;
                }
            }
            StatementKind::Set { target, value } => {
                let value = self.expression(value)?;
                self.assign(target, value)?;
            }
            StatementKind::SetBlock { target, filters, body } => {
                let (flow, text) = self.capture_scope(body)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.postfixes(Value::Text(text), filters)?;
                self.assign(target, value)?;
            }
            StatementKind::If { branches, otherwise } => {
                for (test, body) in branches {
                    if self.expression(test)?.is_true() {
                        return self.statements(body);
                    }
                }
                return self.statements(otherwise);
            }
            StatementKind::For(each) => return self.each(each),
            StatementKind::With { targets, values, body } => {
                let values = values
                    .iter()
                    .map(|value| self.expression(value))
                    .collect::<Outcome<Vec<_>>>()?;
                self.enter()?;
                for (target, value) in targets.iter().zip(values) {
                    self.assign(target, value)?;
                }
                let flow = self.statements(body)?;
                self.scopes.leave();
                return Ok(flow);
            }
            StatementKind::Macro(declared) => {
                let value = self.define_macro(declared)?;
                self.set(&declared.name, value)?;
            }
            StatementKind::Call { caller, callee, arguments } => {
                let callee = self.expression(callee)?;
                let mut given = self.arguments(arguments)?;
                given.named.push(("caller".into(), self.define_macro(caller)?));
                let text = self.call(&callee, given)?;
                self.emit_value(&text)?;
            }
            StatementKind::Filter { filters, body } => {
                let (flow, text) = self.capture_scope(body)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.postfixes(Value::Text(text), filters)?;
                self.emit_value(&value)?;
            }
            StatementKind::Scope(body) => {
                self.enter()?;
                let flow = self.statements(body)?;
                self.scopes.leave();
                return Ok(flow);
            }
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
            StatementKind::Unsupported(name) => {
                return failed(format_args!(
                    "`{name}`: a chat template cannot use other templates"
                ));
            }
        }
        Ok(Flow::Next)
    }

    fn capture_scope(&mut self, body: &'r [Statement]) -> Outcome<(Flow, Text)> {
        self.enter()?;
        let captured = self.capture(|machine| machine.statements(body))?;
        self.scopes.leave();
        Ok(captured)
    }

    /// Runs something and keeps the text that it writes.
    fn capture<T>(&mut self, run: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<(T, Text)> {
        let held = self.heap.hold(0)?;
        self.buffers.push(Buffer { characters: Vec::new(), held });
        let done = run(self)?;
        let text = match self.buffers.pop() {
            Some(buffer) => self.heap.text(&buffer.characters)?,
            None => self.heap.text(&[])?,
        };
        Ok((done, text))
    }

    fn emit_own(&mut self, text: &str) -> Outcome<()> {
        if self.buffers.is_empty() {
            self.heap.work(text.len())?;
            return self.write(text, Author::Template);
        }
        self.emit(&chars::own(text).collect::<Vec<_>>())
    }

    fn emit_value(&mut self, value: &Value) -> Outcome<()> {
        match value {
            Value::Text(text) => self.emit(text),
            other => {
                let text = print::text(&self.heap, other)?;
                self.emit(&text)
            }
        }
    }

    fn emit(&mut self, text: &[Ch]) -> Outcome<()> {
        self.heap.work(text.len())?;
        if let Some(buffer) = self.buffers.last_mut() {
            self.heap.grow(&mut buffer.held, size_of_val(text))?;
            buffer.characters.extend_from_slice(text);
            return Ok(());
        }
        for span in text.chunk_by(|one, other| one.author() == other.author()) {
            self.write(&chars::string(span), span[0].author())?;
        }
        Ok(())
    }

    fn write(&mut self, text: &str, author: Author) -> Outcome<()> {
        if self.rendered.text().len() + text.len() > self.output_bytes_max {
            return Err(Box::new(Cause::Output));
        }
        self.rendered.push(text, author);
        Ok(())
    }

    fn assign(&mut self, target: &'r Target, value: Value) -> Outcome<()> {
        match target {
            Target::Name(name) => self.set(name, value),
            Target::Field(name, field) => self.assign_field(name, field, value),
            Target::Tuple(targets) => {
                value.defined()?;
                let items = sequence::items(&self.heap, &value)?;
                if items.len() != targets.len() {
                    let (found, expected) = (items.len(), targets.len());
                    return failed(format_args!(
                        "cannot unpack {found} values into {expected} names"
                    ));
                }
                let items = items.into_owned();
                targets.iter().zip(items).try_for_each(|(target, item)| self.assign(target, item))
            }
        }
    }

    fn set(&mut self, name: &'r str, value: Value) -> Outcome<()> {
        let looked_at = self.scopes.set(name, value);
        if self.scopes.is_full() {
            return failed("too many variables");
        }
        self.heap.work(looked_at)
    }

    fn assign_field(&mut self, name: &'r str, field: &'r str, value: Value) -> Outcome<()> {
        let (Some(Value::Object(number)), _) = self.scopes.get(name) else {
            return failed(format_args!(
                "cannot assign attribute on non-namespace object '{name}'"
            ));
        };
        if field.starts_with('_') {
            return failed(format_args!("a namespace cannot have a field with the name '{field}'"));
        }
        let field = self.heap.own_text(field)?;
        match self.heap.objects.borrow_mut().get_mut(*number) {
            Some(Object::Namespace(fields)) => {
                self.heap.work(fields.len() * 4)?;
                match fields.iter_mut().find(|(other, _)| other[..] == field[..]) {
                    Some((_, place)) => *place = value,
                    None => {
                        self.heap.keep_field(&value)?;
                        fields.push((field, value));
                    }
                }
                Ok(())
            }
            _ => failed(format_args!("cannot assign attribute on non-namespace object '{name}'")),
        }
    }

    /// Applies filters and the like, one after another.
    fn postfixes(&mut self, value: Value, steps: &'r [Postfix]) -> Outcome<Value> {
        steps.iter().try_fold(value, |value, step| self.postfix(value, step))
    }
}
