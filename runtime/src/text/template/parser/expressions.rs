//! The expressions, by the precedences of Python's Jinja. Chains of operators become one node each,
//! however long.

use crate::text::template::ast::{
    Arguments, Constant, Expression, Operator, Postfix, Relation, Sign,
};
use crate::text::template::lexer::Kind;
use crate::text::template::parser::{Parsed, Parser};

impl Parser {
    /// An expression, or several with commas between: a tuple. Ends early at one of the names
    /// `ends`.
    pub(super) fn tuple(&mut self, conditions: bool, ends: &[&str]) -> Parsed<Expression> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            let ended = matches!(self.kind(), Kind::PrintEnd | Kind::BlockEnd) || self.is_sign(")");
            if ended || ends.iter().any(|end| self.is_name(end)) {
                break;
            }
            items.push(if conditions { self.expression()? } else { self.or()? });
            if !self.skip_sign(",") {
                break;
            }
            is_tuple = true;
        }
        match items.pop() {
            Some(only) if !is_tuple => Ok(only),
            None => self.expected("an expression"),
            last => {
                items.extend(last);
                Ok(Expression::Tuple(items))
            }
        }
    }

    pub(super) fn expression(&mut self) -> Parsed<Expression> {
        let mut value = self.or()?;
        let mut deepened = 0;
        while self.skip_name("if") {
            let mut choices = vec![(value, self.or()?)];
            let mut otherwise = None;
            while self.skip_name("else") {
                let last = self.or()?;
                if !self.skip_name("if") {
                    otherwise = Some(Box::new(last));
                    break;
                }
                choices.push((last, self.or()?));
            }
            value = Expression::Choice(choices, otherwise);
            deepened += 1;
            if deepened > 8 {
                return self.fail("too many `if` without `else` in one expression");
            }
        }
        Ok(value)
    }

    fn or(&mut self) -> Parsed<Expression> {
        let mut operands = vec![self.and()?];
        while self.skip_name("or") {
            operands.push(self.and()?);
        }
        Ok(single(operands, Expression::Or))
    }

    fn and(&mut self) -> Parsed<Expression> {
        let mut operands = vec![self.not()?];
        while self.skip_name("and") {
            operands.push(self.not()?);
        }
        Ok(single(operands, Expression::And))
    }

    fn not(&mut self) -> Parsed<Expression> {
        let mut count = 0;
        while self.skip_name("not") {
            count += 1;
        }
        let operand = self.comparison()?;
        // Two of them still make a truth of a value.
        let negated = (0..if count == 0 { 0 } else { 2 - count % 2 })
            .fold(operand, |operand, _| Expression::Not(Box::new(operand)));
        Ok(negated)
    }

    fn comparison(&mut self) -> Parsed<Expression> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let relation = match self.kind() {
                Kind::Sign("==") => Relation::Equal,
                Kind::Sign("!=") => Relation::NotEqual,
                Kind::Sign("<") => Relation::Less,
                Kind::Sign("<=") => Relation::LessOrEqual,
                Kind::Sign(">") => Relation::Greater,
                Kind::Sign(">=") => Relation::GreaterOrEqual,
                Kind::Name(name) if name == "in" => Relation::In,
                Kind::Name(name) if name == "not" && self.next_is_name("in") => {
                    self.advance();
                    Relation::NotIn
                }
                _ if rest.is_empty() => return Ok(first),
                _ => return Ok(Expression::Comparison(Box::new(first), rest)),
            };
            self.advance();
            rest.push((relation, self.sum()?));
        }
    }

    fn sum(&mut self) -> Parsed<Expression> {
        self.chain(Self::concatenation, |kind| match kind {
            Kind::Sign("+") => Some(Operator::Add),
            Kind::Sign("-") => Some(Operator::Subtract),
            _ => None,
        })
    }

    fn concatenation(&mut self) -> Parsed<Expression> {
        let mut operands = vec![self.product()?];
        while self.skip_sign("~") {
            operands.push(self.product()?);
        }
        Ok(single(operands, Expression::Concatenation))
    }

    fn product(&mut self) -> Parsed<Expression> {
        self.chain(Self::power, |kind| match kind {
            Kind::Sign("*") => Some(Operator::Multiply),
            Kind::Sign("/") => Some(Operator::Divide),
            Kind::Sign("//") => Some(Operator::FloorDivide),
            Kind::Sign("%") => Some(Operator::Remainder),
            _ => None,
        })
    }

    fn power(&mut self) -> Parsed<Expression> {
        self.chain(
            |parser| parser.unary(true),
            |kind| match kind {
                Kind::Sign("**") => Some(Operator::Power),
                _ => None,
            },
        )
    }

    fn chain(
        &mut self,
        operand: impl Fn(&mut Self) -> Parsed<Expression>,
        operator: impl Fn(&Kind) -> Option<Operator>,
    ) -> Parsed<Expression> {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Some(operator) = operator(self.kind()) {
            self.advance();
            rest.push((operator, operand(self)?));
        }
        Ok(if rest.is_empty() { first } else { Expression::Chain(Box::new(first), rest) })
    }

    /// Signs bind looser than attributes and calls, and tighter than filters.
    fn unary(&mut self, with_filters: bool) -> Parsed<Expression> {
        let mut signs = Vec::new();
        loop {
            match self.kind() {
                Kind::Sign("-") => signs.push(Sign::Minus),
                Kind::Sign("+") => signs.push(Sign::Plus),
                _ => break,
            }
            self.advance();
        }
        let primary = self.primary()?;
        let mut steps = Vec::new();
        self.access(&mut steps)?;
        if signs.is_empty() {
            if with_filters {
                self.filters_and_tests(&mut steps)?;
            }
            return Ok(postfix(primary, steps));
        }
        let signed = Expression::Signs(signs, Box::new(postfix(primary, steps)));
        let mut steps = Vec::new();
        if with_filters {
            self.filters_and_tests(&mut steps)?;
        }
        Ok(postfix(signed, steps))
    }

    fn primary(&mut self) -> Parsed<Expression> {
        match self.kind().clone() {
            Kind::Name(name) => {
                let name_token = self.identifier()?;
                Ok(match name.as_str() {
                    "true" | "True" => self.constant(Constant::Bool(true)),
                    "false" | "False" => self.constant(Constant::Bool(false)),
                    "none" | "None" => self.constant(Constant::None),
                    _ => {
                        for uses in &mut self.uses {
                            uses.caller |= name == "caller";
                            uses.kwargs |= name == "kwargs";
                            uses.varargs |= name == "varargs";
                        }
                        Expression::Name(name_token)
                    }
                })
            }
            Kind::Text(mut text) => {
                self.advance();
                while let Kind::Text(more) = self.kind() {
                    text.push_str(more);
                    self.advance();
                }
                Ok(self.text_constant(&text))
            }
            Kind::Integer(number) => {
                self.advance();
                Ok(self.constant(Constant::Integer(number)))
            }
            Kind::Float(number) => {
                self.advance();
                Ok(self.constant(Constant::Float(number)))
            }
            Kind::Sign("(") => {
                self.advance();
                if self.skip_sign(")") {
                    return Ok(Expression::Tuple(Vec::new()));
                }
                let value = self.nested(|parser| parser.tuple(true, &[]))?;
                self.expect_sign(")")?;
                Ok(value)
            }
            Kind::Sign("[") => {
                self.advance();
                self.nested(|parser| parser.items("]", Self::expression)).map(Expression::List)
            }
            Kind::Sign("{") => {
                self.advance();
                let pair = |parser: &mut Self| {
                    let key = parser.expression()?;
                    parser.expect_sign(":")?;
                    Ok((key, parser.expression()?))
                };
                self.nested(|parser| parser.items("}", pair)).map(Expression::Dict)
            }
            _ => self.expected("an expression"),
        }
    }

    /// What is between brackets, up to the closing one.
    fn items<T>(
        &mut self,
        close: &'static str,
        item: impl Fn(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        while !self.is_sign(close) {
            if !items.is_empty() {
                self.expect_sign(",")?;
                if self.is_sign(close) {
                    break;
                }
            }
            items.push(item(self)?);
        }
        self.expect_sign(close)?;
        Ok(items)
    }

    /// Attributes, items and calls.
    fn access(&mut self, steps: &mut Vec<Postfix>) -> Parsed<()> {
        loop {
            if self.skip_sign(".") {
                match self.kind().clone() {
                    Kind::Integer(number) => {
                        self.advance();
                        let number = self.constant(Constant::Integer(number));
                        steps.push(Postfix::Item(number));
                    }
                    _ => steps.push(Postfix::Attribute(self.identifier()?)),
                }
            } else if self.skip_sign("[") {
                let step = self.nested(Self::subscript)?;
                steps.push(step);
            } else if self.is_sign("(") {
                let arguments = self.arguments()?;
                steps.push(Postfix::Call(arguments));
            } else {
                return Ok(());
            }
        }
    }

    fn subscript(&mut self) -> Parsed<Postfix> {
        let mut items = self.items("]", |parser| {
            let mut bounds = [None, None, None];
            if !parser.is_sign(":") {
                let start = parser.expression()?;
                if !parser.is_sign(":") {
                    return Ok(Postfix::Item(start));
                }
                bounds[0] = Some(start);
            }
            for bound in &mut bounds[1..] {
                if !parser.skip_sign(":") {
                    break;
                }
                if !(parser.is_sign(":") || parser.is_sign("]") || parser.is_sign(",")) {
                    *bound = Some(parser.expression()?);
                }
            }
            Ok(Postfix::Slice(Box::new(bounds)))
        })?;
        if items.len() == 1
            && let Some(only) = items.pop()
        {
            return Ok(only);
        }
        let plain = |item| if let Postfix::Item(item) = item { Some(item) } else { None };
        match items.into_iter().map(plain).collect() {
            Some(items) => Ok(Postfix::Item(Expression::Tuple(items))),
            None => self.fail("several slices in one subscript are not supported"),
        }
    }

    fn arguments(&mut self) -> Parsed<Arguments> {
        self.expect_sign("(")?;
        self.nested(|parser| {
            let mut arguments = Arguments::default();
            while !parser.is_sign(")") {
                parser.argument(&mut arguments)?;
                if !parser.is_sign(")") {
                    parser.expect_sign(",")?;
                }
            }
            parser.expect_sign(")")?;
            Ok(arguments)
        })
    }

    fn argument(&mut self, arguments: &mut Arguments) -> Parsed<()> {
        let misplaced = "invalid syntax for function call expression";
        if self.skip_sign("*") {
            if arguments.list.is_some() || arguments.dictionary.is_some() {
                return self.fail(misplaced);
            }
            arguments.list = Some(Box::new(self.expression()?));
        } else if self.skip_sign("**") {
            if arguments.dictionary.is_some() {
                return self.fail(misplaced);
            }
            arguments.dictionary = Some(Box::new(self.expression()?));
        } else if matches!(self.kind(), Kind::Name(_)) && self.next_is_sign("=") {
            let name = self.identifier()?;
            self.advance();
            if arguments.dictionary.is_some()
                || arguments.named.iter().any(|(other, _)| *other == name)
            {
                return self.fail(misplaced);
            }
            let value = self.expression()?;
            arguments.named.push((name, value));
        } else {
            if arguments.list.is_some()
                || arguments.dictionary.is_some()
                || !arguments.named.is_empty()
            {
                return self.fail(misplaced);
            }
            let value = self.expression()?;
            arguments.positional.push(value);
        }
        Ok(())
    }

    /// Filters, tests and calls of what they give.
    fn filters_and_tests(&mut self, steps: &mut Vec<Postfix>) -> Parsed<()> {
        loop {
            if self.is_sign("|") {
                steps.extend(self.filters(false)?);
            } else if self.skip_name("is") {
                let test = self.test()?;
                steps.push(test);
            } else if self.is_sign("(") {
                let arguments = self.arguments()?;
                steps.push(Postfix::Call(arguments));
            } else {
                return Ok(());
            }
        }
    }

    /// `|name(...)|name(...)`; with `inline` the first is without its `|`.
    pub(super) fn filters(&mut self, inline: bool) -> Parsed<Vec<Postfix>> {
        let mut filters = Vec::new();
        while (inline && filters.is_empty()) || self.skip_sign("|") {
            let name = self.dotted_name()?;
            let arguments = if self.is_sign("(") { self.arguments()? } else { Default::default() };
            filters.push(Postfix::Filter(name, arguments));
        }
        Ok(filters)
    }

    fn dotted_name(&mut self) -> Parsed<Box<str>> {
        let mut name = self.identifier()?.into_string();
        while self.skip_sign(".") {
            name.push('.');
            name.push_str(&self.identifier()?);
        }
        Ok(name.into())
    }

    fn test(&mut self) -> Parsed<Postfix> {
        let negated = self.skip_name("not");
        let name = self.dotted_name()?;
        let mut arguments = Arguments::default();
        let begins_operand = match self.kind() {
            Kind::Name(name) if name == "is" => {
                return self.fail("You cannot chain multiple tests with is");
            }
            Kind::Name(name) => !["else", "or", "and"].contains(&name.as_str()),
            Kind::Text(_) | Kind::Integer(_) | Kind::Float(_) => true,
            Kind::Sign(sign) => ["[", "{"].contains(sign),
            _ => false,
        };
        if self.is_sign("(") {
            arguments = self.arguments()?;
        } else if begins_operand {
            let primary = self.primary()?;
            let mut steps = Vec::new();
            self.access(&mut steps)?;
            arguments.positional.push(postfix(primary, steps));
        }
        Ok(Postfix::Test { name, arguments, negated })
    }
}

fn single(
    mut operands: Vec<Expression>,
    several: impl Fn(Vec<Expression>) -> Expression,
) -> Expression {
    match operands.pop() {
        Some(only) if operands.is_empty() => only,
        last => {
            operands.extend(last);
            several(operands)
        }
    }
}

fn postfix(base: Expression, steps: Vec<Postfix>) -> Expression {
    if steps.is_empty() { base } else { Expression::Postfix(Box::new(base), steps) }
}
