//! `for`, and what `loop` is in its body.

use std::rc::Rc;

use crate::text::template::ast::For;
use crate::text::template::heap::{Outcome, failed};
use crate::text::template::machine::state::LoopState;
use crate::text::template::machine::{Flow, Machine};
use crate::text::template::value::Value;
use crate::text::template::{compare, sequence};

impl<'r> Machine<'r> {
    pub(super) fn each(&mut self, each: &'r For) -> Outcome<Flow> {
        let over = self.expression(&each.over)?;
        self.go_over(each, &over, 0)
    }

    fn go_over(&mut self, each: &'r For, over: &Value, depth0: usize) -> Outcome<Flow> {
        let mut items = sequence::items(&self.heap, over)?.into_owned();
        let held = self.heap.hold(items.len() * size_of::<Value>())?;
        self.heap.work(items.len() * 2)?;
        if each.test.is_some() {
            items = self.chosen(each, items)?;
        }
        if items.is_empty() {
            self.enter()?;
            let flow = self.statements(&each.otherwise)?;
            self.scopes.leave();
            return Ok(flow);
        }
        let items: Rc<[Value]> = items.into();
        self.loops_begun += 1;
        let number = self.loops_begun;
        let scope = self.scopes.current();
        self.loops.push(LoopState {
            number,
            each,
            scope,
            items: Rc::clone(&items),
            index: 0,
            depth0,
            changed: None,
        });
        for (index, item) in items.iter().enumerate() {
            self.heap.step()?;
            if let Some(state) = self.loops.last_mut() {
                state.index = index;
            }
            self.enter()?;
            self.set("loop", Value::Loop(number))?;
            self.assign(&each.target, item.clone())?;
            let flow = self.statements(&each.body)?;
            self.scopes.leave();
            if flow == Flow::Break {
                break;
            }
        }
        self.loops.pop();
        drop(held);
        Ok(Flow::Next)
    }

    /// The items for which a loop's `if` holds.
    fn chosen(&mut self, each: &'r For, items: Vec<Value>) -> Outcome<Vec<Value>> {
        let Some(test) = &each.test else { return Ok(items) };
        let mut chosen = Vec::new();
        for item in items {
            self.heap.step()?;
            self.enter()?;
            self.assign(&each.target, item.clone())?;
            let holds = self.expression(test)?.is_true();
            self.scopes.leave();
            if holds {
                chosen.push(item);
            }
        }
        Ok(chosen)
    }

    /// `loop(items)` in a recursive loop: its text for these items.
    pub(super) fn recurse(&mut self, number: u64, over: &Value) -> Outcome<Value> {
        let state = self.running(number)?;
        let (each, scope, depth0) = (state.each, state.scope, state.depth0 + 1);
        if !each.recursive {
            return failed("The loop must have the 'recursive' marker to be called recursively.");
        }
        let (_, text) = self.capture(|machine| {
            machine.scopes.enter(scope);
            let flow = machine.go_over(each, over, depth0)?;
            machine.scopes.leave();
            Ok(flow)
        })?;
        Ok(Value::Text(text))
    }

    fn running(&self, number: u64) -> Outcome<&LoopState<'r>> {
        match self.loops.iter().rev().find(|state| state.number == number) {
            Some(state) => Ok(state),
            None => failed("this loop is over"),
        }
    }

    /// `loop.name`.
    pub(super) fn loop_attribute(&mut self, number: u64, name: &str) -> Outcome<Option<Value>> {
        let state = self.running(number)?;
        let (index, length) = (state.index, state.items.len());
        let count = |number: usize| Some(Value::Integer(number as i128));
        let neighbour = |index: Option<usize>, reason: &str| {
            let item = index.and_then(|index| state.items.get(index)).cloned();
            Some(item.unwrap_or_else(|| Value::missing(reason)))
        };
        Ok(match name {
            "index" => count(index + 1),
            "index0" => count(index),
            "revindex" => count(length - index),
            "revindex0" => count(length - index - 1),
            "first" => Some(Value::Bool(index == 0)),
            "last" => Some(Value::Bool(index + 1 == length)),
            "length" => count(length),
            "depth" => count(state.depth0 + 1),
            "depth0" => count(state.depth0),
            "previtem" => neighbour(index.checked_sub(1), "there is no previous item"),
            "nextitem" => neighbour(index.checked_add(1), "there is no next item"),
            "cycle" => Some(Value::Method(Rc::new((Value::Loop(number), "cycle")))),
            "changed" => Some(Value::Method(Rc::new((Value::Loop(number), "changed")))),
            _ => None,
        })
    }

    /// `loop.cycle(...)` and `loop.changed(...)`.
    pub(super) fn loop_method(
        &mut self,
        number: u64,
        name: &str,
        arguments: Vec<Value>,
    ) -> Outcome<Value> {
        let index = self.running(number)?.index;
        if name == "cycle" {
            return match arguments.len() {
                0 => failed("no items for cycling given"),
                count => Ok(arguments[index % count].clone()),
            };
        }
        let now = self.heap.items(arguments)?;
        let before = self.running(number)?.changed.clone();
        let same = match before {
            Some(before) => compare::equal_items(&self.heap, &before, &now)?,
            None => false,
        };
        if let Some(state) = self.loops.iter_mut().rev().find(|state| state.number == number) {
            state.changed = Some(now);
        }
        Ok(Value::Bool(!same))
    }
}
