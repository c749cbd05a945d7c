//! What a chat template is given beside the conversation.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use hardtack::ChatOptions;
use hardtack::text::{Json, parse_variable};

/// Most bytes of a file with tools.
const TOOLS_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Args)]
pub struct TemplateArguments {
    /// A variable of the model's chat template, such as enable_thinking=false or
    /// reasoning_effort=high; the value is JSON, or else a text. May be given several times
    #[arg(long, value_parser = parse_variable, value_name = "NAME=VALUE")]
    pub template_var: Vec<(String, Json)>,
    /// A JSON file with a list of the tools that the model may call, as chat APIs take them
    #[arg(long, value_name = "FILE")]
    pub tools: Option<PathBuf>,
}

impl TemplateArguments {
    pub fn is_empty(&self) -> bool {
        self.template_var.is_empty() && self.tools.is_none()
    }

    /// The options of a conversation with these variables and tools.
    pub fn apply(&self, mut options: ChatOptions) -> anyhow::Result<ChatOptions> {
        if !self.template_var.is_empty() {
            options = options.variables(self.template_var.iter().cloned().collect());
        }
        if let Some(path) = &self.tools {
            let tools = read_tools(path).with_context(|| format!("{}: tools", path.display()))?;
            options = options.tools(tools);
        }
        Ok(options)
    }
}

fn read_tools(path: &Path) -> anyhow::Result<Vec<Json>> {
    let mut text = String::new();
    File::open(path)?.take(TOOLS_BYTES_MAX + 1).read_to_string(&mut text)?;
    ensure!(text.len() as u64 <= TOOLS_BYTES_MAX, "more than {TOOLS_BYTES_MAX} bytes");
    match serde_json::from_str(&text)? {
        Json::Array(tools) => {
            ensure!(
                tools.iter().all(Json::is_object),
                "expected a list of objects, found something else in it"
            );
            Ok(tools)
        }
        _ => bail!("expected a list such as [{{\"type\": \"function\", \"function\": {{...}}}}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_a_list_of_objects() {
        let path = std::env::temp_dir().join(format!("hardtack-tools-{}.json", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_tools(&path)
        };
        assert_eq!(read(r#"[{"type": "function"}]"#).unwrap().len(), 1);
        for wrong in ["", "{}", "[1]", "[", &" ".repeat(TOOLS_BYTES_MAX as usize + 1)] {
            assert!(read(wrong).is_err(), "{:?}", wrong.get(..9));
        }
        std::fs::remove_file(&path).unwrap();
    }
}
