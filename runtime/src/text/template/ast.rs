//! A template as a tree.

use crate::text::template::chars::Ch;

/// A whole template. Constants are kept apart, so that a rendering makes each of them once.
#[derive(Debug)]
pub(super) struct Program {
    pub body: Vec<Statement>,
    pub constants: Vec<Constant>,
}

#[derive(Debug)]
pub(super) enum Constant {
    None,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Box<[Ch]>),
}

#[derive(Debug)]
pub(super) struct Statement {
    /// Counted from 1.
    pub line: u32,
    pub kind: StatementKind,
}

#[derive(Debug)]
pub(super) enum StatementKind {
    /// What is outside of tags.
    Data(Box<str>),
    Print(Vec<Expression>),
    Set {
        target: Target,
        value: Expression,
    },
    SetBlock {
        target: Target,
        filters: Vec<Postfix>,
        body: Vec<Statement>,
    },
    If {
        branches: Vec<(Expression, Vec<Statement>)>,
        otherwise: Vec<Statement>,
    },
    For(Box<For>),
    With {
        targets: Vec<Target>,
        values: Vec<Expression>,
        body: Vec<Statement>,
    },
    Macro(Box<Macro>),
    /// `{% call(...) callee(...) %}`: the body becomes `caller`.
    Call {
        caller: Box<Macro>,
        callee: Expression,
        arguments: Arguments,
    },
    Filter {
        filters: Vec<Postfix>,
        body: Vec<Statement>,
    },
    /// A body in a scope of its own: `block`, `generation`.
    Scope(Vec<Statement>),
    Break,
    Continue,
    /// A tag that Python's Jinja fails at too, for want of other templates.
    Unsupported(&'static str),
}

#[derive(Debug)]
pub(super) struct For {
    pub target: Target,
    pub over: Expression,
    pub test: Option<Expression>,
    pub recursive: bool,
    pub body: Vec<Statement>,
    pub otherwise: Vec<Statement>,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub name: Box<str>,
    pub parameters: Vec<Box<str>>,
    /// Of the last parameters.
    pub defaults: Vec<Expression>,
    pub body: Vec<Statement>,
    pub uses: Uses,
}

/// Which of a macro's special names its body reads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uses {
    pub caller: bool,
    pub kwargs: bool,
    pub varargs: bool,
}

/// What can be assigned to.
#[derive(Debug)]
pub(super) enum Target {
    Name(Box<str>),
    /// A namespace's field.
    Field(Box<str>, Box<str>),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub(super) enum Expression {
    Constant(usize),
    Name(Box<str>),
    List(Vec<Expression>),
    Tuple(Vec<Expression>),
    Dict(Vec<(Expression, Expression)>),
    Not(Box<Expression>),
    /// Signs before an operand, the outermost first.
    Signs(Vec<Sign>, Box<Expression>),
    /// Operators of one precedence, from left to right.
    Chain(Box<Expression>, Vec<(Operator, Expression)>),
    /// `a ~ b ~ c`.
    Concatenation(Vec<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
    /// `a < b < c`.
    Comparison(Box<Expression>, Vec<(Relation, Expression)>),
    /// `value if test else value if test else value`: values with their tests.
    Choice(Vec<(Expression, Expression)>, Option<Box<Expression>>),
    /// Attributes, items, calls, filters and tests after an operand.
    Postfix(Box<Expression>, Vec<Postfix>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Plus,
    Minus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
}

impl Operator {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::FloorDivide => "//",
            Self::Remainder => "%",
            Self::Power => "**",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

#[derive(Debug)]
pub(super) enum Postfix {
    Attribute(Box<str>),
    Item(Expression),
    Slice(Box<[Option<Expression>; 3]>),
    Call(Arguments),
    Filter(Box<str>, Arguments),
    Test { name: Box<str>, arguments: Arguments, negated: bool },
}

#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub positional: Vec<Expression>,
    pub named: Vec<(Box<str>, Expression)>,
    /// `*list`.
    pub list: Option<Box<Expression>>,
    /// `**dictionary`.
    pub dictionary: Option<Box<Expression>>,
}
