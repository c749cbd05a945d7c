//! The vocabulary section from outside: random tables come back, and no changed table is read in
//! two ways or panics.

use hardtack_format::vocabulary::{TOKEN_BYTES_MAX, TextRules, TokenKind, Vocabulary, write};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

type Tokens = Vec<(TokenKind, Vec<u8>)>;

fn table() -> impl Strategy<Value = (TextRules, Tokens)> {
    let kinds = vec![
        TokenKind::Normal,
        TokenKind::Control,
        TokenKind::UserDefined,
        TokenKind::Unused,
        TokenKind::Byte,
        TokenKind::Unknown,
        TokenKind::Marker,
    ];
    vec((select(kinds), vec(any::<u8>(), 0..20)), 1..60).prop_flat_map(|tokens| {
        let count = tokens.len() as u32;
        let ids = (option::of(0..count), option::of(0..count), btree_set(0..count, 0..8));
        (ids, any::<[bool; 3]>(), Just(tokens)).prop_map(|((begin, end, ends), flags, tokens)| {
            let [add_begin, add_end, strip_leading_space] = flags;
            let ends = ends.into_iter().collect();
            (TextRules { begin, end, add_begin, add_end, strip_leading_space, ends }, tokens)
        })
    })
}

/// Reads a table and looks everything up; what is accepted has one form only.
fn read(bytes: &[u8]) {
    let Ok(table) = Vocabulary::read(bytes) else { return };
    let tokens: Vec<_> = (0..table.count()).map(|id| (table.kind(id), table.bytes(id))).collect();
    assert!(tokens.iter().all(|(_, token)| token.len() <= TOKEN_BYTES_MAX as usize));
    assert!(table.bytes(table.count()).is_empty() && table.bytes(u32::MAX).is_empty());
    assert!(!table.is_end(table.count()));
    assert_eq!(write(table.rules(), &tokens).as_deref(), Ok(bytes));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_is_read_back((rules, tokens) in table()) {
        let bytes = write(&rules, &tokens).expect("a valid table");
        let table = Vocabulary::read(bytes.as_slice()).expect("what is written is read");
        prop_assert_eq!(table.rules(), &rules);
        for (id, (kind, token)) in (0_u32..).zip(&tokens) {
            prop_assert_eq!((table.kind(id), table.bytes(id)), (*kind, token.as_slice()));
            prop_assert_eq!(table.is_end(id), rules.ends.contains(&id));
        }
        for length in 0..bytes.len() {
            prop_assert!(Vocabulary::read(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn changed_fields_never_panic((rules, tokens) in table(), changes in vec((any::<Index>(), any::<u32>()), 1..4)) {
        let mut bytes = write(&rules, &tokens).expect("a valid table");
        for (place, value) in changes {
            // Small numbers are the likelier ones to be accepted.
            let value = if value % 2 == 0 { value } else { value >> 1 & 0xff };
            let at = place.index(bytes.len() / 4) * 4;
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        read(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        read(&bytes);
    }
}
