//! From tokens to a tree: the statements. Depth is bounded here, so that nothing that walks the
//! tree needs to.

mod expressions;

use crate::text::TemplateError;
use crate::text::template::ast::Uses;
use crate::text::template::ast::{
    Constant, Expression, For, Macro, Postfix, Program, Statement, StatementKind, Target,
};
use crate::text::template::chars;
use crate::text::template::input::shorten;
use crate::text::template::lexer::{self, Kind, SyntaxError, Token};

/// Brackets, tags and conditions within each other.
const NESTING_MAX: usize = 48;

/// Reads a template.
pub(super) fn parse(source: &str) -> Result<Program, TemplateError> {
    let parsed = lexer::tokens(source).and_then(|tokens| Parser::new(tokens).template());
    parsed.map_err(|(line, reason)| {
        TemplateError::Syntax(format!("line {line}: {}", shorten(&reason)))
    })
}

type Parsed<T> = Result<T, SyntaxError>;

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    constants: Vec<Constant>,
    nesting: usize,
    /// Whether `break` has a loop to leave.
    in_loop: bool,
    /// Of the macros around here, the innermost last.
    uses: Vec<Uses>,
}

impl Parser {
    fn new(tokens: Vec<Token>) -> Self {
        Self { tokens, at: 0, constants: Vec::new(), nesting: 0, in_loop: false, uses: Vec::new() }
    }

    fn template(mut self) -> Parsed<Program> {
        let body = self.statements(&[])?;
        Ok(Program { body, constants: self.constants })
    }

    fn token(&self) -> &Token {
        // There is always one: the last is `End`, and nothing goes past it.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn kind(&self) -> &Kind {
        &self.token().kind
    }

    fn next_is_sign(&self, sign: &str) -> bool {
        self.tokens
            .get(self.at + 1)
            .is_some_and(|token| matches!(&token.kind, Kind::Sign(other) if *other == sign))
    }

    fn next_is_name(&self, name: &str) -> bool {
        self.tokens
            .get(self.at + 1)
            .is_some_and(|token| matches!(&token.kind, Kind::Name(other) if other == name))
    }

    fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.kind(), Kind::Name(other) if other == name)
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.kind(), Kind::Sign(other) if *other == sign)
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.advance();
        }
        found
    }

    fn skip_sign(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        if found {
            self.advance();
        }
        found
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Parsed<T> {
        Err((self.token().line, reason.into()))
    }

    fn expected<T>(&self, what: &str) -> Parsed<T> {
        match self.kind() {
            Kind::End => self.fail(format!("unexpected end of template, expected {what}")),
            found => self.fail(format!("expected {what}, found {}", described(found))),
        }
    }

    fn expect_sign(&mut self, sign: &'static str) -> Parsed<()> {
        if self.skip_sign(sign) { Ok(()) } else { self.expected(&format!("'{sign}'")) }
    }

    fn expect_name(&mut self, name: &str) -> Parsed<()> {
        if self.skip_name(name) { Ok(()) } else { self.expected(&format!("'{name}'")) }
    }

    fn identifier(&mut self) -> Parsed<Box<str>> {
        let Kind::Name(name) = self.kind() else { return self.expected("a name") };
        if name.starts_with(|first: char| first.is_numeric()) {
            return self.fail("Invalid character in identifier");
        }
        let name = name.as_str().into();
        self.advance();
        Ok(name)
    }

    fn constant(&mut self, constant: Constant) -> Expression {
        self.constants.push(constant);
        Expression::Constant(self.constants.len() - 1)
    }

    fn text_constant(&mut self, text: &str) -> Expression {
        self.constant(Constant::Text(chars::own(text).collect()))
    }

    /// Goes a level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting == NESTING_MAX {
            return self.fail(format!(
                "more than {NESTING_MAX} brackets, tags or conditions within each other"
            ));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    /// Statements up to one of these end tags, whose name is the next token then; or up to the end
    /// of the template.
    fn statements(&mut self, ends: &[&str]) -> Parsed<Vec<Statement>> {
        let mut body = Vec::new();
        loop {
            let line = self.token().line;
            match self.kind() {
                Kind::Data(text) => {
                    let kind = StatementKind::Data(text.as_str().into());
                    body.push(Statement { line, kind });
                    self.advance();
                }
                Kind::PrintBegin => {
                    self.advance();
                    let value = self.tuple(true, &[])?;
                    if *self.kind() != Kind::PrintEnd {
                        return self.expected("end of print statement");
                    }
                    self.advance();
                    body.push(Statement { line, kind: StatementKind::Print(vec![value]) });
                }
                Kind::BlockBegin => {
                    self.advance();
                    if ends.iter().any(|end| self.is_name(end)) {
                        return Ok(body);
                    }
                    let kind = self.nested(|parser| parser.statement(ends))?;
                    self.block_end()?;
                    body.push(Statement { line, kind });
                }
                Kind::End if ends.is_empty() => return Ok(body),
                _ => {
                    return self.fail(format!(
                        "Unexpected end of template, looking for {}",
                        ends.join(" or ")
                    ));
                }
            }
        }
    }

    fn block_end(&mut self) -> Parsed<()> {
        if *self.kind() != Kind::BlockEnd {
            return self.expected("end of statement block");
        }
        self.advance();
        Ok(())
    }

    /// The rest of an opening tag and what follows up to an end tag, whose name is the next token.
    fn body(&mut self, ends: &[&str]) -> Parsed<Vec<Statement>> {
        self.skip_sign(":");
        self.block_end()?;
        self.statements(ends)
    }

    /// A body up to its end tag, which is passed.
    fn whole_body(&mut self, end: &str) -> Parsed<Vec<Statement>> {
        let body = self.body(&[end])?;
        self.advance();
        Ok(body)
    }

    fn statement(&mut self, ends: &[&str]) -> Parsed<StatementKind> {
        let Kind::Name(name) = self.kind().clone() else { return self.expected("a tag's name") };
        let line = self.token().line;
        self.advance();
        match name.as_str() {
            "set" => self.set(),
            "if" => self.condition(),
            "for" => self.each(),
            "macro" => {
                let name = self.identifier()?;
                Ok(StatementKind::Macro(Box::new(self.macro_body(name, "endmacro")?)))
            }
            "call" => self.call_block(),
            "filter" => {
                let filters = self.filters(true)?;
                Ok(StatementKind::Filter { filters, body: self.whole_body("endfilter")? })
            }
            "with" => self.with(),
            "generation" => {
                let in_loop = std::mem::replace(&mut self.in_loop, false);
                let body = self.whole_body("endgeneration")?;
                self.in_loop = in_loop;
                Ok(StatementKind::Scope(body))
            }
            "block" => {
                let name = self.identifier()?;
                self.skip_name("scoped");
                let body = self.whole_body("endblock")?;
                self.skip_name(&name);
                Ok(StatementKind::Scope(body))
            }
            "print" => {
                let mut values = vec![self.expression()?];
                while self.skip_sign(",") {
                    values.push(self.expression()?);
                }
                Ok(StatementKind::Print(values))
            }
            "break" if self.in_loop => Ok(StatementKind::Break),
            "continue" if self.in_loop => Ok(StatementKind::Continue),
            "break" | "continue" => Err((line, format!("`{name}` outside of a loop"))),
            "include" => self.unsupported("include"),
            "import" => self.unsupported("import"),
            "from" => self.unsupported("from"),
            "extends" => self.unsupported("extends"),
            "autoescape" => {
                Err((line, "`autoescape` is not supported: the text is for a model".into()))
            }
            other if ends.is_empty() => Err((line, format!("unknown tag '{}'", shorten(other)))),
            other => Err((
                line,
                format!("unknown tag '{}', looking for {}", shorten(other), ends.join(" or ")),
            )),
        }
    }

    /// A tag that is read, and fails where it is reached.
    fn unsupported(&mut self, name: &'static str) -> Parsed<StatementKind> {
        while !matches!(self.kind(), Kind::BlockEnd | Kind::End) {
            self.advance();
        }
        Ok(StatementKind::Unsupported(name))
    }

    fn set(&mut self) -> Parsed<StatementKind> {
        let target = self.target(None)?;
        if self.skip_sign("=") {
            return Ok(StatementKind::Set { target, value: self.tuple(true, &[])? });
        }
        let filters = self.filters(false)?;
        Ok(StatementKind::SetBlock { target, filters, body: self.whole_body("endset")? })
    }

    fn condition(&mut self) -> Parsed<StatementKind> {
        let mut branches = Vec::new();
        loop {
            let test = self.tuple(false, &[])?;
            branches.push((test, self.body(&["elif", "else", "endif"])?));
            if self.skip_name("elif") {
                continue;
            }
            let otherwise =
                if self.skip_name("else") { self.body(&["endif"])? } else { Vec::new() };
            self.expect_name("endif")?;
            return Ok(StatementKind::If { branches, otherwise });
        }
    }

    fn each(&mut self) -> Parsed<StatementKind> {
        let target = self.target(Some("in"))?;
        self.expect_name("in")?;
        let over = self.tuple(false, &["recursive"])?;
        let test = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_name("recursive");
        let in_loop = std::mem::replace(&mut self.in_loop, true);
        let body = self.body(&["endfor", "else"])?;
        self.in_loop = in_loop;
        let otherwise = if self.skip_name("else") { self.body(&["endfor"])? } else { Vec::new() };
        self.expect_name("endfor")?;
        Ok(StatementKind::For(Box::new(For { target, over, test, recursive, body, otherwise })))
    }

    fn with(&mut self) -> Parsed<StatementKind> {
        let (mut targets, mut values) = (Vec::new(), Vec::new());
        while *self.kind() != Kind::BlockEnd {
            if !targets.is_empty() {
                self.expect_sign(",")?;
            }
            targets.push(self.target(None)?);
            self.expect_sign("=")?;
            values.push(self.expression()?);
        }
        Ok(StatementKind::With { targets, values, body: self.whole_body("endwith")? })
    }

    fn call_block(&mut self) -> Parsed<StatementKind> {
        let line = self.token().line;
        let (parameters, defaults) =
            if self.is_sign("(") { self.signature()? } else { Default::default() };
        let Expression::Postfix(base, mut steps) = self.expression()? else {
            return Err((line, "expected a call".into()));
        };
        let Some(Postfix::Call(arguments)) = steps.pop() else {
            return Err((line, "expected a call".into()));
        };
        let callee = if steps.is_empty() { *base } else { Expression::Postfix(base, steps) };
        let caller = self.callable("caller".into(), parameters, defaults, "endcall")?;
        Ok(StatementKind::Call { caller: Box::new(caller), callee, arguments })
    }

    fn macro_body(&mut self, name: Box<str>, end: &str) -> Parsed<Macro> {
        let (parameters, defaults) = self.signature()?;
        self.callable(name, parameters, defaults, end)
    }

    fn callable(
        &mut self,
        name: Box<str>,
        parameters: Vec<Box<str>>,
        defaults: Vec<Expression>,
        end: &str,
    ) -> Parsed<Macro> {
        let in_loop = std::mem::replace(&mut self.in_loop, false);
        self.uses.push(Uses::default());
        let body = self.whole_body(end);
        let uses = self.uses.pop().unwrap_or_default();
        self.in_loop = in_loop;
        Ok(Macro { name, parameters, defaults, body: body?, uses })
    }

    fn signature(&mut self) -> Parsed<(Vec<Box<str>>, Vec<Expression>)> {
        let (mut parameters, mut defaults) = (Vec::new(), Vec::new());
        self.expect_sign("(")?;
        while !self.is_sign(")") {
            if !parameters.is_empty() {
                self.expect_sign(",")?;
            }
            parameters.push(self.identifier()?);
            if self.skip_sign("=") {
                defaults.push(self.expression()?);
            } else if !defaults.is_empty() {
                return self.fail("non-default argument follows default argument");
            }
        }
        self.expect_sign(")")?;
        Ok((parameters, defaults))
    }

    /// What is assigned to, up to the name `end` where there is one.
    fn target(&mut self, end: Option<&str>) -> Parsed<Target> {
        let mut targets = vec![self.single_target()?];
        let mut is_tuple = false;
        while self.skip_sign(",") {
            is_tuple = true;
            let ended =
                matches!(self.kind(), Kind::BlockEnd) || self.is_sign(")") || self.is_sign("=");
            if ended || end.is_some_and(|end| self.is_name(end)) {
                break;
            }
            targets.push(self.single_target()?);
        }
        Ok(match targets.pop() {
            Some(only) if !is_tuple => only,
            last => {
                targets.extend(last);
                Target::Tuple(targets)
            }
        })
    }

    fn single_target(&mut self) -> Parsed<Target> {
        if self.skip_sign("(") {
            let target = self.nested(|parser| parser.target(None))?;
            self.expect_sign(")")?;
            return Ok(target);
        }
        let name = self.identifier()?;
        if ["true", "false", "none", "True", "False", "None"].contains(&&*name) {
            return self.fail(format!("can't assign to '{name}'"));
        }
        if self.skip_sign(".") {
            return Ok(Target::Field(name, self.identifier()?));
        }
        Ok(Target::Name(name))
    }
}

fn described(kind: &Kind) -> String {
    match kind {
        Kind::Data(_) => "template data".into(),
        Kind::PrintBegin => "'{{'".into(),
        Kind::PrintEnd => "'}}'".into(),
        Kind::BlockBegin => "'{%'".into(),
        Kind::BlockEnd => "'%}'".into(),
        Kind::Name(name) => format!("'{}'", shorten(name)),
        Kind::Text(_) => "a string".into(),
        Kind::Integer(_) | Kind::Float(_) => "a number".into(),
        Kind::Sign(sign) => format!("'{sign}'"),
        Kind::End => "the end of the template".into(),
    }
}
