//! Works out expressions.

use std::cmp::Ordering;

use crate::text::template::ast::{Expression, Operator, Postfix, Relation, Sign};
use crate::text::template::heap::{Draft, Outcome, failed};
use crate::text::template::machine::Machine;
use crate::text::template::value::{Function, Value};
use crate::text::template::{compare, operators, print, sequence};

impl<'r> Machine<'r> {
    pub(super) fn expression(&mut self, expression: &'r Expression) -> Outcome<Value> {
        self.heap.step()?;
        match expression {
            Expression::Constant(index) => Ok(self.constants[*index].clone()),
            Expression::Name(name) => self.name(name),
            other => self.deeper(|machine| machine.compound(other)),
        }
    }

    /// The value of a name: a variable, a function, or undefined.
    fn name(&self, name: &str) -> Outcome<Value> {
        let (value, looked_at) = self.scopes.get(name);
        self.heap.work(looked_at)?;
        if let Some(value) = value {
            return Ok(value.clone());
        }
        Ok(Value::Function(match name {
            "range" => Function::Range,
            "dict" => Function::Dict,
            "namespace" => Function::Namespace,
            "cycler" => Function::Cycler,
            "joiner" => Function::Joiner,
            "raise_exception" => Function::RaiseException,
            "strftime_now" => Function::StrftimeNow,
            "lipsum" => Function::Lipsum,
            _ => {
                self.heap.work(name.len())?;
                return Ok(Value::missing_name(name));
            }
        }))
    }

    fn compound(&mut self, expression: &'r Expression) -> Outcome<Value> {
        match expression {
            Expression::Constant(index) => Ok(self.constants[*index].clone()),
            Expression::Name(name) => self.name(name),
            Expression::List(items) => {
                let items = self.all(items)?;
                self.heap.list(items)
            }
            Expression::Tuple(items) => {
                let items = self.all(items)?;
                self.heap.tuple(items)
            }
            Expression::Dict(pairs) => {
                let mut made = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let key = self.expression(key)?;
                    let value = self.expression(value)?;
                    compare::put(&self.heap, &mut made, key, value)?;
                }
                self.heap.dict(made)
            }
            Expression::Not(operand) => Ok(Value::Bool(!self.expression(operand)?.is_true())),
            Expression::Signs(signs, operand) => {
                let operand = self.expression(operand)?;
                signs
                    .iter()
                    .rev()
                    .try_fold(operand, |value, sign| operators::sign(&value, *sign == Sign::Minus))
            }
            Expression::Chain(first, rest) => {
                let mut value = self.expression(first)?;
                for (operator, operand) in rest {
                    let operand = self.expression(operand)?;
                    value = self.binary(*operator, &value, &operand)?;
                }
                Ok(value)
            }
            Expression::Concatenation(operands) => {
                let values = self.all(operands)?;
                let mut draft = Draft::new(&self.heap)?;
                for value in &values {
                    print::append(&mut draft, value)?;
                }
                draft.value()
            }
            Expression::And(operands) => self.until(operands, false),
            Expression::Or(operands) => self.until(operands, true),
            Expression::Comparison(first, rest) => self.comparison(first, rest),
            Expression::Choice(choices, otherwise) => {
                for (value, test) in choices {
                    if self.expression(test)?.is_true() {
                        return self.expression(value);
                    }
                }
                match otherwise {
                    Some(value) => self.expression(value),
                    None => Ok(Value::missing(
                        "the inline if-expression evaluated to false and no else section was defined.",
                    )),
                }
            }
            Expression::Postfix(base, steps) => {
                let value = self.expression(base)?;
                self.postfixes(value, steps)
            }
        }
    }

    fn all(&mut self, expressions: &'r [Expression]) -> Outcome<Vec<Value>> {
        expressions.iter().map(|expression| self.expression(expression)).collect()
    }

    /// The first operand whose truth is `wanted`, or else the last one.
    fn until(&mut self, operands: &'r [Expression], wanted: bool) -> Outcome<Value> {
        let mut value = Value::None;
        for operand in operands {
            value = self.expression(operand)?;
            if value.is_true() == wanted {
                break;
            }
        }
        Ok(value)
    }

    fn binary(&mut self, operator: Operator, left: &Value, right: &Value) -> Outcome<Value> {
        self.heap.step()?;
        operators::binary(&self.heap, operator, left, right)
    }

    fn comparison(
        &mut self,
        first: &'r Expression,
        rest: &'r [(Relation, Expression)],
    ) -> Outcome<Value> {
        let mut left = self.expression(first)?;
        for (relation, operand) in rest {
            let right = self.expression(operand)?;
            if !holds(&self.heap, *relation, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    pub(super) fn postfix(&mut self, value: Value, step: &'r Postfix) -> Outcome<Value> {
        self.heap.step()?;
        match step {
            Postfix::Attribute(name) => self.attribute(&value, name),
            Postfix::Item(item) => {
                let item = self.expression(item)?;
                self.item(&value, &item)
            }
            Postfix::Slice(bounds) => {
                let mut ends = [Value::None, Value::None, Value::None];
                for (end, bound) in ends.iter_mut().zip(bounds.iter()) {
                    if let Some(bound) = bound {
                        *end = self.expression(bound)?;
                    }
                }
                let [start, stop, step] = &ends;
                value.defined()?;
                sequence::slice(&self.heap, &value, [start, stop, step])
            }
            Postfix::Call(arguments) => {
                let given = self.arguments(arguments)?;
                self.call(&value, given)
            }
            Postfix::Filter(name, arguments) => {
                let given = self.arguments(arguments)?;
                self.filter(name, &value, given)
            }
            Postfix::Test { name, arguments, negated } => {
                let given = self.arguments(arguments)?;
                Ok(Value::Bool(self.test(name, &value, given)? != *negated))
            }
        }
    }
}

/// Whether a relation holds between two values.
pub(in crate::text::template) fn holds(
    heap: &crate::text::template::heap::Heap<'_>,
    relation: Relation,
    left: &Value,
    right: &Value,
) -> Outcome<bool> {
    let ordered = |sign: &str, fits: fn(Ordering) -> bool| {
        Ok(compare::order(heap, left, right, sign)?.is_some_and(fits))
    };
    match relation {
        Relation::Equal => compare::equal(heap, left, right),
        Relation::NotEqual => Ok(!compare::equal(heap, left, right)?),
        Relation::Less => ordered("<", Ordering::is_lt),
        Relation::LessOrEqual => ordered("<=", Ordering::is_le),
        Relation::Greater => ordered(">", Ordering::is_gt),
        Relation::GreaterOrEqual => ordered(">=", Ordering::is_ge),
        Relation::In => sequence::contains(heap, right, left),
        Relation::NotIn => Ok(!sequence::contains(heap, right, left)?),
    }
}

/// Fails on a filter or test that there is not.
pub(in crate::text::template) fn unknown<T>(kind: &str, name: &str) -> Outcome<T> {
    failed(format_args!("No {kind} named '{}'.", crate::text::template::input::shorten(name)))
}
