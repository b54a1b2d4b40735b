//! Streams that arrive in pieces.

/// The lengths of pieces from the front of `data`: a byte says how many there are, up to seven, then there is a byte for each. 0 stands
/// for all the rest. What is behind them is the target's.
pub(crate) fn lengths(data: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (first, data) = data.split_first()?;
    let (lengths, data) = data.split_at_checked(usize::from(first & 7))?;
    Some((first >> 3, lengths, data))
}

/// Cuts bytes at these lengths, over and over. Without any they stay whole.
pub(crate) fn cut<'a>(mut bytes: &'a [u8], lengths: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = lengths.iter().cycle();
    core::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let len = match lengths.next() {
            None | Some(0) => bytes.len(),
            Some(len) => bytes.len().min(usize::from(*len)),
        };
        let (piece, rest) = bytes.split_at(len);
        bytes = rest;
        Some(piece)
    })
}
