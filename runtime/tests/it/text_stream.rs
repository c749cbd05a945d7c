//! Streams of tokens: the text is that of `from_utf8_lossy` whatever the bytes, and stops do not
//! depend on how it came.
use hardtack::text::{Opening, STOP_BYTES_MAX, STOPS_MAX, Stops, TextStream};
use hardtack_format::vocabulary::{TextRules, TokenKind, Vocabulary, write};
use proptest::prelude::*;

/// One token for each list of bytes.
fn vocabulary(tokens: &[Vec<u8>], rules: &TextRules) -> Vocabulary<Vec<u8>> {
    let tokens: Vec<_> = tokens.iter().map(|bytes| (TokenKind::Normal, bytes)).collect();
    Vocabulary::read(write(rules, &tokens).unwrap()).unwrap()
}

/// The whole text of a stream and the stop it came to.
fn run(tokens: &[Vec<u8>], stops: &[&str]) -> (String, Option<usize>) {
    let vocabulary = vocabulary(tokens, &TextRules::default());
    let mut stream = TextStream::new(&vocabulary, Opening::Text, Stops::new(stops).unwrap());
    let mut text = String::new();
    let mut stop = None;
    for id in 0..tokens.len() as u32 {
        let piece = stream.push(id);
        assert!(stop.is_none() || piece.text.is_empty(), "text after a stop");
        text.push_str(piece.text);
        stop = piece.stop;
    }
    let piece = stream.finish();
    text.push_str(piece.text);
    (text, stop.or(piece.stop))
}

/// Bytes that are often nearly UTF-8.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<char>().prop_map(|character| character.to_string().into_bytes()),
        (any::<char>(), 0..4usize).prop_map(|(character, count)| {
            let mut bytes = character.to_string().into_bytes();
            bytes.truncate(count);
            bytes
        }),
    ];
    prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

fn split(bytes: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_the_lossy_text(bytes in bytes(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        prop_assume!(!bytes.is_empty());
        let (text, stop) = run(&split(&bytes, &cuts), &[]);
        prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        prop_assert_eq!(stop, None);
    }

    #[test]
    fn stops_cut_where_the_first_one_is_complete(
        text in "[abc ]{1,30}",
        stops in prop::collection::vec("[abc]{1,4}", 0..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
        let mut expected = (text.clone(), None);
        'ends: for end in 0..=text.len() {
            let mut longest = 0;
            for (number, stop) in stops.iter().enumerate() {
                if text[..end].ends_with(stop) && stop.len() > longest {
                    longest = stop.len();
                    expected = (text[..end - longest].into(), Some(number));
                }
            }
            if longest > 0 {
                break 'ends;
            }
        }
        prop_assert_eq!(run(&split(text.as_bytes(), &cuts), &stops), expected);
    }
}

#[test]
fn holds_back_only_what_may_be_a_stop() {
    let tokens = ["Hello <|", "im", "_x", "<|im_end|> lost"].map(|text| text.as_bytes().to_vec());
    let vocabulary = vocabulary(&tokens, &TextRules::default());
    let mut stream =
        TextStream::new(&vocabulary, Opening::Text, Stops::new(&["<|im_end|>"]).unwrap());
    assert_eq!(stream.push(0).text, "Hello ");
    assert_eq!(stream.push(1).text, "");
    assert_eq!(stream.push(2).text, "<|im_x");
    let last = stream.push(3);
    assert_eq!((last.text, last.stop), ("", Some(0)));
    assert_eq!(stream.push(0).text, "");
    assert_eq!(stream.finish().text, "");
}

#[test]
fn unfinished_text_comes_out_at_the_end() {
    let tokens = vec!["a<|".as_bytes().to_vec(), vec![0xF0, 0x9F]];
    assert_eq!(run(&tokens, &["<|im_end|>"]).0, "a<|\u{FFFD}");
}

#[test]
fn the_longest_token_of_the_worst_bytes_fits() {
    let tokens = vec![vec![0xE2, 0x82], vec![0xFF; 4096], vec![b'a'; 4096], vec![0xF0; 4096]];
    let whole = tokens.concat();
    let stop = "a".repeat(STOP_BYTES_MAX) + "b";
    assert!(Stops::new(&[&stop]).is_err());
    assert_eq!(run(&tokens, &[&stop[1..]]).0, String::from_utf8_lossy(&whole));
}

#[test]
fn control_tokens_are_no_text_and_a_leading_space_is_taken_once() {
    let rules = TextRules { strip_leading_space: true, ..TextRules::default() };
    let tokens: [(TokenKind, &[u8]); 4] = [
        (TokenKind::Control, b"<s>"),
        (TokenKind::Normal, b" the"),
        (TokenKind::UserDefined, b" "),
        (TokenKind::Marker, b"<think>"),
    ];
    let vocabulary = Vocabulary::read(write(&rules, &tokens).unwrap()).unwrap();
    let text = |opening, ids: &[u32]| {
        let mut stream = TextStream::new(&vocabulary, opening, Stops::default());
        ids.iter().map(|&id| stream.push(id).text.to_owned()).collect::<String>()
    };
    assert_eq!(text(Opening::Text, &[0, 1, 1, 2]), "the the ");
    assert_eq!(text(Opening::Text, &[2, 2, 1]), "  the");
    assert_eq!(text(Opening::Continuation, &[0, 1]), " the");
    assert_eq!(text(Opening::Text, &[4, 77, u32::MAX]), "");
    assert_eq!(text(Opening::Text, &[3, 1]), "<think> the");
}

#[test]
fn stop_strings_have_limits() {
    assert!(Stops::new(&["a"; STOPS_MAX]).is_ok());
    assert!(Stops::new(&["a"; STOPS_MAX + 1]).is_err());
    assert!(Stops::new(&["a".repeat(STOP_BYTES_MAX)]).is_ok());
    assert!(Stops::new(&["a".repeat(STOP_BYTES_MAX + 1)]).is_err());
    assert!(Stops::new(&[""]).is_err());
}
