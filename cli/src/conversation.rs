//! A conversation as tokens: the model's own template, rendered, and turned into ids so that nobody can forge a turn.

use anyhow::{Context, bail, ensure};
use hardtack::Engine;
use hardtack::format::SectionKind;
use hardtack::text::{ChatTemplate, Message, RenderInput, Special, Tokenizer};

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
            bail!(
                "{path}: no template section: this model has no form of conversation; `hardtack run` continues a text"
            );
        };
        let template = ChatTemplate::from_section(section, tokenizer.vocabulary())
            .with_context(|| format!("{path}: chat template"))?;
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

    /// The prompt up to where the model's answer begins. Control tokens in the template's own words count; in what
    /// somebody said they are plain text. Such a turn goes through the template between two fences, since its text alone
    /// may stand in the template's words too.
    pub fn prompt(&self, tokenizer: &Tokenizer) -> anyhow::Result<Prompt> {
        let fences = self.fences()?;
        let contents: Vec<String> =
            self.turns.iter().map(|turn| fenced(&turn.content, fences, tokenizer)).collect::<anyhow::Result<_>>()?;
        let turns = self.turns.iter().zip(&contents);
        let messages: Vec<Message> = turns.map(|(turn, content)| Message::new(turn.role, content.as_str())).collect();
        let marked = self.template.render(&RenderInput::new(&messages))?.to_string();

        let mut tokens = Vec::new();
        let mut rest = marked.as_str();
        let (mut fence, mut special) = (fences[0], Special::Parse);
        while let Some(at) = rest.find(fences) {
            let (part, after) = rest.split_at(at);
            ensure!(after.starts_with(fence), "the chat template changes a text with control tokens in it");
            tokens.extend(tokenizer.encode(part, special)?);
            rest = &after[fence.len_utf8()..];
            (fence, special) = match special {
                Special::Parse => (fences[1], Special::Plain),
                Special::Plain => (fences[0], Special::Parse),
            };
        }
        ensure!(special == Special::Parse, "the chat template cuts a text with control tokens in it");
        tokens.extend(tokenizer.encode(rest, special)?);
        // Some templates write the begin token themselves, some leave it to us.
        if let Some(begin) = tokenizer.begin().filter(|begin| tokens.first() != Some(begin)) {
            tokens.insert(0, begin);
        }
        Ok(Prompt { text: marked.replace(fences, ""), tokens })
    }

    /// Two of Unicode's noncharacters that nobody has said.
    fn fences(&self) -> anyhow::Result<[char; 2]> {
        let said = |fence: &char| self.turns.iter().any(|turn| turn.content.contains(*fence));
        let mut unsaid = ('\u{fdd0}'..='\u{fdef}').filter(|fence| !said(fence));
        match (unsaid.next(), unsaid.next()) {
            (Some(open), Some(close)) => Ok([open, close]),
            _ => bail!("the conversation holds every one of Unicode's noncharacters"),
        }
    }
}

/// A turn between fences, if control tokens would be read in it. Spaces around it stay outside, where templates trim them.
fn fenced(content: &str, [open, close]: [char; 2], tokenizer: &Tokenizer) -> anyhow::Result<String> {
    let text = content.trim();
    if tokenizer.encode(text, Special::Parse)? == tokenizer.encode(text, Special::Plain)? {
        return Ok(content.to_owned());
    }
    let (before, after) = content.split_at(content.len() - content.trim_start().len());
    Ok(format!("{before}{open}{text}{close}{}", &after[text.len()..]))
}
