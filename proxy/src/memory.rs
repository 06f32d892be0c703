//! Memory that is free again goes back to the kernel, also when nothing happens any more.

use std::hint::black_box;

/// So large a block has a page of mimalloc's for itself. When such a page is freed mimalloc gives back
/// what has been free for a second, of all sizes; at rest it frees none by itself.
const BLOCK: usize = 1024 * 1024;

/// Blocks of this size are handed out where mimalloc counts. Once in a thousand it looks at the pages that
/// are empty and the last of their size, and frees those that it has seen so for up to 16 times; at rest
/// it would keep them all.
const COUNTED: usize = 2048;

/// Gives back what has been free for a while: most of it within three times, of the thread that asks. Cheap:
/// no block is filled.
pub(crate) fn give_back() {
    let mut held = Vec::<u8>::new();
    for _ in 0..8_000 {
        // The next is there before the last is dropped: no page is emptied and filled anew in between.
        held = black_box(Vec::with_capacity(COUNTED));
    }
    drop(held);
    drop(black_box(Vec::<u8>::with_capacity(BLOCK)));
}
