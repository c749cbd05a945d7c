//! From a template's tree and its input to text.

use crate::text::TemplateError;
use crate::text::template::ast::Program;
use crate::text::template::convert;
use crate::text::template::heap::{Cause, Heap, Outcome};
use crate::text::template::input::{RenderInput, check_variable_name, shorten};
use crate::text::template::machine::Machine;
use crate::text::template::rendered::{Author, Rendered};
use crate::text::template::value::Value;

/// Runs a template, which sees special tokens by their names.
pub(super) fn render(
    program: &Program,
    tokens: &[(&'static str, &str)],
    input: &RenderInput<'_>,
) -> Result<Rendered, TemplateError> {
    for name in input.variables.iter().flat_map(|variables| variables.keys()) {
        check_variable_name(name)?;
    }
    let machine = machine(program, tokens, input).map_err(|fault| explain(*fault, None, input))?;
    machine.run(program).map_err(|(line, fault)| explain(*fault, Some(line), input))
}

fn machine<'r>(
    program: &'r Program,
    tokens: &[(&'static str, &str)],
    input: &RenderInput<'r>,
) -> Outcome<Machine<'r>> {
    let heap = Heap::new(&input.limits, input.interrupted);
    let mut machine = Machine::new(program, heap, &input.limits, input.clock)?;
    for (name, token) in tokens {
        let token = machine.heap.own(token)?;
        machine.define(name, token);
    }
    for (name, value) in input.variables.into_iter().flatten() {
        let value = convert::value(&machine.heap, value, Author::Other)?;
        machine.define(name, value);
    }
    let messages = convert::messages(&machine.heap, input.messages)?;
    machine.define("messages", messages);
    for (name, list) in [("tools", input.tools), ("documents", input.documents)] {
        let value =
            list.map_or(Ok(Value::None), |list| convert::list(&machine.heap, list, Author::Other))?;
        machine.define(name, value);
    }
    machine.define("add_generation_prompt", Value::Bool(input.add_generation_prompt));
    Ok(machine)
}

fn explain(cause: Cause, line: Option<u32>, input: &RenderInput<'_>) -> TemplateError {
    match cause {
        Cause::Raised(reason) => TemplateError::Refused(reason),
        Cause::Failed(reason) => TemplateError::Render(match line {
            Some(line) => format!("line {line}: {}", shorten(&reason)),
            None => shorten(&reason),
        }),
        Cause::Steps => TemplateError::Steps(input.limits.steps),
        Cause::Memory => TemplateError::Memory(input.limits.memory_bytes()),
        Cause::Output => TemplateError::Output(input.limits.output_bytes),
        Cause::Interrupted => TemplateError::Interrupted,
    }
}
