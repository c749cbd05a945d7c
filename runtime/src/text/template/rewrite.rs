//! Rewrites a compiled template so that everything that makes a value passes the budget.
//!
//! The engine bounds steps and depth but not memory: forty steps of `x = x ~ x` are a terabyte. So `~`, `+`, `*` and `**`
//! become calls of guarded functions, raw text goes the way of expressions, and every list, map, filter and call is
//! followed by a call that weighs its result. The engine's `machinery` has no stable interface; this file and `engine.rs`
//! are all that use it, and the hostile templates in the tests hold the guard.

use minijinja::machinery::{CodeGenerator, Instruction, Instructions, Token, parse, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, Value};

use crate::text::TemplateError;
use crate::text::template::engine::one_line;
use crate::text::template::operators::{ADD, MULTIPLY, POWER, SETTLE, STORE, TEXT};

const NAME: &str = "chat template";
/// Most tokens of the language between `{%` and `%}`; long ones in real templates have a hundred.
const TAG_TOKENS_MAX: usize = 1000;
/// Most `elif`s of a template.
const ELIFS_MAX: usize = 200;

/// Whether the template can be read and guarded.
pub(super) fn check(source: &str) -> Result<(), TemplateError> {
    guarded(source).map(|_| ())
}

/// The template's instructions, guarded.
pub(super) fn guarded(source: &str) -> Result<Instructions<'_>, TemplateError> {
    let failed = |error: Error| TemplateError::Syntax(one_line(&error));
    // Python's Jinja in `transformers` is set up this way.
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?;
    check_tokens(source, syntax.clone())?;
    let tree = parse(source, NAME, syntax).map_err(failed)?;
    let mut generator = CodeGenerator::new(NAME, source);
    generator.compile_stmt(&tree);
    let (plain, blocks) = generator.finish();
    if !blocks.is_empty() {
        return Err(TemplateError::Syntax("blocks have no place in a chat template".into()));
    }
    guard(&plain, source)
}

/// Refuses what the engine would fall over before any budget is there: its compiler works out `'a' * 100000000`, and it
/// walks a long chain of operators or of `elif`s by recursion.
fn check_tokens(source: &str, syntax: SyntaxConfig) -> Result<(), TemplateError> {
    let refuse = |reason: String| Err(TemplateError::Syntax(reason));
    let mut before = Token::VariableEnd;
    let mut in_tag = 0;
    let mut elifs = 0;
    for token in tokenize(source, false, syntax) {
        let (token, _) = token.map_err(|error| TemplateError::Syntax(one_line(&error)))?;
        in_tag = if starts_tag(&token) { 0 } else { in_tag + 1 };
        elifs += usize::from(matches!(token, Token::Ident("elif")));
        if in_tag > TAG_TOKENS_MAX {
            return refuse(format!("more than {TAG_TOKENS_MAX} words and signs in one tag"));
        }
        if elifs > ELIFS_MAX {
            return refuse(format!("more than {ELIFS_MAX} `elif`"));
        }
        if is_product(&before) && may_repeat(&token) || may_repeat(&before) && is_product(&token) {
            return refuse("`*` beside a string, a list or parentheses is not supported".into());
        }
        before = token;
    }
    Ok(())
}

fn starts_tag(token: &Token<'_>) -> bool {
    matches!(token, Token::VariableStart | Token::BlockStart)
}

fn is_product(token: &Token<'_>) -> bool {
    matches!(token, Token::Mul | Token::Pow)
}

fn may_repeat(token: &Token<'_>) -> bool {
    use Token::{BracketClose, BracketOpen, ParenClose, ParenOpen, Str, String};
    matches!(token, Str(_) | String(_) | ParenOpen | ParenClose | BracketOpen | BracketClose)
}

fn guard<'s>(plain: &Instructions<'s>, source: &'s str) -> Result<Instructions<'s>, TemplateError> {
    let mut places = Vec::new();
    let mut count = 0u32;
    let mut index = 0;
    while let Some(instruction) = plain.get(index) {
        places.push(count);
        count += replacement(instruction)?.len() as u32;
        index += 1;
    }
    places.push(count);
    let place = |target: u32| places.get(target as usize).copied().unwrap_or(count);

    let mut guarded = Instructions::new(NAME, source);
    let mut index = 0;
    while let Some(instruction) = plain.get(index) {
        let line = plain.get_line(index).and_then(|line| u16::try_from(line).ok()).unwrap_or(0);
        for mut instruction in replacement(instruction)? {
            match &mut instruction {
                Instruction::Jump(target)
                | Instruction::JumpIfFalse(target)
                | Instruction::JumpIfFalseOrPop(target)
                | Instruction::JumpIfTrueOrPop(target)
                | Instruction::Iterate(target)
                | Instruction::BuildMacro(_, target, _) => *target = place(*target),
                _ => {}
            }
            guarded.add_with_line(instruction, line);
        }
        index += 1;
    }
    Ok(guarded)
}

/// What stands for an instruction; it takes as much from the stack and leaves as much there.
fn replacement<'s>(instruction: &Instruction<'s>) -> Result<Vec<Instruction<'s>>, TemplateError> {
    let call = |name, count| Instruction::CallFunction(name, Some(count));
    Ok(match instruction {
        Instruction::EmitRaw(text) => vec![Instruction::LoadConst(Value::from(*text)), Instruction::Emit],
        Instruction::StringConcat => vec![call(TEXT, 2)],
        Instruction::Add => vec![call(ADD, 2)],
        Instruction::Mul => vec![call(MULTIPLY, 2)],
        Instruction::Pow => vec![call(POWER, 2)],
        Instruction::BuildList(_)
        | Instruction::BuildTuple(_)
        | Instruction::BuildMap(_)
        | Instruction::Slice
        | Instruction::ApplyFilter(..)
        | Instruction::CallFunction(..)
        | Instruction::CallMethod(..)
        | Instruction::CallObject(_) => vec![instruction.clone(), call(SETTLE, 1)],
        Instruction::SetAttr(_) => vec![Instruction::Swap, call(STORE, 1), Instruction::Swap, instruction.clone()],
        Instruction::CallBlock(_)
        | Instruction::LoadBlocks
        | Instruction::Include(_)
        | Instruction::ExportLocals
        | Instruction::FastSuper => {
            return Err(TemplateError::Syntax("a chat template cannot use other templates".into()));
        }
        other => vec![other.clone()],
    })
}
