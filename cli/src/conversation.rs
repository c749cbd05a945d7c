//! A conversation as tokens: the model's own template, rendered, and turned into ids so that nobody can forge a turn.

use anyhow::{Context, bail};
use hardtack::Engine;
use hardtack::format::SectionKind;
use hardtack::text::{ChatTemplate, Message, RenderLimits, Special, Tokenizer};

/// One turn.
#[derive(Clone, Debug)]
pub struct Turn {
    pub role: &'static str,
    pub content: String,
}

/// What has been said.
pub struct Conversation {
    template: ChatTemplate,
    pub turns: Vec<Turn>,
}

/// A prompt as the model reads it.
pub struct Prompt {
    pub text: String,
    pub tokens: Vec<u32>,
}

impl Conversation {
    /// An empty conversation in the blob's own form.
    pub fn new(engine: &Engine, tokenizer: &Tokenizer, system: Option<&str>) -> anyhow::Result<Self> {
        let path = engine.path().display();
        let Some(section) = engine.section(SectionKind::Template) else {
            bail!("{path}: no template section: this model has no form of conversation; `hardtack run` continues a text");
        };
        let template =
            ChatTemplate::from_section(section, tokenizer.vocabulary()).with_context(|| format!("{path}: chat template"))?;
        let mut conversation = Self { template, turns: Vec::new() };
        conversation.turns.extend(system.map(|text| Turn { role: "system", content: text.to_owned() }));
        Ok(conversation)
    }

    /// Adds a turn.
    pub fn say(&mut self, role: &'static str, content: &str) {
        self.turns.push(Turn { role, content: content.to_owned() });
    }

    /// Forgets everything but what the model was told first.
    pub fn reset(&mut self) {
        self.turns.retain(|turn| turn.role == "system");
    }

    /// Forgets the oldest exchange, the newest turn excepted. False if there is none.
    pub fn forget_oldest(&mut self) -> bool {
        let first = self.turns.iter().take_while(|turn| turn.role == "system").count();
        let rest = &self.turns[first..];
        if rest.len() <= 1 {
            return false;
        }
        let exchange = 1 + rest[1..].iter().take_while(|turn| turn.role != "user").count();
        self.turns.drain(first..first + exchange.min(rest.len() - 1));
        true
    }

    /// The prompt up to where the model's answer begins.
    pub fn prompt(&self, tokenizer: &Tokenizer) -> anyhow::Result<Prompt> {
        let messages: Vec<Message<'_>> =
            self.turns.iter().map(|turn| Message { role: turn.role, content: &turn.content }).collect();
        let text = self.template.render(&messages, true, &RenderLimits::default())?;
        let mut tokens = self.encode(&text, tokenizer)?;
        // Some templates write the begin token themselves, some leave it to us.
        if let Some(begin) = tokenizer.begin().filter(|begin| tokens.first() != Some(begin)) {
            tokens.insert(0, begin);
        }
        Ok(Prompt { text, tokens })
    }

    /// Control tokens in the template's own words count; in what somebody said they are plain text.
    fn encode(&self, text: &str, tokenizer: &Tokenizer) -> anyhow::Result<Vec<u32>> {
        let forged = self.turns.iter().map(|turn| turn.content.trim()).filter(|content| !content.is_empty());
        let forged: Vec<&str> = forged
            .filter_map(|content| {
                let plain = tokenizer.encode(content, Special::Plain).ok()?;
                (tokenizer.encode(content, Special::Parse).ok()? != plain).then_some(content)
            })
            .collect();
        let mut tokens = Vec::new();
        let mut rest = text;
        for content in forged {
            let Some(at) = rest.find(content) else { bail!("the chat template changes a text with control tokens in it") };
            tokens.extend(tokenizer.encode(&rest[..at], Special::Parse)?);
            tokens.extend(tokenizer.encode(content, Special::Plain)?);
            rest = &rest[at + content.len()..];
        }
        tokens.extend(tokenizer.encode(rest, Special::Parse)?);
        Ok(tokens)
    }
}
