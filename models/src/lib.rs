//! One file per family of models: names and quirks of published checkpoints, turned into roles and numbers.
