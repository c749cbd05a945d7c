//! What a task asks: questions with choices, or problems to be solved in words.

/// A question whose choices are judged by their likelihood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where it is: the file's name and the item's number, from 1.
    pub place: String,
    /// What precedes the solved examples; examples of another preamble are not this question's.
    pub preamble: String,
    pub choices: Vec<Choice>,
    /// The right one's index.
    pub gold: usize,
}

/// One choice: how likely is `continuation` after `context`?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub context: String,
    /// Begins with the space that parts it from the context.
    pub continuation: String,
    /// Bytes of the answer, that space not counted.
    pub bytes: usize,
}

/// A problem whose answer is a number at the end of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it is: the file's name and the item's number, from 1.
    pub place: String,
    pub question: String,
    /// The way to the answer, and the answer after `####`.
    pub solution: String,
}

/// The items of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Items {
    Questions(Vec<Question>),
    Problems(Vec<Problem>),
}

impl Items {
    /// How many there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Questions(questions) => questions.len(),
            Self::Problems(problems) => problems.len(),
        }
    }

    /// Where an item is.
    pub fn place(&self, index: usize) -> &str {
        match self {
            Self::Questions(questions) => &questions[index].place,
            Self::Problems(problems) => &problems[index].place,
        }
    }

    /// No items, of the same kind.
    pub fn none_like(other: &Self) -> Self {
        match other {
            Self::Questions(_) => Self::Questions(Vec::new()),
            Self::Problems(_) => Self::Problems(Vec::new()),
        }
    }

    /// Keeps `limit` of them, evenly spread; all for 0.
    pub fn spread(&mut self, limit: usize) {
        match self {
            Self::Questions(questions) => spread(questions, limit),
            Self::Problems(problems) => spread(problems, limit),
        }
    }
}

fn spread<T>(items: &mut Vec<T>, limit: usize) {
    let count = items.len();
    if limit == 0 || limit >= count {
        return;
    }
    let mut index = 0;
    let mut kept = 0;
    items.retain(|_| {
        let wanted = kept < limit && index == kept * count / limit;
        index += 1;
        kept += usize::from(wanted);
        wanted
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_spread_evenly() {
        let some = |limit| {
            let mut items: Vec<usize> = (0..10).collect();
            spread(&mut items, limit);
            items
        };
        assert_eq!(some(3), [0, 3, 6]);
        assert_eq!(some(1), [0]);
        assert_eq!(some(9), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(some(0).len(), 10);
        assert_eq!(some(99).len(), 10);
    }
}
