//! What has been said, turn by turn.

/// One turn of a conversation.
///
/// ```
/// use hardtack::chat::Turn;
///
/// let turns = [Turn::system("Be brief."), Turn::user("What is 2 + 2?"), Turn::assistant("4")];
/// assert_eq!(turns[1].role, "user");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Turn {
    /// Who speaks: `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What is said. Names of control tokens in it are plain text.
    pub content: String,
    /// What the model thought before it said so; empty for everybody else.
    pub thinking: String,
    /// Where in the content the model itself wrote a token that steers, such as `<tool_call>`.
    pub(crate) markers: Vec<usize>,
}

impl Turn {
    /// A turn of anybody.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), ..Self::default() }
    }

    /// A system prompt, which the model reads first.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// A message to the model.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// An answer of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }

    /// Bytes of everything said in it.
    pub(crate) fn bytes(&self) -> usize {
        self.role.len() + self.content.len() + self.thinking.len()
    }
}

/// The turns of a conversation, the oldest of which may be forgotten.
#[derive(Clone, Debug, Default)]
pub struct Turns(Vec<Turn>);

impl Turns {
    /// A conversation as it was.
    pub fn new(turns: Vec<Turn>) -> Self {
        Self(turns)
    }

    /// All of them.
    pub fn all(&self) -> &[Turn] {
        &self.0
    }

    /// Adds one.
    pub fn push(&mut self, turn: Turn) {
        self.0.push(turn);
    }

    /// Takes the newest away.
    pub fn pop(&mut self) {
        self.0.pop();
    }

    /// Forgets everything but the system turns at the start.
    pub fn reset(&mut self) {
        self.0.truncate(self.told_first());
    }

    /// Turns at the start that are never forgotten.
    pub fn told_first(&self) -> usize {
        self.0.iter().take_while(|turn| turn.role == "system").count()
    }

    /// The turns without the oldest `forgotten` of those that may be forgotten.
    pub fn without(&self, forgotten: usize) -> Vec<&Turn> {
        let first = self.told_first();
        self.0[..first].iter().chain(&self.0[first + forgotten..]).collect()
    }

    /// Where the exchange ends that begins after `forgotten` turns: a message and everything up to
    /// the next one. `None` if nothing but the newest turn would be left of it.
    pub fn next_exchange(&self, forgotten: usize) -> Option<usize> {
        let rest = self.0.get(self.told_first() + forgotten..)?;
        let exchange = 1 + rest.get(1..)?.iter().take_while(|turn| turn.role != "user").count();
        (exchange < rest.len()).then_some(forgotten + exchange)
    }

    /// Forgets the oldest turns.
    pub fn forget(&mut self, count: usize) {
        let first = self.told_first();
        self.0.drain(first..first + count);
    }

    /// Bytes of all turns but the system turns at the start and the oldest `forgotten`.
    pub fn bytes(&self, forgotten: usize) -> usize {
        self.0[self.told_first() + forgotten..].iter().map(Turn::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_are_forgotten_and_the_newest_turn_is_not() {
        let roles =
            ["system", "user", "assistant", "user", "assistant", "tool", "assistant", "user"];
        let mut turns = Turns::new(roles.map(|role| Turn::new(role, "x")).to_vec());
        assert_eq!(
            [0, 2, 6].map(|forgotten| turns.next_exchange(forgotten)),
            [Some(2), Some(6), None]
        );
        assert_eq!(
            turns.without(2).iter().map(|turn| turn.role.as_str()).collect::<Vec<_>>()[..2],
            ["system", "user"]
        );
        turns.forget(6);
        assert_eq!(turns.all().len(), 2);
        turns.reset();
        assert_eq!(turns.all(), [Turn::system("x")]);
    }
}
