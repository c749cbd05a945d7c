//! Tables that are written, read, cut and changed.

use alloc::vec::Vec;

use super::*;

fn small() -> Vec<u8> {
    let rules = TextRules {
        begin: Some(0),
        end: Some(1),
        add_begin: true,
        ends: [1, 2].into(),
        ..TextRules::default()
    };
    let tokens: [(TokenKind, &[u8]); 4] = [
        (TokenKind::Control, b"<s>"),
        (TokenKind::Control, b"</s>"),
        (TokenKind::Normal, b" the"),
        (TokenKind::Byte, b"\xff"),
    ];
    write(&rules, &tokens).unwrap()
}

#[test]
fn what_was_written_is_read() {
    let table = Vocabulary::read(small()).unwrap();
    assert_eq!(table.bytes(2), b" the");
    assert_eq!(table.bytes(3), b"\xff");
    assert_eq!((table.kind(1), table.kind(3)), (TokenKind::Control, TokenKind::Byte));
    assert!(table.is_end(2) && !table.is_end(0) && !table.is_end(u32::MAX));
    assert!(table.rules().add_begin && !table.rules().add_end);
    assert_eq!((table.rules().begin, table.rules().end), (Some(0), Some(1)));
    assert_eq!((table.bytes(4), table.bytes(u32::MAX)), (&b""[..], &b""[..]));
    assert_eq!(table.kind(u32::MAX), TokenKind::Unused);
}

#[test]
fn every_kind_goes_through_its_byte() {
    let kinds = [
        // Kind, whether it steers, whether it is text.
        (TokenKind::Normal, false, true),
        (TokenKind::Control, true, false),
        (TokenKind::UserDefined, false, true),
        (TokenKind::Unused, false, false),
        (TokenKind::Byte, false, true),
        (TokenKind::Unknown, false, true),
        (TokenKind::Marker, true, true),
    ];
    let tokens = kinds.map(|(kind, _, _)| (kind, b"x"));
    let table = Vocabulary::read(write(&TextRules::default(), &tokens).unwrap()).unwrap();
    for (id, (kind, steers, is_text)) in (0..).zip(kinds) {
        assert_eq!((kind as u32, table.kind(id)), (id, kind));
        assert_eq!((kind.steers(), kind.is_text()), (steers, is_text));
    }
    assert_eq!(TokenKind::from_byte(7), None);
}

#[test]
fn refuses_every_truncation_and_extension() {
    let mut bytes = small();
    for length in 0..bytes.len() {
        assert!(Vocabulary::read(&bytes[..length]).is_err(), "{length} bytes");
    }
    bytes.push(0);
    assert!(Vocabulary::read(&bytes).is_err());
}

#[test]
fn no_changed_byte_makes_a_lookup_panic() {
    let bytes = small();
    for at in 0..bytes.len() {
        for flip in 1..=255 {
            let mut hostile = bytes.clone();
            hostile[at] ^= flip;
            let Ok(table) = Vocabulary::read(&hostile) else { continue };
            for id in (0..6).chain([u32::MAX - 1, u32::MAX]) {
                assert!(table.bytes(id).len() <= TOKEN_BYTES_MAX as usize);
                let _ = (table.kind(id), table.is_end(id));
            }
        }
    }
}

#[test]
fn holds_its_limits_from_both_sides() {
    let rules = TextRules::default();
    let token = |length: usize| [(TokenKind::Normal, alloc::vec![b'a'; length])];
    assert!(write(&rules, &token(TOKEN_BYTES_MAX as usize)).is_ok());
    assert!(write(&rules, &token(TOKEN_BYTES_MAX as usize + 1)).is_err());
    let ends = |count| TextRules { ends: (0..count).collect(), ..TextRules::default() };
    let tokens = alloc::vec![(TokenKind::Normal, b""); 100];
    assert!(write(&ends(ENDS_MAX), &tokens).is_ok());
    assert!(write(&ends(ENDS_MAX + 1), &tokens).is_err());
    let many = |count: u32| alloc::vec![(TokenKind::Unused, b""); count as usize];
    assert!(write(&rules, &many(COUNT_MAX)).is_ok());
    assert!(write(&rules, &many(COUNT_MAX + 1)).is_err());
    assert!(write(&rules, &many(0)).is_err());
    assert!(write(&TextRules { begin: Some(1), ..rules.clone() }, &many(1)).is_err());
    assert!(write(&TextRules { ends: [1, 0].into(), ..rules }, &many(2)).is_err());
}
